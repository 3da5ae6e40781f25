// RUN: lower opt %S/Inputs/staged.mlir --pass-pipeline='builtin.module(promote{k=last widen=false},map-lanes,split-k{parts=2})' | filecheck %s
// RUN: lower opt %S/Inputs/staged.mlir --pass-pipeline='builtin.module(promote{k=last widen=false},map-lanes,split-k{parts=9})' | filecheck %s --check-prefix=MANY
// RUN: not lower opt %S/Inputs/staged.mlir --pass-pipeline='builtin.module(split-k{parts=2})' 2>&1 | filecheck %s --check-prefix=WAVES
// RUN: not lower opt %S/Inputs/staged.mlir --pass-pipeline='builtin.module(promote{k=last widen=false},map-lanes,split-k{parts=2},split-k{parts=2})' 2>&1 | filecheck %s --check-prefix=TWICE
// RUN: not lower opt %S/Inputs/staged.mlir --pass-pipeline='builtin.module(promote{k=last widen=false},map-lanes,double-buffer,fill-ahead,split-k{parts=2})' 2>&1 | filecheck %s --check-prefix=LATE

// Two workgroups with half of the four steps each, and one that adds up what their lanes stored.
// CHECK: %[[PARTS:.*]] = memref.alloc() : memref<2x4x64x4xf32>
// CHECK: gpu.launch blocks(%[[W:[a-z0-9]+]], {{.*}}) in (%{{.*}} = %c2,
// CHECK: scf.for %{{.*}} = %{{.*}} to %{{.*}} step %c64 iter_args
// CHECK: amdgpu.mfma
// CHECK: {lower.role = "k", lower.some_trips}
// CHECK-NOT: vector.transfer_write %{{.*}}, %arg2
// CHECK: vector.store %{{.*}}, %[[PARTS]]
// CHECK: gpu.launch {{.*}} in (%{{.*}} = %c1,
// CHECK-NOT: amdgpu.mfma
// CHECK: scf.for %{{.*}} = %c0 to %c2 step %c1
// CHECK: vector.load %[[PARTS]]
// CHECK: arith.addf
// CHECK: vector.transfer_write %{{.*}}, %arg2

// No more parts than steps.
// MANY: memref.alloc() : memref<4x4x64x4xf32>
// WAVES: the loop carries something else than the accumulators of lanes; map-lanes makes those
// TWICE: the loop's steps are shared out already
// LATE: a step's copies stand before the loop: its steps are shared out before fill-ahead takes one out
