// A copy in a branch of its own: which thread does it says a condition.
func.func @main(%a: memref<64xf16>, %out: memref<64xf16>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %c32 = arith.constant 32 : index
  %c64 = arith.constant 64 : index
  gpu.launch blocks(%g, %g1, %g2) in (%n0 = %c1, %n1 = %c1, %n2 = %c1) threads(%t, %t1, %t2) in (%m0 = %c64, %m1 = %c1, %m2 = %c1)
      workgroup(%w : memref<2x64xf16, #gpu.address_space<workgroup>>) {
    %first = arith.cmpi ult, %t, %c32 : index
    %r = scf.for %k = %c0 to %c64 step %c32 iter_args(%acc = %c0) -> (index) {
      %x = memref.load %a[%k] : memref<64xf16>
      memref.store %x, %w[%c0, %t] : memref<2x64xf16, #gpu.address_space<workgroup>>
      scf.if %first {
        memref.store %x, %w[%c1, %t] : memref<2x64xf16, #gpu.address_space<workgroup>>
      }
      gpu.barrier
      %y = memref.load %w[%c1, %k] : memref<2x64xf16, #gpu.address_space<workgroup>>
      scf.yield %acc : index
    } {lower.role = "k"}
    gpu.terminator
  }
  return
}
