// RUN: sed 's/%c64 = arith/%c128 = arith.constant 128 : index\n  &/; s/%m0 = %c64/%m0 = %c128/' %S/Inputs/staged.mlir | lower opt - --pass-pipeline='builtin.module(promote{k=last widen=false},map-lanes,double-buffer,fill-ahead,ping-pong)' | filecheck %s
// RUN: sed 's/%c64 = arith/%c128 = arith.constant 128 : index\n  &/; s/%m0 = %c64/%m0 = %c128/' %S/Inputs/staged.mlir | not lower opt - --pass-pipeline='builtin.module(promote{k=last widen=false},map-lanes,double-buffer,ping-pong)' 2>&1 | filecheck %s --check-prefix=EARLY
// RUN: sed 's/%c64 = arith/%c128 = arith.constant 128 : index\n  &/; s/%m0 = %c64/%m0 = %c128/' %S/Inputs/staged.mlir | not lower opt - --pass-pipeline='builtin.module(promote{k=last widen=false},double-buffer,fill-ahead,ping-pong)' 2>&1 | filecheck %s --check-prefix=NONE
// RUN: not lower opt %S/Inputs/staged.mlir --pass-pipeline='builtin.module(promote{k=last widen=false},map-lanes,double-buffer,fill-ahead,ping-pong)' 2>&1 | filecheck %s --check-prefix=ONE

// The second half of the waves is kept back by one barrier; all reads stand before the products, and a barrier between.
// CHECK: gpu.launch
// CHECK: %[[FIRST:.*]] = rocdl.readfirstlane
// CHECK: %[[LATE:.*]] = arith.cmpi uge, %[[FIRST]]
// CHECK: %[[SOON:.*]] = arith.cmpi ult, %[[FIRST]]
// CHECK: scf.if %[[LATE]] {
// CHECK-NEXT: gpu.barrier
// CHECK: scf.for
// CHECK: vector.store
// CHECK: vector.transfer_read {{.*}}#gpu.address_space<workgroup>
// CHECK: gpu.barrier
// CHECK-NEXT: amdgpu.mfma
// CHECK-NOT: vector.transfer_read
// CHECK: gpu.barrier
// CHECK-NEXT: scf.yield
// CHECK: scf.if %[[SOON]] {
// CHECK-NEXT: gpu.barrier

// EARLY: looked for one barrier, at the end of the loop; fill-ahead leaves one there
// NONE: looked for amdgpu.mfma in the loop and found none; map-lanes makes them
// ONE: the workgroup is no even number of whole waves in one dimension
