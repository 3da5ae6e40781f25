// RUN: lower opt %s --pass-pipeline='builtin.module(fold-padding-writes)' | filecheck %s

// The padded buffer and the copy out of it are gone; what is cut off is dropped by the write itself.
// CHECK-LABEL: func.func @folded
// CHECK-NOT: memref.alloc
// CHECK: vector.transfer_write %arg1, %arg0[%arg2, %arg3] {in_bounds = [false, true]} : vector<4x4xf32>, memref<7x4xf32>
// CHECK-NOT: memref.copy
func.func @folded(%out: memref<7x4xf32>, %v: vector<4x4xf32>, %i: index, %j: index) {
  %p = memref.alloc() : memref<8x4xf32>
  vector.transfer_write %v, %p[%i, %j] {in_bounds = [true, true]} : vector<4x4xf32>, memref<8x4xf32>
  %s = memref.subview %p[0, 0] [7, 4] [1, 1] : memref<8x4xf32> to memref<7x4xf32, strided<[4, 1]>>
  memref.copy %s, %out : memref<7x4xf32, strided<[4, 1]>> to memref<7x4xf32>
  return
}

// A padded buffer that is read as well keeps its padding.
// CHECK-LABEL: func.func @read
// CHECK: memref.alloc
// CHECK: memref.copy
func.func @read(%out: memref<7x4xf32>, %v: vector<4x4xf32>, %i: index, %j: index) -> f32 {
  %p = memref.alloc() : memref<8x4xf32>
  vector.transfer_write %v, %p[%i, %j] {in_bounds = [true, true]} : vector<4x4xf32>, memref<8x4xf32>
  %x = memref.load %p[%j, %i] : memref<8x4xf32>
  %s = memref.subview %p[0, 0] [7, 4] [1, 1] : memref<8x4xf32> to memref<7x4xf32, strided<[4, 1]>>
  memref.copy %s, %out : memref<7x4xf32, strided<[4, 1]>> to memref<7x4xf32>
  return %x : f32
}
