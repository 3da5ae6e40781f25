// RUN: lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(promote-tma,warp-specialise{stages=3},wgmma,first-product,overlap-steps)' | filecheck %s
// RUN: lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(promote-tma,warp-specialise{stages=3},wgmma,overlap-steps)' | filecheck %s --check-prefix=WHOLE
// RUN: lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(cluster,promote-tma,warp-specialise{stages=3},wgmma,first-product,multicast,overlap-steps)' | filecheck %s --check-prefix=SHARED
// RUN: not lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(promote-tma,ring,wgmma,overlap-steps)' 2>&1 | filecheck %s --check-prefix=NONE
// RUN: not lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(promote-tma,warp-specialise{stages=1},wgmma,overlap-steps)' 2>&1 | filecheck %s --check-prefix=NONE
// RUN: not lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(promote-tma,warp-specialise,wgmma,overlap-steps,overlap-steps)' 2>&1 | filecheck %s --check-prefix=NONE

// The first step's place is freed in the second step, and the last one's behind the loop.
// CHECK-COUNT-4: nvvm.wgmma.mma_async
// CHECK-NOT: wait.group
// CHECK-NOT: mbarrier.arrive
// CHECK: %[[R:.*]]:2 = scf.for {{.*}} iter_args(%{{.*}} = %{{.*}}, %[[BEFORE:.*]] = %c0)
// CHECK: nvgpu.mbarrier.try_wait.parity %{{.*}}[%[[PLACE:.*]]], %{{.*}}, %c10000000
// CHECK-COUNT-4: nvvm.wgmma.mma_async
// CHECK: nvvm.wgmma.wait.group.sync.aligned 1
// CHECK-NEXT: scf.if
// CHECK-NEXT: nvgpu.mbarrier.arrive %[[EMPTY:.*]][%[[BEFORE]]]
// CHECK: scf.yield %{{.*}}, %[[PLACE]]
// CHECK: nvvm.wgmma.wait.group.sync.aligned 0
// CHECK-NEXT: scf.if
// CHECK-NEXT: nvgpu.mbarrier.arrive %[[EMPTY]][%[[R]]#1]

// A loop with all steps frees nothing in the first.
// WHOLE: scf.for %[[K:.*]] = %c0 to %c256
// WHOLE: nvvm.wgmma.wait.group.sync.aligned 1
// WHOLE-NEXT: %[[LATER:.*]] = arith.cmpi ne, %[[K]], %c0
// WHOLE-NEXT: scf.if %[[LATER]]
// WHOLE: nvgpu.mbarrier.arrive
// WHOLE: nvvm.wgmma.wait.group.sync.aligned 0

// Other workgroups are told a step later too.
// SHARED: iter_args(%{{.*}} = %{{.*}}, %[[BEFORE:.*]] = %c0)
// SHARED: nvgpu.mbarrier.get %{{.*}}[%[[BEFORE]]]
// SHARED: nvvm.mapa
// SHARED: nvgpu.mbarrier.arrive %{{.*}}[%[[BEFORE]]]

// NONE: looked for a loop that waits for the products of each step and then frees the place of its tiles; warp-specialise and wgmma make it
