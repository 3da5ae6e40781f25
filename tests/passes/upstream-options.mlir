// RUN: lower opt %s --pass-pipeline='one-shot-bufferize{bufferize-function-boundaries=true function-boundary-type-conversion=identity-layout-map}' | filecheck %s

// An upstream pass with options: the arguments become memrefs without a layout.
// CHECK-LABEL: func.func @fill
// CHECK-SAME: memref<4x4xf32>
// CHECK-NOT: strided
// CHECK: linalg.fill
func.func @fill(%t: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %zero = arith.constant 0.0 : f32
  %r = linalg.fill ins(%zero : f32) outs(%t : tensor<4x4xf32>) -> tensor<4x4xf32>
  return %r : tensor<4x4xf32>
}
