// RUN: lower opt %s --pass-pipeline='test-read-past-tile' | filecheck %s
// RUN: lower opt %s --pass-pipeline='expand-strided-metadata,finalize-memref-to-llvm,convert-vector-to-llvm,test-read-past-tile' | filecheck %s --check-prefix=LLVM

// CHECK: %[[NEXT:.*]] = arith.addi %arg3, %{{.*}} : index
// CHECK: memref.load %arg0[%[[NEXT]]]
// LLVM: %[[P:.*]] = llvm.getelementptr %{{.*}}[1] : (!llvm.ptr) -> !llvm.ptr, f32
// LLVM-NEXT: llvm.load %[[P]]
func.func @main(%a: memref<16xf32>, %b: vector<8xf32>, %c: vector<8xf32>, %i: index) -> vector<8xf32> {
  %x = memref.load %a[%i] : memref<16xf32>
  %v = vector.broadcast %x : f32 to vector<8xf32>
  %r = vector.fma %v, %b, %c : vector<8xf32>
  return %r : vector<8xf32>
}
