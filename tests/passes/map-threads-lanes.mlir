// RUN: lower opt %s --pass-pipeline='builtin.module(map-blocks,map-threads{lanes=2,4})' | filecheck %s
// RUN: not lower opt %s --pass-pipeline='builtin.module(map-blocks,map-threads{lanes=8,8})' 2>&1 | filecheck %s --check-prefix=SMALL
// RUN: not lower opt %s --pass-pipeline='builtin.module(map-blocks,map-threads{lanes=3,4})' 2>&1 | filecheck %s --check-prefix=ODD

// Eight neighbours are two rows of four: bits 0 and 2 of a thread are of its column, bit 1 of its row.
// CHECK-DAG: #[[ROW:.*]] = affine_map<()[s0, s1] -> (s0 * 2 + s1)>
// CHECK-DAG: #[[COLUMN:.*]] = affine_map<()[s0, s1] -> (s0 + s1 * 2)>
// CHECK-LABEL: func.func @main
// CHECK: gpu.launch {{.*}} threads(%[[T:.*]], %{{.*}}, %{{.*}}) in
// CHECK: %[[I:.*]]:5 = affine.delinearize_index %[[T]] into (3, 8, 2, 2, 2)
// CHECK-DAG: %[[R:.*]] = affine.apply #[[ROW]]()[%[[I]]#1, %[[I]]#3]
// CHECK-DAG: %[[C:.*]] = affine.apply #[[COLUMN]]()[%[[I]]#4, %[[I]]#2]
// CHECK: memref.store %{{.*}}, %arg0[%[[I]]#0, %[[R]], %[[C]]]

// SMALL: 3x16x4 threads are no patches of 8x8
// ODD: lanes is two powers of two, found 3,4
func.func @main(%out: memref<3x16x4xf32>) {
  %x = arith.constant 1.0 : f32
  scf.forall (%b, %i, %j) in (3, 16, 4) {
    memref.store %x, %out[%b, %i, %j] : memref<3x16x4xf32>
  } {mapping = [#gpu.thread<linear_dim_2>, #gpu.thread<linear_dim_1>, #gpu.thread<linear_dim_0>]}
  return
}
