// RUN: lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(cluster)' | filecheck %s
// RUN: lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(cluster{along=n})' | filecheck %s --check-prefix=ALONG
// RUN: lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(cluster,rasterise{rows=2},persist{workgroups=4})' | filecheck %s --check-prefix=ORDER
// RUN: not lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(cluster,persist{workgroups=5})' 2>&1 | filecheck %s --check-prefix=WHOLE
// RUN: not lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(cluster,cluster)' 2>&1 | filecheck %s --check-prefix=TWICE
// RUN: not lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(rasterise{rows=2},cluster)' 2>&1 | filecheck %s --check-prefix=LATE
// RUN: not lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(promote-tma,cluster)' 2>&1 | filecheck %s --check-prefix=BUFFERS
// RUN: not lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(cluster,rasterise{chiplets=2})' 2>&1 | filecheck %s --check-prefix=CHIPLETS

// Three rows of tiles are two clusters high: eight workgroups, and transfers that look where the matrix ends.
// CHECK: gpu.launch clusters({{.*}}) in ({{.*}} = %c2, {{.*}} = %c1, {{.*}} = %c1) blocks(%[[B:[a-z0-9]+]], {{.*}}) in ({{.*}} = %c8,
// CHECK: %[[RANK:.*]] = gpu.cluster_block_id x upper_bound 2
// CHECK: %[[PAIR:.*]] = arith.divui %[[B]], %c2
// CHECK: %[[AT:.*]]:2 = affine.delinearize_index %[[PAIR]] into (2, 2)
// CHECK: %[[DOUBLE:.*]] = arith.muli %[[AT]]#0, %c2
// CHECK: arith.addi %[[DOUBLE]], %[[RANK]]
// CHECK-NOT: in_bounds = [true

// Two columns are one cluster wide: six workgroups, none beyond.
// ALONG: gpu.launch clusters({{.*}}) blocks({{.*}} in ({{.*}} = %c6,
// ALONG: %[[RANK:.*]] = gpu.cluster_block_id x upper_bound 2
// ALONG: affine.apply #map{{[0-9]*}}()[%[[RANK]]]
// ALONG-COUNT-3: in_bounds = [true, true]

// Rows of clusters are walked together, and clusters go on from tile to tile as a whole.
// ORDER: blocks(%[[B:[a-z0-9]+]], {{.*}}) in ({{.*}} = %c4,
// ORDER: scf.for %[[TILE:.*]] = %[[B]] to %c8 step %c4
// ORDER: gpu.cluster_block_id x
// ORDER: %[[PAIR:.*]] = arith.divui %[[TILE]], %c2
// ORDER: %[[INSIDE:.*]] = arith.remui %[[PAIR]], %c4
// ORDER: arith.remui %[[INSIDE]], %c2
// ORDER: arith.divui %[[INSIDE]], %c2

// WHOLE: 5 workgroups are no whole clusters of 2
// TWICE: the workgroups are in clusters already
// LATE: looked for an affine.delinearize_index of all workgroups; cluster comes before rasterise and persist
// BUFFERS: the launch has buffers of workgroup memory: cluster comes before promote-tma
// CHIPLETS: chiplets would take the workgroups of a cluster apart
