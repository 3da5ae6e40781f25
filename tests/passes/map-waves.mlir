// RUN: lower opt %s --pass-pipeline='builtin.module(map-waves)' | filecheck %s

// Two by three waves of 64 lanes; the body is what a whole wave does, so it sees the wave's number.
// CHECK-LABEL: func.func @main
// CHECK: %[[THREADS:.*]] = arith.constant 384 : index
// CHECK: gpu.launch {{.*}} threads(%[[T:.*]], %{{.*}}, %{{.*}}) in (%{{.*}} = %[[THREADS]]
// CHECK: %[[IJ:.*]]:3 = affine.delinearize_index %[[T]] into (2, 3, 64)
// CHECK-NOT: scf.forall
// CHECK: memref.store %{{.*}}, %{{.*}}[%[[IJ]]#0, %[[IJ]]#1]
func.func @main(%out: memref<2x3xf32>) {
  %zero = arith.constant 0.0 : f32
  %c1 = arith.constant 1 : index
  gpu.launch blocks(%g, %g1, %g2) in (%n0 = %c1, %n1 = %c1, %n2 = %c1) threads(%t, %t1, %t2) in (%m0 = %c1, %m1 = %c1, %m2 = %c1) {
    scf.forall (%i, %j) in (2, 3) {
      memref.store %zero, %out[%i, %j] : memref<2x3xf32>
    } {mapping = [#gpu.warp<linear_dim_1>, #gpu.warp<linear_dim_0>]}
    gpu.terminator
  }
  return
}
