"""Which lane of a wave holds what of a matrix instruction's operands and result. Not a pass: pure index arithmetic.

An instruction of T x T results (T = 16 or 32) has 64 / T groups of T lanes. Lane L holds row L % T of either operand,
and of K the elements that its group L / T has. Of the result it holds column L % T, and rows in *quads* of four: quad q
of group g is rows 4 G q + 4 g ..+3 with G groups (AMD matrix instruction calculator, CDNA3; f64 has rows 4 r + g).

The first operand's rows are along a lane's registers, the second's along the lanes. Which of its rows the first operand
feeds to which row of the instruction is free: with *runs* of p quads, p quads of a lane lie side by side in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lowering.mlir import ir

LANES = 64
QUAD = 4
# K of one instruction by element and T, and what the operand is called in the dialect
DEPTHS = {
    ("f16", 16): 16, ("f16", 32): 8, ("bf16", 16): 16, ("bf16", 32): 8, ("i8", 16): 32, ("i8", 32): 16,
    ("f8E4M3FNUZ", 16): 32, ("f8E4M3FNUZ", 32): 16, ("f8E5M2FNUZ", 16): 32, ("f8E5M2FNUZ", 32): 16,
    ("f32", 16): 4, ("f32", 32): 2, ("xf32", 16): 8, ("xf32", 32): 4, ("f64", 16): 4,
}  # fmt: skip
READ_BYTES = 16  # the widest read of a lane


@dataclass(frozen=True)
class Layout:
    """T, the quads of a run, and the element that is multiplied."""

    tile: int
    run: int
    element: str

    @property
    def groups(self) -> int:
        """Groups of T lanes."""
        return LANES // self.tile

    @property
    def depth(self) -> int:
        """K of one instruction."""
        return DEPTHS[self.element, self.tile]

    @property
    def per_lane(self) -> int:
        """Elements of an operand in a lane."""
        return self.depth // self.groups

    @property
    def quads(self) -> int:
        """Quads of one instruction's result in a lane."""
        return self.tile * self.tile // LANES // QUAD

    @property
    def width(self) -> int:
        """Elements of a run."""
        return QUAD * self.run

    @property
    def span(self) -> int:
        """Rows that the runs of all groups cover together."""
        return self.groups * self.width

    def first_row(self, tile: int, lane: Any) -> Any:
        """The row of the first operand that a lane holds for an instruction; of a number or an affine expression."""
        j = mod(lane, self.tile)
        if self.element == "f64":  # rows 4 r + g
            group, inner = mod(j, QUAD), floor(j, QUAD)
        else:
            group, inner = mod(floor(j, QUAD), self.groups), mod(j, QUAD)
        number = tile * self.quads
        if self.quads == 1:
            return group * self.width + inner + (number // self.run * self.span + number % self.run * QUAD)
        quad = floor(j, QUAD * self.groups)
        within = floor(quad, self.run) * self.span + mod(quad, self.run) * QUAD
        return within + group * self.width + inner + number // self.run * self.span

    def second_row(self, tile: int, lane: Any) -> Any:
        """The row of the second operand that a lane holds."""
        return mod(lane, self.tile) + tile * self.tile

    def run_start(self, run: int, lane: Any) -> Any:
        """Where a lane's run begins along the first operand's rows."""
        return floor(lane, self.tile) * self.width + run * self.span

    def quads_of(self, run: int) -> list[tuple[int, int]]:
        """The instruction and the quad of its result that each quad of a run is."""
        return [divmod(run * self.run + n, self.quads) for n in range(self.run)]

    def read_width(self, k: int, nbytes: int) -> int:
        """Elements along K that a lane reads at once, of `k` there are: whole instructions, and all groups alike."""
        width = READ_BYTES // nbytes
        while width > self.per_lane and k % (self.groups * width):
            width //= 2
        return max(width, self.per_lane)


def mod(expression: Any, number: int) -> Any:
    """Remainder, of a number or of an affine expression."""
    if isinstance(expression, int):
        return expression % number
    return ir.AffineExpr.get_mod(expression, number)


def floor(expression: Any, number: int) -> Any:
    """Quotient, rounded down, of a number or of an affine expression."""
    if isinstance(expression, int):
        return expression // number
    return ir.AffineExpr.get_floor_div(expression, number)
