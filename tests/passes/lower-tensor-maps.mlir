// RUN: lower opt %S/Inputs/warpgroup.mlir --pass-pipeline='builtin.module(promote-tma,gpu-kernel-outlining,lower-tensor-maps)' | filecheck %s
// RUN: not lower opt %S/Inputs/warpgroup.mlir --pass-pipeline='builtin.module(gpu-kernel-outlining,lower-tensor-maps)' 2>&1 | filecheck %s --check-prefix=NONE

// CHECK: %[[M:.*]] = nvgpu.tma.create.descriptor
// CHECK: %[[P:.*]] = builtin.unrealized_conversion_cast %[[M]] : !nvgpu.tensormap.descriptor<{{.*}}> to !llvm.ptr
// CHECK: gpu.launch_func {{.*}} args({{.*}}%[[P]] : !llvm.ptr
// CHECK: gpu.func @main_kernel({{.*}}!llvm.ptr
// CHECK-NOT: !nvgpu.tensormap{{.*}} kernel
// CHECK: builtin.unrealized_conversion_cast %{{.*}} : !llvm.ptr to !nvgpu.tensormap.descriptor

// NONE: looked for a gpu.func that takes a tensor map and found none; gpu-kernel-outlining makes it
