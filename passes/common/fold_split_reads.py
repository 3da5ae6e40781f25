"""Reads through the reshaping that `split-reduction` makes.

before:  %x = tensor.expand_shape %a [[0], [1, 2, 3]]                     : 256x65536 to 256x32x32x64
         vector.transfer_read %x[%m, %s, %p, %k] {d0, d3}                 : vector<64x64xf16>
after:   vector.transfer_read %a[%m, 2048 * %s + 64 * %p + %k] {d0, d1}   : vector<64x64xf16>

A read that stays within a step is one of as many neighbouring elements of the whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu.index import Linear, emit, linear


@dataclass(frozen=True)
class FoldSplitReads(Pass):
    """Folds unmasked `vector.transfer_read`s in bounds of a static `tensor.expand_shape`."""

    name: ClassVar[str] = "fold-split-reads"

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where such a tensor is read."""
        if mlir.walk(state, is_folding):
            yield cls()

    def apply(self, module: Any) -> None:
        with mlir.scope():
            for read in mlir.walk(module, is_folding):
                fold(read, find.defining(read.operands[0]))
        mlir.run(module, "canonicalize,cse")


def is_folding(op: Any) -> bool:
    """Whether an op reads, of each dimension that was cut, only along the innermost of its parts."""
    read = op.operation
    if read.name != "vector.transfer_read" or len(read.operands) != len(find.shape(read.operands[0])) + 2:
        return False
    source = find.defining(read.operands[0])
    if source is None or source.name != "tensor.expand_shape" or min(find.shape(read.operands[0]), default=0) < 0:
        return False
    positions = find.positions(read.attributes["permutation_map"].value)
    inside = all(flag.value for flag in read.attributes["in_bounds"])
    return inside and not any(dim in positions for group in groups(source) for dim in group[:-1])


def groups(source: Any) -> list[list[int]]:
    """The dimensions that each dimension of the source was cut into."""
    return [[dim.value for dim in group] for group in source.attributes["reassociation"]]


def fold(read: Any, source: Any) -> None:
    """Moves one read to the tensor that was cut."""
    shape, found = find.shape(read.operands[0]), groups(source)
    to = {group[-1]: dim for dim, group in enumerate(found)}
    positions = find.positions(read.attributes["permutation_map"].value)

    def place(group: list[int]) -> Linear:
        terms = (linear(read.operands[1 + dim]).scaled(prod(shape[dim + 1 : group[-1] + 1])) for dim in group)
        return sum(terms, Linear())

    with ir.InsertionPoint(read):
        whole = [emit(place(group)) for group in found]
        results = [ir.AffineConstantExpr.get(0) if dim is None else ir.AffineExpr.get_dim(to[dim]) for dim in positions]
        value = mlir.dialect("vector").TransferReadOp(
            read.results[0].type, source.operands[0], whole, ir.AffineMap.get(len(found), 0, results),
            read.operands[1 + len(shape)], read.attributes["in_bounds"],
        ).result  # fmt: skip
    read.results[0].replace_all_uses_with(value)
    read.erase()
