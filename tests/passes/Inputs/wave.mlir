// A wave's 32x32 product from two buffers, K by 32 in a loop, then a bias and a cast.
func.func @main(%a: memref<32x64xf16>, %b: memref<32x64xf16>, %bias: memref<32xf32>, %out: memref<32x32xf16>) {
  %nothing = ub.poison : f16
  %none = ub.poison : f32
  %zero = arith.constant dense<0.0> : vector<32x32xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c32 = arith.constant 32 : index
  %c64 = arith.constant 64 : index
  gpu.launch blocks(%g, %g1, %g2) in (%n0 = %c1, %n1 = %c1, %n2 = %c1) threads(%t, %t1, %t2) in (%m0 = %c64, %m1 = %c1, %m2 = %c1) {
    %r = scf.for %k = %c0 to %c64 step %c32 iter_args(%acc = %zero) -> (vector<32x32xf32>) {
      %x = vector.transfer_read %a[%c0, %k], %nothing {in_bounds = [true, true]} : memref<32x64xf16>, vector<32x32xf16>
      %y = vector.transfer_read %b[%c0, %k], %nothing {in_bounds = [true, true]} : memref<32x64xf16>, vector<32x32xf16>
      %xw = arith.extf %x : vector<32x32xf16> to vector<32x32xf32>
      %yw = arith.extf %y : vector<32x32xf16> to vector<32x32xf32>
      %d = vector.contract {indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>],
                            iterator_types = ["parallel", "parallel", "reduction"]} %xw, %yw, %acc
        : vector<32x32xf32>, vector<32x32xf32> into vector<32x32xf32>
      scf.yield %d : vector<32x32xf32>
    } {lower.role = "k"}
    %v = vector.transfer_read %bias[%c0], %none {in_bounds = [true]} : memref<32xf32>, vector<32xf32>
    %w = vector.broadcast %v : vector<32xf32> to vector<32x32xf32>
    %s = arith.addf %r, %w : vector<32x32xf32>
    %h = arith.truncf %s : vector<32x32xf32> to vector<32x32xf16>
    vector.transfer_write %h, %out[%c0, %c0] {in_bounds = [true, true]} : vector<32x32xf16>, memref<32x32xf16>
    gpu.terminator
  }
  return
}
