// RUN: lower opt %s --pass-pipeline='tile-cache{mc=48 nc=64 kc=32}' | filecheck %s

// Batches outside, then columns, depth and rows; the loops have their roles; a size that is not smaller makes no loop.
// CHECK-LABEL: func.func @main
// CHECK: scf.for
// CHECK: scf.for
// CHECK: scf.for
// CHECK-NOT: scf.for
// CHECK: linalg.batch_matmul
// CHECK: lower.role = "ic"
// CHECK: lower.role = "pc"
// CHECK-NOT: lower.role = "jc"
// CHECK: lower.role = "batch"
func.func @main(%a: tensor<2x100x40xf32>, %b: tensor<2x40x64xf32>, %c: tensor<2x100x64xf32>) -> tensor<2x100x64xf32> {
  %r = linalg.batch_matmul ins(%a, %b : tensor<2x100x40xf32>, tensor<2x40x64xf32>)
                           outs(%c : tensor<2x100x64xf32>) -> tensor<2x100x64xf32>
  return %r : tensor<2x100x64xf32>
}
