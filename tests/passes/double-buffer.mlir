// RUN: lower opt %S/Inputs/staged.mlir --pass-pipeline='builtin.module(promote{k=last widen=false},double-buffer)' | filecheck %s
// RUN: not lower opt %S/Inputs/staged.mlir --pass-pipeline='builtin.module(promote{k=last widen=false},map-lanes,prefetch,double-buffer)' 2>&1 | filecheck %s --check-prefix=LATE
// RUN: not lower opt %S/Inputs/staged.mlir --pass-pipeline='builtin.module(double-buffer)' 2>&1 | filecheck %s --check-prefix=NONE

// Twice the rows; one barrier, behind the copies; writes and reads are moved by 32 rows in every second step of 64.
// CHECK: gpu.launch {{.*}} workgroup(%{{.*}} : memref<64x64xf16, #gpu.address_space<workgroup>>, %{{.*}} : memref<64x64xf16, #gpu.address_space<workgroup>>)
// CHECK: scf.for %[[K:[a-z0-9]+]] =
// CHECK: %[[COUNT:.*]] = arith.divui %[[K]], %c64
// CHECK: %[[TURN:.*]] = arith.remui %[[COUNT]], %c2
// CHECK: arith.muli %[[TURN]], %c32
// CHECK-NOT: gpu.barrier
// CHECK: vector.store
// CHECK: gpu.barrier
// CHECK-NOT: gpu.barrier
// CHECK: vector.contract

// LATE: uses a tile outside of the loop: double-buffer before prefetch
// NONE: the loop uses no workgroup memory; promote makes tiles
