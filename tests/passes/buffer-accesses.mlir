// RUN: lower opt %s --pass-pipeline='builtin.module(buffer-accesses)' | filecheck %s

// The row needs no check; the column beyond 512 is sent behind the last row. What all lanes add is a scalar offset.
// CHECK-LABEL: func.func @main
// CHECK: gpu.launch
// CHECK: %[[OUTSIDE:.*]] = arith.cmpi ugt, %[[COLUMN:.*]], %
// CHECK: %[[ROW:.*]] = arith.select %[[OUTSIDE]], %{{.*}}, %{{.*}} : index
// CHECK: %[[ROW32:.*]] = arith.index_cast %[[ROW]] : index to i32
// CHECK: amdgpu.raw_buffer_load %{{.*}}[%[[ROW32]], %{{.*}}] sgprOffset %{{.*}} : memref<1000x512xf16>, i32, i32 -> vector<8xf16>
// CHECK: amdgpu.raw_buffer_store %{{.*}} -> %{{.*}}[%{{.*}}, %{{.*}}] sgprOffset %{{.*}} : vector<8xf16> -> memref<1000x512xf16>, i32, i32

// A padding that is not zero, and workgroup memory, stay as they are.
// CHECK: vector.transfer_read {{.*}} : memref<1000x512xf16>, vector<1x8xf16>
// CHECK: vector.transfer_read {{.*}} #gpu.address_space<workgroup>>
func.func @main(%a: memref<1000x512xf16>, %out: memref<1000x512xf16>) {
  %zero = arith.constant 0.0 : f16
  %one = arith.constant 1.0 : f16
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c64 = arith.constant 64 : index
  %c520 = arith.constant 520 : index
  gpu.launch blocks(%g, %g1, %g2) in (%n0 = %c64, %n1 = %c1, %n2 = %c1) threads(%t, %t1, %t2) in (%m0 = %c64, %m1 = %c1, %m2 = %c1)
      workgroup(%w : memref<64x8xf16, #gpu.address_space<workgroup>>) {
    %row = affine.apply affine_map<(g, t) -> (64 * g + t)>(%g, %t)
    scf.for %k = %c0 to %c520 step %c64 {
      %column = affine.apply affine_map<(k, t) -> (k + (t mod 8) * 8)>(%k, %t)
      %x = vector.transfer_read %a[%row, %column], %zero {in_bounds = [false, false]} : memref<1000x512xf16>, vector<1x8xf16>
      vector.transfer_write %x, %out[%row, %column] {in_bounds = [false, false]} : vector<1x8xf16>, memref<1000x512xf16>
    }
    %y = vector.transfer_read %a[%row, %c520], %one {in_bounds = [false, false]} : memref<1000x512xf16>, vector<1x8xf16>
    %z = vector.transfer_read %w[%t, %c0], %zero {in_bounds = [true, true]} : memref<64x8xf16, #gpu.address_space<workgroup>>, vector<1x8xf16>
    %s = arith.addf %y, %z : vector<1x8xf16>
    vector.transfer_write %s, %out[%row, %c0] {in_bounds = [true, true]} : vector<1x8xf16>, memref<1000x512xf16>
    gpu.terminator
  }
  return
}
