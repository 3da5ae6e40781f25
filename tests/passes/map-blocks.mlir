// RUN: lower opt %s --pass-pipeline='builtin.module(map-blocks)' | filecheck %s

// One launch with a one-dimensional grid of all trips; the loop over threads inside is left for map-threads.
// CHECK-LABEL: func.func @main
// CHECK: %[[N:.*]] = arith.constant 24 : index
// CHECK: gpu.launch blocks(%[[B:.*]], %{{.*}}, %{{.*}}) in (%{{.*}} = %[[N]],
// CHECK: %[[I:.*]]:2 = affine.delinearize_index %[[B]] into (8, 3)
// CHECK: scf.forall
// CHECK: memref.store %{{.*}}, %arg0[%[[I]]#0, %{{.*}}]
func.func @main(%out: memref<8x12xf32>) {
  %x = arith.constant 1.0 : f32
  scf.forall (%i, %j) in (8, 3) {
    scf.forall (%t) in (4) {
      %c = affine.apply affine_map<(a, b) -> (4 * a + b)>(%j, %t)
      memref.store %x, %out[%i, %c] : memref<8x12xf32>
    } {mapping = [#gpu.thread<linear_dim_0>]}
  } {mapping = [#gpu.block<linear_dim_1>, #gpu.block<linear_dim_0>]}
  return
}
