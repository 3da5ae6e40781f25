// RUN: lower opt %s --pass-pipeline='builtin.module(resident{workgroups=3})' | filecheck %s
// RUN: not lower opt %s --pass-pipeline='builtin.module(resident,resident)' 2>&1 | filecheck %s --check-prefix=TWICE

// Kernels only.
// CHECK: llvm.func @kernel({{.*}}) attributes {{{.*}}nvvm.minctasm = 3 : i32{{.*}}}
// CHECK: llvm.func @helper(
// CHECK-NOT: nvvm.minctasm
// TWICE: the kernel has nvvm.minctasm already
gpu.module @kernels {
  llvm.func @kernel(%a: !llvm.ptr, %n: i64) attributes {gpu.kernel, nvvm.kernel} {
    llvm.return
  }
  llvm.func @helper(%a: !llvm.ptr) {
    llvm.return
  }
}
