// RUN: lower opt %s --pass-pipeline='builtin.module(turn-bytes)' | filecheck %s

// Eight permutations a block of four by four; other elements and other transpositions are left.
// CHECK-LABEL: func.func @main
// CHECK: vector.bitcast %{{.*}} : vector<32xi8> to vector<8xi32>
// CHECK-COUNT-16: llvm.call_intrinsic "llvm.amdgcn.perm"
// CHECK-NOT: llvm.amdgcn.perm
// CHECK: vector.bitcast %{{.*}} : vector<8xi32> to vector<32xi8>
// CHECK: vector.transpose {{.*}} vector<8x4xf16>
// CHECK: vector.transpose {{.*}} vector<8x2xi8>
func.func @main(%a: memref<8x4xi8>, %b: memref<4x8xi8>, %c: memref<8x4xf16>, %d: memref<4x8xf16>, %e: memref<8x2xi8>, %f: memref<2x8xi8>) {
  %c0 = arith.constant 0 : index
  %x = vector.load %a[%c0, %c0] : memref<8x4xi8>, vector<8x4xi8>
  %y = vector.transpose %x, [1, 0] : vector<8x4xi8> to vector<4x8xi8>
  vector.store %y, %b[%c0, %c0] : memref<4x8xi8>, vector<4x8xi8>
  %u = vector.load %c[%c0, %c0] : memref<8x4xf16>, vector<8x4xf16>
  %v = vector.transpose %u, [1, 0] : vector<8x4xf16> to vector<4x8xf16>
  vector.store %v, %d[%c0, %c0] : memref<4x8xf16>, vector<4x8xf16>
  %p = vector.load %e[%c0, %c0] : memref<8x2xi8>, vector<8x2xi8>
  %q = vector.transpose %p, [1, 0] : vector<8x2xi8> to vector<2x8xi8>
  vector.store %q, %f[%c0, %c0] : memref<2x8xi8>, vector<2x8xi8>
  return
}
