// RUN: lower opt %s --pass-pipeline='builtin.module(tile-reduction{tile-sizes=4},vectorize)' | filecheck %s
// RUN: not lower opt %s --pass-pipeline='builtin.module(vectorize{most=64})' 2>&1 | filecheck %s --check-prefix=LARGE

// The accumulator is a vector that the K loop carries; narrow elements are widened as vectors.
// CHECK-LABEL: func.func @main
// CHECK: scf.for {{.*}} iter_args(%{{.*}} = %{{.*}}) -> (vector<8x4xf32>)
// CHECK: vector.transfer_read {{.*}} vector<8x4xf16>
// CHECK: arith.extf
// CHECK: vector.contract
// CHECK: scf.yield %{{.*}} : vector<8x4xf32>
// CHECK-NOT: linalg.

// LARGE: linalg.matmul on 8x64 is too large for vectors of 64: tile it first
func.func @main(%a: tensor<8x64xf16>, %b: tensor<64x4xf16>, %c: tensor<8x4xf32>) -> tensor<8x4xf32> {
  %r = linalg.matmul ins(%a, %b : tensor<8x64xf16>, tensor<64x4xf16>) outs(%c : tensor<8x4xf32>) -> tensor<8x4xf32>
  return %r : tensor<8x4xf32>
}
