// RUN: lower opt %S/Inputs/staged.mlir --pass-pipeline='builtin.module(promote{direct=true k=last widen=false})' | filecheck %s
// RUN: lower opt %S/Inputs/staged.mlir --pass-pipeline='builtin.module(promote{direct=true k=last widen=false},map-lanes,swizzle{rows=1,2,4})' | filecheck %s --check-prefix=SWIZZLE
// RUN: lower opt %S/Inputs/staged.mlir --pass-pipeline='builtin.module(promote{direct=true k=last widen=false},map-lanes,double-buffer,fill-ahead)' | filecheck %s --check-prefix=AHEAD
// RUN: lower opt %S/Inputs/staged.mlir --pass-pipeline='builtin.module(promote{direct=true k=last padding=8 widen=false})' | filecheck %s --check-prefix=PADDED
// RUN: not lower opt %S/Inputs/staged.mlir --pass-pipeline='builtin.module(promote{direct=true k=last widen=false},map-lanes,swizzle{rows=1,2,4},swizzle{rows=1,2})' 2>&1 | filecheck %s --check-prefix=TWICE
// RUN: lower opt %S/Inputs/mixed.mlir --pass-pipeline='builtin.module(promote{direct=true k=last widen=false},map-lanes,double-buffer,fill-ahead)' | filecheck %s --check-prefix=MIXED

// A dword a lane: 16 copies of 256 bytes for each tile of 32 x 64, between the barriers, and a wait for them.
// CHECK: scf.for
// CHECK-NOT: vector.store
// CHECK: gpu.barrier
// CHECK-COUNT-32: amdgpu.gather_to_lds {{.*}} : vector<2xf16>, memref<32x256xf16>, memref<32x64xf16, #gpu.address_space<workgroup>>
// CHECK: amdgpu.memory_counter_wait load(0)
// CHECK-NEXT: gpu.barrier

// Where they go stays; what each lane reads is what belongs there.
// SWIZZLE: arith.xori
// SWIZZLE: %[[MOVED:.*]] = arith.subi
// SWIZZLE: %[[COLUMN:.*]] = arith.addi %{{.*}}, %[[MOVED]]
// SWIZZLE: amdgpu.gather_to_lds %arg0[%{{.*}}, %[[COLUMN]]], %arg15

// The copies stand behind the step's last read, the wait behind the products that they run beside.
// AHEAD: scf.for
// AHEAD: vector.transfer_read {{.*}}#gpu.address_space<workgroup>
// AHEAD: amdgpu.gather_to_lds
// AHEAD-NOT: vector.transfer_read
// AHEAD: amdgpu.mfma
// AHEAD: amdgpu.memory_counter_wait load(0)
// AHEAD-NEXT: gpu.barrier

// Rows that are longer than the tile's cannot be filled in their order.
// PADDED-NOT: amdgpu.gather_to_lds
// TWICE: the buffer's direct copies are permuted already, and can be once

// B is stored with K first and goes through registers: loaded at the start of a step, stored behind the last read.
// MIXED: scf.for
// MIXED: vector.transfer_read %{{.*}} : memref<256x32xf16>
// MIXED: vector.transfer_read %{{.*}} : memref<64x64xf16, #gpu.address_space<workgroup>>
// MIXED: amdgpu.gather_to_lds
// MIXED: vector.store
// MIXED-NOT: #gpu.address_space<workgroup>>, vector<1x8xf16>
// MIXED: amdgpu.memory_counter_wait load(0)
// MIXED-NEXT: gpu.barrier
// MIXED-NEXT: scf.yield
