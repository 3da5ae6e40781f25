// RUN: lower opt %S/Inputs/staged.mlir --pass-pipeline='builtin.module(promote{k=last widen=false},map-lanes,interleave-products)' | filecheck %s
// RUN: not lower opt %S/Inputs/staged.mlir --pass-pipeline='builtin.module(promote{k=last widen=false},map-lanes,fence-products,interleave-products)' 2>&1 | filecheck %s --check-prefix=BOTH

// Eight reads behind the last barrier, sixteen products: two before each read.
// CHECK: amdgpu.mfma
// CHECK: rocdl.sched.group.barrier mfma_wmma, 2, 0
// CHECK-NEXT: rocdl.sched.group.barrier ds_read, 1, 0
// CHECK-COUNT-7: rocdl.sched.group.barrier ds_read, 1, 0
// CHECK-NEXT: scf.yield

// BOTH: matrix instructions are fenced already: fence-products or this, not both
