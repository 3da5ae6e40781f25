"""Walks the tiles of C along Hilbert curves, so that workgroups that run at once make tiles of a compact area.

before:  %i, %j = affine.delinearize_index %block into (40, 32)
after, with hilbert{side=16}:
         %band = %block floordiv (16 * 32)                        // 16 rows of tiles
         %x, %y = CURVE(%block mod 256)                           // in a square of 16 x 16
         %i, %j = 16 * %band + %y, 16 * (%block mod 512 floordiv 256) + %x

A curve begins and ends at the lower corners of its square, where the next one begins. What is left beside the squares,
and the last rows, are walked column by column. (The curve: D. Hilbert, "Ueber die stetige Abbildung einer Linie auf ein
Flaechenstueck", 1891; two bits of the number at a time.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu.index import number
from lowering.passes.gpu.rasterise import grid_of, multiplying, quotient, remainder, times


@dataclass(frozen=True)
class Hilbert(Pass):
    """`side` is the tiles of a square's side, a power of two; the grid's smaller side where that is less.

    A grid of one row or column stays as it is.
    """

    name: ClassVar[str] = "hilbert"
    side: int = 16

    def __post_init__(self) -> None:
        if self.side < 2 or self.side & (self.side - 1):
            raise ValueError(f"side is a power of two, at least 2, found {self.side}")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """Squares of 16 and of 8, where there is one launch that takes its index apart into rows and columns."""
        launches = multiplying(state)
        if len(launches) == 1 and square(grid_of(launches[0]), 2):
            yield from (cls(side) for side in (16, 8))

    def apply(self, module: Any) -> None:
        launches = multiplying(module)
        if len(launches) != 1:
            raise PassError(f"looked for one gpu.launch and found {len(launches)}; map-blocks makes it")
        grid = grid_of(launches[0])
        side = square(grid, self.side)
        if side:
            with mlir.scope():
                walk(grid, side)
            mlir.run(module, "canonicalize,cse")


def square(grid: Any | None, side: int) -> int:
    """The side of the squares of a grid; 0 where it has none."""
    if grid is None:
        return 0
    least = min(list(grid.attributes["static_basis"])[-2:])
    return min(side, 1 << (least.bit_length() - 1)) if least > 1 else 0


def walk(grid: Any, side: int) -> None:
    """Takes the workgroup's number apart along the curves."""
    arith, affine, index = mlir.dialect("arith"), mlir.dialect("affine"), ir.IndexType.get()
    *outer, height, width = list(grid.attributes["static_basis"])
    with ir.InsertionPoint(grid):
        parts = [grid.operands[0]]
        if outer:
            sizes = [*outer, height * width]
            parts = list(affine.AffineDelinearizeIndexOp([index] * len(sizes), parts[0], [], sizes).results)
        band, inside = quotient(parts[-1], side * width), remainder(parts[-1], side * width)
        x, y = curve(remainder(inside, side * side), side)
        column = arith.AddIOp(times(quotient(inside, side * side), side), x).result
        found = [y, column]
        if width % side:  # beside the last square
            squares = width // side * side
            rest = arith.SubIOp(inside, number(squares * side)).result
            beside = [remainder(rest, side), arith.AddIOp(quotient(rest, side), number(squares)).result]
            found = chosen(below(inside, squares * side), found, beside)
        if height % side:  # above the last band
            last = height % side
            above = [remainder(inside, last), quotient(inside, last)]
            found = chosen(below(band, height // side), found, above)
        row = arith.AddIOp(times(band, side), found[0]).result
    for old, new in zip(grid.results, [*parts[:-1], row, found[1]], strict=True):
        old.replace_all_uses_with(new)
    grid.erase()


def below(value: Any, limit: int) -> Any:
    """Whether an index is below a number."""
    arith = mlir.dialect("arith")
    return arith.CmpIOp(arith.CmpIPredicate.ult, value, number(limit)).result


def chosen(condition: Any, first: list[Any], second: list[Any]) -> list[Any]:
    """The first values where a condition holds, else the second."""
    arith = mlir.dialect("arith")
    return [arith.SelectOp(condition, a, b).result for a, b in zip(first, second, strict=True)]


def curve(place: Any, side: int) -> list[Any]:
    """Column and row of a place of the curve through a square, from the smallest squares up to the whole."""
    arith = mlir.dialect("arith")
    x = y = number(0)
    scale = 1
    while scale < side:
        right = remainder(quotient(place, 2), 2)
        up = remainder(arith.XOrIOp(place, right).result, 2)
        flat = arith.CmpIOp(arith.CmpIPredicate.eq, up, number(0)).result
        turned = arith.AndIOp(flat, arith.CmpIOp(arith.CmpIPredicate.eq, right, number(1)).result).result
        x, y = chosen(turned, [arith.SubIOp(number(scale - 1), each).result for each in (x, y)], [x, y])
        x, y = chosen(flat, [y, x], [x, y])
        x, y = (arith.AddIOp(a, times(b, scale)).result for a, b in ((x, right), (y, up)))
        place, scale = quotient(place, 4), 2 * scale
    return [x, y]
