"""pad-registers: edge tiles of C are computed as full mr x nr tiles, so that every register kernel is static.

before -> after (where a size of a tile may be smaller than mr or nr):
  %r = linalg.generic ins(%a : tensor<?x?xf32>, %b : tensor<?x?xf32>) outs(%c : tensor<?x?xf32>)
->
  %ap = tensor.pad %a low[0,0] high[mr - m, 0] : tensor<?x?xf32> to tensor<6x?xf32>      // likewise %bp, %cp: 6x16
  %rp = linalg.generic ins(%ap, %bp) outs(%cp)
  %r = tensor.extract_slice %rp[0,0][m,n][1,1] : tensor<6x16xf32> to tensor<?x?xf32>

The rows and columns that are added hold zeros and are thrown away. K is never padded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.passes.common import slices
from lowering.passes.x86.kernel import Kernel, only_kernel, two_dimensional

ir = mlir.ir


@dataclass(frozen=True)
class PadRegisters(Pass):
    """Pads m to mr and n to nr in every contraction whose tile is not of that size."""

    name: ClassVar[str] = "pad-registers"
    mr: int = 6
    nr: int = 16

    def __post_init__(self) -> None:
        if min(self.mr, self.nr) < 1:
            raise ValueError("mr and nr are at least 1")

    def apply(self, module: Any) -> None:
        with mlir.scope():
            for kernel in two_dimensional(module):
                full = {kernel.m: self.mr, kernel.n: self.nr}
                if all(kernel.size(loop) == size for loop, size in full.items()):
                    continue
                check_bounds(kernel, full)
                pad_kernel(kernel, full)

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one of the register tile, where a size of it is bounded but not static."""
        kernel = only_kernel(state)
        if kernel is None or kernel.others:
            return
        bounds = slices.bounds_of(kernel.op.operands[2])
        rows, columns = (bounds[kernel.axis(2, loop)] for loop in (kernel.m, kernel.n))
        if min(kernel.size(kernel.m), kernel.size(kernel.n)) < 0 and rows is not None and columns is not None:
            yield cls(rows, columns)


def check_bounds(kernel: Kernel, full: dict[int, int]) -> None:
    """Raises PassError where a tile may be larger than the full one: it would be cut, not padded."""
    sizes = slices.sizes_of(kernel.op.operands[2])
    for loop, most in full.items():
        bound = slices.upper_bound(sizes[kernel.axis(2, loop)])
        if bound is None or bound > most:
            found = "unknown size" if bound is None else f"size {bound}"
            raise PassError(
                f"a tile of {found} cannot be padded to {most}: run tile-registers with the same mr and nr before",
                kernel.op.name,
            )


def pad_kernel(kernel: Kernel, full: dict[int, int]) -> None:
    """Pads the three operands and cuts the result back."""
    op = kernel.op
    with ir.InsertionPoint(op):
        sizes = slices.sizes_of(op.operands[2])
        operands = [
            slices.padded(op.operands[i], [None if loop is None else full.get(loop) for loop in kernel.axes(i)])
            for i in range(3)
        ]
        new = op.clone()
        for number, value in enumerate(operands):
            new.operands[number] = value
        new.results[0].set_type(operands[2].type)
        result = slices.extract(new.results[0], [0] * len(sizes), sizes)
    op.results[0].replace_all_uses_with(result)
    op.erase()
