"""Lets a contraction that adds to C start from zero, and adds C afterwards.

before:  %r = linalg.matmul ins(%a, %b) outs(%c)
after:   %f = linalg.fill ins(%zero) outs(%empty)
         %s = linalg.matmul ins(%a, %b) outs(%f)
         %r = linalg.generic {arith.addf} ins(%s, %c) outs(%empty)

A contraction writes where it starts from, so a C that must be kept is copied first: on a device, a kernel of its own.
As an elementwise op after it, C is read once, by the thread that needs it. The sum is rounded in another order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.common.slices import zero
from lowering.program import generic


@dataclass(frozen=True)
class StartFromZero(Pass):
    """Does nothing where the contraction starts from a fill already."""

    name: ClassVar[str] = "start-from-zero"

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """One, where a single contraction on static tensors adds to something that is not a fill."""
        found = find.contractions(state)
        if len(found) == 1 and not is_filled(found[0]) and is_static_tensor(found[0]):
            yield cls()

    def apply(self, module: Any) -> None:
        op = find.contraction(module)
        if is_filled(op):
            return
        if not is_static_tensor(op):
            raise PassError(f"looked for a static tensor that {op.name} adds to", str(op.location))
        with mlir.scope():
            rewrite(op)


def is_filled(op: Any) -> bool:
    """Whether a contraction starts from a linalg.fill."""
    start = find.defining(op.operands[2])
    return start is not None and start.name == "linalg.fill"


def is_static_tensor(op: Any) -> bool:
    """Whether what a contraction adds to is a tensor of static shape."""
    kind = op.operands[2].type
    return isinstance(kind, ir.RankedTensorType) and kind.has_static_shape


def rewrite(op: Any) -> None:
    """Puts the fill before the contraction and the sum after it."""
    start, result = op.operands[2], op.results[0]
    kind = ir.RankedTensorType(start.type)
    with ir.InsertionPoint(op):
        nothing = mlir.dialect("arith").constant(kind.element_type, zero(kind.element_type))
        empty = mlir.dialect("tensor").empty(list(kind.shape), kind.element_type)
        op.operands[2] = mlir.dialect("linalg").fill(nothing, outs=[empty])
    after = next(each for i, each in enumerate(op.block.operations) if i > position(op))
    with ir.InsertionPoint(after):
        same = ir.AffineMap.get_identity(len(kind.shape))
        total = generic(kind, [result, start, empty], [same] * 3, ["parallel"] * len(kind.shape), 2)
        left, right, _ = total.regions[0].blocks[0].arguments
        with ir.InsertionPoint(total.regions[0].blocks[0]):
            is_float = isinstance(kind.element_type, ir.FloatType)
            add = mlir.dialect("arith").addf if is_float else mlir.dialect("arith").addi
            mlir.dialect("linalg").YieldOp([add(left, right)])
    result.replace_all_uses_except(total.results[0], [total])


def position(op: Any) -> int:
    """The index of an op in its block."""
    return next(i for i, each in enumerate(op.block.operations) if each.operation == op)
