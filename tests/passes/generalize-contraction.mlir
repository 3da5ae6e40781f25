// RUN: lower opt %s --pass-pipeline='generalize-contraction' | filecheck %s

// Only the contraction becomes a generic: the fill stays, and the casts of a mixed matmul appear in the body.
// CHECK-LABEL: func.func @main
// CHECK: linalg.fill
// CHECK: linalg.generic
// CHECK-SAME: iterator_types = ["parallel", "parallel", "reduction"]
// CHECK: arith.extf
// CHECK: arith.extf
// CHECK: arith.mulf
// CHECK: arith.addf
// CHECK-NOT: linalg.matmul
func.func @main(%a: tensor<8x4xf16>, %b: tensor<4x8xf16>, %e: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %z = arith.constant 0.0 : f32
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<8x8xf32>) -> tensor<8x8xf32>
  %r = linalg.matmul ins(%a, %b : tensor<8x4xf16>, tensor<4x8xf16>) outs(%f : tensor<8x8xf32>) -> tensor<8x8xf32>
  return %r : tensor<8x8xf32>
}
