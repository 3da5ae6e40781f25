"""Tiles the reduction of the contraction: the K loop.

before:  %r = linalg.matmul ins(%a, %b : 16x512, 512x4) outs(%c : 16x4)
after, with tile-reduction{tile-sizes=16}:
         %r = scf.for %k = 0 to 512 step 16 iter_args(%acc = %c) {
           linalg.matmul ins(%a[:, %k:%k+16], %b[%k:%k+16, :]) outs(%acc)
         } {lower.role = "k"}
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.passes.common.tile import MARK, clear, where


@dataclass(frozen=True)
class TileReduction(Pass):
    """The size is that of the innermost reduction loop; other reduction loops step by one.

    The loops are marked with `role`; a second tiling, inside the first, takes another one, so that the two can be told
    apart.
    """

    name: ClassVar[str] = "tile-reduction"
    tile_sizes: tuple[int, ...]
    role: str = "k"

    def __post_init__(self) -> None:
        if len(self.tile_sizes) != 1 or self.tile_sizes[0] <= 0:
            raise ValueError("tile-sizes takes one size > 0: k")

    def tile(self) -> tuple[int, int, int]:
        return (0, 0, self.tile_sizes[0])

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """Powers of two below K; a loop inside one marked k takes the role unroll."""
        found = find.contractions(state)
        if len(found) != 1 or not find.contraction_dims(found[0]).k or min(find.loop_sizes(found[0])) < 0:
            return
        depth = find.loop_sizes(found[0])[find.contraction_dims(found[0]).k[-1]]
        role = "unroll" if find.roles(state, "k") else "k"
        yield from (cls((size,), role) for size in (16, 8, 4, 32, 64, 2, 1) if size < depth)

    def apply(self, module: Any) -> None:
        contraction = find.contraction(module)
        dims, extents = find.contraction_dims(contraction), find.loop_sizes(contraction)
        if min(extents) < 0:
            raise PassError("a loop of dynamic size: the tile around it does not divide; pad first", where(contraction))
        sizes = [0] * len(extents)
        for loop in dims.k:
            size = self.tile_sizes[0] if loop == dims.k[-1] else 1
            sizes[loop] = 0 if size >= extents[loop] else size
        loops = sum(size > 0 for size in sizes)
        if not dims.k:
            raise PassError("the contraction has no reduction loop", str(contraction.location))
        if not loops:
            return  # one tile holds all of K
        op = "!transform.any_op"
        with mlir.context():
            contraction.operation.attributes[MARK] = mlir.ir.UnitAttr.get()
        try:
            mlir.transform(
                module,
                f"""%op = transform.structured.match attributes {{{MARK}}} in %root : ({op}) -> {op}
                %tiled, %loops:{loops} = transform.structured.tile_using_for %op tile_sizes {sizes}
                  : ({op}) -> ({", ".join([op] * (loops + 1))})""",
            )
        finally:
            clear(module)
        for loop in islice(find.parents(find.contraction(module)), loops):
            find.set_role(loop, self.role)
        mlir.run(module, "canonicalize,cse")
