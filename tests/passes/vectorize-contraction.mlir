// RUN: lower opt %s --pass-pipeline='vectorize-contraction' | filecheck %s

// The widening casts of the body become casts of vectors.
// CHECK-LABEL: func.func @main
// CHECK: vector.transfer_read {{.*}} vector<6x1xf16>
// CHECK: vector.transfer_read {{.*}} vector<1x16xf16>
// CHECK: vector.transfer_read {{.*}} vector<6x16xf32>
// CHECK: arith.extf {{.*}} vector<6x1xf16> to vector<6x1xf32>
// CHECK: arith.extf {{.*}} vector<1x16xf16> to vector<1x16xf32>
// CHECK: vector.contract
// CHECK: vector.transfer_write
// CHECK-NOT: linalg.matmul
func.func @main(%a: tensor<6x1xf16>, %b: tensor<1x16xf16>, %c: tensor<6x16xf32>) -> tensor<6x16xf32> {
  %r = linalg.matmul ins(%a, %b : tensor<6x1xf16>, tensor<1x16xf16>) outs(%c : tensor<6x16xf32>) -> tensor<6x16xf32>
  return %r : tensor<6x16xf32>
}
