// RUN: lower opt %s --pass-pipeline='builtin.module(tile{mapping=block tile-sizes=32,16},tile{mapping=thread tile-sizes=8,4})' | filecheck %s
// RUN: lower opt %s --pass-pipeline='builtin.module(tile{tile-sizes=32,0})' | filecheck %s --check-prefix=FOR

// The fill and the elementwise op come along, at both levels; the ids are linear, the last one fastest.
// CHECK-LABEL: func.func @main
// CHECK: scf.forall ({{.*}}) in (2, 4)
// CHECK: scf.forall ({{.*}}) in (4, 4)
// CHECK: linalg.fill {{.*}} -> tensor<8x4xf32>
// CHECK: linalg.matmul {{.*}} -> tensor<8x4xf32>
// CHECK: linalg.exp {{.*}} -> tensor<8x4xf32>
// CHECK: mapping = [#gpu.thread<linear_dim_1>, #gpu.thread<linear_dim_0>]
// CHECK: mapping = [#gpu.block<linear_dim_1>, #gpu.block<linear_dim_0>]
// CHECK-NOT: lower.tile

// Without a mapping: plain loops, and a size of 0 leaves a dimension whole.
// FOR: scf.for
// FOR-NOT: scf.for
// FOR: linalg.matmul {{.*}} -> tensor<32x64xf32>
// FOR: linalg.exp {{.*}} -> tensor<32x64xf32>
func.func @main(%a: tensor<64x32xf32>, %b: tensor<32x64xf32>) -> tensor<64x64xf32> {
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<64x64xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<64x64xf32>) -> tensor<64x64xf32>
  %r = linalg.matmul ins(%a, %b : tensor<64x32xf32>, tensor<32x64xf32>) outs(%f : tensor<64x64xf32>) -> tensor<64x64xf32>
  %x = linalg.exp ins(%r : tensor<64x64xf32>) outs(%e : tensor<64x64xf32>) -> tensor<64x64xf32>
  return %x : tensor<64x64xf32>
}
