// One wave, B stored with K first, its tiles of A and B copied to workgroup memory, two slices of K a step.
func.func @main(%a: memref<32x256xf16>, %b: memref<256x32xf16>, %out: memref<32x32xf32>) {
  %nothing = ub.poison : f16
  %zero = arith.constant dense<0.0> : vector<32x32xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  gpu.launch blocks(%g, %g1, %g2) in (%n0 = %c1, %n1 = %c1, %n2 = %c1) threads(%t, %t1, %t2) in (%m0 = %c64, %m1 = %c1, %m2 = %c1) {
    %r = scf.for %k = %c0 to %c256 step %c64 iter_args(%acc = %zero) -> (vector<32x32xf32>) {
      %x = vector.transfer_read %a[%c0, %k], %nothing {in_bounds = [true, true]} : memref<32x256xf16>, vector<32x64xf16>
      %y = vector.transfer_read %b[%k, %c0], %nothing {in_bounds = [true, true]} : memref<256x32xf16>, vector<64x32xf16>
      %xw = arith.extf %x : vector<32x64xf16> to vector<32x64xf32>
      %yw = arith.extf %y : vector<64x32xf16> to vector<64x32xf32>
      %d = vector.contract {indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (k, n)>, affine_map<(m, n, k) -> (m, n)>],
                            iterator_types = ["parallel", "parallel", "reduction"]} %xw, %yw, %acc
        : vector<32x64xf32>, vector<64x32xf32> into vector<32x32xf32>
      scf.yield %d : vector<32x32xf32>
    } {lower.role = "k"}
    vector.transfer_write %r, %out[%c0, %c0] {in_bounds = [true, true]} : vector<32x32xf32>, memref<32x32xf32>
    gpu.terminator
  }
  return
}
