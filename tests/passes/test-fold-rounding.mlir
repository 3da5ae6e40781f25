// RUN: lower opt %s --pass-pipeline='test-fold-rounding' | filecheck %s
// RUN: lower opt %s --pass-pipeline='convert-vector-to-llvm,test-fold-rounding' | filecheck %s --check-prefix=LLVM
// RUN: lower opt %s --pass-pipeline='test-narrow-accumulator,test-fold-rounding' | filecheck %s --check-prefix=CAST

// The bits of an f32 that bf16 has not are cleared: of a sum, or of what is narrowed where something is.
// CHECK: %[[R:.*]] = vector.fma
// CHECK: %[[BITS:.*]] = arith.bitcast %[[R]] : vector<8xf32> to vector<8xi32>
// CHECK: %[[MASK:.*]] = arith.constant dense<-65536> : vector<8xi32>
// CHECK: %[[KEPT:.*]] = arith.andi %[[BITS]], %[[MASK]]
// CHECK: %[[CUT:.*]] = arith.bitcast %[[KEPT]] : vector<8xi32> to vector<8xf32>
// CHECK: return %[[CUT]]
// LLVM: llvm.intr.fmuladd
// LLVM: llvm.bitcast
// LLVM: llvm.and
// CAST: %[[CUT:.*]] = arith.bitcast {{.*}} vector<8xi32> to vector<8xf32>
// CAST: arith.truncf %[[CUT]] : vector<8xf32> to vector<8xbf16>
func.func @main(%a: vector<8xf32>, %b: vector<8xf32>, %c: vector<8xf32>) -> vector<8xf32> {
  %r = vector.fma %a, %b, %c : vector<8xf32>
  return %r : vector<8xf32>
}
