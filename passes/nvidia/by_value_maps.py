"""Makes tensor maps parameters of the kernel themselves, not pointers to device memory.

before:  llvm.func @main_kernel(%m: !llvm.ptr {llvm.align = 16, llvm.noalias, ..}) { nvvm.cp.async.bulk.tensor.. %m .. }
after:   llvm.func @main_kernel(%m: !llvm.ptr {llvm.align = 64, llvm.byval = !llvm.array<16 x i64>, nvvm.grid_constant})

A map in the constant bank comes with the launch; one in device memory is read from there by the first copy of every
unit, and the first product waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import mlir
from lowering.core import Pass, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu.kernel_arguments import is_kernel

USES = ("nvvm.cp.async.bulk.tensor", "nvvm.prefetch")
# (CUDA driver API, CUtensorMap) 128 bytes, aligned to 64
MAP = "{llvm.align = 64 : i64, llvm.byval = !llvm.array<16 x i64>, nvvm.grid_constant}"


@dataclass(frozen=True)
class ByValueMaps(Pass):
    """Takes the kernels that are `llvm.func` in a `gpu.module` by now; one without maps stays as it is."""

    name: ClassVar[str] = "by-value-maps"

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where a kernel's pointer is one to a tensor map."""
        if any(maps(kernel) for kernel in mlir.walk(state, is_kernel)):
            yield cls()

    def apply(self, module: Any) -> None:
        kernels = [(kernel, found) for kernel in mlir.walk(module, is_kernel) if (found := maps(kernel))]
        with mlir.scope():
            for kernel, found in kernels:
                count = len(kernel.regions[0].blocks[0].arguments)
                old = list(kernel.attributes["arg_attrs"]) if "arg_attrs" in kernel.attributes else [None] * count
                new = [ir.Attribute.parse(MAP) if number in found else each for number, each in enumerate(old)]
                kernel.attributes["arg_attrs"] = ir.ArrayAttr.get([each or ir.DictAttr.get({}) for each in new])


def maps(kernel: Any) -> set[int]:
    """The numbers of a kernel's arguments that are pointers to tensor maps, as their uses say."""
    return {
        number
        for number, argument in enumerate(kernel.regions[0].blocks[0].arguments)
        if str(argument.type) == "!llvm.ptr" and list(argument.uses) and all(map(takes_map, argument.uses))
        if not by_value(kernel, number)
    }


def takes_map(use: Any) -> bool:
    """Whether a pointer is used as one to a tensor map: by a copy, or by the text of one that a thread may skip."""
    op = use.owner.operation
    text = op.attributes["asm_string"].value if op.name == "llvm.inline_asm" else ""
    return op.name.startswith(USES) or "cp.async.bulk.tensor" in text


def by_value(kernel: Any, number: int) -> bool:
    """Whether an argument is no pointer but what it points to."""
    return "arg_attrs" in kernel.attributes and "llvm.byval" in kernel.attributes["arg_attrs"][number]
