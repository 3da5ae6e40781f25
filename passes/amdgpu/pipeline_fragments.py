"""Reads what a cluster of matrix instructions needs from workgroup memory one cluster ahead.

before:  READ fragments of slice 0;  MULTIPLY slice 0;  READ fragments of slice 1;  MULTIPLY slice 1
after:   READ fragments of slice 0;  READ fragments of slice 1;  MULTIPLY slice 0;  MULTIPLY slice 1

A read moves no further than the last barrier before it. It costs the registers of one more slice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find
from lowering.core import Pass, PassError, Problem, Target
from lowering.passes.amdgpu.fence_products import clusters
from lowering.passes.gpu.direct_copies import GATHER
from lowering.passes.gpu.prefetch import READS, WRITES, in_workgroup

STOPS = frozenset({GATHER, "gpu.barrier", "scf.for", "scf.if", "scf.while"})


@dataclass(frozen=True)
class PipelineFragments(Pass):
    """`ahead` is how many clusters earlier a read is made."""

    name: ClassVar[str] = "pipeline-fragments"
    ahead: int = 1

    def __post_init__(self) -> None:
        if self.ahead < 1:
            raise ValueError(f"ahead is at least 1, found {self.ahead}")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """One and two clusters ahead, where there are clusters with reads between them."""
        if any(moves(clusters(state), number, 1) for number in range(1, len(clusters(state)))):
            yield from (cls(), cls(2))

    def apply(self, module: Any) -> None:
        found = clusters(module)
        if not found:
            raise PassError("looked for amdgpu.mfma and found none; map-lanes makes them")
        for number in range(1, len(found)):
            for op, before in moves(found, number, self.ahead):
                op.move_before(before)


def moves(found: list[tuple[Any, Any]], number: int, ahead: int) -> list[tuple[Any, Any]]:
    """The ops between a cluster and the one before it that its reads are made of, and what to move each before."""
    first = found[number][0]
    ops = [op.operation for op in first.block.operations]
    stop = ops.index(first)
    start = stop
    earlier = [each for each in found[max(0, number - ahead) : number] if each[0].block == first.block]
    if not earlier:
        return []
    place = ops.index(earlier[0][0])
    while start > place + 1 and not blocks(ops[start - 1]):
        start -= 1
    if start > place + 1:  # something in between that no read may pass
        place = start
    target = ops[place]
    reads = [op for op in ops[start:stop] if op.name in READS and in_workgroup(op.operands[READS[op.name]])]
    needed: set[Any] = set()
    for read in reads:
        needed |= find.reaching(read.results[0], first.parent.operation)
    used = [op for op in ops[start:stop] if op.results and any(result in needed for result in op.results)]
    used = [op for op in used if op.name != "amdgpu.mfma"]
    return [(op, target) for op in used if ops.index(op) > place]


def blocks(op: Any) -> bool:
    """Whether a read of workgroup memory may not pass an op."""
    return op.name in STOPS or (op.name in WRITES and in_workgroup(op.operands[WRITES[op.name]]))
