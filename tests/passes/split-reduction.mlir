// RUN: lower opt %s --pass-pipeline='builtin.module(split-reduction{parts=4 step=32})' | filecheck %s
// RUN: lower opt %s --pass-pipeline='builtin.module(split-reduction{parts=4 step=32},tile{mapping=block tile-sizes=64,64},tile{mapping=block role=sum tile-sizes=8,64})' | filecheck %s --check-prefix=TILES
// RUN: not lower opt %s --pass-pipeline='builtin.module(split-reduction{parts=3 step=32})' 2>&1 | filecheck %s --check-prefix=REST
// RUN: not lower opt %s --pass-pipeline='builtin.module(split-reduction{parts=1})' 2>&1 | filecheck %s --check-prefix=ONE
// RUN: not lower opt %s --pass-pipeline='builtin.module(tile{role=sum tile-sizes=8,64})' 2>&1 | filecheck %s --check-prefix=NONE
// RUN: sed 's/outs(%%zero/outs(%%c/' %s > %t && not lower opt %t --pass-pipeline='builtin.module(split-reduction{parts=4 step=32})' 2>&1 | filecheck %s --check-prefix=ADDS

// The parts are a batch of products; the sum of them, in f32, is what the epilogue takes.
// CHECK: %[[A:[a-z0-9_]+]] = tensor.expand_shape %{{.*}} {{\[\[}}0], [1, 2, 3]] output_shape [128, 2, 4, 32]
// CHECK: %[[B:[a-z0-9_]+]] = tensor.expand_shape %{{.*}} {{\[\[}}0, 1, 2], [3]] output_shape [2, 4, 32, 128]
// CHECK: %[[PARTS:[0-9]+]] = linalg.generic {{.*}} ins(%[[A]], %[[B]] :
// CHECK: %[[SUM:[0-9]+]] = linalg.generic {{.*}} iterator_types = ["reduction", "parallel", "parallel"]} ins(%[[PARTS]] :
// CHECK: } -> tensor<128x128xf32>
// CHECK: linalg.generic {{.*}} ins(%[[SUM]] :
// CHECK: arith.truncf

// Two loops over workgroups: 4 parts of 2x2 tiles, and 16x2 tiles of sums with what follows them.
// TILES: scf.forall {{.*}} in (4, 2, 2)
// TILES: arith.mulf
// TILES: scf.forall {{.*}} in (16, 2)
// TILES: ins(%{{.*}} : tensor<4x8x64xf32>)
// TILES: arith.truncf

// REST: a reduction of 256 is not made of 3 parts of steps of 32; pad it
// ONE: parts is at least 2 and step at least 1, found 1 and 64
// NONE: looked for a linalg op marked sum and found none
// ADDS: the contraction adds to what is there; start-from-zero adds it at the end
func.func @main(%a: tensor<128x256xf16>, %b: tensor<256x128xf16>, %c: tensor<128x128xf32>, %out: memref<128x128xf16>) {
  %nothing = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<128x128xf32>
  %zero = linalg.fill ins(%nothing : f32) outs(%e : tensor<128x128xf32>) -> tensor<128x128xf32>
  %r = linalg.matmul ins(%a, %b : tensor<128x256xf16>, tensor<256x128xf16>) outs(%zero : tensor<128x128xf32>) -> tensor<128x128xf32>
  %to = tensor.empty() : tensor<128x128xf16>
  %h = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]}
    ins(%r : tensor<128x128xf32>) outs(%to : tensor<128x128xf16>) {
  ^bb0(%x: f32, %y: f16):
    %z = arith.truncf %x : f32 to f16
    linalg.yield %z : f16
  } -> tensor<128x128xf16>
  bufferization.materialize_in_destination %h in restrict writable %out : (tensor<128x128xf16>, memref<128x128xf16>) -> ()
  return
}
