// RUN: lower opt %s --pass-pipeline='tile-registers{mr=6 nr=16},peel' | filecheck %s

// 20 rows are three full tiles and one of two rows; 32 columns divide, so that loop stays whole.
// CHECK-LABEL: func.func @main
// CHECK: scf.for %{{.*}} = %c0 to %c32 step %c16
// CHECK: scf.for %{{.*}} = %c0 to %c18 step %c6
// CHECK: linalg.matmul {{.*}} outs({{.*}} : tensor<6x16xf32>)
// CHECK: linalg.matmul {{.*}} outs({{.*}} : tensor<2x16xf32>)
// CHECK-NOT: linalg.matmul
// CHECK-NOT: lower.peel
func.func @main(%a: tensor<20x4xf32>, %b: tensor<4x32xf32>, %c: tensor<20x32xf32>) -> tensor<20x32xf32> {
  %r = linalg.matmul ins(%a, %b : tensor<20x4xf32>, tensor<4x32xf32>) outs(%c : tensor<20x32xf32>) -> tensor<20x32xf32>
  return %r : tensor<20x32xf32>
}
