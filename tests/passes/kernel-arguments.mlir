// RUN: lower opt %s --pass-pipeline='builtin.module(kernel-arguments)' | filecheck %s

// Pointers only, and kernels only.
// CHECK: llvm.func @kernel(%arg0: !llvm.ptr {llvm.align = 16 : i64, llvm.noalias, llvm.nonnull, llvm.noundef}, %arg1: i64)
// CHECK: llvm.func @helper(%arg0: !llvm.ptr)
gpu.module @kernels {
  llvm.func @kernel(%a: !llvm.ptr, %n: i64) attributes {gpu.kernel, nvvm.kernel} {
    llvm.return
  }
  llvm.func @helper(%a: !llvm.ptr) {
    llvm.return
  }
}
