// RUN: lower opt %S/Inputs/staged.mlir --pass-pipeline='builtin.module(promote{k=last widen=false},double-buffer,fill-ahead)' | filecheck %s
// RUN: lower opt %S/Inputs/staged.mlir --pass-pipeline='builtin.module(promote{k=last widen=false},double-buffer,fill-ahead,prefetch)' | filecheck %s --check-prefix=THREE
// RUN: not lower opt %S/Inputs/staged.mlir --pass-pipeline='builtin.module(promote{k=last widen=false},fill-ahead)' 2>&1 | filecheck %s --check-prefix=SINGLE
// RUN: not lower opt %S/Inputs/staged.mlir --pass-pipeline='builtin.module(fill-ahead)' 2>&1 | filecheck %s --check-prefix=NONE
// RUN: not lower opt %S/Inputs/staged.mlir --pass-pipeline='builtin.module(promote{k=last widen=false},double-buffer,prefetch,fill-ahead)' 2>&1 | filecheck %s --check-prefix=LATE
// RUN: not lower opt %S/Inputs/branch.mlir --pass-pipeline='builtin.module(fill-ahead)' 2>&1 | filecheck %s --check-prefix=BRANCH

// The first copies before the loop; in it those of the next step, and the barrier behind the use; the last use after it.
// CHECK: gpu.launch
// CHECK: vector.store
// CHECK: gpu.barrier
// CHECK: scf.for %[[K:[a-z0-9]+]] = %c0 to %c192 step %c64
// CHECK: arith.addi %[[K]], %c64
// CHECK: vector.store
// CHECK-NOT: gpu.barrier
// CHECK: vector.contract
// CHECK-NEXT: gpu.barrier
// CHECK-NEXT: scf.yield
// CHECK-NOT: vector.store
// CHECK: vector.contract

// With prefetch behind it the loop loads two steps ahead, between the stores and the use.
// THREE: scf.for %[[K:[a-z0-9]+]] = %c0 to %c128 step %c64
// THREE: vector.store
// THREE: vector.transfer_read %arg0
// THREE: vector.contract
// THREE-NEXT: gpu.barrier

// SINGLE: looked for one barrier in the loop and found 2; double-buffer leaves one
// NONE: looked for one barrier in the loop and found 0
// LATE: the copies are of what another step has loaded: fill-ahead before prefetch
// BRANCH: a copy to workgroup memory is in a branch or a loop of its own
