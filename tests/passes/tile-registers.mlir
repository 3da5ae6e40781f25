// RUN: lower opt %s --pass-pipeline='tile-registers{mr=6 nr=16}' | filecheck %s

// Columns outside, rows inside: a panel of B stays in L1 while the panels of A pass.
// CHECK-LABEL: func.func @main
// CHECK: scf.for %[[J:.*]] = %c0 to %c32 step %c16
// CHECK: scf.for %[[I:.*]] = %c0 to %c20 step %c6
// CHECK: tensor.extract_slice %{{.*}}[%[[I]], 0] [%{{.*}}, 4]
// CHECK: tensor.extract_slice %{{.*}}[%[[I]], %[[J]]] [%{{.*}}, 16]
// CHECK: linalg.matmul
// CHECK: lower.role = "ir"
// CHECK: lower.role = "jr"
func.func @main(%a: tensor<20x4xf32>, %b: tensor<4x32xf32>, %c: tensor<20x32xf32>) -> tensor<20x32xf32> {
  %r = linalg.matmul ins(%a, %b : tensor<20x4xf32>, tensor<4x32xf32>) outs(%c : tensor<20x32xf32>) -> tensor<20x32xf32>
  return %r : tensor<20x32xf32>
}
