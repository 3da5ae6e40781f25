"""Hands tensor maps to kernels as pointers, which is what the LLVM dialect has for them.

before:  %m = nvgpu.tma.create.descriptor ..
         gpu.launch_func @main_kernel::@main_kernel .. args(%m : !nvgpu.tensormap.descriptor<..>)
         gpu.func @main_kernel(%m : !nvgpu.tensormap.descriptor<..>)
after:   %p = builtin.unrealized_conversion_cast %m : !nvgpu.tensormap.descriptor<..> to !llvm.ptr
         gpu.launch_func @main_kernel::@main_kernel .. args(%p : !llvm.ptr)
         gpu.func @main_kernel(%p : !llvm.ptr) { %m = builtin.unrealized_conversion_cast %p : .. }

The host function stays as it is: the launch plan reads from it what each map describes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir

MAP = "!nvgpu.tensormap.descriptor"


@dataclass(frozen=True)
class LowerTensorMaps(Pass):
    """Takes the launches and kernels that gpu-kernel-outlining has made."""

    name: ClassVar[str] = "lower-tensor-maps"

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where a kernel takes a tensor map."""
        if any(takes_maps(op) for op in mlir.walk(state, is_kernel)):
            yield cls()

    def apply(self, module: Any) -> None:
        kernels = [op for op in mlir.walk(module, is_kernel) if takes_maps(op)]
        if not kernels:
            raise PassError(
                "looked for a gpu.func that takes a tensor map and found none; gpu-kernel-outlining makes it"
            )
        with mlir.scope():
            pointer = ir.Type.parse("!llvm.ptr")
            for launch in mlir.walk(module, lambda op: op.operation.name == "gpu.launch_func"):
                with ir.InsertionPoint(launch):
                    for number, value in enumerate(list(launch.operands)):
                        if str(value.type).startswith(MAP):
                            launch.operands[number] = cast(value, pointer)
            for kernel in kernels:
                narrow(kernel, pointer)


def is_kernel(op: Any) -> bool:
    """Whether an op is a kernel in the gpu dialect."""
    return op.operation.name == "gpu.func"


def takes_maps(kernel: Any) -> bool:
    """Whether a kernel has a tensor map among its arguments."""
    return any(str(argument.type).startswith(MAP) for argument in kernel.regions[0].blocks[0].arguments)


def cast(value: Any, kind: Any) -> Any:
    """A value as another type, until a conversion has both."""
    return ir.Operation.create("builtin.unrealized_conversion_cast", [kind], [value]).results[0]


def narrow(kernel: Any, pointer: Any) -> None:
    """Changes the type of a kernel's tensor maps, here and in its signature."""
    block = kernel.regions[0].blocks[0]
    for argument in block.arguments:
        kind = argument.type
        if not str(kind).startswith(MAP):
            continue
        argument.set_type(pointer)
        with ir.InsertionPoint.at_block_begin(block):
            value = cast(argument, kind)
        argument.replace_all_uses_except(value, value.owner.operation)
    inputs = list(ir.FunctionType(kernel.attributes["function_type"].value).inputs)
    inputs = [pointer if str(kind).startswith(MAP) else kind for kind in inputs]
    kernel.attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get(inputs, []))
