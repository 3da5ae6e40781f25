"""Adds up the products of a step apart, and then to the sums so far: more bits where an instruction keeps few.

before:  %r = scf.for %k = .. iter_args(%acc = %zero : !llvm.struct<(f32 x 64)>) {          // wgmma
           nvvm.wgmma.fence.aligned
           %d0 = nvvm.wgmma.mma_async .., .., %acc, .., D[<f32>, <one>], ..
           ..
           %d = nvvm.wgmma.mma_async .., .., %d2, .., D[<f32>, <one>], ..
           nvvm.wgmma.commit.group.sync.aligned;  nvvm.wgmma.wait.group.sync.aligned 0
           scf.yield %d
         }
after:   %r = scf.for %k = .. iter_args(%acc = %zero : !llvm.struct<(f32 x 64)>) {
           nvvm.wgmma.fence.aligned
           %d0 = nvvm.wgmma.mma_async .., .., ZERO, .., D[<f32>, <one>], ..                  // of this step only
           ..
           nvvm.wgmma.commit.group.sync.aligned;  nvvm.wgmma.wait.group.sync.aligned 0
           scf.yield [%acc[0] + %d[0], ..]                                                   // in f32
         }

Tensor cores of sm_90 keep 14 bits of a sum of products of 8-bit floats, whatever the accumulator's type (`bounds.py`).
So the sum of K products is off by some K 2^-13 of their size at most; added up in steps of 128 it is off by 128 2^-13,
and f32's share. It costs as many registers again as the accumulators, and additions while tensor cores wait. The
zeros cost nothing where `first-product` comes after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu.prefetch import body_of, k_loop

PRODUCT, WAIT = "nvvm.wgmma.mma_async", "nvvm.wgmma.wait.group.sync.aligned"


@dataclass(frozen=True)
class SumApart(Pass):
    """Takes every accumulator of the K loop."""

    name: ClassVar[str] = "sum-apart"

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where a K loop carries accumulators of wgmma in f32."""
        loops = find.roles(state, "k")
        if len(loops) == 1 and objection(loops[0].operation) is None:
            yield cls()

    def apply(self, module: Any) -> None:
        loop = k_loop(module)
        reason = objection(loop)
        if reason is not None:
            raise PassError(reason, str(loop.location))
        with mlir.scope():
            block = loop.regions[0].blocks[0]
            end = list(block.operations)[-1].operation
            for number, carried in enumerate(list(block.arguments)[1:]):
                (first,) = products_on(carried)
                with ir.InsertionPoint(first):
                    first.operands[0] = mlir.dialect("llvm").ZeroOp(carried.type).result
                with ir.InsertionPoint(end):
                    end.operands[number] = added(carried, end.operands[number])
        mlir.run(module, "canonicalize,cse")


def objection(loop: Any) -> str | None:
    """Why the products of a loop's step cannot be added up apart; None where they can."""
    carried = list(loop.regions[0].blocks[0].arguments)[1:]
    ops = body_of(loop)
    if not carried or not any(op.name == PRODUCT for op in ops):
        return "looked for a loop of wgmma, marked k; wgmma makes it"
    if any("i32" in str(each.type) for each in carried):
        return "sums of integers are exact: there is nothing to gain"
    if any(len(products_on(each)) != 1 for each in carried):
        return "an accumulator of the loop is not what one wgmma adds to: its products are added up apart already"
    waits = [op for op in ops if op.name == WAIT]
    if len(waits) != 1 or waits[0].attributes["group"].value != 0:
        return "the loop does not wait for all of its products before the next step"
    return None


def products_on(accumulator: Any) -> list[Any]:
    """The instructions that add to an accumulator."""
    users = [use.owner.operation for use in accumulator.uses]
    return [op for op in users if op.name == PRODUCT]


def added(left: Any, right: Any) -> Any:
    """The sum of two accumulators, number by number, at the insertion point."""
    llvm, arith, f32 = mlir.dialect("llvm"), mlir.dialect("arith"), ir.F32Type.get()
    found = left
    for place in range(str(left.type).count("f32")):
        one, other = (llvm.ExtractValueOp(f32, each, [place]).result for each in (left, right))
        found = llvm.InsertValueOp(found, arith.AddFOp(one, other).result, [place]).result
    return found
