"""Cuts the reduction of the contraction into parts that are made side by side, and adds them up in an op of its own.

before:  %r = linalg.matmul ins(%a, %b : 256x65536, 65536x256) outs(%zero)
         EPILOGUE(%r)
after, with split-reduction{parts=32 step=64}:
         %x, %y = tensor.expand_shape %a, %b                     : 256x32x32x64, 32x32x64x256
         %p = linalg.generic {%x[m, s, p, k] * %y[s, p, k, n] summed over s, k} outs(..)        : 32x256x256
         %r = linalg.generic {%p[p, m, n] summed over p} outs(%zero) {lower.role = "sum"}
         EPILOGUE(%r)

For few tiles and a deep K: a part is one more dimension of a batch, and whatever makes batches makes parts. They take
the steps of K in turn, so that what is read at one time lies together. What follows the contraction belongs to the sum
from here on: `tile{role=sum}` gives it loops, a launch of its own. The reduction must be a multiple of the parts' steps
(`pad` makes it one). `fold-split-reads` takes the reshaping into the reads. The result is rounded in another way, as
each part is added up by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.common.chain import SUM
from lowering.passes.common.start_from_zero import is_filled
from lowering.passes.gpu.prefetch import copies
from lowering.program import affine, generic


@dataclass(frozen=True)
class SplitReduction(Pass):
    """`parts` is into how many the one reduction loop is cut, `step` how deep a step is; both together divide it."""

    name: ClassVar[str] = "split-reduction"
    parts: int = 2
    step: int = 64

    def __post_init__(self) -> None:
        if self.parts < 2 or self.step < 1:
            raise ValueError(f"parts is at least 2 and step at least 1, found {self.parts} and {self.step}")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """Two, four and eight parts, where whole steps of them make the reduction."""
        found = find.contractions(state)
        if len(found) == 1:
            yield from (cls(parts) for parts in (2, 4, 8) if objection(found[0], cls(parts)) is None)

    def apply(self, module: Any) -> None:
        contraction = find.contraction(module)
        reason = objection(contraction, self)
        if reason is not None:
            raise PassError(reason, str(contraction.location))
        with mlir.scope(), ir.InsertionPoint(contraction):
            cut(contraction.operation, self)
        mlir.run(module, "canonicalize,cse")


def objection(contraction: Any, how: SplitReduction) -> str | None:
    """Why a contraction's reduction cannot be cut so; None where it can."""
    dims, extents = find.contraction_dims(contraction), find.loop_sizes(contraction)
    if not contraction.operation.results or min(extents) < 0:
        return "looked for a contraction on tensors of static size"
    if len(dims.k) != 1:
        return f"the contraction has {len(dims.k)} reduction loops, not one"
    if extents[dims.k[0]] % (how.parts * how.step):
        return f"a reduction of {extents[dims.k[0]]} is not made of {how.parts} parts of steps of {how.step}; pad it"
    if not is_filled(contraction):
        return "the contraction adds to what is there; start-from-zero adds it at the end"
    return None


def cut(op: Any, how: SplitReduction) -> None:
    """Puts the parts and their sum in the place of a contraction."""
    (k,), loops = find.contraction_dims(op).k, len(find.loop_sizes(op)) + 2
    positions = [find.positions(each) for each in find.maps(op)]
    operands = [expanded(op.operands[number], positions[number].index(k), how) for number in (0, 1)]
    to = [tuple(chain.from_iterable(moved(loop, k) for loop in each)) for each in positions]
    kind = ir.RankedTensorType.get([how.parts, *find.shape(op.results[0])], op.results[0].type.element_type)
    start: Any = find.defining(op.operands[2])
    empty = mlir.dialect("tensor").EmptyOp(kind.shape, kind.element_type).result
    zeros = mlir.dialect("linalg").fill(start.operands[0], outs=[empty])
    maps = [affine(to[0], loops), affine(to[1], loops), affine((0, *to[2]), loops)]
    kinds = ["reduction" if loop in (k + 1, k + 2) else "parallel" for loop in range(loops)]
    parts = generic(kind, [*operands, zeros], maps, kinds, inputs=2)
    old, new = op.regions[0].blocks[0], parts.regions[0].blocks[0]
    with ir.InsertionPoint(new):
        copies(old.operations, dict(zip(old.arguments, new.arguments, strict=True)))
    op.results[0].replace_all_uses_with(added(parts.results[0], op.operands[2]))
    op.erase()


def moved(loop: int | None, k: int) -> tuple[int | None, ...]:
    """What a loop becomes: behind that over parts; K is a loop over steps, the one over parts, and one in a step."""
    if loop is None:
        return (None,)
    return (k + 1, 0, k + 2) if loop == k else (loop + 1 if loop < k else loop + 2,)


def expanded(value: Any, at: int, how: SplitReduction) -> Any:
    """An operand with its dimension along K as steps, parts, and what a step has."""
    shape = list(find.shape(value))
    sizes = [*shape[:at], shape[at] // (how.parts * how.step), how.parts, how.step, *shape[at + 1 :]]
    groups = [[dim] if dim < at else [dim + 2] for dim in range(len(shape))]
    groups[at] = [at, at + 1, at + 2]
    kind = ir.RankedTensorType.get(sizes, value.type.element_type)
    return mlir.dialect("tensor").ExpandShapeOp(kind, value, groups, [], sizes).result


def added(parts: Any, start: Any) -> Any:
    """The sum of parts along their first dimension, marked as such."""
    rank = len(find.shape(parts))
    maps = [affine(tuple(range(first, rank)), rank) for first in (0, 1)]
    total = generic(start.type, [parts, start], maps, ["reduction", *["parallel"] * (rank - 1)], inputs=1)
    each, sum_ = total.regions[0].blocks[0].arguments
    arith = mlir.dialect("arith")
    with ir.InsertionPoint(total.regions[0].blocks[0]):
        add = arith.addf if isinstance(sum_.type, ir.FloatType) else arith.addi
        mlir.dialect("linalg").YieldOp([add(sum_, each)])
    find.set_role(total, SUM)
    return total.results[0]
