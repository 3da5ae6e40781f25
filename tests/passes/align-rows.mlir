// RUN: sed 's/memref<128x256xf16>/memref<128x255xf16>/g; s/memref<256x128xf16>/memref<256x132xf16>/g' %S/Inputs/warpgroup.mlir > %t
// RUN: lower opt %t --pass-pipeline='builtin.module(align-rows{threads=32})' | filecheck %s
// RUN: lower opt %t --pass-pipeline='builtin.module(align-rows{bytes=16},promote-tma)' | filecheck %s --check-prefix=MAPS
// RUN: not lower opt %S/Inputs/warpgroup.mlir --pass-pipeline='builtin.module(align-rows)' 2>&1 | filecheck %s --check-prefix=EVEN
// RUN: not lower opt %t --pass-pipeline='builtin.module(promote-tma)' 2>&1 | filecheck %s --check-prefix=RAGGED
// RUN: not lower opt %t --pass-pipeline='builtin.module(align-rows{bytes=24})' 2>&1 | filecheck %s --check-prefix=BYTES

// A row of A becomes 256 elements, one of 32 threads; a row of B 192 of 64, where a thread beyond the row does nothing.
// CHECK: @main(%[[A:.*]]: memref<128x255xf16>, %[[B:.*]]: memref<256x132xf16>,
// CHECK: %[[WA:.*]] = memref.alloc() : memref<128x256xf16>
// CHECK: gpu.launch blocks(%[[R:.*]], %{{.*}}, %{{.*}}) in (%{{.*}} = %c128, {{.*}} threads(%[[T:.*]], %{{.*}}, %{{.*}}) in (%{{.*}} = %c32,
// CHECK: %[[COLUMN:.*]] = arith.muli %[[T]], %c8
// CHECK: %[[INSIDE:.*]] = arith.cmpi ult, %[[COLUMN]], %c256
// CHECK: scf.if %[[INSIDE]]
// CHECK: %[[V:.*]] = vector.transfer_read %[[A]][%[[R]], %[[COLUMN]]], %cst{{.*}} : memref<128x255xf16>, vector<8xf16>
// CHECK: vector.transfer_write %[[V]], %[[WA]][%[[R]], %[[COLUMN]]] {in_bounds = [true]} : vector<8xf16>, memref<128x256xf16>
// CHECK: %[[WB:.*]] = memref.alloc() : memref<256x192xf16>
// CHECK: gpu.launch
// CHECK: gpu.launch
// CHECK: vector.transfer_read %[[WA]][
// CHECK: vector.transfer_read %[[WB]][

// MAPS: %[[WA:.*]] = memref.alloc() : memref<128x256xf16>
// MAPS: %[[WB:.*]] = memref.alloc() : memref<256x136xf16>
// MAPS: memref.cast %[[WA]]
// MAPS: memref.cast %[[WB]]

// EVEN: every row of the operands has a multiple of 128 bytes
// RAGGED: a row of input a has 510 bytes, no multiple of 16
// BYTES: bytes is a multiple of 16, found 24
