// RUN: lower opt %s --pass-pipeline='builtin.module(promote-tma)' | filecheck %s
// RUN: lower opt %s --pass-pipeline='builtin.module(promote-tma,ring{stages=3})' | filecheck %s --check-prefix=RING
// RUN: lower opt %s --pass-pipeline='builtin.module(promote-tma,warp-specialise{stages=3},wgmma{blocks=1})' | filecheck %s --check-prefix=STORE
// RUN: sed 's/<5x64x256xf16>/<64x5x256xf16>/; s/%%a\[%%g, %%c0, %%k\]/%%a[%%c0, %%g, %%k]/; s/%%nothing {in_bounds = \[true, true\]} : memref<64/%%nothing {permutation_map = affine_map<(d0, d1, d2) -> (d0, d2)>, in_bounds = [true, true]} : memref<64/' %s > %t && not lower opt %t --pass-pipeline='builtin.module(promote-tma)' 2>&1 | filecheck %s --check-prefix=MIDDLE

// A batch is the outermost dimension of the maps, one element of a box, and the last coordinate.
// CHECK: nvgpu.tma.create.descriptor {{.*}} box[%c1, %c64, %c64] {{.*}} <tensor = memref<1x64x64xf16, 3>
// CHECK: nvgpu.tma.create.descriptor {{.*}} box[%c1, %c64, %c64] {{.*}} <tensor = memref<1x64x64xf16, 3>
// CHECK: gpu.launch blocks(%[[G:[a-z0-9]+]],
// CHECK-SAME: workgroup(%[[A:.*]] : memref<1x64x64xf16, #gpu.address_space<workgroup>>, %[[B:.*]] : memref<2x64x64xf16, #gpu.address_space<workgroup>>)
// CHECK: scf.for %[[K:[a-z0-9]+]] =
// CHECK: nvgpu.tma.async.load %{{.*}}[%[[K]], %c0, %[[G]]], {{.*}} to %[[A]]
// CHECK: nvgpu.tma.async.load %{{.*}}[%c0, %[[K]], %[[G]]], {{.*}} -> memref<1x64x64xf16, strided<[4096, 64, 1]>
// CHECK: nvgpu.tma.async.load %{{.*}}[%c64, %[[K]], %[[G]]], {{.*}} -> memref<1x64x64xf16, strided<[4096, 64, 1], offset: 4096>
// CHECK: vector.transfer_read %[[A]][%c0, %c0, %c0], {{.*}} vector<64x64xf16>

// RING: workgroup(%[[A:[a-z0-9]+]] : memref<3x1x64x64xf16, {{.*}}>, %[[B:[a-z0-9]+]] : memref<3x2x64x64xf16,
// RING: scf.for
// RING: memref.subview %[[A]][%{{[a-z0-9]+}}, 0, 0, 0] [1, 1, 64, 64]
// RING: memref.subview %[[B]][%{{[a-z0-9]+}}, 1, 0, 0] [1, 1, 64, 64]
// RING: vector.transfer_read %[[A]][%{{[a-z0-9]+}}, %c0, %c0, %c0], {{.*}} vector<64x64xf16>

// The results of one matrix, cut off where it ends.
// STORE: nvgpu.tma.create.descriptor {{.*}} box[%c1, %c64, %c64] {{.*}} <tensor = memref<1x64x64xf16, 3>, swizzle = swizzle_128b
// STORE-COUNT-4: nvvm.wgmma.mma_async
// STORE: nvgpu.tma.async.store %{{.*}} to %{{.*}}[%c0, %c0, %[[G:[a-z0-9]+]]] : memref<1x64x64xf16
// STORE: nvgpu.tma.async.store %{{.*}} to %{{.*}}[%c64, %c0, %[[G]]]

// MIDDLE: input a is not read as a matrix of one or of a batch: 3 dimensions, [0, 2]
func.func @main(%a: memref<5x64x256xf16>, %b: memref<5x256x128xf16>, %out: memref<5x50x128xf16>) {
  %nothing = ub.poison : f16
  %zero = arith.constant dense<0.0> : vector<64x128xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c5 = arith.constant 5 : index
  %c64 = arith.constant 64 : index
  %c128 = arith.constant 128 : index
  %c256 = arith.constant 256 : index
  gpu.launch blocks(%g, %g1, %g2) in (%n0 = %c5, %n1 = %c1, %n2 = %c1) threads(%t, %t1, %t2) in (%m0 = %c128, %m1 = %c1, %m2 = %c1) {
    %r = scf.for %k = %c0 to %c256 step %c64 iter_args(%acc = %zero) -> (vector<64x128xf32>) {
      %x = vector.transfer_read %a[%g, %c0, %k], %nothing {in_bounds = [true, true]} : memref<5x64x256xf16>, vector<64x64xf16>
      %y = vector.transfer_read %b[%g, %k, %c0], %nothing {in_bounds = [true, true]} : memref<5x256x128xf16>, vector<64x128xf16>
      %xw = arith.extf %x : vector<64x64xf16> to vector<64x64xf32>
      %yw = arith.extf %y : vector<64x128xf16> to vector<64x128xf32>
      %d = vector.contract {indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (k, n)>, affine_map<(m, n, k) -> (m, n)>],
                            iterator_types = ["parallel", "parallel", "reduction"]} %xw, %yw, %acc
        : vector<64x64xf32>, vector<64x128xf32> into vector<64x128xf32>
      scf.yield %d : vector<64x128xf32>
    } {lower.role = "k"}
    %h = arith.truncf %r : vector<64x128xf32> to vector<64x128xf16>
    vector.transfer_write %h, %out[%g, %c0, %c0] {in_bounds = [false, true]} : vector<64x128xf16>, memref<5x50x128xf16>
    gpu.terminator
  }
  return
}
