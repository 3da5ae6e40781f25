// RUN: lower opt %S/Inputs/warpgroup.mlir --pass-pipeline='builtin.module(promote-tma)' | filecheck %s
// RUN: not lower opt %S/Inputs/warpgroup.mlir --pass-pipeline='builtin.module(promote-tma,promote-tma)' 2>&1 | filecheck %s --check-prefix=TWICE
// RUN: sed 's/128x256xf16/128x258xf16/' %S/Inputs/warpgroup.mlir > %t && not lower opt %t --pass-pipeline='builtin.module(promote-tma)' 2>&1 | filecheck %s --check-prefix=PITCH

// Maps in the host function, a barrier that counts bytes, copies by one thread. B's rows have two boxes of 64 columns.
// CHECK: nvgpu.tma.create.descriptor {{.*}} <tensor = memref<128x64xf16, 3>, swizzle = none
// CHECK: nvgpu.tma.create.descriptor {{.*}} <tensor = memref<64x64xf16, 3>, swizzle = none
// CHECK: gpu.launch {{.*}} threads(%[[T:[a-z0-9]+]],
// CHECK-SAME: workgroup(%[[A:.*]] : memref<128x64xf16, #gpu.address_space<workgroup>>, %[[B:.*]] : memref<2x64x64xf16, #gpu.address_space<workgroup>>)
// CHECK: %[[ONE:.*]] = arith.cmpi eq, %[[T]], %c0
// CHECK: nvgpu.mbarrier.create
// CHECK: nvgpu.mbarrier.init {{.*}} %c1, predicate = %[[ONE]]
// CHECK: gpu.barrier
// CHECK: scf.for %[[K:[a-z0-9]+]] = %c0 to %c256 step %c64
// CHECK-NEXT: gpu.barrier
// CHECK: nvgpu.mbarrier.arrive.expect_tx {{.*}} %c32768, predicate = %[[ONE]]
// CHECK: nvgpu.tma.async.load %{{.*}}[%[[K]], %c0], {{.*}} to %[[A]], predicate = %[[ONE]]
// CHECK: nvgpu.tma.async.load %{{.*}}[%c0, %[[K]]]
// CHECK: nvgpu.tma.async.load %{{.*}}[%c64, %[[K]]]
// CHECK: nvgpu.mbarrier.try_wait.parity
// CHECK: vector.transfer_read %[[A]][%{{.*}}, %c0]
// CHECK: %[[Y:.*]] = vector.transfer_read %[[B]][%c0, %c0, %c0]{{.*}} vector<2x64x64xf16>
// CHECK: %[[Z:.*]] = vector.transpose %[[Y]], [1, 0, 2]
// CHECK: vector.shape_cast %[[Z]] : vector<64x2x64xf16> to vector<64x128xf16>

// TWICE: looked for a vector.transfer_read of a buffer behind input a
// PITCH: a row of input a has 516 bytes, no multiple of 16
