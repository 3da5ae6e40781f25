// RUN: lower opt %s --pass-pipeline='split-accumulators,cse' | filecheck %s

// CHECK-LABEL: func.func @main
// CHECK: vector.extract %{{.*}}[0] : vector<4xf32> from vector<2x4xf32>
// CHECK: scf.for {{.*}} -> (vector<4xf32>, vector<4xf32>)
// CHECK: arith.addf {{.*}} vector<2x4xf32>
// CHECK: scf.yield %{{.*}}, %{{.*}} : vector<4xf32>, vector<4xf32>
// CHECK: lower.role = "k"
func.func @main(%v: vector<2x4xf32>, %n: index) -> vector<2x4xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %r = scf.for %k = %c0 to %n step %c1 iter_args(%acc = %v) -> (vector<2x4xf32>) {
    %s = arith.addf %acc, %v : vector<2x4xf32>
    scf.yield %s : vector<2x4xf32>
  } {lower.role = "k"}
  return %r : vector<2x4xf32>
}
