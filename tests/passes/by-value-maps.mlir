// RUN: lower opt %s --pass-pipeline='builtin.module(kernel-arguments,by-value-maps)' | filecheck %s
// RUN: lower opt %s --pass-pipeline='builtin.module(by-value-maps,by-value-maps)' | filecheck %s --check-prefix=ALONE

// The first pointer is used by copies alone; the second by a load, and the third by nothing.
// CHECK: llvm.func @k(%[[M:.*]]: !llvm.ptr {llvm.align = 64 : i64, llvm.byval = !llvm.array<16 x i64>, nvvm.grid_constant}, %{{.*}}: !llvm.ptr {llvm.align = 16 : i64, llvm.noalias, {{.*}}}, %{{.*}}: !llvm.ptr {llvm.align = 16
// ALONE: llvm.func @k(%[[M:.*]]: !llvm.ptr {llvm.align = 64 : i64, llvm.byval = !llvm.array<16 x i64>, nvvm.grid_constant}, %{{[a-z0-9]*}}: !llvm.ptr, %{{[a-z0-9]*}}: !llvm.ptr)
gpu.module @kernels {
  llvm.func @k(%m: !llvm.ptr, %x: !llvm.ptr, %y: !llvm.ptr) attributes {gpu.kernel, nvvm.kernel} {
    %at = llvm.mlir.constant(0 : i32) : i32
    %tile = llvm.mlir.zero : !llvm.ptr<3>
    %v = llvm.load %x : !llvm.ptr -> f32
    nvvm.prefetch tensormap, %m : !llvm.ptr
    nvvm.cp.async.bulk.tensor.global.shared.cta %m, %tile, box[%at, %at] : !llvm.ptr, !llvm.ptr<3>
    llvm.return
  }
}
