// Two warpgroups, 64 rows of C each; rows of A run along K, rows of B across it.
func.func @main(%a: memref<128x256xf16>, %b: memref<256x128xf16>, %out: memref<128x128xf16>) {
  %nothing = ub.poison : f16
  %zero = arith.constant dense<0.0> : vector<64x128xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  gpu.launch blocks(%g, %g1, %g2) in (%n0 = %c1, %n1 = %c1, %n2 = %c1) threads(%t, %t1, %t2) in (%m0 = %c256, %m1 = %c1, %m2 = %c1) {
    %w:2 = affine.delinearize_index %t into (2, 128) : index, index
    %row = affine.apply affine_map<(d0) -> (d0 * 64)>(%w#0)
    %r = scf.for %k = %c0 to %c256 step %c64 iter_args(%acc = %zero) -> (vector<64x128xf32>) {
      %x = vector.transfer_read %a[%row, %k], %nothing {in_bounds = [true, true]} : memref<128x256xf16>, vector<64x64xf16>
      %y = vector.transfer_read %b[%k, %c0], %nothing {in_bounds = [true, true]} : memref<256x128xf16>, vector<64x128xf16>
      %xw = arith.extf %x : vector<64x64xf16> to vector<64x64xf32>
      %yw = arith.extf %y : vector<64x128xf16> to vector<64x128xf32>
      %d = vector.contract {indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (k, n)>, affine_map<(m, n, k) -> (m, n)>],
                            iterator_types = ["parallel", "parallel", "reduction"]} %xw, %yw, %acc
        : vector<64x64xf32>, vector<64x128xf32> into vector<64x128xf32>
      scf.yield %d : vector<64x128xf32>
    } {lower.role = "k"}
    %h = arith.truncf %r : vector<64x128xf32> to vector<64x128xf16>
    vector.transfer_write %h, %out[%row, %c0] {in_bounds = [true, true]} : vector<64x128xf16>, memref<128x128xf16>
    gpu.terminator
  }
  return
}
