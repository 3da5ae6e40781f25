"""Reads through the padding instead of making a padded copy.

before:  %p = tensor.pad %a low[0, 0] high[24, 3] { 0.0 }                     : 1000x77 to 1024x80
         vector.transfer_read %p[%i, %k], %any {in_bounds = [true, true]}      : vector<16x4xf32>
after:   vector.transfer_read %a[%i, %k], %zero {in_bounds = [false, false]}   : vector<16x4xf32>

A read out of bounds gives the padding value, which is what the padded copy holds there. Where a padded tile of C is
read, the write at the other end goes to what was padded too, if all that is kept of it is that:

before:  %w = vector.transfer_write %v, %p[%i, %j] {in_bounds = [true, true]}  : tensor<1024x80xf32>
         %r = tensor.extract_slice %w[0, 0] [1000, 77] [1, 1]
after:   %r = vector.transfer_write %v, %a[%i, %j] {in_bounds = [false, false]} : tensor<1000x77xf32>

(A tile that is inserted into a larger C is cut by upstream's canonicalization.)
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
    """Folds `vector.transfer_read`s of a `tensor.pad` whose padding is one value at the high end, and cut writes."""

    name: ClassVar[str] = "fold-padding-reads"

    def apply(self, module: Any) -> None:
        with mlir.scope():
            for read in mlir.walk(module, is_folding):
                fold(read, find.defining(read.operands[0]))
            for cut in mlir.walk(module, is_cut):
                fold_write(cut)
        mlir.run(module, "canonicalize,cse")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where such a tensor is read or written."""
        if mlir.walk(state, lambda op: is_folding(op) or is_cut(op)):
            yield cls()


def is_folding(op: Any) -> bool:
    """Whether an op reads in bounds, unmasked, from a padded tensor, and means the same on what was padded."""
    read = op.operation
    if read.name != "vector.transfer_read" or len(read.operands) != len(find.shape(read.operands[0])) + 2:
        return False
    pad = find.defining(read.operands[0])
    return pad is not None and is_high_pad(pad) and padding_value(pad) is not None and reaches_only(read, pad)


def is_cut(op: Any) -> bool:
    """Whether an op keeps of an unmasked write in bounds to a padded tensor just what was padded."""
    cut = op.operation
    write = find.defining(cut.operands[0]) if cut.name == "tensor.extract_slice" else None
    if write is None or write.name != "vector.transfer_write":
        return False
    pad = find.defining(write.operands[1])
    if pad is None or not is_high_pad(pad) or len(write.operands) != len(find.shape(pad.results[0])) + 2:
        return False
    whole = cut.results[0].type == pad.operands[0].type and min(find.shape(pad.operands[0]), default=0) >= 0
    stays = not any(cut.attributes["static_offsets"]) and all(step == 1 for step in cut.attributes["static_strides"])
    return whole and stays and reaches_only(write, pad)


def is_high_pad(op: Any) -> bool:
    """Whether an op pads at the high end only."""
    return op.name == "tensor.pad" and not any(op.attributes["static_low"])


def reaches_only(transfer: Any, pad: Any) -> bool:
    """Whether a transfer is in bounds, and only dimensions of its vector are padded: others cannot be out of bounds."""
    dims = find.positions(transfer.attributes["permutation_map"].value)
    inside = all(flag.value for flag in transfer.attributes["in_bounds"])
    return inside and all(dim in dims for dim, more in enumerate(grown(pad)) if more)


def bounds_of(transfer: Any, pad: Any) -> list[bool]:
    """Which dimensions of a transfer's vector stay in bounds when it goes to what was padded."""
    more = grown(pad)
    return [dim is None or not more[dim] for dim in find.positions(transfer.attributes["permutation_map"].value)]


def fold_write(cut: Any) -> None:
    """Moves the write whose result is cut from the padded tensor to its source."""
    write: Any = find.defining(cut.operands[0])
    pad: Any = find.defining(write.operands[1])
    with ir.InsertionPoint(write):
        new = mlir.dialect("vector").TransferWriteOp(
            pad.operands[0].type,
            write.operands[0],
            pad.operands[0],
            list(write.operands)[2:],
            write.attributes["permutation_map"],
            bounds_of(write, pad),
        )
    cut.results[0].replace_all_uses_with(new.result)
    cut.erase()


def grown(pad: Any) -> list[bool]:
    """Which dimensions a pad may make longer."""
    sizes = zip(pad.attributes["static_high"], find.shape(pad.operands[0]), find.shape(pad.results[0]), strict=True)
    return [high != 0 and not 0 <= source == padded for high, source, padded in sizes]


def fold(read: Any, pad: Any) -> None:
    """Moves one read from the padded tensor to its source."""
    with ir.InsertionPoint(read):
        new = mlir.dialect("vector").TransferReadOp(
            read.results[0].type,
            pad.operands[0],
            list(read.operands)[1:-1],
            read.attributes["permutation_map"],
            padding_value(pad),
            bounds_of(read, pad),
        )
    read.results[0].replace_all_uses_with(new.result)
    read.erase()


def padding_value(pad: Any) -> Any | None:
    """The value a `tensor.pad` yields everywhere, where it is one defined outside of it."""
    block = pad.regions[0].blocks[0]
    ops = list(block.operations)
    value = ops[-1].operation.operands[0]
    return value if len(ops) == 1 and find.defining(value) is not None else None
