// RUN: lower opt %s --pass-pipeline='builtin.module(swizzle{rows=1,6})' | filecheck %s
// RUN: not lower opt %s --pass-pipeline='builtin.module(swizzle{buffer=1 rows=1})' 2>&1 | filecheck %s --check-prefix=WIDE
// RUN: not lower opt %s --pass-pipeline='builtin.module(swizzle{rows=1,2,4})' 2>&1 | filecheck %s --check-prefix=MANY
// RUN: not lower opt %s --pass-pipeline='builtin.module(swizzle{buffer=2 rows=1})' 2>&1 | filecheck %s --check-prefix=NONE

// Bit 0 of the chunk is xored with bit 0 of the row, bit 1 with the parity of its bits 1 and 2; writes and reads alike.
// CHECK-LABEL: func.func @main
// CHECK: gpu.launch {{.*}} threads(%[[T:.*]], %{{.*}}, %{{.*}}) in
// CHECK: %[[LOW:.*]] = arith.andi %[[T]], %c1
// CHECK: arith.xori %{{.*}}, %[[LOW]]
// CHECK: arith.andi %[[T]], %c2
// CHECK: arith.andi %[[T]], %c4
// CHECK: %[[COLUMN:.*]] = affine.apply
// CHECK: vector.store %{{.*}}, %{{.*}}[%[[T]], %[[COLUMN]]] : memref<64x32xf16
// CHECK: vector.load %{{.*}}[%[[T]], %[[COLUMN]]] : memref<64x32xf16

// WIDE: vector.load may reach over chunks of 16 bytes
// MANY: rows has 3 masks, and a row 4 chunks
// NONE: looked for one gpu.launch with a workgroup buffer 2 and found 0; promote makes buffers
func.func @main(%out: memref<64x8xf16>, %wide: memref<64x16xf16>) {
  %one = arith.constant dense<1.0> : vector<8xf16>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c64 = arith.constant 64 : index
  gpu.launch blocks(%g, %g1, %g2) in (%n0 = %c1, %n1 = %c1, %n2 = %c1) threads(%t, %t1, %t2) in (%m0 = %c64, %m1 = %c1, %m2 = %c1)
      workgroup(%w : memref<64x32xf16, #gpu.address_space<workgroup>>, %v : memref<64x32xf16, #gpu.address_space<workgroup>>) {
    %c = affine.apply affine_map<(t) -> ((t floordiv 16) * 8)>(%t)
    vector.store %one, %w[%t, %c] : memref<64x32xf16, #gpu.address_space<workgroup>>, vector<8xf16>
    gpu.barrier
    %x = vector.load %w[%t, %c] : memref<64x32xf16, #gpu.address_space<workgroup>>, vector<8xf16>
    vector.store %x, %out[%t, %c0] : memref<64x8xf16>, vector<8xf16>
    %y = vector.load %v[%t, %c0] : memref<64x32xf16, #gpu.address_space<workgroup>>, vector<16xf16>
    vector.store %y, %wide[%t, %c0] : memref<64x16xf16>, vector<16xf16>
    gpu.terminator
  }
  return
}
