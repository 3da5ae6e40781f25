"""Lets the first product of a tile overwrite the accumulators, which then need no zeros.

before:  %r = scf.for %k = 0 to 512 step 64 iter_args(%acc = ZERO : !llvm.struct<(f32 x 128)>) {
           STEP(%k, nvvm.wgmma.mma_async .., %acc, .., D[<f32>, <one>], ..)
         }
after:   %first = STEP(0, nvvm.wgmma.mma_async .., UNDEFINED, .., D[<f32>, <zero>], ..)
         %r = scf.for %k = 64 to 512 step 64 iter_args(%acc = %first) { STEP(%k, .., %acc, .., D[<f32>, <one>], ..) }

Zeros are a move for each of a thread's registers of C and for each tile, while the tensor cores wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu.index import Linear, emit, linear
from lowering.passes.gpu.prefetch import body_of, copies

PRODUCT, ZERO = "nvvm.wgmma.mma_async", "llvm.mlir.zero"


@dataclass(frozen=True)
class FirstProduct(Pass):
    """Takes every wgmma that adds to zeros, and the first step of every loop that begins with them."""

    name: ClassVar[str] = "first-product"

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where accumulators begin as zeros."""
        if loops(state) or sums(state):
            yield cls()

    def apply(self, module: Any) -> None:
        found = loops(module)
        if not found and not sums(module):
            raise PassError("looked for wgmma that adds to zeros and found none; wgmma makes it")
        with mlir.scope():
            for loop in found:
                peel(loop)
            for product in sums(module):
                overwrite(product)
        mlir.run(module, "canonicalize,cse")


def is_zero(value: Any) -> bool:
    """Whether a value is a struct of zeros."""
    op = find.defining(value)
    return op is not None and op.name == ZERO


def sums(root: Any) -> list[Any]:
    """The products that add to zeros."""
    return mlir.walk(root, lambda op: op.operation.name == PRODUCT and is_zero(op.operands[0]))


def loops(root: Any) -> list[Any]:
    """The loops with products whose accumulators all begin as zeros, with constant bounds and at least one step."""
    return mlir.walk(root, lambda op: op.operation.name == "scf.for" and begins_with_zeros(op.operation))


def begins_with_zeros(loop: Any) -> bool:
    """Whether a loop carries accumulators of wgmma, and all begin as zeros."""
    low, high, step = (linear(operand) for operand in list(loop.operands)[:3])
    if low.terms or high.terms or step.terms or low.constant >= high.constant:
        return False
    carried = list(loop.regions[0].blocks[0].arguments)[1:]
    return bool(carried) and all(map(is_zero, list(loop.operands)[3:])) and all(map(adds, carried))


def adds(accumulator: Any) -> bool:
    """Whether a product, and nothing else, uses an accumulator."""
    return [use.owner.operation.name for use in accumulator.uses] == [PRODUCT]


def peel(loop: Any) -> None:
    """Takes the first step out of a loop."""
    low, _, step, *starts = list(loop.operands)
    block = loop.regions[0].blocks[0]
    with ir.InsertionPoint(loop):
        values = dict(zip(block.arguments, (low, *starts), strict=True))
        values |= copies(body_of(loop), values)
        loop.operands[0] = emit(Linear(linear(low).constant + linear(step).constant))
    for number, result in enumerate(list(block.operations)[-1].operands):
        loop.operands[3 + number] = values.get(result, result)


def overwrite(product: Any) -> None:
    """Lets a product be the sum."""
    product.attributes["scaleD"] = ir.Attribute.parse("#nvvm.wgmma_scale_out<zero>")
    with ir.InsertionPoint(product):
        product.operands[0] = mlir.dialect("llvm").UndefOp(product.operands[0].type).result
