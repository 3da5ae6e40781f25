// RUN: lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(cluster,promote-tma,warp-specialise{stages=3},wgmma,multicast)' | filecheck %s
// RUN: lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(cluster{along=n},persist{workgroups=4},promote-tma,warp-specialise{stages=3},wgmma,first-product,multicast)' | filecheck %s --check-prefix=ALONG
// RUN: not lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(promote-tma,warp-specialise,wgmma,multicast)' 2>&1 | filecheck %s --check-prefix=NONE
// RUN: not lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(cluster,promote-tma,ring,wgmma,multicast)' 2>&1 | filecheck %s --check-prefix=RING
// RUN: not lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(cluster,promote-tma,warp-specialise,multicast)' 2>&1 | filecheck %s --check-prefix=RING
// RUN: not lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(cluster,promote-tma,warp-specialise,wgmma,multicast,multicast)' 2>&1 | filecheck %s --check-prefix=TWICE
// RUN: not lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(cluster{size=6},promote-tma,warp-specialise,wgmma,multicast)' 2>&1 | filecheck %s --check-prefix=PARTS
// RUN: sed 's/affine_map<(d0) -> (d0 \* 128)>(%%at#1)/affine_map<(d0, d1) -> (d0 * 128 + d1 * 0)>(%%at#1, %%g)/; s/%%b\[%%column, %%k\]/%%b[%%g, %%k]/' %S/Inputs/tiles.mlir > %t && not lower opt %t --pass-pipeline='builtin.module(cluster,promote-tma,warp-specialise,wgmma,multicast)' 2>&1 | filecheck %s --check-prefix=OTHERS

// A's rows are each workgroup's own; of B each asks for 64 rows of 128, for both. Consumers of both free a place: four
// arrivals, two of them from the other workgroup. The bytes that a workgroup waits for are the same as before.
// CHECK: nvgpu.tma.create.descriptor %{{.*}} box[%c128, %c64] {{.*}} memref<128x64xbf16, 3>
// CHECK: nvgpu.tma.create.descriptor %{{.*}} box[%c64, %c64] {{.*}} memref<64x64xbf16, 3>
// CHECK: nvgpu.mbarrier.init %[[EMPTY:.*]][%c2], %c4,
// CHECK: nvvm.fence.mbarrier.init
// CHECK-NEXT: nvvm.cluster.arrive {aligned}
// CHECK-NEXT: nvvm.cluster.wait {aligned}
// CHECK-NOT: gpu.barrier
// CHECK: %[[HERE:.*]] = nvgpu.mbarrier.get %[[EMPTY]][%[[PLACE:.*]]]
// CHECK: %[[NEAR:.*]] = llvm.inttoptr %[[HERE]]
// CHECK: %[[FAR:.*]] = nvvm.mapa %[[NEAR]], %{{.*}} : !llvm.ptr<3> -> !llvm.ptr<7>
// CHECK-NEXT: nvvm.mbarrier.arrive %[[FAR]] : !llvm.ptr<7>
// CHECK-NEXT: nvgpu.mbarrier.arrive %[[EMPTY]][%[[PLACE]]]
// CHECK: } else {
// CHECK: nvgpu.mbarrier.arrive.expect_tx %[[FULL:.*]][%{{.*}}], %c32768
// CHECK: nvgpu.tma.async.load
// CHECK-NOT: multicast_mask
// CHECK: %[[FIRST:.*]] = arith.muli %{{.*}}, %c64
// CHECK: %[[PART:.*]] = memref.subview %{{.*}}[%[[FIRST]], 0] [64, 64]
// CHECK: nvgpu.tma.async.load {{.*}} to %[[PART]] multicast_mask = %c3_i16
// CHECK: nvvm.cluster.arrive
// CHECK-NEXT: nvvm.cluster.wait
// CHECK-NEXT: gpu.terminator

// Side by side they share rows of A, from tile to tile; both arrivals of the step taken out of the loop tell it too.
// ALONG: scf.if
// ALONG-COUNT-2: nvvm.mapa
// ALONG: } else {
// ALONG: nvgpu.tma.async.load {{.*}} multicast_mask = %c3_i16
// ALONG: nvgpu.tma.async.load
// ALONG-NOT: multicast_mask
// ALONG: nvvm.cluster.wait

// NONE: looked for a launch with clusters and found none; cluster makes it
// RING: looked for products that free the places of their tiles one by one; warp-specialise and wgmma make them
// TWICE: the copies are shared already
// PARTS: 6 workgroups share boxes of 128 rows: parts are of whole groups of 8 rows
// OTHERS: the workgroups of a cluster ask for different tiles of both operands
