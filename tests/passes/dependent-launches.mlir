// RUN: lower opt %s --pass-pipeline='builtin.module(dependent-launches)' | filecheck %s
// RUN: not lower opt %s --pass-pipeline='builtin.module(dependent-launches,dependent-launches)' 2>&1 | filecheck %s --check-prefix=TWICE
// RUN: not lower opt %S/Inputs/warpgroup.mlir --pass-pipeline='builtin.module(dependent-launches)' 2>&1 | filecheck %s --check-prefix=ONE
// RUN: lower opt %s --pass-pipeline='builtin.module(dependent-launches,gpu-kernel-outlining,gpu.module(convert-gpu-to-nvvm{use-bare-ptr-memref-call-conv=true}),kernel-arguments)' | filecheck %s --check-prefix=PROMISES

// CHECK: gpu.launch
// CHECK-NEXT: nvvm.griddepcontrol launch_dependents
// CHECK-NEXT: memref.store
// CHECK: gpu.launch
// CHECK-NEXT: nvvm.griddepcontrol wait
// CHECK-NEXT: memref.load

// TWICE: the launches overlap already
// ONE: looked for two gpu.launch, one after the other, and found 1

// What the second reads is written while it runs already.
// PROMISES: llvm.func @main_kernel({{.*}}llvm.noalias
// PROMISES: llvm.func @main_kernel(
// PROMISES-NOT: llvm.noalias
func.func @main(%a: memref<128xf32>, %b: memref<128xf32>) {
  %c1 = arith.constant 1 : index
  %c128 = arith.constant 128 : index
  %x = arith.constant 1.0 : f32
  gpu.launch blocks(%g, %g1, %g2) in (%n0 = %c1, %n1 = %c1, %n2 = %c1) threads(%t, %t1, %t2) in (%m0 = %c128, %m1 = %c1, %m2 = %c1) {
    memref.store %x, %a[%t] : memref<128xf32>
    gpu.terminator
  }
  gpu.launch blocks(%g, %g1, %g2) in (%n0 = %c1, %n1 = %c1, %n2 = %c1) threads(%t, %t1, %t2) in (%m0 = %c128, %m1 = %c1, %m2 = %c1) {
    %v = memref.load %a[%t] : memref<128xf32>
    memref.store %v, %b[%t] : memref<128xf32>
    gpu.terminator
  }
  return
}
