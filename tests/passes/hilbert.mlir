// RUN: lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(hilbert)' | filecheck %s
// RUN: lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(cluster,hilbert)' | filecheck %s --check-prefix=PAIRS
// RUN: lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(rasterise{rows=2},hilbert)' | filecheck %s --check-prefix=TAKEN
// RUN: not lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(hilbert{side=12})' 2>&1 | filecheck %s --check-prefix=SIDE

// One square of 2 x 2, and a row of two tiles above it.
// CHECK: gpu.launch blocks(%[[B:[a-z0-9]+]],
// CHECK: %[[BAND:.*]] = arith.divui %[[B]], %c4
// CHECK: %[[INSIDE:.*]] = arith.remui %[[B]], %c4
// CHECK: arith.xori
// CHECK: %[[WHOLE:.*]] = arith.cmpi {{.*}} %[[BAND]], %c
// CHECK: arith.select %[[WHOLE]]
// CHECK-NOT: affine.delinearize_index %[[B]]

// The tiles of a cluster stay beside one another.
// PAIRS: %[[RANK:.*]] = gpu.cluster_block_id x
// PAIRS: %[[PAIR:.*]] = arith.divui %{{.*}}, %c2
// PAIRS: arith.remui %[[PAIR]], %c4
// PAIRS: arith.addi %{{.*}}, %[[RANK]]

// Groups of rows stay what they are.
// TAKEN-NOT: arith.xori
// SIDE: side is a power of two, at least 2, found 12
