"""drop-outer-dims: a contraction whose batch (and other outer) loops have one iteration becomes one of m, n and k only.

before -> after:
  %r = linalg.generic {(b,m,n,k) -> ...} ins(%a, %b : tensor<1x8x4xf32>, ...) outs(%c : tensor<1x8x8xf32>)
->
  %a2 = tensor.extract_slice %a[0,0,0][1,8,4][1,1,1] : tensor<1x8x4xf32> to tensor<8x4xf32>    // likewise %b, %c
  %r2 = linalg.generic {(m,n,k) -> ...} ins(%a2, %b2) outs(%c2)
  %r = tensor.insert_slice %r2 into %c[0,0,0][1,8,8][1,1,1]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.passes.common import slices
from lowering.passes.x86.kernel import Kernel, only_kernel, the_kernel

ir = mlir.ir


@dataclass(frozen=True)
class DropOuterDims(Pass):
    """Drops the loops besides m, n and k; each must have one iteration. Nothing to do where there are none."""

    name: ClassVar[str] = "drop-outer-dims"

    def apply(self, module: Any) -> None:
        kernel = the_kernel(module)
        if not kernel.others:
            return
        if kernel.op.name != "linalg.generic":
            raise PassError("expected a linalg.generic: run generalize-contraction before", kernel.op.name)
        if any(kernel.size(loop) != 1 for loop in kernel.others):
            raise PassError(
                "expected one iteration of every loop besides m, n and k: run tile-cache before", kernel.op.name
            )
        with mlir.scope():
            drop(kernel)
        mlir.run(module, "canonicalize,cse")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where every outer loop has one iteration."""
        kernel = only_kernel(state)
        if kernel is None or not kernel.others or kernel.op.name != "linalg.generic":
            return
        if all(kernel.size(loop) == 1 for loop in kernel.others):
            yield cls()


def drop(kernel: Kernel) -> None:
    """Replaces the op by one on rank-reduced operands, whose result is inserted back into the old accumulator."""
    op = kernel.op
    kinds = [kind for loop, kind in enumerate(op.attributes["iterator_types"]) if loop not in kernel.others]
    maps = [ir.AffineMapAttr.get(without(each, kernel)) for each in find.maps(op)]
    with ir.InsertionPoint(op):
        operands = [reduced(kernel, number) for number in range(3)]
        new = op.clone()
        for number, value in enumerate(operands):
            new.operands[number] = value
        new.results[0].set_type(operands[2].type)
        new.attributes["indexing_maps"] = ir.ArrayAttr.get(maps)
        new.attributes["iterator_types"] = ir.ArrayAttr.get(kinds)
        whole = op.operands[2]
        back = slices.insert(new.results[0], whole, [0] * len(whole.type.shape), slices.sizes_of(whole))
    op.results[0].replace_all_uses_with(back)
    op.erase()


def reduced(kernel: Kernel, number: int) -> Any:
    """An operand without the axes of the dropped loops."""
    value = kernel.op.operands[number]
    drop = [axis for axis, loop in enumerate(kernel.axes(number)) if loop is None or loop in kernel.others]
    return slices.extract(value, [0] * len(value.type.shape), slices.sizes_of(value), drop)


def without(affine_map: Any, kernel: Kernel) -> Any:
    """A map over the loops m, n and k, renumbered in their old order."""
    kept = sorted((kernel.m, kernel.n, kernel.k))
    results = [ir.AffineExpr.get_dim(kept.index(d)) for d in find.positions(affine_map) if d in kept]
    return ir.AffineMap.get(3, 0, results)
