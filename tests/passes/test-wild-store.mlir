// RUN: lower opt %s --pass-pipeline='test-wild-store' | filecheck %s

// CHECK: llvm.func @main() {
// CHECK-NEXT: llvm.return
// CHECK: llvm.func @kernel
// CHECK: %[[P:.*]] = llvm.inttoptr %{{.*}} : i64 to !llvm.ptr
// CHECK: llvm.store volatile %{{.*}}, %[[P]] : i64, !llvm.ptr
// CHECK: llvm.return
llvm.func @main() {
  llvm.return
}
gpu.module @kernels {
  llvm.func @kernel(%p: !llvm.ptr) attributes {gpu.kernel} {
    llvm.return
  }
}
