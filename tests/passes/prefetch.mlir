// RUN: lower opt %S/Inputs/staged.mlir --pass-pipeline='builtin.module(promote{k=last widen=false},map-lanes,prefetch)' | filecheck %s
// RUN: not lower opt %S/Inputs/staged.mlir --pass-pipeline='builtin.module(prefetch)' 2>&1 | filecheck %s --check-prefix=NONE

// The first tile is loaded before the loop, the next one behind the barrier; the last step only uses what was loaded.
// CHECK-DAG: %[[LAST:.*]] = arith.constant 192 : index
// CHECK: vector.transfer_read {{.*}} : memref<32x256xf16>, vector<1x8xf16>
// CHECK: scf.for {{.*}} to %[[LAST]] step
// CHECK-NOT: memref<32x256xf16>
// CHECK: gpu.barrier
// CHECK: vector.store
// CHECK: gpu.barrier
// CHECK: vector.transfer_read {{.*}} : memref<32x256xf16>, vector<1x8xf16>
// CHECK: amdgpu.mfma
// CHECK: scf.yield
// CHECK: gpu.barrier
// CHECK-NOT: memref<32x256xf16>
// CHECK: amdgpu.mfma
// CHECK: gpu.terminator

// NONE: the loop copies nothing to workgroup memory; promote does
