// RUN: lower opt %s --pass-pipeline='builtin.module(func.func(convert-linalg-to-loops),canonicalize,cse)' | filecheck %s

// An upstream pipeline by its own text, with an anchor.
// CHECK-LABEL: func.func @matmul
// CHECK-NOT: linalg.matmul
// CHECK-COUNT-3: scf.for
// CHECK: arith.mulf
// CHECK: arith.addf
func.func @matmul(%a: memref<7x3xf32>, %b: memref<3x5xf32>, %c: memref<7x5xf32>) {
  linalg.matmul ins(%a, %b : memref<7x3xf32>, memref<3x5xf32>) outs(%c : memref<7x5xf32>)
  return
}
