// RUN: not lower opt %s --pass-pipeline='builtin.module(promote)' 2>&1 | filecheck %s

// Before map-threads, nobody knows which thread does what of the tile.
// CHECK: the launch holds an scf.forall: map-threads has to say first
func.func @main(%a: memref<64x64xf32>, %b: memref<64x64xf32>, %out: memref<64x64xf32>) {
  %zero = arith.constant 0.0 : f32
  %acc = arith.constant dense<0.0> : vector<4x4xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c16 = arith.constant 16 : index
  gpu.launch blocks(%g, %g1, %g2) in (%n0 = %c16, %n1 = %c1, %n2 = %c1) threads(%t, %t1, %t2) in (%m0 = %c1, %m1 = %c1, %m2 = %c1) {
    %j = affine.apply affine_map<(p) -> (4 * p)>(%g)
    scf.forall (%p) in (16) {
      %i = affine.apply affine_map<(p) -> (4 * p)>(%p)
      %va = vector.transfer_read %a[%i, %c0], %zero {in_bounds = [true, true]} : memref<64x64xf32>, vector<4x64xf32>
      %vb = vector.transfer_read %b[%c0, %j], %zero {in_bounds = [true, true]} : memref<64x64xf32>, vector<64x4xf32>
      %d = vector.contract {indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (k, n)>, affine_map<(m, n, k) -> (m, n)>],
                            iterator_types = ["parallel", "parallel", "reduction"]} %va, %vb, %acc
        : vector<4x64xf32>, vector<64x4xf32> into vector<4x4xf32>
      vector.transfer_write %d, %out[%i, %j] {in_bounds = [true, true]} : vector<4x4xf32>, memref<64x64xf32>
    } {mapping = [#gpu.thread<linear_dim_0>]}
    gpu.terminator
  }
  return
}
