// RUN: lower opt %S/Inputs/staged.mlir --pass-pipeline='builtin.module(promote{k=last widen=false})' | filecheck %s
// RUN: lower opt %s --pass-pipeline='builtin.module(promote{k=last operands=b widen=false})' | filecheck %s --check-prefix=TURN

// Elements stay f16, K stays the last dimension, a thread moves 16 bytes; the casts come behind the buffer.
// CHECK: gpu.launch {{.*}} workgroup(%[[A:.*]] : memref<32x64xf16, #gpu.address_space<workgroup>>, %[[B:.*]] : memref<32x64xf16, #gpu.address_space<workgroup>>)
// CHECK: vector.transfer_read {{.*}} : memref<32x256xf16>, vector<1x8xf16>
// CHECK: gpu.barrier
// CHECK-COUNT-8: vector.store {{.*}} #gpu.address_space<workgroup>>, vector<8xf16>
// CHECK: gpu.barrier
// CHECK: %[[X:.*]] = vector.transfer_read %[[A]]{{.*}} vector<32x64xf16>
// CHECK: arith.extf %[[X]]

// B has rows of N: a thread loads 8 by 4 elements, turns them, and stores four rows of 8 along K.
// TURN: %[[P:.*]] = vector.transfer_read {{.*}} : memref<64x128xf16>, vector<8x4xf16>
// TURN: %[[Q:.*]] = vector.transpose %[[P]], [1, 0] : vector<8x4xf16> to vector<4x8xf16>
// TURN: gpu.barrier
// TURN-COUNT-4: vector.store {{.*}} : memref<128x64xf16, #gpu.address_space<workgroup>>, vector<8xf16>
func.func @main(%a: memref<32x64xf16>, %b: memref<64x128xf16>, %out: memref<32x128xf32>) {
  %nothing = ub.poison : f16
  %zero = arith.constant dense<0.0> : vector<32x128xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c256 = arith.constant 256 : index
  gpu.launch blocks(%g, %g1, %g2) in (%n0 = %c1, %n1 = %c1, %n2 = %c1) threads(%t, %t1, %t2) in (%m0 = %c256, %m1 = %c1, %m2 = %c1) {
    %x = vector.transfer_read %a[%c0, %c0], %nothing {in_bounds = [true, true]} : memref<32x64xf16>, vector<32x64xf16>
    %y = vector.transfer_read %b[%c0, %c0], %nothing {in_bounds = [true, true]} : memref<64x128xf16>, vector<64x128xf16>
    %xw = arith.extf %x : vector<32x64xf16> to vector<32x64xf32>
    %yw = arith.extf %y : vector<64x128xf16> to vector<64x128xf32>
    %d = vector.contract {indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (k, n)>, affine_map<(m, n, k) -> (m, n)>],
                          iterator_types = ["parallel", "parallel", "reduction"]} %xw, %yw, %zero
      : vector<32x64xf32>, vector<64x128xf32> into vector<32x128xf32>
    vector.transfer_write %d, %out[%c0, %c0] {in_bounds = [true, true]} : vector<32x128xf32>, memref<32x128xf32>
    gpu.terminator
  }
  return
}
