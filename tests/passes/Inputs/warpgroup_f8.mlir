// Two warpgroups, 64 rows of C each; rows of A and B run along K, 128 bytes a step.
func.func @main(%a: memref<128x256xf8E4M3FN>, %b: memref<128x256xf8E4M3FN>, %out: memref<128x128xbf16>) {
  %nothing = ub.poison : f8E4M3FN
  %zero = arith.constant dense<0.0> : vector<64x128xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %step = arith.constant 128 : index
  %c256 = arith.constant 256 : index
  gpu.launch blocks(%g, %g1, %g2) in (%n0 = %c1, %n1 = %c1, %n2 = %c1) threads(%t, %t1, %t2) in (%m0 = %c256, %m1 = %c1, %m2 = %c1) {
    %w:2 = affine.delinearize_index %t into (2, 128) : index, index
    %row = affine.apply affine_map<(d0) -> (d0 * 64)>(%w#0)
    %r = scf.for %k = %c0 to %c256 step %step iter_args(%acc = %zero) -> (vector<64x128xf32>) {
      %x = vector.transfer_read %a[%row, %k], %nothing {in_bounds = [true, true]} : memref<128x256xf8E4M3FN>, vector<64x128xf8E4M3FN>
      %y = vector.transfer_read %b[%c0, %k], %nothing {in_bounds = [true, true]} : memref<128x256xf8E4M3FN>, vector<128x128xf8E4M3FN>
      %xw = arith.extf %x : vector<64x128xf8E4M3FN> to vector<64x128xf32>
      %yw = arith.extf %y : vector<128x128xf8E4M3FN> to vector<128x128xf32>
      %d = vector.contract {indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>],
                            iterator_types = ["parallel", "parallel", "reduction"]} %xw, %yw, %acc
        : vector<64x128xf32>, vector<128x128xf32> into vector<64x128xf32>
      scf.yield %d : vector<64x128xf32>
    } {lower.role = "k"}
    %h = arith.truncf %r : vector<64x128xf32> to vector<64x128xbf16>
    vector.transfer_write %h, %out[%row, %c0] {in_bounds = [true, true]} : vector<64x128xbf16>, memref<128x128xbf16>
    gpu.terminator
  }
  return
}
