#map = affine_map<()[s0] -> (s0 * 16)>
#map1 = affine_map<()[s0] -> (s0 * 2)>
#map2 = affine_map<()[s0, s1] -> (s0 * 16 + s1 * 2)>
#map3 = affine_map<()[s0, s1] -> (s0 * 16 + s1 * 2 + 1)>
#map4 = affine_map<(d0) -> (d0 + 1)>
#map5 = affine_map<(d0) -> (d0 + 2)>
#map6 = affine_map<(d0) -> (d0 + 3)>
#map7 = affine_map<()[s0] -> (s0 * 2 + 1)>
module attributes {gpu.container_module} {
  func.func @main(%arg0: memref<64x64xf32>, %arg1: memref<64x64xf32>, %arg2: memref<64x64xf32>) {
    %cst = arith.constant dense<0.000000e+00> : vector<2xf32>
    %0 = ub.poison : f32
    %c4 = arith.constant 4 : index
    %c64 = arith.constant 64 : index
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c8 = arith.constant 8 : index
    gpu.launch_func  @main_kernel::@main_kernel blocks in (%c4, %c4, %c1) threads in (%c8, %c8, %c1)  args(%arg2 : memref<64x64xf32>, %cst : vector<2xf32>, %c0 : index, %c1 : index, %arg0 : memref<64x64xf32>, %0 : f32, %arg1 : memref<64x64xf32>, %c64 : index, %c4 : index)
    return
  }
  gpu.module @main_kernel {
    gpu.func @main_kernel(%arg0: memref<64x64xf32>, %arg1: vector<2xf32>, %arg2: index, %arg3: index, %arg4: memref<64x64xf32>, %arg5: f32, %arg6: memref<64x64xf32>, %arg7: index, %arg8: index) kernel attributes {known_block_size = array<i32: 8, 8, 1>, known_grid_size = array<i32: 4, 4, 1>} {
      %block_id_x = gpu.block_id x
      %block_id_y = gpu.block_id y
      %block_id_z = gpu.block_id z
      %thread_id_x = gpu.thread_id x
      %thread_id_y = gpu.thread_id y
      %thread_id_z = gpu.thread_id z
      %grid_dim_x = gpu.grid_dim x
      %grid_dim_y = gpu.grid_dim y
      %grid_dim_z = gpu.grid_dim z
      %block_dim_x = gpu.block_dim x
      %block_dim_y = gpu.block_dim y
      %block_dim_z = gpu.block_dim z
      %block_id_x_0 = gpu.block_id x
      %block_id_y_1 = gpu.block_id y
      %0 = affine.apply #map()[%block_id_y_1]
      %1 = affine.apply #map()[%block_id_x_0]
      %subview = memref.subview %arg0[%0, %1] [16, 16] [1, 1] : memref<64x64xf32> to memref<16x16xf32, strided<[64, 1], offset: ?>>
      %thread_id_x_2 = gpu.thread_id x
      %thread_id_y_3 = gpu.thread_id y
      %2 = affine.apply #map1()[%thread_id_y_3]
      %3 = affine.apply #map1()[%thread_id_x_2]
      %subview_4 = memref.subview %subview[%2, %3] [2, 2] [1, 1] : memref<16x16xf32, strided<[64, 1], offset: ?>> to memref<2x2xf32, strided<[64, 1], offset: ?>>
      vector.transfer_write %arg1, %subview_4[%arg2, %arg2] {in_bounds = [true]} : vector<2xf32>, memref<2x2xf32, strided<[64, 1], offset: ?>>
      vector.transfer_write %arg1, %subview_4[%arg3, %arg2] {in_bounds = [true]} : vector<2xf32>, memref<2x2xf32, strided<[64, 1], offset: ?>>
      gpu.barrier
      scf.for %arg9 = %arg2 to %arg7 step %arg8 {
        %4 = affine.apply #map2()[%block_id_y_1, %thread_id_y_3]
        %5 = vector.transfer_read %arg4[%4, %arg9], %arg5 {in_bounds = [true]} : memref<64x64xf32>, vector<4xf32>
        %6 = affine.apply #map3()[%block_id_y_1, %thread_id_y_3]
        %7 = vector.transfer_read %arg4[%6, %arg9], %arg5 {in_bounds = [true]} : memref<64x64xf32>, vector<4xf32>
        %8 = affine.apply #map2()[%block_id_x_0, %thread_id_x_2]
        %9 = vector.transfer_read %arg6[%arg9, %8], %arg5 {in_bounds = [true]} : memref<64x64xf32>, vector<2xf32>
        %10 = affine.apply #map4(%arg9)
        %11 = vector.transfer_read %arg6[%10, %8], %arg5 {in_bounds = [true]} : memref<64x64xf32>, vector<2xf32>
        %12 = affine.apply #map5(%arg9)
        %13 = vector.transfer_read %arg6[%12, %8], %arg5 {in_bounds = [true]} : memref<64x64xf32>, vector<2xf32>
        %14 = affine.apply #map6(%arg9)
        %15 = vector.transfer_read %arg6[%14, %8], %arg5 {in_bounds = [true]} : memref<64x64xf32>, vector<2xf32>
        %16 = affine.apply #map1()[%thread_id_y_3]
        %17 = vector.transfer_read %subview[%16, %3], %arg5 {in_bounds = [true]} : memref<16x16xf32, strided<[64, 1], offset: ?>>, vector<2xf32>
        %18 = affine.apply #map7()[%thread_id_y_3]
        %19 = vector.transfer_read %subview[%18, %3], %arg5 {in_bounds = [true]} : memref<16x16xf32, strided<[64, 1], offset: ?>>, vector<2xf32>
        %20 = vector.extract %5[0] : f32 from vector<4xf32>
        %21 = vector.broadcast %20 : f32 to vector<2xf32>
        %22 = vector.fma %21, %9, %17 : vector<2xf32>
        %23 = vector.extract %7[0] : f32 from vector<4xf32>
        %24 = vector.broadcast %23 : f32 to vector<2xf32>
        %25 = vector.fma %24, %9, %19 : vector<2xf32>
        %26 = vector.extract %5[1] : f32 from vector<4xf32>
        %27 = vector.broadcast %26 : f32 to vector<2xf32>
        %28 = vector.fma %27, %11, %22 : vector<2xf32>
        %29 = vector.extract %7[1] : f32 from vector<4xf32>
        %30 = vector.broadcast %29 : f32 to vector<2xf32>
        %31 = vector.fma %30, %11, %25 : vector<2xf32>
        %32 = vector.extract %5[2] : f32 from vector<4xf32>
        %33 = vector.broadcast %32 : f32 to vector<2xf32>
        %34 = vector.fma %33, %13, %28 : vector<2xf32>
        %35 = vector.extract %7[2] : f32 from vector<4xf32>
        %36 = vector.broadcast %35 : f32 to vector<2xf32>
        %37 = vector.fma %36, %13, %31 : vector<2xf32>
        %38 = vector.extract %5[3] : f32 from vector<4xf32>
        %39 = vector.broadcast %38 : f32 to vector<2xf32>
        %40 = vector.fma %39, %15, %34 : vector<2xf32>
        %41 = vector.extract %7[3] : f32 from vector<4xf32>
        %42 = vector.broadcast %41 : f32 to vector<2xf32>
        %43 = vector.fma %42, %15, %37 : vector<2xf32>
        %44:2 = vector.to_elements %40 : vector<2xf32>
        %45:2 = vector.to_elements %43 : vector<2xf32>
        %46 = vector.from_elements %44#0, %44#1, %45#0, %45#1 : vector<2x2xf32>
        %47 = vector.extract %46[0] : vector<2xf32> from vector<2x2xf32>
        vector.transfer_write %47, %subview_4[%arg2, %arg2] {in_bounds = [true]} : vector<2xf32>, memref<2x2xf32, strided<[64, 1], offset: ?>>
        %48 = vector.extract %46[1] : vector<2xf32> from vector<2x2xf32>
        vector.transfer_write %48, %subview_4[%arg3, %arg2] {in_bounds = [true]} : vector<2xf32>, memref<2x2xf32, strided<[64, 1], offset: ?>>
        gpu.barrier
      }
      gpu.return
    }
  }
}

