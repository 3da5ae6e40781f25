// RUN: lower opt %S/Inputs/warpgroup.mlir --pass-pipeline='builtin.module(promote-tma,dynamic-workgroup)' | filecheck %s
// RUN: not lower opt %S/Inputs/warpgroup.mlir --pass-pipeline='builtin.module(dynamic-workgroup)' 2>&1 | filecheck %s --check-prefix=NONE
// RUN: not lower opt %S/Inputs/warpgroup.mlir --pass-pipeline='builtin.module(promote-tma,dynamic-workgroup{most=32767})' 2>&1 | filecheck %s --check-prefix=MOST

// Two buffers of 16 KiB, one behind the other.
// CHECK: %[[SIZE:.*]] = arith.constant 32768 : i32
// CHECK: gpu.launch {{.*}} dynamic_shared_memory_size %[[SIZE]]
// CHECK-NOT: workgroup(
// CHECK: %[[ALL:.*]] = gpu.dynamic_shared_memory : memref<?xi8, #gpu.address_space<workgroup>>
// CHECK-DAG: memref.view %[[ALL]][%c0][] : {{.*}} to memref<128x64xf16
// CHECK-DAG: memref.view %[[ALL]][%c16384][] : {{.*}} to memref<2x64x64xf16
// CHECK: scf.for

// NONE: looked for a gpu.launch with workgroup buffers; promote makes them

// MOST: 16384 + 16384 = 32768 bytes of workgroup memory (128x64xf16, 2x64x64xf16), of 32767
