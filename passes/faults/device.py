"""Kernels that take their device down: one never ends, one writes where no memory is. They cost a candidate, no more.

before:  nvgpu.tma.async.load ..  (the first one)        llvm.func @kernel(..) attributes {gpu.kernel} { BODY }
after:   test-drop-copy: nothing, so the barrier         test-wild-store: .. { llvm.store volatile 0, 16; BODY }
         waits for its bytes for ever
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import mlir
from lowering.core import PassError
from lowering.mlir import ir
from lowering.passes.faults.fault import Fault

NOWHERE = 16  # an address that no buffer has


@dataclass(frozen=True)
class DropCopy(Fault):
    """Removes the first tensor copy. What waits for the barrier that counts its bytes never goes on."""

    name: ClassVar[str] = "test-drop-copy"

    def apply(self, module: Any) -> None:
        """Raises PassError where there is no tensor copy."""
        copies = mlir.walk(module, lambda op: op.name == "nvgpu.tma.async.load")
        if not copies:
            raise PassError("looked for a tensor copy and found none")
        copies[0].erase()


@dataclass(frozen=True)
class WildStore(Fault):
    """Every thread of every kernel first writes to an address that is no memory."""

    name: ClassVar[str] = "test-wild-store"

    def apply(self, module: Any) -> None:
        """Raises PassError where no kernel is in the LLVM dialect."""
        kernels = mlir.walk(module, lambda op: op.name == "llvm.func" and "gpu.kernel" in op.attributes)
        if not kernels:
            raise PassError("looked for a kernel in the LLVM dialect and found none")
        llvm = mlir.dialect("llvm")
        with mlir.scope():
            i64 = ir.IntegerType.get_signless(64)
            for kernel in kernels:
                with ir.InsertionPoint.at_block_begin(kernel.regions[0].blocks[0]):
                    value = llvm.ConstantOp(i64, ir.IntegerAttr.get(i64, NOWHERE)).result
                    place = llvm.IntToPtrOp(ir.Type.parse("!llvm.ptr"), value).result
                    llvm.StoreOp(value, place, volatile_=True)
