// RUN: lower opt %s --pass-pipeline='test-drop-barrier' | filecheck %s

// Only the first barrier goes.
// CHECK: gpu.launch
// CHECK-NOT: gpu.barrier
// CHECK: gpu.printf
// CHECK: gpu.barrier
// CHECK-NOT: gpu.barrier
func.func @main() {
  %c1 = arith.constant 1 : index
  gpu.launch blocks(%bx, %by, %bz) in (%gx = %c1, %gy = %c1, %gz = %c1)
             threads(%tx, %ty, %tz) in (%sx = %c1, %sy = %c1, %sz = %c1) {
    gpu.barrier
    gpu.printf "between"
    gpu.barrier
    gpu.terminator
  }
  return
}
