// RUN: sed 's/x256xf16/x1024xf16/g; s/constant 256/constant 1024/' %S/Inputs/staged.mlir | lower opt - --pass-pipeline='builtin.module(promote{k=last widen=false},map-lanes,stream-k{workgroups=3})' | filecheck %s
// RUN: sed 's/x256xf16/x1024xf16/g; s/constant 256/constant 1024/' %S/Inputs/staged.mlir | lower opt - --pass-pipeline='builtin.module(promote{k=last widen=false},map-lanes,stream-k{workgroups=3},prefetch)' | filecheck %s --check-prefix=PREFETCH
// RUN: sed 's/x256xf16/x1024xf16/g; s/constant 256/constant 1024/' %S/Inputs/staged.mlir | lower opt - --pass-pipeline='builtin.module(promote{k=last widen=false},map-lanes,stream-k{workgroups=99})' | filecheck %s --check-prefix=MANY
// RUN: sed 's/x256xf16/x1024xf16/g; s/constant 256/constant 1024/' %S/Inputs/staged.mlir | not lower opt - --pass-pipeline='builtin.module(promote{k=last widen=false},stream-k{workgroups=3})' 2>&1 | filecheck %s --check-prefix=WAVES
// RUN: sed 's/x256xf16/x1024xf16/g; s/constant 256/constant 1024/' %S/Inputs/staged.mlir | not lower opt - --pass-pipeline='builtin.module(promote{k=last widen=false},map-lanes,stream-k{workgroups=3},stream-k{workgroups=3})' 2>&1 | filecheck %s --check-prefix=TWICE

// Three workgroups share the sixteen steps of the one tile; parts of it go to a workspace, and two places are where it is cut.
// CHECK: %[[PARTS:.*]] = memref.alloc() : memref<3x2x4x64x4xf32>
// CHECK: gpu.launch blocks(%[[W:[a-z0-9]+]], {{.*}}) in (%{{.*}} = %c3,
// CHECK: arith.muli %[[W]], %c16
// CHECK: scf.for %{{.*}} = %{{.*}} to %{{.*}} step %c1 {
// CHECK-NEXT: gpu.barrier
// CHECK: scf.for %{{.*}} = %{{.*}} to %{{.*}} step %c64 iter_args
// CHECK: amdgpu.mfma
// CHECK: {lower.role = "k", lower.some_trips}
// CHECK: scf.if
// CHECK: vector.transfer_write %{{.*}}, %arg2
// CHECK: else
// CHECK: vector.store %{{.*}}, %[[PARTS]]
// CHECK: gpu.launch {{.*}} in (%{{.*}} = %c2,
// CHECK-NOT: amdgpu.mfma
// CHECK: vector.load %[[PARTS]]
// CHECK: arith.addf
// CHECK: vector.transfer_write %{{.*}}, %arg2

// What is left after prefetch may have no trip at all, and says so no more.
// PREFETCH: lower.role = "k"
// PREFETCH-NOT: lower.some_trips

// MANY: memref.alloc() : memref<5x2x4x64x4xf32>
// WAVES: the loop carries something else than the accumulators of lanes; map-lanes makes those
// TWICE: the loop marked k is inside of something else than the launch
