// RUN: lower opt %s --pass-pipeline='scalar-a' | filecheck %s

// Elements only: loads. A read that is also used whole stays.
// CHECK-LABEL: func.func @elements
// CHECK-NOT: vector.transfer_read
// CHECK: memref.load
// CHECK: memref.load
func.func @elements(%a: memref<1x6xf32>) -> (f32, f32) {
  %c0 = arith.constant 0 : index
  %z = arith.constant 0.0 : f32
  %v = vector.transfer_read %a[%c0, %c0], %z {in_bounds = [true, true]} : memref<1x6xf32>, vector<1x6xf32>
  %x = vector.extract %v[0, 0] : f32 from vector<1x6xf32>
  %y = vector.extract %v[0, 5] : f32 from vector<1x6xf32>
  return %x, %y : f32, f32
}

// CHECK-LABEL: func.func @whole
// CHECK: vector.transfer_read
func.func @whole(%a: memref<1x6xf32>) -> (f32, vector<1x6xf32>) {
  %c0 = arith.constant 0 : index
  %z = arith.constant 0.0 : f32
  %v = vector.transfer_read %a[%c0, %c0], %z {in_bounds = [true, true]} : memref<1x6xf32>, vector<1x6xf32>
  %x = vector.extract %v[0, 0] : f32 from vector<1x6xf32>
  return %x, %v : f32, vector<1x6xf32>
}
