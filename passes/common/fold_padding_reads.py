"""Reads through the padding instead of making a padded copy.

before:  %p = tensor.pad %a low[0, 0] high[24, 3] { 0.0 }                     : 1000x77 to 1024x80
         vector.transfer_read %p[%i, %k], %any {in_bounds = [true, true]}      : vector<16x4xf32>
after:   vector.transfer_read %a[%i, %k], %zero {in_bounds = [false, false]}   : vector<16x4xf32>

A read out of bounds gives the padding value, which is what the padded copy holds there. Where a padded tile of C is
read, the write at the other end is cut to the tile by upstream's canonicalization (an `extract_slice` of a
`transfer_write`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, Problem, Target
from lowering.mlir import ir


@dataclass(frozen=True)
class FoldPaddingReads(Pass):
    """Folds every `vector.transfer_read` of a `tensor.pad` whose padding is one value at the high end."""

    name: ClassVar[str] = "fold-padding-reads"

    def apply(self, module: Any) -> None:
        with mlir.scope():
            for read in mlir.walk(module, is_folding):
                fold(read, find.defining(read.operands[0]))
        mlir.run(module, "canonicalize,cse")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where such a tensor is read."""
        if mlir.walk(state, is_folding):
            yield cls()


def is_folding(op: Any) -> bool:
    """Whether an op reads in bounds, unmasked, from a padded tensor, and means the same on what was padded."""
    read = op.operation
    if read.name != "vector.transfer_read":
        return False
    pad = find.defining(read.operands[0])
    if pad is None or pad.name != "tensor.pad" or len(read.operands) != len(find.shape(read.operands[0])) + 2:
        return False
    if padding_value(pad) is None or any(pad.attributes["static_low"]):
        return False
    dims = find.positions(read.attributes["permutation_map"].value)
    # Only a dimension of the vector may be out of bounds; one that may be already reads its own padding there.
    inside = all(flag.value for flag in read.attributes["in_bounds"])
    return inside and all(dim in dims for dim, more in enumerate(grown(pad)) if more)


def grown(pad: Any) -> list[bool]:
    """Which dimensions a pad may make longer."""
    sizes = zip(pad.attributes["static_high"], find.shape(pad.operands[0]), find.shape(pad.results[0]), strict=True)
    return [high != 0 and not 0 <= source == padded for high, source, padded in sizes]


def fold(read: Any, pad: Any) -> None:
    """Moves one read from the padded tensor to its source."""
    more = grown(pad)
    bounds = [dim is None or not more[dim] for dim in find.positions(read.attributes["permutation_map"].value)]
    with ir.InsertionPoint(read):
        new = mlir.dialect("vector").TransferReadOp(
            read.results[0].type,
            pad.operands[0],
            list(read.operands)[1:-1],
            read.attributes["permutation_map"],
            padding_value(pad),
            bounds,
        )
    read.results[0].replace_all_uses_with(new.result)
    read.erase()


def padding_value(pad: Any) -> Any | None:
    """The value a `tensor.pad` yields everywhere, where it is one defined outside of it."""
    block = pad.regions[0].blocks[0]
    ops = list(block.operations)
    value = ops[-1].operation.operands[0]
    return value if len(ops) == 1 and find.defining(value) is not None else None
