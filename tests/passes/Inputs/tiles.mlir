// 3 x 2 tiles of 128 x 128, two warpgroups each; rows of A and of B run along K.
func.func @main(%a: memref<384x256xbf16>, %b: memref<256x256xbf16>, %out: memref<384x256xbf16>) {
  %nothing = ub.poison : bf16
  %zero = arith.constant dense<0.0> : vector<64x128xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c6 = arith.constant 6 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  gpu.launch blocks(%g, %g1, %g2) in (%n0 = %c6, %n1 = %c1, %n2 = %c1) threads(%t, %t1, %t2) in (%m0 = %c256, %m1 = %c1, %m2 = %c1) {
    %at:2 = affine.delinearize_index %g into (3, 2) : index, index
    %w:2 = affine.delinearize_index %t into (2, 128) : index, index
    %row = affine.apply affine_map<(d0, d1) -> (d0 * 128 + d1 * 64)>(%at#0, %w#0)
    %column = affine.apply affine_map<(d0) -> (d0 * 128)>(%at#1)
    %r = scf.for %k = %c0 to %c256 step %c64 iter_args(%acc = %zero) -> (vector<64x128xf32>) {
      %x = vector.transfer_read %a[%row, %k], %nothing {in_bounds = [true, true]} : memref<384x256xbf16>, vector<64x64xbf16>
      %y = vector.transfer_read %b[%column, %k], %nothing {in_bounds = [true, true]} : memref<256x256xbf16>, vector<128x64xbf16>
      %xw = arith.extf %x : vector<64x64xbf16> to vector<64x64xf32>
      %yw = arith.extf %y : vector<128x64xbf16> to vector<128x64xf32>
      %d = vector.contract {indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>],
                            iterator_types = ["parallel", "parallel", "reduction"]} %xw, %yw, %acc
        : vector<64x64xf32>, vector<128x64xf32> into vector<64x128xf32>
      scf.yield %d : vector<64x128xf32>
    } {lower.role = "k"}
    %h = arith.truncf %r : vector<64x128xf32> to vector<64x128xbf16>
    vector.transfer_write %h, %out[%row, %column] {in_bounds = [true, true]} : vector<64x128xbf16>, memref<384x256xbf16>
    gpu.terminator
  }
  return
}
