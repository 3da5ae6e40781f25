"""tile-registers: the loops over the mr x nr tiles of C that are accumulated in registers.

before -> after:
  %r = linalg.generic ins(%a, %b) outs(%c)                      // a cache block
->
  for n (step nr, role "jr") { for m (step mr, role "ir") {
    %r = linalg.generic ins(%a[m:+mr, :], %b[:, n:+nr]) outs(%c[m:+mr, n:+nr])
  }}
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

from lowering import dtypes, find
from lowering.core import Pass, Problem, Target
from lowering.passes.x86.kernel import only_kernel, two_dimensional
from lowering.passes.x86.tile import clean, tile


@dataclass(frozen=True)
class TileRegisters(Pass):
    """Tiles every contraction by (nr, mr)."""

    name: ClassVar[str] = "tile-registers"
    mr: int = 6
    nr: int = 16

    def __post_init__(self) -> None:
        if min(self.mr, self.nr) < 1:
            raise ValueError("mr and nr are at least 1")

    def tile(self) -> tuple[int, int, int]:
        return (self.mr, self.nr, 0)

    def apply(self, module: Any) -> None:
        for kernel in two_dimensional(module):
            tile(module, kernel, [(kernel.n, self.nr, "jr"), (kernel.m, self.mr, "ir")])
        clean(module)

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """Tiles of up to 32 columns whose C, B and A vectors fit the registers, largest first."""
        kernel = only_kernel(state)
        if kernel is None or kernel.others or find.roles(state, "ir") or "vector_bits_avx" not in target.facts:
            return
        bits = dtypes.lookup(problem.contraction.accumulator).bits
        for columns, rows in product((16, 8, 32, 4), (6, 4, 8, 3, 2, 1)):
            vectors = -(-columns * bits // int(target.facts["vector_bits_avx"]))
            if rows * vectors + vectors + 1 <= int(target.facts["vector_registers"]):
                yield cls(rows, columns)
