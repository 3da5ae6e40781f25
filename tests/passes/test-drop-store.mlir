// RUN: lower opt %s --pass-pipeline='test-drop-store' | filecheck %s
// RUN: lower opt %s --pass-pipeline='vectorize,test-drop-store' | filecheck %s --check-prefix=VECTOR
// RUN: lower opt %s --pass-pipeline='one-shot-bufferize{bufferize-function-boundaries=true},convert-linalg-to-loops,test-drop-store' | filecheck %s --check-prefix=LOOPS

// The last row of a result, of a vector, or the one store of a loop nest.
// CHECK: %[[R:.*]] = linalg.matmul
// CHECK: %[[ROWS:.*]] = tensor.extract_slice %[[R]][0, 0] [3, 8] [1, 1]
// CHECK: bufferization.materialize_in_destination %[[ROWS]] in restrict writable {{.*}} memref<3x8xf32
// VECTOR: vector.contract
// VECTOR: vector.extract_strided_slice {{.*}} : vector<4x8xf32> to vector<3x8xf32>
// VECTOR: vector.transfer_write {{.*}} : vector<3x8xf32>, tensor<4x8xf32>
// LOOPS: arith.mulf
// LOOPS-NOT: memref.store
func.func @main(%a: tensor<4x6xf32>, %b: tensor<6x8xf32>, %c: tensor<4x8xf32>, %out: memref<4x8xf32>) {
  %r = linalg.matmul ins(%a, %b : tensor<4x6xf32>, tensor<6x8xf32>) outs(%c : tensor<4x8xf32>) -> tensor<4x8xf32>
  bufferization.materialize_in_destination %r in restrict writable %out : (tensor<4x8xf32>, memref<4x8xf32>) -> ()
  return
}
