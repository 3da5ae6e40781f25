// RUN: lower opt %s --pass-pipeline='builtin.module(transpose-product)' | filecheck %s
// RUN: lower opt %s --pass-pipeline='builtin.module(transpose-product,transpose-product)' | filecheck %s --check-prefix=TWICE
// RUN: echo 'func.func @f() { return }' > %t && not lower opt %t --pass-pipeline='builtin.module(transpose-product)' 2>&1 | filecheck %s --check-prefix=NONE

// The maps go with the operands; the result keeps its own, so that its rows are those of B now.
// CHECK-DAG: #[[N:map.*]] = affine_map<(d0, d1, d2) -> (d1, d2)>
// CHECK-DAG: #[[M:map.*]] = affine_map<(d0, d1, d2) -> (d0, d2)>
// CHECK-DAG: #[[C:map.*]] = affine_map<(d0, d1, d2) -> (d0, d1)>
// CHECK: @main(%[[A:.*]]: vector<8x16xf16>, %[[B:.*]]: vector<64x16xf16>
// CHECK: vector.contract {indexing_maps = [#[[N]], #[[M]], #[[C]]]
// CHECK-SAME: %[[B]], %[[A]], %{{.*}} : vector<64x16xf16>, vector<8x16xf16> into vector<8x64xf32>
// TWICE: @main(%[[A:.*]]: vector<8x16xf16>, %[[B:.*]]: vector<64x16xf16>
// TWICE: %[[A]], %[[B]], %{{.*}} : vector<8x16xf16>, vector<64x16xf16> into vector<8x64xf32>
// NONE: looked for a vector.contract
func.func @main(%a: vector<8x16xf16>, %b: vector<64x16xf16>, %c: vector<8x64xf32>) -> vector<8x64xf32> {
  %r = vector.contract {indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>,
      affine_map<(m, n, k) -> (m, n)>], iterator_types = ["parallel", "parallel", "reduction"],
      kind = #vector.kind<add>} %a, %b, %c : vector<8x16xf16>, vector<64x16xf16> into vector<8x64xf32>
  return %r : vector<8x64xf32>
}
