"""Asks LLVM's scheduler to put memory operations between matrix instructions, evenly: `sched_group_barrier`.

before:  scf.for .. { LOADS; READS; MULTIPLY }
after:   scf.for .. { LOADS; READS; MULTIPLY
           rocdl.sched.group.barrier mfma_wmma, 2, 0
           rocdl.sched.group.barrier vmem_read, 1, 0
           rocdl.sched.group.barrier mfma_wmma, 2, 0
           rocdl.sched.group.barrier ds_read, 1, 0
           ..
         }

The alternative to `fence-products`, which keeps matrix instructions together. It is a wish: LLVM follows it as far as
the instructions depend on each other in that order. (With LLVM 22 the loads of the next tile then end right before
their wait, as without any wish: `fence-products` is what the default schedule has.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu.prefetch import READS, WRITES, in_workgroup

FENCES = ("amdgpu.sched_barrier", "rocdl.sched.group.barrier")


@dataclass(frozen=True)
class InterleaveProducts(Pass):
    """`products` is how many matrix instructions stand between two memory operations; 0: as many as there are."""

    name: ClassVar[str] = "interleave-products"
    products: int = 0

    def __post_init__(self) -> None:
        if self.products < 0:
            raise ValueError(f"products is at least 0, found {self.products}")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """Evenly, where there are matrix instructions and nothing is said of their schedule yet."""
        said = mlir.walk(state, lambda op: op.operation.name in FENCES)
        if blocks_of(state) and not said:
            yield from (cls(), cls(2), cls(4))

    def apply(self, module: Any) -> None:
        found = blocks_of(module)
        if not found:
            raise PassError("looked for amdgpu.mfma and found none; map-lanes makes them")
        if mlir.walk(module, lambda op: op.operation.name in FENCES):
            raise PassError("matrix instructions are fenced already: fence-products or this, not both")
        with mlir.scope():
            for block in found:
                interleave(block, self.products)


def blocks_of(root: Any) -> list[Any]:
    """The blocks that hold matrix instructions."""
    return list(dict.fromkeys(op.operation.block for op in mlir.walk(root, is_product)))


def is_product(op: Any) -> bool:
    """Whether an op is a matrix instruction."""
    return op.operation.name == "amdgpu.mfma"


def kind_of(op: Any) -> str | None:
    """What the scheduler calls a memory operation; None for anything else."""
    if op.name in READS:
        return "ds_read" if in_workgroup(op.operands[READS[op.name]]) else "vmem_read"
    if op.name in WRITES and in_workgroup(op.operands[WRITES[op.name]]):
        return "ds_write"
    return None


def interleave(block: Any, products: int) -> None:
    """Writes the wish at a block's end: its memory operations in their order, matrix instructions between."""
    ops = [op.operation for op in block.operations]
    last = max(n for n, op in enumerate(ops) if op.name == "gpu.barrier") if barrier_in(ops) else -1
    memory = [kind for op in ops[last + 1 :] if (kind := kind_of(op)) is not None]
    count = sum(is_product(op) for op in ops)
    each = products or max(1, count // max(1, len(memory)))
    rocdl = mlir.dialect("rocdl")
    with ir.InsertionPoint(ops[-1]):
        for kind in memory:
            if count >= each:
                rocdl.SchedGroupBarrier(mask("mfma_wmma"), each, 0)
                count -= each
            rocdl.SchedGroupBarrier(mask(kind), 1, 0)
        if count:
            rocdl.SchedGroupBarrier(mask("mfma_wmma"), count, 0)


def barrier_in(ops: list[Any]) -> bool:
    """Whether there is a barrier among some ops."""
    return any(op.name == "gpu.barrier" for op in ops)


def mask(kind: str) -> Any:
    """The scheduler's name for a kind of instruction."""
    return ir.Attribute.parse(f"#rocdl<sched_group_mask {kind}>")
