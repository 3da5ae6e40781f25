// RUN: not lower opt %s --pass-pipeline='builtin.module(promote)' 2>&1 | filecheck %s

// What is copied is read from each thread's own part of A: there is no one origin of the block's tile.
// CHECK: input a is read from another part of a buffer in each thread
func.func @main(%a: memref<64x64xf32>, %b: memref<64x64xf32>, %out: memref<64x64xf32>) {
  %zero = arith.constant 0.0 : f32
  %acc = arith.constant dense<0.0> : vector<4x4xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c8 = arith.constant 8 : index
  %c16 = arith.constant 16 : index
  %c64 = arith.constant 64 : index
  gpu.launch blocks(%g, %g1, %g2) in (%n0 = %c16, %n1 = %c1, %n2 = %c1) threads(%t, %t1, %t2) in (%m0 = %c16, %m1 = %c1, %m2 = %c1) {
    %i = affine.apply affine_map<(p) -> (4 * p)>(%t)
    %j = affine.apply affine_map<(p) -> (4 * p)>(%g)
    %part = memref.subview %a[%i, 0] [4, 64] [1, 1] : memref<64x64xf32> to memref<4x64xf32, strided<[64, 1], offset: ?>>
    %r = scf.for %k = %c0 to %c64 step %c8 iter_args(%c = %acc) -> (vector<4x4xf32>) {
      %va = vector.transfer_read %part[%c0, %k], %zero {in_bounds = [true, true]} : memref<4x64xf32, strided<[64, 1], offset: ?>>, vector<4x8xf32>
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
