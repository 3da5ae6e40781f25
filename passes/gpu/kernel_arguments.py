"""Tells LLVM what the entry point promises of the buffers behind a kernel's pointers.

before:  llvm.func @main_kernel(%a: !llvm.ptr, %b: !llvm.ptr, ...) attributes {gpu.kernel, nvvm.kernel}
after:   llvm.func @main_kernel(%a: !llvm.ptr {llvm.align = 16, llvm.noalias, llvm.noundef, llvm.nonnull}, ...)

Every buffer is an allocation of its own that starts on 256 bytes, and the payload reads and writes them as `restrict`.
From the alignment LLVM proves which loads may be 16 bytes wide; without it they are made of single elements. A kernel
that waits for the one before it (`dependent-launches`) is not promised that nobody else writes its buffers: it would
read them before it has waited. One that moves registers between its threads is promised at least one workgroup a unit
(nvvm.minctasm): ptxas has to know how many registers it starts with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir


@dataclass(frozen=True)
class KernelArguments(Pass):
    """`align` is in bytes; the kernels are `llvm.func` in a `gpu.module` by now, their buffers bare pointers."""

    name: ClassVar[str] = "kernel-arguments"
    align: int = 16

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The default, where there is a kernel whose pointers nothing is promised of."""
        if any("llvm.nonnull" not in str(kernel.attributes) for kernel in mlir.walk(state, is_kernel)):
            yield cls()

    def apply(self, module: Any) -> None:
        kernels = mlir.walk(module, is_kernel)
        if not kernels:
            raise PassError("looked for an llvm.func that is a kernel in a gpu.module and found none")
        with mlir.scope():
            unit = ir.UnitAttr.get()
            bytes_ = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), self.align)
            promises = {"llvm.align": bytes_, "llvm.noalias": unit, "llvm.nonnull": unit, "llvm.noundef": unit}
            for kernel in kernels:
                left_out = {"llvm.noalias"} if waits(kernel) else set[str]()
                annotate(kernel, {name: promise for name, promise in promises.items() if name not in left_out})
                if mlir.walk(kernel, lambda op: op.operation.name == "nvvm.setmaxregister"):
                    kernel.attributes["nvvm.minctasm"] = ir.IntegerAttr.get(ir.IntegerType.get_signless(32), 1)


def is_kernel(op: Any) -> bool:
    """Whether an op is a kernel in the llvm dialect."""
    attributes = op.operation.attributes
    names = ("gpu.kernel", "nvvm.kernel", "rocdl.kernel")
    return op.operation.name == "llvm.func" and any(name in attributes for name in names)


def waits(kernel: Any) -> bool:
    """Whether a kernel starts early, and waits for what the launch before it writes."""
    return bool(mlir.walk(kernel, lambda op: op.operation.name == "nvvm.griddepcontrol" and "wait" in str(op)))


def annotate(kernel: Any, promises: dict[str, Any]) -> None:
    """Adds the promises to every pointer argument, keeping what is there."""
    arguments = list(kernel.regions[0].blocks[0].arguments)
    old = (
        list(kernel.attributes["arg_attrs"])
        if "arg_attrs" in kernel.attributes
        else [ir.DictAttr.get({})] * len(arguments)
    )
    new: list[Any] = []
    for argument, attributes in zip(arguments, old, strict=True):
        merged = {each.name: each.attr for each in attributes}
        if str(argument.type).startswith("!llvm.ptr"):
            merged |= promises
        new.append(ir.DictAttr.get(merged))
    kernel.attributes["arg_attrs"] = ir.ArrayAttr.get(new)
