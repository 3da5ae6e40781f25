// RUN: lower opt %s --pass-pipeline='contract-fma' | filecheck %s

// CHECK-LABEL: func.func @fused
// CHECK: arith.mulf {{.*}} fastmath<contract>
// CHECK: arith.addf {{.*}} fastmath<contract>
func.func @fused(%a: f32, %b: f32, %c: f32) -> f32 {
  %p = arith.mulf %a, %b : f32
  %s = arith.addf %c, %p : f32
  return %s : f32
}

// A product that is used twice, and flags that were chosen, stay.
// CHECK-LABEL: func.func @kept
// CHECK-NOT: fastmath<contract>
// CHECK: fastmath<nnan>
func.func @kept(%a: f32, %b: f32) -> (f32, f32, f32) {
  %p = arith.mulf %a, %b : f32
  %s = arith.addf %a, %p : f32
  %q = arith.mulf %a, %b fastmath<nnan> : f32
  %t = arith.addf %p, %a fastmath<nnan> : f32
  return %s, %t, %q : f32, f32, f32
}
