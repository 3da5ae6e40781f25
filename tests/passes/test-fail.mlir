// RUN: not lower opt %s --pass-pipeline='builtin.module(cse,test-fail)' 2>&1 | filecheck %s

// CHECK: 'test-fail' failed: test-fail fails on every state
func.func @main() {
  return
}
