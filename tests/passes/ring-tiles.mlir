// RUN: lower opt %s --pass-pipeline='builtin.module(persist{workgroups=16},promote-tma)' | filecheck %s
// RUN: lower opt %s --pass-pipeline='builtin.module(persist{workgroups=16},promote-tma,ring{stages=3})' | filecheck %s --check-prefix=RING
// RUN: lower opt %s --pass-pipeline='builtin.module(persist{workgroups=16},promote-tma,warp-specialise{stages=3},wgmma{blocks=1})' | filecheck %s --check-prefix=ROLES
// RUN: lower opt %s --pass-pipeline='builtin.module(promote-tma,warp-specialise,ring)' | filecheck %s --check-prefix=ONE

// K is one step deep: what a tile of C needs is copied in the loop over tiles, whose barrier is the only one in it.
// CHECK: gpu.launch blocks(%[[G:[a-z0-9]+]],
// CHECK: scf.for %[[TILE:[a-z0-9]+]] = %[[G]] to %c64 step %c16 {
// CHECK-NEXT: gpu.barrier
// CHECK-NOT: gpu.barrier
// CHECK: nvgpu.mbarrier.arrive.expect_tx
// CHECK: %[[ROW:[0-9]+]] = affine.apply #{{.*}}(%[[TILE]])
// CHECK: nvgpu.tma.async.load %{{.*}}[%c0, %[[ROW]]]
// CHECK: %[[FAR:[0-9]+]] = arith.subi %[[TILE]], %[[G]]
// CHECK: %[[STEP:[0-9]+]] = arith.divui %[[FAR]], %c16
// CHECK: arith.remui %[[STEP]], %c2
// CHECK: nvgpu.mbarrier.try_wait.parity
// CHECK: vector.contract
// CHECK: vector.transfer_write

// Two tiles are asked for before the loop, where there are so many, and in it the one after next.
// RING: gpu.launch blocks(%[[G:[a-z0-9]+]],
// RING: nvgpu.mbarrier.arrive.expect_tx
// RING: %[[NEXT:[0-9]+]] = affine.apply {{.*}}[%[[G]]]
// RING: %[[THERE:[0-9]+]] = arith.cmpi ult, %[[NEXT]], %c64
// RING: scf.if %[[THERE]]
// RING: nvgpu.mbarrier.arrive.expect_tx
// RING: scf.for %[[TILE:[a-z0-9]+]] = %[[G]] to %c64 step %c16 {
// RING-NEXT: gpu.barrier
// RING: %[[LATER:[0-9]+]] = arith.addi %[[TILE]], %c32
// RING: arith.cmpi ult, %[[LATER]], %c64
// RING: nvgpu.tma.async.load
// RING: nvgpu.mbarrier.try_wait.parity
// RING: vector.transfer_write

// Both roles go over the tiles.
// ROLES: scf.if
// ROLES: scf.for %{{.*}} = %[[G:[a-z0-9]+]] to %c64 step %c16 {
// ROLES-NOT: gpu.barrier
// ROLES: nvgpu.mbarrier.try_wait.parity
// ROLES-COUNT-4: nvvm.wgmma.mma_async
// ROLES: nvgpu.tma.async.store
// ROLES: nvgpu.mbarrier.arrive
// ROLES: nvvm.cp.async.bulk.wait_group 0
// ROLES: } else {
// ROLES: scf.for %[[T:[a-z0-9]+]] = %[[G]] to %c64 step %c16 {
// ROLES: nvgpu.mbarrier.try_wait.parity
// ROLES: affine.apply #{{.*}}(%[[T]])
// ROLES-COUNT-2: nvgpu.tma.async.load

// One step in all: nothing runs ahead of anything.
// ONE: threads({{.*}}) in (%{{.*}} = %c128,
// ONE: workgroup(%{{.*}} : memref<64x64xf16,
// ONE-NOT: scf.if
func.func @main(%a: memref<4096x64xf16>, %b: memref<64x64xf16>, %out: memref<4096x64xf16>) {
  %nothing = ub.poison : f16
  %zero = arith.constant dense<0.0> : vector<64x64xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c64 = arith.constant 64 : index
  %c128 = arith.constant 128 : index
  gpu.launch blocks(%g, %g1, %g2) in (%n0 = %c64, %n1 = %c1, %n2 = %c1) threads(%t, %t1, %t2) in (%m0 = %c128, %m1 = %c1, %m2 = %c1) {
    %row = affine.apply affine_map<()[s0] -> (s0 * 64)>()[%g]
    %x = vector.transfer_read %a[%row, %c0], %nothing {in_bounds = [true, true]} : memref<4096x64xf16>, vector<64x64xf16>
    %y = vector.transfer_read %b[%c0, %c0], %nothing {in_bounds = [true, true]} : memref<64x64xf16>, vector<64x64xf16>
    %xw = arith.extf %x : vector<64x64xf16> to vector<64x64xf32>
    %yw = arith.extf %y : vector<64x64xf16> to vector<64x64xf32>
    %d = vector.contract {indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (k, n)>, affine_map<(m, n, k) -> (m, n)>],
                          iterator_types = ["parallel", "parallel", "reduction"]} %xw, %yw, %zero
      : vector<64x64xf32>, vector<64x64xf32> into vector<64x64xf32>
    %h = arith.truncf %d : vector<64x64xf32> to vector<64x64xf16>
    vector.transfer_write %h, %out[%row, %c0] {in_bounds = [true, true]} : vector<64x64xf16>, memref<4096x64xf16>
    gpu.terminator
  }
  return
}
