// RUN: lower opt %s --pass-pipeline='builtin.module(start-from-zero)' | filecheck %s

// CHECK-LABEL: func.func @main
// CHECK: %[[C:.*]] = bufferization.to_tensor %arg2
// CHECK: %[[FILL:.*]] = linalg.fill
// CHECK: %[[SUM:.*]] = linalg.matmul {{.*}} outs(%[[FILL]] : tensor<7x5xf32>)
// CHECK: %[[ALL:.*]] = linalg.generic {{.*}} ins(%[[SUM]], %[[C]] : tensor<7x5xf32>, tensor<7x5xf32>)
// CHECK: arith.addf
// CHECK: bufferization.materialize_in_destination %[[ALL]]
func.func @main(%a: memref<7x3xf32>, %b: memref<3x5xf32>, %c: memref<7x5xf32>, %out: memref<7x5xf32>) {
  %A = bufferization.to_tensor %a restrict : memref<7x3xf32> to tensor<7x3xf32>
  %B = bufferization.to_tensor %b restrict : memref<3x5xf32> to tensor<3x5xf32>
  %C = bufferization.to_tensor %c restrict : memref<7x5xf32> to tensor<7x5xf32>
  %r = linalg.matmul ins(%A, %B : tensor<7x3xf32>, tensor<3x5xf32>) outs(%C : tensor<7x5xf32>) -> tensor<7x5xf32>
  bufferization.materialize_in_destination %r in restrict writable %out : (tensor<7x5xf32>, memref<7x5xf32>) -> ()
  return
}
