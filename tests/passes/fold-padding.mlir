// RUN: lower opt %s --pass-pipeline='fold-padding' | filecheck %s

// The whole read of a padded tile reads the tile, out of bounds only along the padded dimension.
// CHECK-LABEL: func.func @high
// CHECK-NOT: tensor.pad
// CHECK: vector.transfer_read %{{.*}}[%c0, %c0], %cst {in_bounds = [false, true]} : tensor<?x16xf32>, vector<6x16xf32>
func.func @high(%c: tensor<?x16xf32>, %h: index) -> vector<6x16xf32> {
  %c0 = arith.constant 0 : index
  %z = arith.constant 0.0 : f32
  %p = tensor.pad %c low[0, 0] high[%h, 0] {
  ^bb0(%i: index, %j: index):
    tensor.yield %z : f32
  } : tensor<?x16xf32> to tensor<6x16xf32>
  %v = vector.transfer_read %p[%c0, %c0], %z {in_bounds = [true, true]} : tensor<6x16xf32>, vector<6x16xf32>
  return %v : vector<6x16xf32>
}

// Low padding moves the elements: such a pad stays.
// CHECK-LABEL: func.func @low
// CHECK: tensor.pad
func.func @low(%c: tensor<?x16xf32>, %h: index) -> vector<6x16xf32> {
  %c0 = arith.constant 0 : index
  %z = arith.constant 0.0 : f32
  %p = tensor.pad %c low[1, 0] high[%h, 0] {
  ^bb0(%i: index, %j: index):
    tensor.yield %z : f32
  } : tensor<?x16xf32> to tensor<6x16xf32>
  %v = vector.transfer_read %p[%c0, %c0], %z {in_bounds = [true, true]} : tensor<6x16xf32>, vector<6x16xf32>
  return %v : vector<6x16xf32>
}
