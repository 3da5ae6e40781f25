"""Puts the buffers of workgroup memory side by side into dynamic memory, of which a block can have more.

before:  gpu.launch .. workgroup(%a : memref<128x64xf16, #gpu.address_space<workgroup>>, %b : ..) { BODY(%a, %b) }
after:   gpu.launch .. dynamic_shared_memory_size 49152 {
           %all = gpu.dynamic_shared_memory
           %a = memref.view %all[0];  %b = memref.view %all[16384]
           BODY(%a, %b)
         }

A buffer declared in the kernel counts against 48 KiB; what the launch asks for may be 227 KiB. Tiles of tensor copies
begin on 1024 bytes, since their permutation repeats after so many (PTX ISA, "Swizzling modes").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from lowering import mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu.index import head
from lowering.passes.gpu.map_threads import is_launch

SIZE = 10  # the number of the operand group of gpu.launch that is the size of its dynamic memory
WORKGROUP = "#gpu.address_space<workgroup>"


@dataclass(frozen=True)
class DynamicWorkgroup(Pass):
    """`align` is in bytes, of every buffer; `most` is how many bytes a launch can ask for."""

    name: ClassVar[str] = "dynamic-workgroup"
    align: int = 1024
    most: int = 232448  # 227 KiB (CUDA C++ Programming Guide, compute capability 9.0)

    def __post_init__(self) -> None:
        if self.align < 16:
            raise ValueError(f"align is a number of bytes, at least 16, found {self.align}")
        if self.most < 1:
            raise ValueError(f"most is a number of bytes, at least 1, found {self.most}")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The default, where a launch has buffers."""
        if target.family == "nvidia" and any(buffers(launch) for launch in mlir.walk(state, is_launch)):
            yield cls()

    def apply(self, module: Any) -> None:
        launches = [op for op in mlir.walk(module, is_launch) if buffers(op)]
        if not launches:
            raise PassError("looked for a gpu.launch with workgroup buffers; promote makes them")
        for launch in launches:
            needed = [aligned(buffer, self.align) for buffer in buffers(launch)]
            if sum(needed) > self.most:
                parts = " + ".join(map(str, needed))
                types = ", ".join(words(buffer) for buffer in buffers(launch))
                raise PassError(
                    f"{parts} = {sum(needed)} bytes of workgroup memory ({types}), of {self.most}",
                    str(launch.location),
                    kind="resources",
                )
        with mlir.scope():
            for launch in launches:
                rebuild(launch, self.align)
        mlir.run(module, "canonicalize,cse")


def buffers(launch: Any) -> list[Any]:
    """The workgroup buffers of a launch."""
    count = launch.attributes["workgroup_attributions"].value if "workgroup_attributions" in launch.attributes else 0
    return list(launch.regions[0].blocks[0].arguments)[head(launch) : head(launch) + count]


def aligned(buffer: Any, align: int) -> int:
    """Bytes of a buffer, up to where the next one may begin."""
    bits = prod(buffer.type.shape) * buffer.type.element_type.width
    return -(-bits // 8 // align) * align


def words(buffer: Any) -> str:
    """A buffer's shape and element, as 4x1x128x64xbf16."""
    return "x".join(map(str, (*buffer.type.shape, buffer.type.element_type)))


def rebuild(launch: Any, align: int) -> None:
    """The launch anew, with dynamic memory for its buffers."""
    segments = list(launch.attributes["operandSegmentSizes"])
    if any(segments[SIZE:]):
        raise PassError("the launch has dynamic memory already", str(launch.location))
    old, gpu, i32 = launch.regions[0].blocks[0], mlir.dialect("gpu"), ir.IntegerType.get_signless(32)
    offsets, used = list[int](), 0
    for buffer in buffers(launch):
        offsets.append(used)
        used += aligned(buffer, align)
    with ir.InsertionPoint(launch):
        size = mlir.dialect("arith").ConstantOp(i32, ir.IntegerAttr.get(i32, used)).result
        attributes = {name: launch.attributes[name] for name in list(launch.attributes)}
        attributes.pop("workgroup_attributions", None)
        segments[SIZE] = 1
        attributes["operandSegmentSizes"] = ir.DenseI32ArrayAttr.get(segments)
        new = ir.Operation.create(
            "gpu.launch", [], [*launch.operands, size], attributes, regions=1, loc=launch.location
        )
    with ir.InsertionPoint.at_block_begin(old):
        every = ir.MemRefType.get(
            [ir.ShapedType.get_dynamic_size()], ir.IntegerType.get_signless(8), memory_space=space()
        )
        whole = gpu.DynamicSharedMemoryOp(every).result
        for buffer, offset in zip(buffers(launch), offsets, strict=True):
            at = mlir.dialect("arith").ConstantOp(ir.IndexType.get(), offset).result
            buffer.replace_all_uses_with(mlir.dialect("memref").ViewOp(buffer.type, whole, at, []).result)
    for number in reversed(range(head(launch), head(launch) + len(offsets))):
        old.erase_argument(number)
    old.append_to(new.regions[0])
    launch.erase()


def space() -> Any:
    """Workgroup memory."""
    return ir.Attribute.parse(WORKGROUP)
