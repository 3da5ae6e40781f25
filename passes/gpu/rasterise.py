"""Changes which tile of C each workgroup makes, so that those that run at once share operands in the caches.

before:  %i, %j = affine.delinearize_index %block into (16, 32)
after, with rasterise{chiplets=8 rows=4}:
         %b = (%block mod 8) * 64 + %block floordiv 8          // neighbouring tiles stay on one chiplet
         %i, %j = 4 * (%b floordiv 128) + %b mod 4, (%b mod 128) floordiv 4       // four rows of tiles together

Workgroups go to the chiplets in turn. The last rows may be fewer, and so may the workgroups of the last turn. Tiles of
one row or column only go to chiplets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu.index import cluster_of, linear, number
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
        """Groups of rows on the chip's own chiplets, where there is one launch that takes its index apart."""
        launches = multiplying(state)
        if len(launches) == 1 and grid_of(launches[0]) is not None:
            chiplets = int(target.facts.get("chiplets", 1))
            yield from (cls(rows, chiplets) for rows in (4, 8, 1, 2, 16) if rows > 1 or chiplets > 1)

    def apply(self, module: Any) -> None:
        launches = multiplying(module)
        if len(launches) != 1:
            raise PassError(f"looked for one gpu.launch and found {len(launches)}; map-blocks makes it")
        count = linear(launches[0].operands[0])
        if count.terms:
            raise PassError("the number of workgroups is no constant", str(launches[0].location))
        if self.chiplets > 1 and cluster_of(launches[0]) > 1:
            raise PassError("chiplets would take the workgroups of a cluster apart", str(launches[0].location))
        with mlir.scope():
            spread(launches[0], count.constant, self.chiplets)
            grid = grid_of(launches[0])
            if grid is not None and self.rows > 1:
                regroup(grid, self.rows)
        mlir.run(module, "canonicalize,cse")


def multiplying(module: Any) -> list[Any]:
    """The launches that hold the contraction; all, where none does."""
    launches = mlir.walk(module, is_launch)
    return [each for each in launches if find.vector_contracts(each)] or launches


# Arithmetic and not affine.apply: an index that a tile's origin is folded into can then still be taken apart.


def times(value: Any, factor: int) -> Any:
    """A product with a constant."""
    return mlir.dialect("arith").MulIOp(value, number(factor)).result


def quotient(value: Any, divisor: int) -> Any:
    """A quotient, rounded down."""
    return mlir.dialect("arith").DivUIOp(value, number(divisor)).result


def remainder(value: Any, divisor: int) -> Any:
    """A remainder."""
    return mlir.dialect("arith").RemUIOp(value, number(divisor)).result


def spread(launch: Any, total: int, chiplets: int) -> None:
    """Gives the workgroups that one chiplet gets neighbouring numbers."""
    each = total // chiplets
    if chiplets == 1 or each < 2:
        return
    block, arith = launch.regions[0].blocks[0].arguments[0], mlir.dialect("arith")
    users = list(dict.fromkeys(use.owner.operation for use in block.uses))
    with ir.InsertionPoint.at_block_begin(launch.regions[0].blocks[0]):
        moved = arith.AddIOp(times(remainder(block, chiplets), each), quotient(block, chiplets)).result
        if total % chiplets:  # those of the last turn stay where they are
            inside = arith.CmpIOp(arith.CmpIPredicate.ult, block, number(each * chiplets)).result
            moved = arith.SelectOp(inside, moved, block).result
    for op in users:
        for index, operand in enumerate(op.operands):
            if operand == block:
                op.operands[index] = moved


def grid_of(launch: Any) -> Any | None:
    """The op that takes a launch's workgroup apart into a row and a column of tiles (and what is beside them)."""
    count = linear(launch.operands[0])
    found = mlir.walk(launch, lambda op: op.operation.name == "affine.delinearize_index")
    block = launch.regions[0].blocks[0].arguments[0]
    for op in found:
        basis = list(op.attributes["static_basis"])
        whole = (
            len(basis) == len(op.results) > 1 and not count.terms and prod(basis) * cluster_of(launch) == count.constant
        )
        if whole and block in find.reaching(op.operands[0], launch):
            return op
    return None


def regroup(grid: Any, rows: int) -> None:
    """Takes the workgroup's number apart so that groups of rows of tiles are walked together."""
    arith, affine, index = mlir.dialect("arith"), mlir.dialect("affine"), ir.IndexType.get()
    *outer, height, width = list(grid.attributes["static_basis"])
    rows = min(rows, height)
    span = rows * width
    with ir.InsertionPoint(grid):
        parts = [grid.operands[0]]
        if outer:
            sizes = [*outer, height * width]
            parts = list(affine.AffineDelinearizeIndexOp([index] * len(sizes), parts[0], [], sizes).results)
        first = times(quotient(parts[-1], span), rows)
        within, here = remainder(parts[-1], span), number(rows)
        if height % rows:
            here = arith.MinUIOp(here, arith.SubIOp(number(height), first).result).result
        row = arith.AddIOp(first, arith.RemUIOp(within, here).result).result
        column = arith.DivUIOp(within, here).result
    for old, new in zip(grid.results, [*parts[:-1], row, column], strict=True):
        old.replace_all_uses_with(new)
    grid.erase()
