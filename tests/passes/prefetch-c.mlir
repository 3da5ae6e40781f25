// RUN: lower opt %s --pass-pipeline='prefetch-c' | filecheck %s

// One hint a row of the tile below, before the read.
// CHECK-LABEL: func.func @main
// CHECK-COUNT-2: memref.prefetch {{.*}} : memref<2x8xf32, strided<[32, 1], offset: ?>>
// CHECK-NOT: memref.prefetch
// CHECK: vector.transfer_read
func.func @main(%c: memref<64x32xf32>) {
  %c0 = arith.constant 0 : index
  %c2 = arith.constant 2 : index
  %c64 = arith.constant 64 : index
  %z = arith.constant 0.0 : f32
  scf.for %i = %c0 to %c64 step %c2 {
    %t = memref.subview %c[%i, 0] [2, 8] [1, 1] : memref<64x32xf32> to memref<2x8xf32, strided<[32, 1], offset: ?>>
    %v = vector.transfer_read %t[%c0, %c0], %z {in_bounds = [true, true]}
      : memref<2x8xf32, strided<[32, 1], offset: ?>>, vector<2x8xf32>
    vector.transfer_write %v, %t[%c0, %c0] {in_bounds = [true, true]}
      : vector<2x8xf32>, memref<2x8xf32, strided<[32, 1], offset: ?>>
  } {lower.role = "ir"}
  return
}
