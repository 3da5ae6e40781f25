// Copies a 128x128 matrix tile by tile through dynamic shared memory: a tensor map, clusters of two.
!map = !nvgpu.tensormap.descriptor<tensor = memref<64x64xf16, 3>, swizzle = none, l2promo = l2promo_128b, oob = zero, interleave = none>
!bar = !nvgpu.mbarrier.group<memorySpace = #gpu.address_space<workgroup>, num_barriers = 1>
module attributes {gpu.container_module} {
  func.func @main(%a: memref<128x128xf16>, %out: memref<128x128xf16>) {
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %c64 = arith.constant 64 : index
    %bytes = arith.constant 8192 : i32
    %u = memref.cast %a : memref<128x128xf16> to memref<*xf16>
    %d = nvgpu.tma.create.descriptor %u box[%c64, %c64] : memref<*xf16> -> !map
    %p = builtin.unrealized_conversion_cast %d : !map to !llvm.ptr
    gpu.launch_func @kernels::@copy clusters in (%c2, %c1, %c1) blocks in (%c2, %c2, %c1) threads in (%c64, %c1, %c1)
      dynamic_shared_memory_size %bytes args(%p : !llvm.ptr, %out : memref<128x128xf16>)
    return
  }
  gpu.module @kernels {
    gpu.func @copy(%p: !llvm.ptr, %out: memref<128x128xf16>)
        kernel attributes {known_block_size = array<i32: 64, 1, 1>, known_cluster_size = array<i32: 2, 1, 1>} {
      %d = builtin.unrealized_conversion_cast %p : !llvm.ptr to !map
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %c64 = arith.constant 64 : index
      %tx = arith.constant 8192 : index
      %ticks = arith.constant 10000000 : index
      %false = arith.constant 0 : i1
      %t = gpu.thread_id x
      %bx = gpu.block_id x
      %by = gpu.block_id y
      %m = arith.muli %by, %c64 : index
      %n = arith.muli %bx, %c64 : index
      %first = arith.cmpi eq, %t, %c0 : index
      %bar = nvgpu.mbarrier.create -> !bar
      nvgpu.mbarrier.init %bar[%c0], %c1, predicate = %first : !bar
      gpu.barrier
      %dyn = gpu.dynamic_shared_memory : memref<?xi8, #gpu.address_space<workgroup>>
      %s = memref.view %dyn[%c0][] : memref<?xi8, #gpu.address_space<workgroup>> to memref<64x64xf16, #gpu.address_space<workgroup>>
      nvgpu.mbarrier.arrive.expect_tx %bar[%c0], %tx, predicate = %first : !bar
      nvgpu.tma.async.load %d[%n, %m], %bar[%c0] to %s, predicate = %first : !map, !bar -> memref<64x64xf16, #gpu.address_space<workgroup>>
      nvgpu.mbarrier.try_wait.parity %bar[%c0], %false, %ticks : !bar
      %col = arith.addi %n, %t : index
      scf.for %i = %c0 to %c64 step %c1 {
        %v = memref.load %s[%i, %t] : memref<64x64xf16, #gpu.address_space<workgroup>>
        %row = arith.addi %m, %i : index
        memref.store %v, %out[%row, %col] : memref<128x128xf16>
      }
      gpu.return
    }
  }
}
