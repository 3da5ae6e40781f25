// RUN: lower opt %s --pass-pipeline='builtin.module(lower-transfers)' | filecheck %s

// Rows may be out of bounds: a load from a clamped row, a select, and a store behind a branch.
// CHECK-LABEL: func.func @rows
// CHECK: %[[IN:.*]] = arith.cmpi ule
// CHECK: %[[ROW:.*]] = arith.minui
// CHECK: %[[V:.*]] = vector.load %arg0[%[[ROW]], %{{.*}}] : memref<7x64xf32>, vector<4xf32>
// CHECK: arith.select %[[IN]], %[[V]]
// CHECK: scf.if
// CHECK: vector.store
func.func @rows(%a: memref<7x64xf32>, %i: index, %t: index) {
  %zero = arith.constant 0.0 : f32
  %j = affine.apply affine_map<(t) -> (4 * t)>(%t)
  %v = vector.transfer_read %a[%i, %j], %zero {in_bounds = [false, true]} : memref<7x64xf32>, vector<1x4xf32>
  vector.transfer_write %v, %a[%i, %j] {in_bounds = [false, true]} : vector<1x4xf32>, memref<7x64xf32>
  return
}

// A row of 6 ends inside a vector of 4: pieces of 2 are inside or outside as a whole.
// CHECK-LABEL: func.func @columns
// CHECK-COUNT-2: vector.load {{.*}} vector<2xf32>
// CHECK-NOT: vector.load
func.func @columns(%a: memref<7x6xf32>, %i: index, %t: index) -> vector<4xf32> {
  %zero = arith.constant 0.0 : f32
  %j = affine.apply affine_map<(t) -> (4 * t)>(%t)
  %v = vector.transfer_read %a[%i, %j], %zero : memref<7x6xf32>, vector<4xf32>
  return %v : vector<4xf32>
}

// In bounds: a load a row, and no check.
// CHECK-LABEL: func.func @inside
// CHECK-NOT: arith.cmpi
// CHECK-COUNT-2: vector.load {{.*}} vector<4xf32>
func.func @inside(%a: memref<8x8xf32>, %i: index, %j: index) -> vector<2x4xf32> {
  %any = ub.poison : f32
  %v = vector.transfer_read %a[%i, %j], %any {in_bounds = [true, true]} : memref<8x8xf32>, vector<2x4xf32>
  return %v : vector<2x4xf32>
}
