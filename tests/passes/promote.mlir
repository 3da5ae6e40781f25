// RUN: lower opt %s --pass-pipeline='builtin.module(promote{padding=4})' | filecheck %s

// A is MxK in memory and KxM in the buffer: loaded as vectors along K, stored element by element into longer rows.
// B is KxN in both. One barrier before the stores, one after; the reads of the contraction go to the buffers.
// CHECK-LABEL: func.func @main
// CHECK: gpu.launch {{.*}} workgroup(%[[A:.*]] : memref<8x36xf32, #gpu.address_space<workgroup>>, %[[B:.*]] : memref<8x16xf32, #gpu.address_space<workgroup>>)
// CHECK: scf.for
// CHECK: vector.transfer_read %arg0{{.*}} {in_bounds = [false, true]} : memref<61x64xf32>, vector<1x4xf32>
// CHECK: vector.transfer_read %arg1{{.*}} : memref<64x64xf32>, vector<1x4xf32>
// CHECK: gpu.barrier
// CHECK-COUNT-4: memref.store %{{.*}}, %[[A]]
// CHECK: vector.store %{{.*}}, %[[B]]
// CHECK: gpu.barrier
// CHECK-DAG: vector.transfer_read %[[A]]{{.*}} vector<8x4xf32>
// CHECK-DAG: vector.transpose
// CHECK-DAG: vector.transfer_read %[[B]]{{.*}} vector<8x4xf32>
// CHECK: vector.contract
func.func @main(%a: memref<61x64xf32>, %b: memref<64x64xf32>, %out: memref<64x64xf32>) {
  %zero = arith.constant 0.0 : f32
  %acc = arith.constant dense<0.0> : vector<4x4xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c8 = arith.constant 8 : index
  %c32 = arith.constant 32 : index
  %c64 = arith.constant 64 : index
  gpu.launch blocks(%g, %g1, %g2) in (%n0 = %c8, %n1 = %c1, %n2 = %c1) threads(%t, %t1, %t2) in (%m0 = %c32, %m1 = %c1, %m2 = %c1) {
    %x:2 = affine.delinearize_index %g into (2, 4) : index, index
    %y:2 = affine.delinearize_index %t into (8, 4) : index, index
    %i = affine.apply affine_map<(p, q) -> (32 * p + 4 * q)>(%x#0, %y#0)
    %j = affine.apply affine_map<(p, q) -> (16 * p + 4 * q)>(%x#1, %y#1)
    %r = scf.for %k = %c0 to %c64 step %c8 iter_args(%c = %acc) -> (vector<4x4xf32>) {
      %va = vector.transfer_read %a[%i, %k], %zero {in_bounds = [false, true]} : memref<61x64xf32>, vector<4x8xf32>
      %vb = vector.transfer_read %b[%k, %j], %zero {in_bounds = [true, true]} : memref<64x64xf32>, vector<8x4xf32>
      %d = vector.contract {indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (k, n)>, affine_map<(m, n, k) -> (m, n)>],
                            iterator_types = ["parallel", "parallel", "reduction"]} %va, %vb, %c
        : vector<4x8xf32>, vector<8x4xf32> into vector<4x4xf32>
      scf.yield %d : vector<4x4xf32>
    } {lower.role = "k"}
    vector.transfer_write %r, %out[%i, %j] {in_bounds = [true, true]} : vector<4x4xf32>, memref<64x64xf32>
    gpu.terminator
  }
  return
}
