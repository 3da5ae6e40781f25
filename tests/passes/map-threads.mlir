// RUN: lower opt %s --pass-pipeline='builtin.module(map-blocks,map-threads)' | filecheck %s

// CHECK-LABEL: func.func @main
// CHECK: %[[N:.*]] = arith.constant 32 : index
// CHECK: gpu.launch {{.*}} threads(%[[T:.*]], %{{.*}}, %{{.*}}) in (%{{.*}} = %[[N]],
// CHECK: %[[I:.*]]:2 = affine.delinearize_index %[[T]] into (8, 4)
// CHECK-NOT: scf.forall
// CHECK: memref.store %{{.*}}, %arg0[%[[I]]#0, %[[I]]#1]
func.func @main(%out: memref<8x4xf32>) {
  %x = arith.constant 1.0 : f32
  scf.forall (%i, %j) in (8, 4) {
    memref.store %x, %out[%i, %j] : memref<8x4xf32>
  } {mapping = [#gpu.thread<linear_dim_1>, #gpu.thread<linear_dim_0>]}
  return
}
