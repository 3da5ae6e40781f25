// RUN: lower opt %s --pass-pipeline='vectorize-packs' | filecheck %s

// Rows of 16 lanes side by side: one vector a row, widened. The transposing copy stays.
// CHECK-LABEL: func.func @rows
// CHECK: scf.for
// CHECK: vector.transfer_read {{.*}} vector<1x16xf16>
// CHECK: arith.extf {{.*}} vector<1x16xf16> to vector<1x16xf32>
// CHECK: vector.transfer_write
// CHECK-NOT: linalg.generic
func.func @rows(%b: tensor<?x16xf16>, %p: tensor<?x16xf32>) -> tensor<?x16xf32> {
  %r = linalg.generic {indexing_maps = [affine_map<(k, l) -> (k, l)>, affine_map<(k, l) -> (k, l)>],
                       iterator_types = ["parallel", "parallel"], lower.role = "pack-b"}
      ins(%b : tensor<?x16xf16>) outs(%p : tensor<?x16xf32>) {
  ^bb0(%x: f16, %o: f32):
    %w = arith.extf %x : f16 to f32
    linalg.yield %w : f32
  } -> tensor<?x16xf32>
  return %r : tensor<?x16xf32>
}

// CHECK-LABEL: func.func @columns
// CHECK: linalg.generic
// CHECK-NOT: lower.pack
func.func @columns(%a: tensor<6x?xf32>, %p: tensor<?x6xf32>) -> tensor<?x6xf32> {
  %r = linalg.generic {indexing_maps = [affine_map<(k, l) -> (l, k)>, affine_map<(k, l) -> (k, l)>],
                       iterator_types = ["parallel", "parallel"], lower.role = "pack-a"}
      ins(%a : tensor<6x?xf32>) outs(%p : tensor<?x6xf32>) {
  ^bb0(%x: f32, %o: f32):
    linalg.yield %x : f32
  } -> tensor<?x6xf32>
  return %r : tensor<?x6xf32>
}
