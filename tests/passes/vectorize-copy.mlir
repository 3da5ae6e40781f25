// RUN: not lower opt %s --pass-pipeline='builtin.module(vectorize)' 2>&1 | filecheck %s --check-prefix=LARGE
// RUN: lower opt %s --pass-pipeline='builtin.module(vectorize{most=4096})' | filecheck %s

// A copy becomes a vector too: that of a whole buffer is a program that no compiler gets to the end of.
// LARGE: memref.copy on 64x64 is too large for vectors of 1024: tile it first
// CHECK: vector.transfer_read {{.*}} vector<64x64xf32>
func.func @main(%a: memref<64x64xf32>, %b: memref<64x64xf32>) {
  memref.copy %a, %b : memref<64x64xf32> to memref<64x64xf32>
  return
}
