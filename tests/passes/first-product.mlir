// RUN: lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(promote-tma,warp-specialise{stages=3},wgmma,first-product)' | filecheck %s
// RUN: sed 's/%%c0 to %%c256 step/%%c0 to %%c64 step/' %S/Inputs/tiles.mlir > %t && lower opt %t --pass-pipeline='builtin.module(promote-tma,wgmma,first-product)' | filecheck %s --check-prefix=ONE
// RUN: not lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(promote-tma,first-product)' 2>&1 | filecheck %s --check-prefix=NONE
// RUN: not lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(promote-tma,wgmma,first-product,first-product)' 2>&1 | filecheck %s --check-prefix=NONE

// The first step stands before the loop, with all that belongs to it; its first product overwrites.
// CHECK-NOT: llvm.mlir.zero
// CHECK: nvgpu.mbarrier.try_wait.parity %[[FULL:.*]][%c0], %false
// CHECK: nvvm.wgmma.mma_async {{.*}} D[<f32>, <zero>]
// CHECK-COUNT-2: nvvm.wgmma.mma_async {{.*}} D[<f32>, <one>]
// CHECK: %[[FIRST:.*]] = nvvm.wgmma.mma_async {{.*}} D[<f32>, <one>]
// CHECK: nvgpu.mbarrier.arrive %{{.*}}[%c0]
// CHECK: scf.for %{{.*}} = %c64 to %c256 step %c64 iter_args(%{{.*}} = %[[FIRST]])
// CHECK-NOT: <zero>
// CHECK: } else {
// CHECK: scf.for %{{.*}} = %c0 to %c256

// ONE-NOT: scf.for
// ONE: nvvm.wgmma.mma_async {{.*}} D[<f32>, <zero>]
// ONE-COUNT-3: nvvm.wgmma.mma_async {{.*}} D[<f32>, <one>]

// NONE: looked for wgmma that adds to zeros and found none; wgmma makes it
