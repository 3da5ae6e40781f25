// RUN: lower opt %s --pass-pipeline='test-swap-operands' | filecheck %s
// RUN: lower opt %s --pass-pipeline='tile{tile-sizes=4,8},test-swap-operands' | filecheck %s --check-prefix=SLICE

// A and B where they have one type; otherwise the offsets of what is read.
// CHECK: linalg.matmul ins(%arg1, %arg0 :
// SLICE: tensor.extract_slice %arg0[0, %arg3] [4, 8] [1, 1]
func.func @main(%a: tensor<8x8xf32>, %b: tensor<8x8xf32>, %c: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %r = linalg.matmul ins(%a, %b : tensor<8x8xf32>, tensor<8x8xf32>) outs(%c : tensor<8x8xf32>) -> tensor<8x8xf32>
  return %r : tensor<8x8xf32>
}
