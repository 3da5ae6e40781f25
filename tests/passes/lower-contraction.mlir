// RUN: lower opt %s --pass-pipeline='lower-contraction' | filecheck %s
// RUN: not lower opt %s --pass-pipeline='lower-contraction{most=15}' 2>&1 | filecheck %s --check-prefix=LARGE
// LARGE: vector.contract has 16 multiply-adds, more than 15 to be written out one by one: tile it first

// One multiply-add a row; integers have none and stay two operations.
// CHECK-LABEL: func.func @float
// CHECK-COUNT-2: vector.fma {{.*}} vector<8xf32>
// CHECK-NOT: vector.contract
func.func @float(%a: vector<1x2xf32>, %b: vector<1x8xf32>, %c: vector<2x8xf32>) -> vector<2x8xf32> {
  %r = vector.contract {indexing_maps = [affine_map<(m, n, k) -> (k, m)>, affine_map<(m, n, k) -> (k, n)>,
      affine_map<(m, n, k) -> (m, n)>], iterator_types = ["parallel", "parallel", "reduction"]} %a, %b, %c
    : vector<1x2xf32>, vector<1x8xf32> into vector<2x8xf32>
  return %r : vector<2x8xf32>
}

// CHECK-LABEL: func.func @integer
// CHECK: arith.muli {{.*}} vector<8xi32>
// CHECK: arith.addi {{.*}} vector<8xi32>
func.func @integer(%a: vector<1x2xi32>, %b: vector<1x8xi32>, %c: vector<2x8xi32>) -> vector<2x8xi32> {
  %r = vector.contract {indexing_maps = [affine_map<(m, n, k) -> (k, m)>, affine_map<(m, n, k) -> (k, n)>,
      affine_map<(m, n, k) -> (m, n)>], iterator_types = ["parallel", "parallel", "reduction"]} %a, %b, %c
    : vector<1x2xi32>, vector<1x8xi32> into vector<2x8xi32>
  return %r : vector<2x8xi32>
}
