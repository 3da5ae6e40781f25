"""tile-k: the K loop of the register kernels.

before -> after (k = 1):
  %r = linalg.generic ins(%a : tensor<?x6xf32>, %b : tensor<?x16xf32>) outs(%c : tensor<6x16xf32>)
->
  %r = scf.for %k = 0 to %n step 1 iter_args(%acc = %c) {                                // role "k"
    linalg.generic ins(%a[k:+1, :], %b[k:+1, :]) outs(%acc)
  }
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from lowering.core import Pass
from lowering.passes.x86.kernel import two_dimensional
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
        for kernel in two_dimensional(module):
            tile(module, kernel, [(kernel.k, self.k, "k")])
        clean(module)
