// RUN: lower opt %S/Inputs/staged.mlir --pass-pipeline='builtin.module(promote{k=last widen=false},map-lanes)' | filecheck %s --check-prefix=BEFORE
// RUN: lower opt %S/Inputs/staged.mlir --pass-pipeline='builtin.module(promote{k=last widen=false},map-lanes,pipeline-fragments)' | filecheck %s

// BEFORE-COUNT-4: vector.transfer_read {{.*}} #gpu.address_space<workgroup>>, vector<1x8xf16>
// BEFORE: amdgpu.mfma
// BEFORE: vector.transfer_read {{.*}} #gpu.address_space<workgroup>>, vector<1x8xf16>
// BEFORE: amdgpu.mfma

// All eight reads come before the first product, and none before the barrier.
// CHECK: vector.store
// CHECK: gpu.barrier
// CHECK-COUNT-8: vector.transfer_read {{.*}} #gpu.address_space<workgroup>>, vector<1x8xf16>
// CHECK: amdgpu.mfma
// CHECK-NOT: transfer_read
// CHECK: scf.yield
