// RUN: lower opt %s --pass-pipeline='builtin.module(persist{workgroups=3})' | filecheck %s
// RUN: lower opt %s --pass-pipeline='builtin.module(persist{workgroups=10})' | filecheck %s --check-prefix=FEW
// RUN: not lower opt %s --pass-pipeline='builtin.module(persist{workgroups=0})' 2>&1 | filecheck %s --check-prefix=ZERO

// Three workgroups, and a loop over ten tiles with a barrier, since the launch has workgroup memory.
// CHECK: gpu.launch blocks(%[[BLOCK:[a-z0-9]+]], {{.*}}) in (%{{.*}} = %c3,
// CHECK-NEXT: scf.for %[[TILE:[a-z0-9]+]] = %[[BLOCK]] to %c10 step %c3 {
// CHECK-NEXT: gpu.barrier
// CHECK: memref.store %{{.*}}, %arg0[%[[TILE]]]
// CHECK: gpu.terminator

// FEW: gpu.launch {{.*}} in (%{{.*}} = %c10,
// FEW-NOT: scf.for

// ZERO: workgroups is at least 1, found 0
func.func @main(%arg0: memref<10xf32>) {
  %c1 = arith.constant 1 : index
  %c10 = arith.constant 10 : index
  %c64 = arith.constant 64 : index
  gpu.launch blocks(%bx, %by, %bz) in (%gx = %c10, %gy = %c1, %gz = %c1) threads(%tx, %ty, %tz) in (%sx = %c64, %sy = %c1, %sz = %c1) workgroup(%w : memref<64xf32, #gpu.address_space<workgroup>>) {
    %v = memref.load %w[%tx] : memref<64xf32, #gpu.address_space<workgroup>>
    memref.store %v, %arg0[%bx] : memref<10xf32>
    gpu.terminator
  }
  return
}
