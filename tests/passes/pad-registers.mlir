// RUN: lower opt %s --pass-pipeline='tile-registers{mr=6 nr=16},pad-registers{mr=6 nr=16}' | filecheck %s
// RUN: not lower opt %s --pass-pipeline='pad-registers{mr=6 nr=16}' 2>&1 | filecheck %s --check-prefix=LARGE

// A tile of 20 rows of which the last is short: rows are padded, and the result is cut back. K never is.
// CHECK-LABEL: func.func @main
// CHECK: tensor.pad
// CHECK: : tensor<?x4xf32> to tensor<6x4xf32>
// CHECK: tensor.pad
// CHECK: : tensor<?x16xf32> to tensor<6x16xf32>
// CHECK: linalg.matmul {{.*}} outs({{.*}} : tensor<6x16xf32>)
// CHECK: tensor.extract_slice %{{.*}}[0, 0] [%{{.*}}, 16] [1, 1] : tensor<6x16xf32> to tensor<?x16xf32>

// LARGE: a tile of size 20 cannot be padded to 6: run tile-registers with the same mr and nr before
func.func @main(%a: tensor<20x4xf32>, %b: tensor<4x32xf32>, %c: tensor<20x32xf32>) -> tensor<20x32xf32> {
  %r = linalg.matmul ins(%a, %b : tensor<20x4xf32>, tensor<4x32xf32>) outs(%c : tensor<20x32xf32>) -> tensor<20x32xf32>
  return %r : tensor<20x32xf32>
}
