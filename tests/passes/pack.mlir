// RUN: lower opt %s --pass-pipeline='generalize-contraction,tile-registers{mr=6 nr=16},pad-registers{mr=6 nr=16},pack{operand=a}' | filecheck %s
// RUN: lower opt %s --pass-pipeline='generalize-contraction,tile-registers{mr=6 nr=16},pad-registers{mr=6 nr=16},pack{operand=b widen=false}' | filecheck %s --check-prefix=NARROW
// RUN: not lower opt %s --pass-pipeline='pack{operand=a}' 2>&1 | filecheck %s --check-prefix=NAMED

// Panels of 6 rows, k-major, widened once, zero beyond the edge; the kernel reads panel i / 6 and does not pad A.
// CHECK-LABEL: func.func @main
// CHECK: tensor.empty() : tensor<4x8x6xf32>
// CHECK: scf.for %{{.*}} = %c0 to %c20 step %c6
// CHECK: linalg.generic
// CHECK: arith.extf
// CHECK: linalg.fill
// CHECK: lower.role = "pack-a"
// CHECK: affine.apply
// CHECK: tensor.extract_slice %{{.*}} : tensor<4x8x6xf32> to tensor<8x6xf32>
// CHECK: linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<8x6xf32>, tensor<8x16xf16>)

// NARROW: tensor.empty() : tensor<2x8x16xf16>
// NARROW: lower.role = "pack-b"
// NARROW: tensor<2x8x16xf16> to tensor<8x16xf16>

// NAMED: expected a linalg.generic: run generalize-contraction before
func.func @main(%a: tensor<20x8xf16>, %b: tensor<8x32xf16>, %c: tensor<20x32xf32>) -> tensor<20x32xf32> {
  %r = linalg.matmul ins(%a, %b : tensor<20x8xf16>, tensor<8x32xf16>) outs(%c : tensor<20x32xf32>) -> tensor<20x32xf32>
  return %r : tensor<20x32xf32>
}
