// RUN: lower opt %S/Inputs/warpgroup.mlir --pass-pipeline='builtin.module(promote-tma,warp-specialise{stages=3})' | filecheck %s
// RUN: lower opt %S/Inputs/warpgroup.mlir --pass-pipeline='builtin.module(promote-tma,warp-specialise{stages=3},wgmma)' | filecheck %s --check-prefix=PRODUCTS
// RUN: not lower opt %S/Inputs/warpgroup.mlir --pass-pipeline='builtin.module(warp-specialise)' 2>&1 | filecheck %s --check-prefix=NONE
// RUN: not lower opt %S/Inputs/warpgroup.mlir --pass-pipeline='builtin.module(promote-tma,ring,warp-specialise)' 2>&1 | filecheck %s --check-prefix=RING
// RUN: not lower opt %S/Inputs/warpgroup.mlir --pass-pipeline='builtin.module(promote-tma,warp-specialise{most=256})' 2>&1 | filecheck %s --check-prefix=MOST
// RUN: sed 's/(%%n0 = %%c1,/(%%n0 = %%c64,/; s/affine_map<(d0) -> (d0 \* 64)>(%%w#0)/affine_map<(d0, d1) -> (d0 * 64 + d1 * 0)>(%%w#0, %%g)/; s/%%b\[%%k, %%c0\]/%%b[%%k, %%g]/' %S/Inputs/warpgroup.mlir > %t && lower opt %t --pass-pipeline='builtin.module(persist{workgroups=16},promote-tma,warp-specialise{stages=3},wgmma{blocks=2})' | filecheck %s --check-prefix=TILES
// RUN: not lower opt %t --pass-pipeline='builtin.module(promote-tma,persist{workgroups=16})' 2>&1 | filecheck %s --check-prefix=LATE

// A third warpgroup; each consumer tells that it has used a place, and nothing in the loops holds all threads.
// CHECK: gpu.launch {{.*}} threads(%[[T:[a-z0-9]+]], {{.*}}) in (%{{.*}} = %c384
// CHECK-DAG: nvgpu.mbarrier.init %[[EMPTY:.*]][%c2], %c256
// CHECK-DAG: nvgpu.mbarrier.init %[[FULL:.*]][%c2], %c1,
// CHECK: gpu.barrier
// CHECK-NOT: gpu.barrier
// CHECK: %[[CONSUMES:.*]] = arith.cmpi ult, %[[T]], %c256
// CHECK: scf.if %[[CONSUMES]]
// CHECK: scf.for
// CHECK: %[[ODD:[0-9]+]] = arith.cmpi eq, %{{[0-9]+}}, %c1
// CHECK-NEXT: nvgpu.mbarrier.try_wait.parity %[[FULL]][%[[NOW:.*]]], %[[ODD]], %c10000000
// CHECK: vector.contract
// CHECK-NEXT: nvgpu.mbarrier.arrive %[[EMPTY]][%[[NOW]]]
// CHECK: vector.transfer_write
// CHECK: } else {
// CHECK: %[[ASKS:.*]] = arith.cmpi eq, %[[T]], %c256
// CHECK: scf.if %[[ASKS]]
// CHECK: scf.for %[[K:[a-z0-9]+]] =
// CHECK: %[[EVEN:[0-9]+]] = arith.cmpi ne, %{{[0-9]+}}, %c1
// CHECK-NEXT: nvgpu.mbarrier.try_wait.parity %[[EMPTY]][%[[PLACE:.*]]], %[[EVEN]], %c10000000
// CHECK: nvgpu.mbarrier.arrive.expect_tx %[[FULL]][%[[PLACE]]], %c32768
// CHECK-COUNT-3: nvgpu.tma.async.load

// Products of a warpgroup are waited for together, so that one thread of each is enough: two arrivals.
// PRODUCTS: nvgpu.mbarrier.init %{{.*}}[%c2], %c2,
// PRODUCTS: nvvm.wgmma.wait.group.sync.aligned 0
// PRODUCTS: scf.if
// PRODUCTS-NEXT: nvgpu.mbarrier.arrive

// NONE: no tensor copy fills a tile in the loop; promote-tma asks for them
// RING: the copies run ahead already
// MOST: 256 threads and a warpgroup more, of 256

// Both roles go over the tiles; steps are counted on from tile to tile, 4 of each, and the copies of results are waited
// for behind the last.
// TILES: gpu.launch blocks(%[[G:[a-z0-9]+]],
// TILES: scf.if
// TILES-NEXT: scf.for %[[TILE:[a-z0-9]+]] = %[[G]] to %c64 step %c16 {
// TILES-NOT: gpu.barrier
// TILES: scf.for %[[K:[a-z0-9]+]] = %c0 to %c256 step %c64
// TILES: %[[MADE:.*]] = arith.subi %[[TILE]], %[[G]]
// TILES: %[[TURNS:.*]] = arith.divui %[[MADE]], %c16
// TILES: %[[STEPS:.*]] = arith.muli %[[TURNS]], %c4
// TILES: arith.addi %[[STEPS]]
// TILES: nvgpu.mbarrier.try_wait.parity
// TILES: nvgpu.tma.async.store
// TILES: nvvm.cp.async.bulk.wait_group 0
// TILES: } else {
// TILES: scf.for %[[T:[a-z0-9]+]] = %[[G]] to %c64 step %c16 {
// TILES: scf.for
// TILES: nvgpu.mbarrier.try_wait.parity
// TILES-COUNT-3: nvgpu.tma.async.load
// LATE: the phases of the launch's barriers count the steps of one tile: persist before promote-tma
