// RUN: lower opt %s --pass-pipeline='builtin.module(map-threads)' | filecheck %s
// RUN: not lower opt %s --pass-pipeline='builtin.module(map-threads,map-threads)' 2>&1 | filecheck %s --check-prefix=TWICE
// RUN: not lower opt %s --pass-pipeline='builtin.module(rasterise{rows=2})' 2>&1 | filecheck %s --check-prefix=NEITHER

// Beside a launch that has its threads, as map-waves makes one, the other gets its own.
// CHECK: gpu.launch {{.*}} threads({{.*}}) in (%{{.*}} = %c128,
// CHECK: gpu.launch {{.*}} threads({{.*}}) in (%{{.*}} = %c32,
// CHECK-NOT: scf.forall

// TWICE: the gpu.launch holds no scf.forall for its threads; tile{mapping=thread ...} makes one
// Of two launches the one with the contraction has the tiles to walk.
// NEITHER: looked for one gpu.launch and found 2; map-blocks makes it
func.func @main(%a: memref<128xf32>, %b: memref<8x4xf32>) {
  %c1 = arith.constant 1 : index
  %c128 = arith.constant 128 : index
  %x = arith.constant 1.0 : f32
  gpu.launch blocks(%g, %g1, %g2) in (%n0 = %c1, %n1 = %c1, %n2 = %c1) threads(%t, %t1, %t2) in (%m0 = %c128, %m1 = %c1, %m2 = %c1) {
    memref.store %x, %a[%t] : memref<128xf32>
    gpu.terminator
  }
  gpu.launch blocks(%g, %g1, %g2) in (%n0 = %c1, %n1 = %c1, %n2 = %c1) threads(%t, %t1, %t2) in (%m0 = %c1, %m1 = %c1, %m2 = %c1) {
    scf.forall (%i, %j) in (8, 4) {
      memref.store %x, %b[%i, %j] : memref<8x4xf32>
    } {mapping = [#gpu.thread<linear_dim_1>, #gpu.thread<linear_dim_0>]}
    gpu.terminator
  }
  return
}
