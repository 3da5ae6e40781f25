// RUN: lower opt %S/Inputs/warpgroup_f8.mlir --pass-pipeline='builtin.module(promote-tma,wgmma,sum-apart)' | filecheck %s
// RUN: lower opt %S/Inputs/warpgroup_f8.mlir --pass-pipeline='builtin.module(promote-tma,warp-specialise,wgmma,sum-apart)' | filecheck %s
// RUN: lower opt %S/Inputs/warpgroup_f8.mlir --pass-pipeline='builtin.module(promote-tma,wgmma,sum-apart,first-product)' | filecheck %s --check-prefix=OVER
// RUN: not lower opt %S/Inputs/warpgroup_f8.mlir --pass-pipeline='builtin.module(promote-tma,sum-apart)' 2>&1 | filecheck %s --check-prefix=EARLY
// RUN: not lower opt %S/Inputs/warpgroup_f8.mlir --pass-pipeline='builtin.module(promote-tma,wgmma,sum-apart,sum-apart)' 2>&1 | filecheck %s --check-prefix=TWICE
// RUN: not lower opt %S/Inputs/warpgroup_i8.mlir --pass-pipeline='builtin.module(promote-tma,wgmma,sum-apart)' 2>&1 | filecheck %s --check-prefix=EXACT

// The first product of a step adds to nothing, and what the step has made is added to the sums when it is there.
// CHECK: %[[ZERO:.*]] = llvm.mlir.zero : !llvm.struct
// CHECK: scf.for {{.*}} iter_args(%[[SUM:.*]] = %[[ZERO]]) -> (!llvm.struct<
// CHECK: %[[D:.*]] = nvvm.wgmma.mma_async %{{.*}}, %{{.*}}, %[[ZERO]], {{.*}}, D[<f32>, <one>], A[<e4m3>
// CHECK: nvvm.wgmma.mma_async %{{.*}}, %{{.*}}, %[[D]], <{{.*}}>, D[<f32>, <one>]
// CHECK: nvvm.wgmma.mma_async
// CHECK: %[[LAST:.*]] = nvvm.wgmma.mma_async
// CHECK-NEXT: nvvm.wgmma.commit.group.sync.aligned
// CHECK-NEXT: nvvm.wgmma.wait.group.sync.aligned 0
// CHECK: %[[A:.*]] = llvm.extractvalue %[[SUM]][0]
// CHECK: %[[B:.*]] = llvm.extractvalue %[[LAST]][0]
// CHECK: %[[C:.*]] = arith.addf %[[A]], %[[B]]
// CHECK: llvm.insertvalue %[[C]], %[[SUM]][0]
// CHECK-COUNT-63: arith.addf
// CHECK: %[[ALL:.*]] = llvm.insertvalue %{{.*}}[63]
// CHECK: scf.yield %[[ALL]]

// EARLY: looked for a loop of wgmma, marked k; wgmma makes it
// TWICE: its products are added up apart already
// EXACT: sums of integers are exact: there is nothing to gain

// OVER: nvvm.wgmma.mma_async {{.*}}, D[<f32>, <zero>], A[<e4m3>
// OVER-COUNT-3: nvvm.wgmma.mma_async {{.*}}, D[<f32>, <one>]
// OVER-NOT: nvvm.wgmma.mma_async
