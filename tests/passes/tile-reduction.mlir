// RUN: lower opt %s --pass-pipeline='builtin.module(tile-reduction{tile-sizes=16},tile-reduction{role=unroll tile-sizes=4})' | filecheck %s

// Two loops over K, told apart by their roles.
// CHECK-LABEL: func.func @main
// CHECK: scf.for {{.*}} to %c64 step %c16
// CHECK: scf.for {{.*}} to %c16 step %c4
// CHECK: linalg.matmul ins({{.*}} : tensor<8x4xf32>, tensor<4x4xf32>)
// CHECK: } {lower.role = "unroll"}
// CHECK: } {lower.role = "k"}
func.func @main(%a: tensor<8x64xf32>, %b: tensor<64x4xf32>, %c: tensor<8x4xf32>) -> tensor<8x4xf32> {
  %r = linalg.matmul ins(%a, %b : tensor<8x64xf32>, tensor<64x4xf32>) outs(%c : tensor<8x4xf32>) -> tensor<8x4xf32>
  return %r : tensor<8x4xf32>
}
