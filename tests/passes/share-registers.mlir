// RUN: lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(promote-tma,warp-specialise{stages=3},share-registers)' | filecheck %s
// RUN: not lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(promote-tma,warp-specialise,share-registers{consumer=240})' 2>&1 | filecheck %s --check-prefix=MANY
// RUN: not lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(promote-tma,warp-specialise,share-registers{consumer=160})' 2>&1 | filecheck %s --check-prefix=FEWER
// RUN: not lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(promote-tma,ring,share-registers)' 2>&1 | filecheck %s --check-prefix=ROLES
// RUN: not lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(promote-tma,warp-specialise,share-registers,share-registers)' 2>&1 | filecheck %s --check-prefix=TWICE
// RUN: not lower opt %S/Inputs/tiles.mlir --pass-pipeline='builtin.module(share-registers{producer=36})' 2>&1 | filecheck %s --check-prefix=GRAIN

// All threads of a warpgroup change their registers, not only the one that asks.
// CHECK: scf.if
// CHECK-NEXT: nvvm.setmaxregister increase 232
// CHECK: } else {
// CHECK-NEXT: nvvm.setmaxregister decrease 40
// CHECK-NEXT: arith.cmpi eq
// CHECK-NEXT: scf.if

// MANY: 128 threads of 40 registers and 256 of 240 are 66560, of 64512: at most 232 for each of the latter
// FEWER: a thread starts with 168 registers: producers can only have fewer, consumers only more
// ROLES: looked for a launch whose threads have two roles; warp-specialise makes them
// TWICE: registers have been moved already
// GRAIN: registers are 24, 32, .. 256, found 36
