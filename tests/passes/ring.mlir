// RUN: lower opt %S/Inputs/warpgroup.mlir --pass-pipeline='builtin.module(promote-tma,ring{stages=3})' | filecheck %s
// RUN: lower opt %S/Inputs/warpgroup.mlir --pass-pipeline='builtin.module(promote-tma,ring{stages=3},wgmma)' | filecheck %s --check-prefix=PRODUCTS
// RUN: not lower opt %S/Inputs/warpgroup.mlir --pass-pipeline='builtin.module(ring)' 2>&1 | filecheck %s --check-prefix=NONE
// RUN: not lower opt %S/Inputs/warpgroup.mlir --pass-pipeline='builtin.module(promote-tma,ring,ring)' 2>&1 | filecheck %s --check-prefix=TWICE
// RUN: not lower opt %S/Inputs/warpgroup.mlir --pass-pipeline='builtin.module(promote-tma,wgmma,ring)' 2>&1 | filecheck %s --check-prefix=LATE

// Three places and barriers; two steps are asked for before the loop, and in it the one after next, where there is one.
// CHECK: workgroup(%[[A:.*]] : memref<3x128x64xf16, #gpu.address_space<workgroup>>, %[[B:.*]] : memref<3x2x64x64xf16,
// CHECK: %[[FULL:.*]] = nvgpu.mbarrier.create -> <{{.*}}, num_barriers = 3>
// CHECK-COUNT-3: nvgpu.mbarrier.init %[[FULL]]
// CHECK-NOT: nvgpu.mbarrier.init
// CHECK-COUNT-6: nvgpu.tma.async.load
// CHECK-NOT: nvgpu.tma.async.load
// CHECK: scf.for %[[K:[a-z0-9]+]] = %c0 to %c256 step %c64
// CHECK-NEXT: gpu.barrier
// CHECK: %[[LATER:.*]] = arith.addi %[[K]], %c128
// CHECK: %[[THERE:.*]] = arith.cmpi ult, %[[LATER]], %c256
// CHECK: scf.if %[[THERE]]
// CHECK: nvgpu.mbarrier.arrive.expect_tx %[[FULL]][%[[NEXT:.*]]], %c32768, predicate = %[[ONE:[0-9]+]] :
// CHECK: nvgpu.tma.async.load %{{.*}}[%[[LATER]], %c0], %[[FULL]][%[[NEXT]]] to %{{.*}}, predicate = %[[ONE]] :
// CHECK: %[[I:.*]] = arith.divui %[[K]], %c64
// CHECK: %[[NOW:.*]] = arith.remui %[[I]], %c3
// CHECK: nvgpu.mbarrier.try_wait.parity %[[FULL]][%[[NOW]]]
// CHECK: vector.transfer_read %[[A]][%[[NOW]], %{{.*}}, %c0]
// CHECK: vector.transfer_read %[[B]][%[[NOW]], %c0, %c0, %c0]

// The descriptors move from place to place: 16384 bytes of A, and of B, in units of 16.
// PRODUCTS: scf.for
// PRODUCTS: nvgpu.mbarrier.try_wait.parity %{{.*}}[%[[NOW:.*]]], %{{.*}}, %c10000000
// PRODUCTS: %[[PLACE:.*]] = arith.muli %[[NOW]], %c1024
// PRODUCTS: nvvm.wgmma.fence.aligned
// PRODUCTS-COUNT-4: nvvm.wgmma.mma_async

// NONE: no tensor copy fills a tile in the loop; promote-tma asks for them
// TWICE: the copies run ahead already
// LATE: a tile is used by something other than tensor copies and reads of vectors: ring comes before wgmma
