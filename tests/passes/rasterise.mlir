// RUN: lower opt %s --pass-pipeline='builtin.module(rasterise{chiplets=8 rows=4})' | filecheck %s
// RUN: lower opt %s --pass-pipeline='builtin.module(rasterise{chiplets=5 rows=3})' | filecheck %s --check-prefix=RAGGED
// RUN: not lower opt %S/vectorize.mlir --pass-pipeline='builtin.module(rasterise{rows=4})' 2>&1 | filecheck %s --check-prefix=NONE


// CHECK-LABEL: func.func @main
// CHECK: gpu.launch blocks(%[[B:[a-z0-9]+]], {{.*}}) in
// CHECK: %[[CHIPLET:.*]] = arith.remui %[[B]], %c8
// CHECK: %[[FIRST:.*]] = arith.muli %[[CHIPLET]], %c16
// CHECK: %[[TURN:.*]] = arith.divui %[[B]], %c8
// CHECK: %[[MOVED:.*]] = arith.addi %[[FIRST]], %[[TURN]]
// CHECK-NOT: delinearize
// CHECK: arith.divui %[[MOVED]], %c64
// CHECK: arith.remui %[[MOVED]], %c64

// Eight rows are not whole groups of three, nor 128 workgroups whole turns of five.
// RAGGED: arith.cmpi ult
// RAGGED: arith.select
// RAGGED: arith.minui

// NONE: looked for one gpu.launch and found 0; map-blocks makes it
func.func @main(%out: memref<8x16xindex>) {
  %c1 = arith.constant 1 : index
  %c128 = arith.constant 128 : index
  gpu.launch blocks(%g, %g1, %g2) in (%n0 = %c128, %n1 = %c1, %n2 = %c1) threads(%t, %t1, %t2) in (%m0 = %c1, %m1 = %c1, %m2 = %c1) {
    %i, %j = affine.delinearize_index %g into (8, 16) : index, index
    memref.store %i, %out[%i, %j] : memref<8x16xindex>
    gpu.terminator
  }
  return
}
