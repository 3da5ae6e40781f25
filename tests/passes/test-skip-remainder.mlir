// RUN: lower opt %s --pass-pipeline='test-skip-remainder' | filecheck %s
// RUN: lower opt %s --pass-pipeline='tile-reduction{tile-sizes=1},test-skip-remainder' | filecheck %s --check-prefix=LOOP
// RUN: not lower opt %s --pass-pipeline='test-skip-remainder,test-skip-remainder,test-skip-remainder' 2>&1 | filecheck %s --check-prefix=NONE

// 45 is 32 and a remainder; of 32 the last 16 go, and of 16 nothing.
// CHECK: tensor.extract_slice %arg0[0, 0] [4, 32] [1, 1]
// CHECK: tensor.extract_slice %arg1[0, 0] [32, 8] [1, 1]
// CHECK: linalg.matmul {{.*}} tensor<4x32xf32>, tensor<32x8xf32>
// LOOP: scf.for %{{.*}} = %c0 to %c32 step %c1
// NONE: looked for a K loop or a contraction of more than 16 steps and found none
func.func @main(%a: tensor<4x45xf32>, %b: tensor<45x8xf32>, %c: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %r = linalg.matmul ins(%a, %b : tensor<4x45xf32>, tensor<45x8xf32>) outs(%c : tensor<4x8xf32>) -> tensor<4x8xf32>
  return %r : tensor<4x8xf32>
}
