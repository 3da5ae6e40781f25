// RUN: lower opt %s --pass-pipeline='builtin.module(pad{tile-sizes=16,16,8})' | filecheck %s

// Operands, accumulator and result grow to multiples; the epilogue with them; what leaves is the slice that was there.
// CHECK-LABEL: func.func @main
// CHECK-DAG: tensor.pad %{{.*}} low[0, 0] high[9, 5]
// CHECK-DAG: tensor.pad %{{.*}} low[0, 0] high[5, 11]
// CHECK-DAG: linalg.fill {{.*}} -> tensor<16x16xf32>
// CHECK: linalg.matmul {{.*}} -> tensor<16x16xf32>
// CHECK: tensor.pad %{{.*}} low[0] high[11]
// CHECK: linalg.generic
// CHECK: } -> tensor<16x16xf32>
// CHECK: tensor.extract_slice %{{.*}}[0, 0] [7, 5] [1, 1]
// CHECK: bufferization.materialize_in_destination
func.func @main(%a: memref<7x3xf32>, %b: memref<3x5xf32>, %bias: memref<5xf32>, %out: memref<7x5xf32>) {
  %A = bufferization.to_tensor %a restrict : memref<7x3xf32> to tensor<7x3xf32>
  %B = bufferization.to_tensor %b restrict : memref<3x5xf32> to tensor<3x5xf32>
  %D = bufferization.to_tensor %bias restrict : memref<5xf32> to tensor<5xf32>
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<7x5xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<7x5xf32>) -> tensor<7x5xf32>
  %r = linalg.matmul ins(%A, %B : tensor<7x3xf32>, tensor<3x5xf32>) outs(%f : tensor<7x5xf32>) -> tensor<7x5xf32>
  %g = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (j)>, affine_map<(i, j) -> (i, j)>],
                       iterator_types = ["parallel", "parallel"]}
      ins(%r, %D : tensor<7x5xf32>, tensor<5xf32>) outs(%e : tensor<7x5xf32>) {
  ^bb0(%x: f32, %y: f32, %o: f32):
    %s = arith.addf %x, %y : f32
    linalg.yield %s : f32
  } -> tensor<7x5xf32>
  bufferization.materialize_in_destination %g in restrict writable %out : (tensor<7x5xf32>, memref<7x5xf32>) -> ()
  return
}
