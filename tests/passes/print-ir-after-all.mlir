// RUN: lower opt %s --pass-pipeline='cse,symbol-dce' --mlir-print-ir-after-all -o %t 2>&1 | filecheck %s

// Every state is shown on stderr, as mlir-opt does; -o takes the result.
// CHECK: // -----// IR Dump After cse //----- //
// CHECK: func.func private @unused
// CHECK: // -----// IR Dump After symbol-dce //----- //
// CHECK-NOT: @unused
// CHECK: func.func @main
func.func private @unused() {
  return
}
func.func @main() {
  return
}
