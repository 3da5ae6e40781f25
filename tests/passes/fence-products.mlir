// RUN: lower opt %S/Inputs/wave.mlir --pass-pipeline='builtin.module(map-lanes{run=2},fence-products)' | filecheck %s
// RUN: lower opt %S/Inputs/wave.mlir --pass-pipeline='builtin.module(map-lanes{run=2},fence-products{priority=0})' | filecheck %s --check-prefix=PLAIN
// RUN: not lower opt %S/Inputs/wave.mlir --pass-pipeline='builtin.module(fence-products)' 2>&1 | filecheck %s --check-prefix=NONE

// CHECK: vector.transfer_read
// CHECK: amdgpu.sched_barrier
// CHECK-NEXT: rocdl.s.setprio 1
// CHECK-NOT: transfer_read
// CHECK-COUNT-8: amdgpu.mfma
// CHECK-NEXT: rocdl.s.setprio 0
// CHECK: scf.yield

// PLAIN: amdgpu.sched_barrier
// PLAIN-NOT: setprio

// NONE: looked for amdgpu.mfma and found none; map-lanes makes them
