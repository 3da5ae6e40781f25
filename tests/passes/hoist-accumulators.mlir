// RUN: lower opt %s --pass-pipeline='tile-k,vectorize-contraction,hoist-accumulators' | filecheck %s

// The K loop carries a vector, and touches C neither by a read nor by a write.
// CHECK-LABEL: func.func @main
// CHECK: vector.transfer_read {{.*}} vector<6x16xf32>
// CHECK: scf.for {{.*}} -> (vector<6x16xf32>)
// CHECK: vector.contract
// CHECK-NEXT: scf.yield
// CHECK: vector.transfer_write
func.func @main(%a: tensor<6x8xf32>, %b: tensor<8x16xf32>, %c: tensor<6x16xf32>) -> tensor<6x16xf32> {
  %r = linalg.matmul ins(%a, %b : tensor<6x8xf32>, tensor<8x16xf32>) outs(%c : tensor<6x16xf32>) -> tensor<6x16xf32>
  return %r : tensor<6x16xf32>
}
