"""tile-k: the K loop of the register kernels.

before -> after (k = 1):
  %r = linalg.generic ins(%a : tensor<?x6xf32>, %b : tensor<?x16xf32>) outs(%c : tensor<6x16xf32>)
->
  %r = scf.for %k = 0 to %n step 1 iter_args(%acc = %c) {                                // role "k"
    linalg.generic ins(%a[k:+1, :], %b[k:+1, :]) outs(%acc)
  }
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find
from lowering.core import Pass, Problem, Target
from lowering.passes.x86.kernel import kernel, two_dimensional
from lowering.passes.x86.tile import clean, tile


@dataclass(frozen=True)
class TileK(Pass):
    """Tiles k of every contraction by `k`."""

    name: ClassVar[str] = "tile-k"
    k: int = 1

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError("k is at least 1")

    def tile(self) -> tuple[int, int, int]:
        return (0, 0, self.k)

    def apply(self, module: Any) -> None:
        for each in two_dimensional(module):
            tile(module, each, [(each.k, self.k, "k")])
        clean(module)

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """One step at a time, then more, where the register tiles are static and K is not tiled yet."""
        kernels_found = [kernel(op) for op in find.contractions(state)]
        if not kernels_found or find.roles(state, "k") or any(each.others for each in kernels_found):
            return
        if any(min(each.size(each.m), each.size(each.n)) > 0 for each in kernels_found):
            yield from (cls(k) for k in (1, 2, 4))
