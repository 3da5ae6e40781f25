"""The chain of linalg ops that belong to one contraction: its fill, itself, and the elementwise ops after it.

Not a pass: what `pad` and `tile` share. A dimension of the contraction's result is followed through the indexing maps
of the ops after it, so an epilogue may permute or broadcast dimensions. A sum of the contraction's parts begins a chain
of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lowering import find
from lowering.core import PassError

SUM = "sum"  # the role of the op that adds up the parts of a contraction


@dataclass(frozen=True)
class Link:
    """An op after the contraction, or the contraction itself; `loops[d]` is its loop for the contraction's loop `d`."""

    op: Any
    loops: dict[int, int]


def consumers(contraction: Any) -> list[Link]:
    """The contraction and the linalg ops of its block that use its result, directly or not, in order.

    Raises PassError for a contraction on buffers, and for a consumer that is no elementwise op over projected
    permutations.
    """
    if not contraction.operation.results:
        raise PassError(f"{contraction.operation.name} is on buffers: this pass stands before bufferization")
    links = [Link(contraction, {d: d for d in range(find.maps(contraction)[-1].n_dims)})]
    made = {contraction.operation.results[0]: links[0]}
    block = contraction.operation.block
    started = False
    for view in block.operations:
        op = view.operation
        if op == contraction.operation:
            started = True
            continue
        if not started or not op.name.startswith("linalg.") or not op.regions or find.role_of(op) == SUM:
            continue
        sources = [value for value in op.operands if value in made]
        if not sources:
            continue
        loops: dict[int, int] = {}
        for value in sources:
            loops |= followed(made[value], op, value)
        links.append(Link(op, loops))
        made |= {result: links[-1] for result in op.results}
    return links


def followed(link: Link, op: Any, value: Any) -> dict[int, int]:
    """The contraction's loops as loops of `op`, which reads `value`, a result of `link`."""
    maps = find.maps(op)
    if not maps or not all(find.simple(each) for each in maps) or find.reduction_dims(op):
        raise PassError(f"{op.name} after the contraction is not elementwise", str(op.location))
    written = find.positions(find.maps(link.op)[-1])
    reads = find.positions(maps[list(op.operands).index(value)])
    across = {loop: to for loop, to in zip(written, reads, strict=True) if loop is not None and to is not None}
    return {d: across[loop] for d, loop in link.loops.items() if loop in across}


def last(links: list[Link]) -> Link:
    """The one op of a chain whose result no other op of it reads. Raises PassError where there are several."""
    used = {value for link in links for value in link.op.operation.operands}
    ends = [link for link in links if not any(result in used for result in link.op.operation.results)]
    if len(ends) != 1:
        names = ", ".join(link.op.operation.name for link in ends)
        raise PassError(f"looked for one last op after the contraction and found {len(ends)} ({names})")
    return ends[0]
