// RUN: lower opt %s --pass-pipeline='transform{script=%S/Inputs/tile.transform.mlir}' | filecheck %s
// RUN: lower opt %s --pass-pipeline='transform{script=%S/Inputs/sequence.transform.mlir}' | filecheck %s

// A transform script as a pass, a whole module or a named sequence alone: three loops around a smaller matmul.
// CHECK-LABEL: func.func @matmul
// CHECK-COUNT-3: scf.for
// CHECK: linalg.matmul
// CHECK-SAME: memref<4x2xf32
func.func @matmul(%a: memref<8x6xf32>, %b: memref<6x16xf32>, %c: memref<8x16xf32>) {
  linalg.matmul ins(%a, %b : memref<8x6xf32>, memref<6x16xf32>) outs(%c : memref<8x16xf32>)
  return
}
