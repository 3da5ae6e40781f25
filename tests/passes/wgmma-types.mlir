// RUN: lower opt %S/Inputs/warpgroup_f8.mlir --pass-pipeline='builtin.module(promote-tma,wgmma)' | filecheck %s --check-prefix=E4M3
// RUN: sed 's/f8E4M3FN/f8E5M2/g' %S/Inputs/warpgroup_f8.mlir > %t && lower opt %t --pass-pipeline='builtin.module(promote-tma,wgmma)' | filecheck %s --check-prefix=E5M2
// RUN: lower opt %S/Inputs/warpgroup_i8.mlir --pass-pipeline='builtin.module(promote-tma,wgmma)' | filecheck %s --check-prefix=S8
// RUN: sed 's/extsi/extui/' %S/Inputs/warpgroup_i8.mlir > %t1 && not lower opt %t1 --pass-pipeline='builtin.module(promote-tma,wgmma)' 2>&1 | filecheck %s --check-prefix=UNSIGNED
// RUN: sed 's/dense<0>/dense<1>/' %S/Inputs/warpgroup_i8.mlir > %t2 && not lower opt %t2 --pass-pipeline='builtin.module(promote-tma,wgmma)' 2>&1 | filecheck %s --check-prefix=START
// RUN: lower opt %S/Inputs/warpgroup_f32.mlir --pass-pipeline='builtin.module(promote-tma{round=true},wgmma{truncate=true})' | filecheck %s --check-prefix=TF32
// RUN: lower opt %S/Inputs/warpgroup_f32.mlir --pass-pipeline='builtin.module(promote-tma,wgmma{truncate=true})' | filecheck %s --check-prefix=CUT
// RUN: not lower opt %S/Inputs/warpgroup_f32.mlir --pass-pipeline='builtin.module(promote-tma,wgmma)' 2>&1 | filecheck %s --check-prefix=PLAIN
// RUN: not lower opt %S/Inputs/warpgroup_i8.mlir --pass-pipeline='builtin.module(promote-tma{round=true})' 2>&1 | filecheck %s --check-prefix=ROUND
// RUN: lower opt %S/Inputs/warpgroup_f32.mlir --pass-pipeline='builtin.module(promote-tma,wgmma{truncate=true blocks=2})' | filecheck %s --check-prefix=PAIRS
// RUN: lower opt %S/Inputs/warpgroup_i8.mlir --pass-pipeline='builtin.module(promote-tma,wgmma{blocks=2})' | filecheck %s --check-prefix=INTEGERS

// 32 elements of one byte an instruction: 32 bytes of each row, as with 16 of two bytes.
// E4M3: nvgpu.tma.create.descriptor {{.*}} <tensor = memref<128x128xf8E4M3FN, 3>, swizzle = swizzle_128b
// E4M3: %[[D:.*]] = nvvm.wgmma.mma_async %[[A:.*]], %[[B:.*]], %{{.*}}, <m = 64, n = 128, k = 32>, D[<f32>, <one>], A[<e4m3>, <one>, <row>], B[<e4m3>, <one>, <col>]
// E4M3: %[[B1:.*]] = arith.addi %[[B]], %c2_i64
// E4M3: %[[A1:.*]] = arith.addi %[[A]], %c2_i64
// E4M3: nvvm.wgmma.mma_async %[[A1]], %[[B1]], %[[D]]
// E4M3-COUNT-2: nvvm.wgmma.mma_async
// E4M3-NOT: nvvm.wgmma.mma_async
// E4M3-NOT: arith.extf
// E4M3: arith.truncf %{{.*}} : vector<1x2xf32> to vector<1x2xbf16>

// E5M2: nvvm.wgmma.mma_async {{.*}} <m = 64, n = 128, k = 32>, D[<f32>, <one>], A[<e5m2>, <one>, <row>], B[<e5m2>, <one>, <col>]

// S8: nvvm.wgmma.mma_async {{.*}} <m = 64, n = 128, k = 32>, D[<s32>, <one>], A[<s8>, <one>, <row>], B[<s8>, <one>, <col>] : !llvm.struct<(i32, i32,
// S8: llvm.extractvalue %{{.*}}[0] : !llvm.struct<(i32,
// S8: vector.transfer_write %{{.*}} : vector<1x2xi32>, memref<128x128xi32>

// UNSIGNED: input a is not read from a tile
// START: the sum does not start from zero

// The copies of A and B round, that of C has nothing to round.
// TF32-COUNT-2: nvgpu.tma.create.descriptor {{.*}} {lower.multiplied = "tf32"}
// TF32: nvvm.wgmma.mma_async {{.*}} <m = 64, n = 128, k = 8>, D[<f32>, <one>], A[<tf32>, <one>, <row>], B[<tf32>, <one>, <col>]

// CUT-NOT: lower.multiplied
// CUT: A[<tf32>, <one>, <row>]

// PLAIN: there is no wgmma for f32; truncate=true multiplies it as tf32
// ROUND: copies round f32 to tf32, not i8

// Blocks of 32 columns, four for 128; of each a thread stores two rows of four pairs, odd rows those 16 columns ahead.
// PAIRS-COUNT-2: nvgpu.tma.create.descriptor
// PAIRS: nvgpu.tma.create.descriptor {{.*}} box[%c64, %c32] {{.*}} <tensor = memref<64x32xf32, 3>, swizzle = swizzle_128b
// PAIRS: workgroup({{.*}} : memref<2x2x64x32xf32, #gpu.address_space<workgroup>>)
// PAIRS: nvvm.cp.async.bulk.wait_group 0 {read}
// PAIRS: %[[FIRST:.*]] = arith.select %[[ODD:.*]], %[[AHEAD:.*]], %[[OWN:.*]] : vector<2xf32>
// PAIRS: llvm.store %[[FIRST]], %{{.*}} {alignment = 8 : i64} : vector<2xf32>, !llvm.ptr<3>
// PAIRS-COUNT-3: llvm.store
// PAIRS: arith.select %[[ODD]], %[[OWN]], %[[AHEAD]] : vector<2xf32>
// PAIRS-COUNT-12: llvm.store
// PAIRS-NOT: llvm.store
// PAIRS: nvvm.fence.proxy
// PAIRS-COUNT-2: nvgpu.tma.async.store
// PAIRS: nvvm.cp.async.bulk.commit.group
// PAIRS-COUNT-16: llvm.store
// PAIRS-NOT: llvm.store
// PAIRS: nvvm.cp.async.bulk.wait_group 0
// PAIRS-NOT: vector.transfer_write

// INTEGERS: arith.select %{{.*}} : vector<2xi32>
// INTEGERS: nvgpu.tma.async.store %{{.*}} : memref<64x32xi32
