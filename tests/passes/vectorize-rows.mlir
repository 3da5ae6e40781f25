// RUN: lower opt %s --pass-pipeline='vectorize-rows' | filecheck %s

// A row is a vector, widened where the copy widens.
// CHECK-LABEL: func.func @copy
// CHECK: scf.for
// CHECK: vector.transfer_read {{.*}} vector<1x16xf32>
// CHECK: vector.transfer_write
// CHECK-NOT: memref.copy
func.func @copy(%b: memref<?x16xf32, strided<[77, 1], offset: ?>>, %p: memref<?x16xf32>) {
  memref.copy %b, %p : memref<?x16xf32, strided<[77, 1], offset: ?>> to memref<?x16xf32>
  return
}

// CHECK-LABEL: func.func @widen
// CHECK: arith.extf {{.*}} vector<1x16xf16> to vector<1x16xf32>
// CHECK-NOT: linalg.generic
func.func @widen(%b: memref<?x16xf16>, %p: memref<?x16xf32>) {
  linalg.generic {indexing_maps = [affine_map<(k, l) -> (k, l)>, affine_map<(k, l) -> (k, l)>],
                  iterator_types = ["parallel", "parallel"]}
      ins(%b : memref<?x16xf16>) outs(%p : memref<?x16xf32>) {
  ^bb0(%x: f16, %o: f32):
    %w = arith.extf %x : f16 to f32
    linalg.yield %w : f32
  }
  return
}

// Columns, rows of unknown or great length, and rows with gaps stay.
// CHECK-LABEL: func.func @others
// CHECK: linalg.generic
// CHECK-COUNT-3: memref.copy
func.func @others(%a: memref<6x?xf32>, %p: memref<?x6xf32>, %q: memref<8x?xf32>, %r: memref<8x?xf32>,
                  %s: memref<8x256xf32>, %t: memref<8x256xf32>, %u: memref<8x4xf32, strided<[8, 2]>>,
                  %v: memref<8x4xf32>) {
  linalg.generic {indexing_maps = [affine_map<(k, l) -> (l, k)>, affine_map<(k, l) -> (k, l)>],
                  iterator_types = ["parallel", "parallel"]} ins(%a : memref<6x?xf32>) outs(%p : memref<?x6xf32>) {
  ^bb0(%x: f32, %o: f32):
    linalg.yield %x : f32
  }
  memref.copy %q, %r : memref<8x?xf32> to memref<8x?xf32>
  memref.copy %s, %t : memref<8x256xf32> to memref<8x256xf32>
  memref.copy %u, %v : memref<8x4xf32, strided<[8, 2]>> to memref<8x4xf32>
  return
}
