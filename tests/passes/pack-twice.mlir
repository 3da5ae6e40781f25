// RUN: not lower opt %s --pass-pipeline='builtin.module(generalize-contraction,tile-registers{mr=4 nr=8},pack{operand=b},pack{operand=b})' 2>&1 | filecheck %s
// RUN: not lower opt %s --pass-pipeline='builtin.module(generalize-contraction,tile-registers{mr=4 nr=8},test-read-past-tile,pack,pack{operand=b})' 2>&1 | filecheck %s --check-prefix=OFFSET

// Panels are no cache block, and a slice that begins elsewhere than its tile is in two panels.
// CHECK: operand b is packed already
// OFFSET: the operand's slice does not begin where its register tile does
func.func @main(%a: tensor<16x32xf32>, %b: tensor<32x24xf32>, %c: tensor<16x24xf32>) -> tensor<16x24xf32> {
  %r = linalg.matmul ins(%a, %b : tensor<16x32xf32>, tensor<32x24xf32>) outs(%c : tensor<16x24xf32>) -> tensor<16x24xf32>
  return %r : tensor<16x24xf32>
}
