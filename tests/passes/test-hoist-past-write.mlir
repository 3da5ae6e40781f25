// RUN: lower opt %s --pass-pipeline='test-hoist-past-write' | filecheck %s
// RUN: lower opt %s --pass-pipeline='convert-scf-to-cf,test-hoist-past-write' | filecheck %s --check-prefix=CF

// Every step adds to what the loop starts from.
// CHECK: scf.for {{.*}} iter_args(%{{.*}} = %arg2)
// CHECK: vector.fma %arg0, %arg1, %arg2
// CF: ^bb1(%{{.*}}: index, %[[CARRIED:.*]]: vector<8xf32>)
// CF: vector.fma %arg0, %arg1, %arg2
// CF: return %[[CARRIED]]
func.func @main(%a: vector<8xf32>, %b: vector<8xf32>, %c: vector<8xf32>, %n: index) -> vector<8xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %r = scf.for %k = %c0 to %n step %c1 iter_args(%sum = %c) -> (vector<8xf32>) {
    %s = vector.fma %a, %b, %sum : vector<8xf32>
    scf.yield %s : vector<8xf32>
  }
  return %r : vector<8xf32>
}
