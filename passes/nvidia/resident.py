"""Bounds a kernel's registers, so that several of its workgroups run on an SM at once.

before:  llvm.func @main_kernel(..) attributes {nvvm.kernel, nvvm.maxntid = array<i32: 256, 1, 1>}
after, with resident{workgroups=2}:
         llvm.func @main_kernel(..) attributes {nvvm.kernel, nvvm.maxntid = array<i32: 256, 1, 1>, nvvm.minctasm = 2}

While the warps of one workgroup wait at a barrier, those of another multiply. ptxas takes as many registers as its
schedule likes, up to 255; told of two workgroups of 256 threads it stays below 129 (PTX ISA, ".minnctapersm").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu.kernel_arguments import is_kernel

PROMISE = "nvvm.minctasm"


@dataclass(frozen=True)
class Resident(Pass):
    """`workgroups` is how many an SM has room for; the kernels are `llvm.func`, and have no such bound yet."""

    name: ClassVar[str] = "resident"
    workgroups: int = 2

    def __post_init__(self) -> None:
        if self.workgroups < 1:
            raise ValueError(f"workgroups is at least 1, found {self.workgroups}")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """Two or more workgroups, where there are kernels for NVIDIA's and none is bounded."""
        if target.family == "nvidia" and mlir.walk(state, is_kernel) and not mlir.walk(state, is_bounded):
            yield from (cls(count) for count in (2, 1, 3, 4))

    def apply(self, module: Any) -> None:
        kernels = mlir.walk(module, is_kernel)
        if not kernels:
            raise PassError("looked for an llvm.func that is a kernel in a gpu.module and found none")
        for kernel in kernels:
            if is_bounded(kernel):
                raise PassError(f"the kernel has {PROMISE} already", str(kernel.location))
        with mlir.scope():
            for kernel in kernels:
                kernel.attributes[PROMISE] = ir.IntegerAttr.get(ir.IntegerType.get_signless(32), self.workgroups)


def is_bounded(op: Any) -> bool:
    """Whether a kernel's registers are bounded by workgroups."""
    return PROMISE in op.operation.attributes
