// RUN: lower opt %S/Inputs/warpgroup.mlir --pass-pipeline='builtin.module(promote-tma,wgmma)' | filecheck %s
// RUN: not lower opt %S/Inputs/warpgroup.mlir --pass-pipeline='builtin.module(wgmma)' 2>&1 | filecheck %s --check-prefix=PLAIN
// RUN: sed 's/64x128xf32>/64x264xf32>/g; s/64x128xf16>/64x264xf16>/g; s/256x128/256x264/g; s/128x128/128x264/g' %S/Inputs/warpgroup.mlir > %t && not lower opt %t --pass-pipeline='builtin.module(promote-tma,wgmma)' 2>&1 | filecheck %s --check-prefix=WIDE
// RUN: lower opt %S/Inputs/warpgroup.mlir --pass-pipeline='builtin.module(promote-tma,wgmma{blocks=2})' | filecheck %s --check-prefix=STAGED
// RUN: sed 's/128x128xf16/128x128xf8E5M2/; s/to vector<64x128xf16>/to vector<64x128xf8E5M2>/; s/vector<64x128xf16>, memref/vector<64x128xf8E5M2>, memref/' %S/Inputs/warpgroup.mlir > %t2 && not lower opt %t2 --pass-pipeline='builtin.module(promote-tma,wgmma{blocks=2})' 2>&1 | filecheck %s --check-prefix=SHORT

// The copies exchange chunks now; 16 of K an instruction; A advances by 32 bytes (2 of 16), B by 16 rows (128 of 16).
// CHECK: swizzle = swizzle_128b
// CHECK: swizzle = swizzle_128b
// CHECK: gpu.launch
// The strides and, for B, where the next 64 columns lie: 1 << 62 | 64 << 32 | 1 << 16, and 512 << 16.
// CHECK: nvvm.shfl.sync
// CHECK: %[[A:.*]] = arith.ori %{{.*}}, %c4611686293305360384_i64
// CHECK: nvvm.shfl.sync
// CHECK: %[[B:.*]] = arith.ori %{{.*}}, %c4611686293338849280_i64
// CHECK: %[[R:.*]] = scf.for {{.*}} iter_args(%[[ACC:.*]] = %{{.*}}) -> (!llvm.struct<
// CHECK: nvvm.wgmma.fence.aligned
// CHECK-NEXT: %[[D:.*]] = nvvm.wgmma.mma_async %[[A]], %[[B]], %[[ACC]], <m = 64, n = 128, k = 16>, D[<f32>, <one>], A[<f16>, <one>, <row>], B[<f16>, <one>, <row>]
// CHECK: %[[B1:.*]] = arith.addi %[[B]], %c128_i64
// CHECK: %[[A1:.*]] = arith.addi %[[A]], %c2_i64
// CHECK: nvvm.wgmma.mma_async %[[A1]], %[[B1]], %[[D]]
// CHECK-COUNT-2: nvvm.wgmma.mma_async
// CHECK-NOT: nvvm.wgmma.mma_async
// CHECK: nvvm.wgmma.commit.group.sync.aligned
// CHECK-NEXT: nvvm.wgmma.wait.group.sync.aligned 0
// Two neighbouring columns a store, 32 a thread: rows 0 and 8 of its warp, 16 pairs of columns.
// CHECK: llvm.extractvalue %[[R]][0]
// CHECK: llvm.extractvalue %[[R]][1]
// CHECK: arith.truncf %{{.*}} : vector<1x2xf32> to vector<1x2xf16>
// CHECK-COUNT-32: vector.transfer_write
// CHECK-NOT: vector.transfer_write

// PLAIN: input a is not read from a tile that the tensor memory accelerator fills; promote-tma does
// WIDE: boxes are of at most 256 rows and of 64 columns

// Two blocks of 64 columns a warpgroup: eight stmatrix between two meetings of its 128 threads, copies by one of them.
// STAGED: nvgpu.tma.create.descriptor {{.*}} box[%c64, %c64] {{.*}} <tensor = memref<64x64xf16, 3>, swizzle = swizzle_128b
// STAGED: workgroup({{.*}} : memref<2x2x64x64xf16, #gpu.address_space<workgroup>>)
// STAGED: nvvm.cp.async.bulk.wait_group 0 {read}
// STAGED: nvvm.barrier id = %[[ID:.*]] number_of_threads = %c128_i32
// STAGED-COUNT-8: nvvm.stmatrix
// STAGED-NOT: nvvm.stmatrix
// STAGED: nvvm.fence.proxy
// STAGED: nvvm.barrier id = %[[ID]] number_of_threads = %c128_i32
// STAGED-COUNT-2: nvgpu.tma.async.store
// STAGED: nvvm.cp.async.bulk.commit.group
// STAGED: nvvm.cp.async.bulk.wait_group 0
// STAGED-NOT: vector.transfer_write

// SHORT: blocks are of elements of 16 or 32 bits in rows of 128 bytes, found 128 of 8 bits
