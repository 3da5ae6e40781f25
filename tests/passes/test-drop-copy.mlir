// RUN: lower opt %S/Inputs/warpgroup.mlir --pass-pipeline='builtin.module(promote-tma,test-drop-copy)' | filecheck %s
// RUN: not lower opt %S/Inputs/warpgroup.mlir --pass-pipeline='test-drop-copy' 2>&1 | filecheck %s --check-prefix=NONE

// One copy goes; the barrier still waits for the bytes of all.
// CHECK: nvgpu.mbarrier.arrive.expect_tx
// CHECK-COUNT-2: nvgpu.tma.async.load
// CHECK-NOT: nvgpu.tma.async.load

// NONE: looked for a tensor copy and found none
