"""Keeps each cluster of matrix instructions together: nothing moves into it, out of it or across it.

before:  READS
         amdgpu.mfma ..  (a run of them)
         READS
after:   READS
         amdgpu.sched_barrier allow = <none>
         rocdl.s.setprio 1
         amdgpu.mfma ..
         rocdl.s.setprio 0
         READS

LLVM's scheduler would otherwise move a load down to the wait for it. The priority also lets a wave that multiplies go
before one that loads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir

QUIET = ("vector.shuffle", "vector.extract", "vector.shape_cast", "vector.extract_strided_slice")  # of registers only


@dataclass(frozen=True)
class FenceProducts(Pass):
    """`priority` is that of a wave within a cluster, 1 to 3; 0 leaves priorities alone."""

    name: ClassVar[str] = "fence-products"
    priority: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.priority <= 3:
            raise ValueError(f"priority is 0 to 3, found {self.priority}")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """With and without priorities, where there are matrix instructions without fences."""
        if clusters(state) and not mlir.walk(state, lambda op: op.operation.name == "amdgpu.sched_barrier"):
            yield from (cls(), cls(0))

    def apply(self, module: Any) -> None:
        found = clusters(module)
        if not found:
            raise PassError("looked for amdgpu.mfma and found none; map-lanes makes them")
        rocdl, amdgpu = mlir.dialect("rocdl"), mlir.dialect("amdgpu")
        with mlir.scope():
            nothing = ir.Attribute.parse("#rocdl<sched_group_mask none>")  # may cross
            for first, last in found:
                with ir.InsertionPoint(first):
                    amdgpu.SchedBarrierOp(nothing)
                    if self.priority:
                        rocdl.SetPrioOp(self.priority)
                if self.priority:
                    with ir.InsertionPoint.after(last):
                        rocdl.SetPrioOp(0)


def clusters(root: Any) -> list[tuple[Any, Any]]:
    """First and last of each run of matrix instructions of a block with nothing but register moves between."""
    found: list[tuple[Any, Any]] = []
    for op in mlir.walk(root, lambda op: op.operation.name == "amdgpu.mfma"):
        one = op.operation
        if found and found[-1][1].block == one.block and quiet(found[-1][1], one):
            found[-1] = (found[-1][0], one)
        else:
            found.append((one, one))
    return found


def quiet(first: Any, last: Any) -> bool:
    """Whether only register moves lie between two ops of a block."""
    ops = [op.operation for op in first.block.operations]
    between = ops[ops.index(first) + 1 : ops.index(last)]
    return all(op.name in QUIET for op in between)
