// RUN: lower opt %S/Inputs/wave.mlir --pass-pipeline='builtin.module(map-lanes{run=2})' | filecheck %s
// RUN: lower opt %S/Inputs/staged.mlir --pass-pipeline='builtin.module(promote{k=last widen=false},map-lanes{shuffle=true})' | filecheck %s --check-prefix=SHUFFLE
// RUN: not lower opt %S/Inputs/wave.mlir --pass-pipeline='builtin.module(map-lanes{first=a shuffle=true})' 2>&1 | filecheck %s --check-prefix=ALONG
// RUN: lower opt %S/Inputs/wave.mlir --pass-pipeline='builtin.module(map-lanes{first=a})' | filecheck %s --check-prefix=A
// RUN: not lower opt %S/Inputs/wave.mlir --pass-pipeline='builtin.module(map-lanes{run=4})' 2>&1 | filecheck %s --check-prefix=WIDE
// RUN: lower opt %S/Inputs/wave.mlir --pass-pipeline='builtin.module(map-lanes{size=32})' | filecheck %s --check-prefix=BIG

// Four 16x16 results; a lane reads 8 elements along K at once, which feed two instructions. The rows of B are taken in an
// order that gives a lane eight neighbouring columns of C: its bias and its store are that wide.
// CHECK-LABEL: func.func @main
// CHECK: %[[R:.*]]:4 = scf.for {{.*}} -> (vector<4xf32>, vector<4xf32>, vector<4xf32>, vector<4xf32>)
// CHECK-COUNT-4: vector.transfer_read {{.*}} : memref<32x64xf16>, vector<1x8xf16>
// CHECK-COUNT-8: amdgpu.mfma 16x16x16
// CHECK-NOT: amdgpu.mfma
// CHECK: } {lower.role = "k"}
// CHECK: vector.shuffle %[[R]]#0, %[[R]]#2 [0, 1, 2, 3, 4, 5, 6, 7]
// CHECK: vector.transfer_read {{.*}} : memref<32xf32>, vector<8xf32>
// CHECK: arith.addf {{.*}} : vector<1x8xf32>
// CHECK: vector.transfer_write {{.*}} : vector<1x8xf16>, memref<32x32xf16>
// CHECK-COUNT-1: vector.transfer_write
// CHECK-NOT: vector.transfer_write

// With A first a lane has four neighbouring rows of one column.
// A-COUNT-4: vector.transfer_write {{.*}} : vector<4x1xf16>, memref<32x32xf16>

// WIDE: 32 rows of the first operand are no multiple of 64

// BIG: amdgpu.mfma 32x32x8

// f32 does not fit into the f16 tiles: a buffer of its own, of one wave's 16 rows; then whole rows of 128 bytes.
// SHUFFLE: memref<16x32xf32, #gpu.address_space<workgroup>>)
// SHUFFLE: gpu.barrier
// SHUFFLE: vector.store %{{.*}} : memref<16x32xf32, #gpu.address_space<workgroup>>, vector<4xf32>
// SHUFFLE: vector.store
// SHUFFLE: %[[LINE:.*]] = vector.load %{{.*}} : memref<16x32xf32, #gpu.address_space<workgroup>>, vector<4xf32>
// SHUFFLE: vector.shape_cast %[[LINE]]
// SHUFFLE: vector.transfer_write %{{.*}} : vector<1x4xf32>, memref<32x32xf32>
// ALONG: the runs of lanes do not lie along the rows of what is written

// RUN: not lower opt %s --pass-pipeline='builtin.module(map-lanes)' 2>&1 | filecheck %s --check-prefix=THREAD

// What one thread multiplies is no wave's.
// THREAD: the contraction is a single thread's: map-waves gives it to a whole wave
func.func @main(%a: memref<1024x16xf16>, %b: memref<16x16xf16>, %out: memref<1024x16xf32>) {
  %nothing = ub.poison : f16
  %zero = arith.constant dense<0.0> : vector<16x16xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c64 = arith.constant 64 : index
  gpu.launch blocks(%g, %g1, %g2) in (%n0 = %c1, %n1 = %c1, %n2 = %c1) threads(%t, %t1, %t2) in (%m0 = %c64, %m1 = %c1, %m2 = %c1) {
    %i = affine.apply affine_map<(t) -> (16 * t)>(%t)
    %x = vector.transfer_read %a[%i, %c0], %nothing {in_bounds = [true, true]} : memref<1024x16xf16>, vector<16x16xf16>
    %y = vector.transfer_read %b[%c0, %c0], %nothing {in_bounds = [true, true]} : memref<16x16xf16>, vector<16x16xf16>
    %xw = arith.extf %x : vector<16x16xf16> to vector<16x16xf32>
    %yw = arith.extf %y : vector<16x16xf16> to vector<16x16xf32>
    %d = vector.contract {indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>],
                          iterator_types = ["parallel", "parallel", "reduction"]} %xw, %yw, %zero
      : vector<16x16xf32>, vector<16x16xf32> into vector<16x16xf32>
    vector.transfer_write %d, %out[%i, %c0] {in_bounds = [true, true]} : vector<16x16xf32>, memref<1024x16xf32>
    gpu.terminator
  }
  return
}
