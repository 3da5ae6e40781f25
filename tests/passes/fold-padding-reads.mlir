// RUN: lower opt %s --pass-pipeline='builtin.module(fold-padding-reads)' | filecheck %s

// The read goes to the source: only the padded dimension may be out of bounds, and the padding is the pad's value.
// CHECK-LABEL: func.func @folded
// CHECK-NOT: tensor.pad
// CHECK: %[[ZERO:.*]] = arith.constant 0.000000e+00 : f32
// CHECK: vector.transfer_read %arg0[%arg1, %arg2], %[[ZERO]] {in_bounds = [false, true]} : tensor<7x4xf32>, vector<4x4xf32>
func.func @folded(%a: tensor<7x4xf32>, %i: index, %j: index) -> vector<4x4xf32> {
  %zero = arith.constant 0.0 : f32
  %any = ub.poison : f32
  %p = tensor.pad %a low[0, 0] high[1, 0] {
  ^bb0(%x: index, %y: index):
    tensor.yield %zero : f32
  } : tensor<7x4xf32> to tensor<8x4xf32>
  %v = vector.transfer_read %p[%i, %j], %any {in_bounds = [true, true]} : tensor<8x4xf32>, vector<4x4xf32>
  return %v : vector<4x4xf32>
}

// Padding at the low end moves the indices: left alone.
// CHECK-LABEL: func.func @low
// CHECK: tensor.pad
func.func @low(%a: tensor<7x4xf32>, %i: index, %j: index) -> vector<4x4xf32> {
  %zero = arith.constant 0.0 : f32
  %p = tensor.pad %a low[1, 0] high[0, 0] {
  ^bb0(%x: index, %y: index):
    tensor.yield %zero : f32
  } : tensor<7x4xf32> to tensor<8x4xf32>
  %v = vector.transfer_read %p[%i, %j], %zero {in_bounds = [true, true]} : tensor<8x4xf32>, vector<4x4xf32>
  return %v : vector<4x4xf32>
}

// A tile of dynamic size is folded likewise.
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

// What is kept of a write to the padded tensor is what was padded: the write goes there.
// CHECK-LABEL: func.func @cut
// CHECK-NOT: tensor.pad
// CHECK: %[[W:.*]] = vector.transfer_write %arg1, %arg0[%arg2, %c0] {in_bounds = [true, false]} : vector<4x8xf32>, tensor<8x5xf32>
// CHECK: return %[[W]]
func.func @cut(%c: tensor<8x5xf32>, %v: vector<4x8xf32>, %i: index) -> tensor<8x5xf32> {
  %c0 = arith.constant 0 : index
  %z = arith.constant 0.0 : f32
  %p = tensor.pad %c low[0, 0] high[0, 3] {
  ^bb0(%x: index, %y: index):
    tensor.yield %z : f32
  } : tensor<8x5xf32> to tensor<8x8xf32>
  %w = vector.transfer_write %v, %p[%i, %c0] {in_bounds = [true, true]} : vector<4x8xf32>, tensor<8x8xf32>
  %r = tensor.extract_slice %w[0, 0] [8, 5] [1, 1] : tensor<8x8xf32> to tensor<8x5xf32>
  return %r : tensor<8x5xf32>
}

// Less than what was padded is kept: left alone.
// CHECK-LABEL: func.func @less
// CHECK: tensor.pad
func.func @less(%c: tensor<8x5xf32>, %v: vector<8x8xf32>) -> tensor<8x4xf32> {
  %c0 = arith.constant 0 : index
  %z = arith.constant 0.0 : f32
  %p = tensor.pad %c low[0, 0] high[0, 3] {
  ^bb0(%x: index, %y: index):
    tensor.yield %z : f32
  } : tensor<8x5xf32> to tensor<8x8xf32>
  %w = vector.transfer_write %v, %p[%c0, %c0] {in_bounds = [true, true]} : vector<8x8xf32>, tensor<8x8xf32>
  %r = tensor.extract_slice %w[0, 0] [8, 4] [1, 1] : tensor<8x8xf32> to tensor<8x4xf32>
  return %r : tensor<8x4xf32>
}
