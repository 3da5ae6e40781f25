// RUN: lower opt %s --pass-pipeline='test-narrow-accumulator' | filecheck %s
// RUN: lower opt %s --pass-pipeline='vectorize,test-narrow-accumulator' | filecheck %s --check-prefix=VECTOR

// CHECK: %[[R:.*]] = linalg.matmul
// CHECK: linalg.generic {{.*}} ins(%[[R]] :
// CHECK: arith.truncf {{.*}} f32 to bf16
// CHECK: arith.extf {{.*}} bf16 to f32
// VECTOR: %[[N:.*]] = arith.truncf {{.*}} vector<4x8xf32> to vector<4x8xbf16>
// VECTOR: %[[W:.*]] = arith.extf %[[N]]
// VECTOR: vector.contract {{.*}}, %[[W]] :
func.func @main(%a: tensor<4x6xf32>, %b: tensor<6x8xf32>, %c: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %r = linalg.matmul ins(%a, %b : tensor<4x6xf32>, tensor<6x8xf32>) outs(%c : tensor<4x8xf32>) -> tensor<4x8xf32>
  return %r : tensor<4x8xf32>
}
