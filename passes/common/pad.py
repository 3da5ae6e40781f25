"""Pads the contraction and everything elementwise around it to multiples of the tile, so that every later size divides.

before:  %r = linalg.matmul ins(%a, %b : 1000x77, 77x333) outs(%c : 1000x333)
         bufferization.materialize_in_destination %r ...
after, with pad{tile-sizes=128,128,16}:
         %ap = tensor.pad %a low[0, 0] high[24, 3] { 0.0 }          : 1024x80
         %bp = tensor.pad %b low[0, 0] high[3, 51] { 0.0 }          : 80x384
         %cp = tensor.pad %c low[0, 0] high[24, 51] { 0.0 }         : 1024x384
         %rp = linalg.matmul ins(%ap, %bp) outs(%cp)                : 1024x384
         %r = tensor.extract_slice %rp[0, 0] [1000, 333] [1, 1]

Zero rows of A meet only elements of C that are cut off; along K zero meets zero, so no infinity or NaN of the data is
multiplied by a padding zero into a kept element. Sizes that divide stay as they are, and no copy is meant to survive:
`fold-padding-reads` and `fold-padding-writes` take the padding into the vector transfers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.common import slices
from lowering.passes.common.chain import Link, consumers

TRAPPING = frozenset(
    {"arith.divsi", "arith.divui", "arith.remsi", "arith.remui", "arith.ceildivsi", "arith.floordivsi"}
)


@dataclass(frozen=True)
class Pad(Pass):
    """Tile sizes are those of the contraction's innermost m, n and k loops; 0 or 1 leaves a dimension as it is."""

    name: ClassVar[str] = "pad"
    tile_sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.tile_sizes) != 3 or min(self.tile_sizes) < 0:
            raise ValueError("tile-sizes takes three sizes >= 0: m,n,k")

    def tile(self) -> tuple[int, int, int]:
        return (self.tile_sizes[0], self.tile_sizes[1], self.tile_sizes[2])

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """Multiples that make the sizes divide by a tile; none where a tile's sizes divide already."""
        found = find.contractions(state)
        if len(found) != 1 or min(find.loop_sizes(found[0])) < 0 or any(map(trapping, consumers(found[0]))):
            return
        for sizes in ((128, 128, 16), (64, 64, 16), (32, 32, 16), (16, 16, 16), (4, 4, 4)):
            if tuple(padded_sizes(found[0], sizes)) != find.loop_sizes(found[0]):
                yield cls(sizes)

    def apply(self, module: Any) -> None:
        contraction = find.contraction(module)
        extents, padded = find.loop_sizes(contraction), padded_sizes(contraction, self.tile_sizes)
        if min(extents) < 0:
            raise PassError("a loop of dynamic size cannot be padded to a multiple", str(contraction.location))
        if tuple(padded) == extents:
            return
        links = consumers(contraction)
        for link in links:
            found = trapping(link)
            if found is not None:
                raise PassError(f"cannot pad: the epilogue has {found.name}, and padding is zero", str(found.location))
        with mlir.scope():
            rebuild(links, padded)
        mlir.run(module, "canonicalize,cse")


def padded_sizes(contraction: Any, tile_sizes: Sequence[int]) -> list[int]:
    """The contraction's loop extents, rounded up where a tile size is given."""
    dims, sizes = find.contraction_dims(contraction), list(find.loop_sizes(contraction))
    for loops, tile in zip((dims.m, dims.n, dims.k), tile_sizes, strict=True):
        if loops and tile > 1:
            sizes[loops[-1]] = -(-sizes[loops[-1]] // tile) * tile
    return sizes


def trapping(link: Link) -> Any | None:
    """An integer division of an op: it would divide by a padding zero, which is undefined."""
    found = mlir.walk(link.op, lambda inner: inner.operation.name in TRAPPING)
    return found[0] if found else None


def rebuild(links: list[Link], padded: Sequence[int]) -> None:
    """Clones every op of the chain at its padded size; uses outside the chain get the slice that was there before."""
    chain = [link.op.operation for link in links]
    made: dict[Any, Any] = {}
    for link in links:
        op = link.op.operation
        sizes = list(find.loop_sizes(op))
        for loop, to in link.loops.items():
            sizes[to] = padded[loop]
        with ir.InsertionPoint(op):
            operands = [
                made[value] if value in made else widened(value, target(value, each, sizes))
                for value, each in zip(op.operands, find.maps(op), strict=True)
            ]
            clone = op.clone()
        for index, operand in enumerate(operands):
            clone.operands[index] = operand
        for result, tied in zip(clone.results, operands[len(operands) - len(clone.results) :], strict=True):
            result.set_type(tied.type)
        made |= dict(zip(op.results, clone.results, strict=True))
    for op in reversed(chain):
        for result in op.results:
            if any(use.owner.operation not in chain for use in result.uses):
                with ir.InsertionPoint(op):
                    result.replace_all_uses_with(
                        slices.extract(made[result], [0] * len(find.shape(result)), find.shape(result))
                    )
        op.erase()


def target(value: Any, affine_map: Any, sizes: Sequence[int]) -> tuple[int, ...]:
    """The padded shape of an operand: its loops' padded extents."""
    positions = find.positions(affine_map)
    return tuple(n if dim is None else sizes[dim] for dim, n in zip(positions, find.shape(value), strict=True))


def widened(value: Any, shape: tuple[int, ...]) -> Any:
    """`value` at a larger shape: an empty or filled tensor is made anew, anything else is padded with zeros."""
    if shape == find.shape(value):
        return value
    op = find.defining(value)
    kind = ir.RankedTensorType.get(shape, value.type.element_type)
    if op is not None and op.name == "tensor.empty":
        return mlir.dialect("tensor").EmptyOp(shape, kind.element_type).result
    if op is not None and op.name == "linalg.fill":
        init = widened(op.operands[1], shape)
        fill = op.clone()
        fill.operands[1] = init
        fill.results[0].set_type(kind)
        return fill.results[0]
    return slices.padded(value, shape)
