// RUN: lower opt %S/Inputs/wave.mlir --pass-pipeline='builtin.module(map-lanes{run=2})' | filecheck %s
// RUN: lower opt %S/Inputs/wave.mlir --pass-pipeline='builtin.module(map-lanes{first=a})' | filecheck %s --check-prefix=A
// RUN: not lower opt %S/Inputs/wave.mlir --pass-pipeline='builtin.module(map-lanes{run=4})' 2>&1 | filecheck %s --check-prefix=WIDE
// RUN: lower opt %S/Inputs/wave.mlir --pass-pipeline='builtin.module(map-lanes{size=32})' | filecheck %s --check-prefix=BIG

// Four 16x16 results; a lane reads 8 elements along K at once, which feed two instructions. The rows of B are taken in an
// order that gives a lane eight neighbouring columns of C: its bias and its store are that wide.
// CHECK-LABEL: func.func @main
// CHECK: %[[R:.*]]:4 = scf.for {{.*}} -> (vector<4xf32>, vector<4xf32>, vector<4xf32>, vector<4xf32>)
// CHECK-COUNT-4: vector.transfer_read {{.*}} : memref<32x64xf16>, vector<1x8xf16>
// CHECK-COUNT-8: amdgpu.mfma 16x16x16
// CHECK-NOT: amdgpu.mfma
// CHECK: } {lower.role = "k"}
// CHECK: vector.shuffle %[[R]]#0, %[[R]]#2 [0, 1, 2, 3, 4, 5, 6, 7]
// CHECK: vector.transfer_read {{.*}} : memref<32xf32>, vector<8xf32>
// CHECK: arith.addf {{.*}} : vector<1x8xf32>
// CHECK: vector.transfer_write {{.*}} : vector<1x8xf16>, memref<32x32xf16>
// CHECK-COUNT-1: vector.transfer_write
// CHECK-NOT: vector.transfer_write

// With A first a lane has four neighbouring rows of one column.
// A-COUNT-4: vector.transfer_write {{.*}} : vector<4x1xf16>, memref<32x32xf16>

// WIDE: 32 rows of the first operand are no multiple of 64

// BIG: amdgpu.mfma 32x32x8
