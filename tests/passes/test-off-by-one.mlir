// RUN: lower opt %s --pass-pipeline='test-off-by-one' | filecheck %s
// RUN: lower opt %s --pass-pipeline='tile{mapping=block tile-sizes=4,4},test-off-by-one' | filecheck %s --check-prefix=FORALL
// RUN: lower opt %s --pass-pipeline='tile-reduction{tile-sizes=8},test-off-by-one' | filecheck %s --check-prefix=FOR
// RUN: lower opt %s --pass-pipeline='one-shot-bufferize{bufferize-function-boundaries=true},convert-linalg-to-loops,convert-scf-to-cf,test-off-by-one' | filecheck %s --check-prefix=CF

// The sum of a contraction, and the innermost loop in its three forms.
// CHECK: linalg.matmul {{.*}} tensor<8x44xf32>, tensor<44x12xf32>
// FORALL: scf.forall {{.*}} in (2, 2)
// FOR: scf.for %{{.*}} = %c0 to %c40 step %c8
// CF: %[[LESS:.*]] = arith.constant 44 : index
// CF-NEXT: arith.cmpi slt, %{{.*}}, %[[LESS]] : index
func.func @main(%a: tensor<8x45xf32>, %b: tensor<45x12xf32>, %c: tensor<8x12xf32>) -> tensor<8x12xf32> {
  %r = linalg.matmul ins(%a, %b : tensor<8x45xf32>, tensor<45x12xf32>) outs(%c : tensor<8x12xf32>) -> tensor<8x12xf32>
  return %r : tensor<8x12xf32>
}
