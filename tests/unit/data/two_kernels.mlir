// out = 2a + 1 by way of a workspace that starts at zero; both kernels and both shared arrays have the same name.
module attributes {gpu.container_module} {
  func.func @main(%a: memref<64xf32>, %out: memref<64xf32>) {
    %c1 = arith.constant 1 : index
    %c64 = arith.constant 64 : index
    %zero = arith.constant 0.0 : f32
    %one = arith.constant 1.0 : f32
    %sum = memref.alloc() : memref<64xf32>
    gpu.memset %sum, %zero : memref<64xf32>, f32
    gpu.launch_func @first::@kernel blocks in (%c1, %c1, %c1) threads in (%c64, %c1, %c1) args(%a : memref<64xf32>, %sum : memref<64xf32>)
    gpu.launch_func @first::@kernel blocks in (%c1, %c1, %c1) threads in (%c64, %c1, %c1) args(%a : memref<64xf32>, %sum : memref<64xf32>)
    gpu.launch_func @second::@kernel blocks in (%c1, %c1, %c1) threads in (%c64, %c1, %c1) args(%sum : memref<64xf32>, %one : f32, %out : memref<64xf32>)
    memref.dealloc %sum : memref<64xf32>
    return
  }
  gpu.module @first {
    gpu.func @kernel(%a: memref<64xf32>, %sum: memref<64xf32>) workgroup(%s : memref<64xf32, #gpu.address_space<workgroup>>) kernel attributes {known_block_size = array<i32: 64, 1, 1>} {
      %c63 = arith.constant 63 : index
      %t = gpu.thread_id x
      %u = arith.subi %c63, %t : index
      %x = memref.load %a[%u] : memref<64xf32>
      memref.store %x, %s[%u] : memref<64xf32, #gpu.address_space<workgroup>>
      gpu.barrier
      %y = memref.load %s[%t] : memref<64xf32, #gpu.address_space<workgroup>>
      %z = memref.load %sum[%t] : memref<64xf32>
      %w = arith.addf %y, %z : f32
      memref.store %w, %sum[%t] : memref<64xf32>
      gpu.return
    }
  }
  gpu.module @second {
    gpu.func @kernel(%sum: memref<64xf32>, %one: f32, %out: memref<64xf32>) workgroup(%s : memref<128xf32, #gpu.address_space<workgroup>>) kernel attributes {known_block_size = array<i32: 64, 1, 1>} {
      %c64 = arith.constant 64 : index
      %c63 = arith.constant 63 : index
      %t = gpu.thread_id x
      %u = arith.subi %c63, %t : index
      %hi = arith.addi %u, %c64 : index
      %x = memref.load %sum[%u] : memref<64xf32>
      memref.store %x, %s[%hi] : memref<128xf32, #gpu.address_space<workgroup>>
      gpu.barrier
      %ti = arith.addi %t, %c64 : index
      %y = memref.load %s[%ti] : memref<128xf32, #gpu.address_space<workgroup>>
      %w = arith.addf %y, %one : f32
      memref.store %w, %out[%t] : memref<64xf32>
      gpu.return
    }
  }
}
