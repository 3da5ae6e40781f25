// RUN: lower opt %s --pass-pipeline='builtin.module(func.func(canonicalize),expand-math)' | filecheck %s

// Only multiply-adds, selects and bits are left; the narrow type is widened first and rounded last.
// CHECK-LABEL: func.func @narrow
// CHECK: arith.extf %{{.*}} : vector<4xf16> to vector<4xf32>
// CHECK-NOT: math.exp
// CHECK-COUNT-5: vector.fma
// CHECK: arith.shli
// CHECK: arith.truncf %{{.*}} : vector<4xf32> to vector<4xf16>
func.func @narrow(%x: vector<4xf16>) -> vector<4xf16> {
  %y = math.exp %x : vector<4xf16>
  return %y : vector<4xf16>
}

// What a device computes itself stays.
// CHECK-LABEL: func.func @native
// CHECK: math.floor
func.func @native(%x: f32) -> f32 {
  %y = math.floor %x : f32
  return %y : f32
}
