// RUN: lower opt %s --pass-pipeline='builtin.module(fold-split-reads)' | filecheck %s

// A row, and 64 of K a part in a step of 2048; the second read is along the parts as well, and stays.
// CHECK: affine_map<()[s0, s1, s2] -> (s0 * 2048 + s1 * 64 + s2)>
// CHECK: %[[K:[0-9]+]] = affine.apply #map()[%arg2, %arg3, %arg4]
// CHECK: vector.transfer_read %arg0[%arg1, %[[K]]], %{{.*}} {in_bounds = [true, true]} : tensor<256x65536xf16>, vector<64x32xf16>
// CHECK: vector.transfer_read %expanded{{.*}} vector<4x32xf16>
func.func @main(%a: tensor<256x65536xf16>, %m: index, %s: index, %p: index, %k: index) -> (vector<64x32xf16>, vector<4x32xf16>) {
  %nothing = arith.constant 0.0 : f16
  %x = tensor.expand_shape %a [[0], [1, 2, 3]] output_shape [256, 32, 32, 64] : tensor<256x65536xf16> into tensor<256x32x32x64xf16>
  %v = vector.transfer_read %x[%m, %s, %p, %k], %nothing {in_bounds = [true, true], permutation_map = affine_map<(d0, d1, d2, d3) -> (d0, d3)>} : tensor<256x32x32x64xf16>, vector<64x32xf16>
  %w = vector.transfer_read %x[%m, %s, %p, %k], %nothing {in_bounds = [true, true]} : tensor<256x32x32x64xf16>, vector<4x32xf16>
  return %v, %w : vector<64x32xf16>, vector<4x32xf16>
}
