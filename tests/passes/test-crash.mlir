// RUN: not lower opt %s --pass-pipeline='builtin.module(cse,test-crash)' 2>&1 | filecheck %s

// CHECK: MLIR crashed (SIGSEGV)
func.func @main() {
  return
}
