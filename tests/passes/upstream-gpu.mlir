// RUN: lower opt %s --pass-pipeline='gpu.module(convert-gpu-to-rocdl{chipset=gfx942})' | filecheck %s

// A pass anchored on gpu.module: a lane's number becomes the chip's own instruction.
// CHECK-LABEL: gpu.module @kernels
// CHECK: llvm.func @k
// CHECK: rocdl.workitem.id.x
gpu.module @kernels {
  gpu.func @k(%out: memref<64xindex>) kernel {
    %i = gpu.thread_id x
    memref.store %i, %out[%i] : memref<64xindex>
    gpu.return
  }
}
