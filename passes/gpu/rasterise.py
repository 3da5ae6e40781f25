"""Changes which tile of C each workgroup makes, so that those that run at once share operands in the caches.

before:  %i, %j = affine.delinearize_index %block into (16, 32)
after, with rasterise{chiplets=8 rows=4}:
         %b = (%block mod 8) * 64 + %block floordiv 8          // neighbouring tiles stay on one chiplet
         %i, %j = 4 * (%b floordiv 128) + %b mod 4, (%b mod 128) floordiv 4       // four rows of tiles together

Workgroups go to the chiplets in turn. The last rows may be fewer, and so may the workgroups of the last turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu.index import linear
from lowering.passes.gpu.map_threads import is_launch


@dataclass(frozen=True)
class Rasterise(Pass):
    """`rows` is how many rows of tiles are walked together, `chiplets` what workgroups go to in turn (1: no matter)."""

    name: ClassVar[str] = "rasterise"
    rows: int = 1
    chiplets: int = 1

    def __post_init__(self) -> None:
        if self.rows < 1 or self.chiplets < 1:
            raise ValueError("rows and chiplets are at least 1")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """Groups of rows on the chip's own chiplets, where a launch takes its index apart."""
        if len([grid for launch in mlir.walk(state, is_launch) if (grid := grid_of(launch)) is not None]) == 1:
            chiplets = int(target.facts.get("chiplets", 1))
            yield from (cls(rows, chiplets) for rows in (4, 8, 1, 2, 16) if rows > 1 or chiplets > 1)

    def apply(self, module: Any) -> None:
        found = [grid for launch in mlir.walk(module, is_launch) if (grid := grid_of(launch)) is not None]
        if len(found) != 1:
            raise PassError(
                f"looked for one gpu.launch whose workgroups are tiles of two dimensions and found {len(found)}; "
                "map-blocks makes it"
            )
        with mlir.scope():
            reorder(found[0], self.rows, self.chiplets)
        mlir.run(module, "canonicalize,cse")


def grid_of(launch: Any) -> Any | None:
    """The op that takes a launch's workgroup apart into a row and a column of tiles (and what is beside them)."""
    block = launch.regions[0].blocks[0].arguments[0]
    uses = [use.owner.operation for use in block.uses]
    if len(uses) != 1 or uses[0].name != "affine.delinearize_index" or len(uses[0].results) < 2:
        return None
    count = linear(launch.operands[0])
    basis = list(uses[0].attributes["static_basis"])
    whole = not count.terms and len(basis) == len(uses[0].results) and prod(basis) == count.constant
    return uses[0] if whole and find.parents(uses[0]) else None


def reorder(grid: Any, rows: int, chiplets: int) -> None:
    """Takes the workgroup apart in another order."""
    arith, affine, index = mlir.dialect("arith"), mlir.dialect("affine"), ir.IndexType.get()
    *outer, height, width = list(grid.attributes["static_basis"])
    total = prod([*outer, height, width])
    d0 = ir.AffineExpr.get_dim(0)

    def apply(expression: Any, value: Any) -> Any:
        return affine.AffineApplyOp(ir.AffineMap.get(1, 0, [expression]), [value]).result

    def number(value: int) -> Any:
        return arith.ConstantOp(index, value).result

    with ir.InsertionPoint(grid):
        block = grid.operands[0]
        each = total // chiplets
        if chiplets > 1 and each:
            moved = apply(ir.AffineExpr.get_mod(d0, chiplets) * each + ir.AffineExpr.get_floor_div(d0, chiplets), block)
            if total % chiplets:  # those of the last turn stay where they are
                inside = arith.CmpIOp(arith.CmpIPredicate.ult, block, number(each * chiplets)).result
                moved = arith.SelectOp(inside, moved, block).result
            block = moved
        sizes = [*outer, height * width]
        parts = [block]
        if outer:
            parts = list(affine.AffineDelinearizeIndexOp([index] * len(sizes), block, [], sizes).results)
        tile, span = parts[-1], min(rows, height) * width
        first = apply(ir.AffineExpr.get_floor_div(d0, span) * min(rows, height), tile)
        within = apply(ir.AffineExpr.get_mod(d0, span), tile)
        here = number(min(rows, height))
        if height % min(rows, height):
            here = arith.MinUIOp(here, arith.SubIOp(number(height), first).result).result
        row = arith.AddIOp(first, arith.RemUIOp(within, here).result).result
        column = arith.DivUIOp(within, here).result
    for old, new in zip(grid.results, [*parts[:-1], row, column], strict=True):
        old.replace_all_uses_with(new)
    grid.erase()
