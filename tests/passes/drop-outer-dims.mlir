// RUN: lower opt %s --pass-pipeline='generalize-contraction,drop-outer-dims' | filecheck %s

// The batch loop of one iteration goes; an m of one iteration stays.
// CHECK-LABEL: func.func @main
// CHECK: tensor.extract_slice %{{.*}} : tensor<1x1x4xf32> to tensor<1x4xf32>
// CHECK: linalg.generic
// CHECK-SAME: iterator_types = ["parallel", "parallel", "reduction"]
// CHECK: } -> tensor<1x8xf32>
// CHECK: tensor.insert_slice %{{.*}} : tensor<1x8xf32> into tensor<1x1x8xf32>
func.func @main(%a: tensor<1x1x4xf32>, %b: tensor<1x4x8xf32>, %c: tensor<1x1x8xf32>) -> tensor<1x1x8xf32> {
  %r = linalg.batch_matmul ins(%a, %b : tensor<1x1x4xf32>, tensor<1x4x8xf32>)
                           outs(%c : tensor<1x1x8xf32>) -> tensor<1x1x8xf32>
  return %r : tensor<1x1x8xf32>
}
