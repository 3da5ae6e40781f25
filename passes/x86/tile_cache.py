"""tile-cache: the loops around the register kernel that keep its operands in cache.

before -> after (sizes 0 or not smaller than the extent make no loop):
  %r = linalg.generic ins(%a, %b) outs(%c)                      // C[m,n] += A[m,k] * B[k,n]
->
  for batch (step 1) { for n (step nc, role "jc") { for k (step kc, role "pc") { for m (step mc, role "ic") {
    %r = linalg.generic ins(%a[m:+mc, k:+kc], %b[k:+kc, n:+nc]) outs(%c[m:+mc, n:+nc])
  }}}}

A kc x nr sliver of B stays in L1, the mc x kc block of A in L2 and the kc x nc panel of B in L3: the loop order of
Goto and van de Geijn, Anatomy of High-Performance Matrix Multiplication, ACM TOMS 34(3), 2008.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

from lowering import find
from lowering.core import Pass, Problem, Target
from lowering.passes.x86.kernel import only_kernel, the_kernel
from lowering.passes.x86.tile import clean, tile


@dataclass(frozen=True)
class TileCache(Pass):
    """Tiles the contraction by (nc, kc, mc), and every loop besides m, n and k by one."""

    name: ClassVar[str] = "tile-cache"
    mc: int = 0
    nc: int = 0
    kc: int = 0

    def __post_init__(self) -> None:
        if min(self.mc, self.nc, self.kc) < 0:
            raise ValueError("a block size is positive, or 0 for none")

    def tile(self) -> tuple[int, int, int]:
        return (self.mc, self.nc, self.kc)

    def apply(self, module: Any) -> None:
        kernel = the_kernel(module)
        outer = [(dim, 1, "batch") for dim in kernel.others]
        blocks = [(kernel.n, self.nc, "jc"), (kernel.k, self.kc, "pc"), (kernel.m, self.mc, "ic")]
        tile(module, kernel, outer + [step for step in blocks if step[1]])
        clean(module)

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """Blocks below the extents, where nothing is tiled yet; without blocks where there are outer loops only."""
        kernel = only_kernel(state)
        if kernel is None or any(find.roles(state, role) for role in ("ir", "ic", "pc", "jc")):
            return
        for kc, mc, nc in product((512, 256, 128, 0), (96, 192, 48, 0), (2048, 512, 0)):
            blocks = zip((mc, nc, kc), (kernel.m, kernel.n, kernel.k), strict=True)
            if all(size < kernel.size(loop) for size, loop in blocks) and (mc or nc or kc or kernel.others):
                yield cls(mc, nc, kc)
