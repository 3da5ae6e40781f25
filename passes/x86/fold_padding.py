"""fold-padding: a padded tile of C that is only read as a vector is read from the tile itself, masked at its edge.

before -> after:
  %p = tensor.pad %c low[0,0] high[%h, %w] { yield 0.0 } : tensor<?x?xf32> to tensor<6x16xf32>
  %v = vector.transfer_read %p[0, 0] {in_bounds = [true, true]}
->
  %v = vector.transfer_read %c[0, 0], 0.0 {in_bounds = [false, false]}

The write at the other end is cut to the tile by upstream's canonicalization (an `extract_slice` of a `transfer_write`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, Problem, Target

ir = mlir.ir


@dataclass(frozen=True)
class FoldPadding(Pass):
    """Folds `tensor.pad` with low padding zero into the whole reads of it; other uses keep the padded tensor."""

    name: ClassVar[str] = "fold-padding"

    def apply(self, module: Any) -> None:
        with mlir.scope():
            for pad in mlir.walk(module, lambda op: op.operation.name == "tensor.pad"):
                fold(pad)
        mlir.run(module, "canonicalize,cse")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where something is padded."""
        if mlir.walk(state, lambda op: op.operation.name == "tensor.pad"):
            yield cls()


def fold(pad: Any) -> None:
    """Redirects the full-size reads of one padded tensor."""
    source, value = pad.operands[0], padding_value(pad)
    if value is None or any(int(low) != 0 for low in pad.attributes["static_low"]):
        return
    shape = list(pad.results[0].type.shape)
    for use in list(pad.results[0].uses):
        read = use.owner.operation
        if read.name != "vector.transfer_read" or list(read.results[0].type.shape) != shape or use.operand_number != 0:
            continue
        narrow = [n == full for n, full in zip(list(source.type.shape), shape, strict=True)]
        with ir.InsertionPoint(read):
            op = mlir.dialect("vector").TransferReadOp(
                read.results[0].type,
                source,
                list(read.operands)[1 : 1 + len(shape)],
                read.attributes["permutation_map"],
                value,
                narrow,
            )
        read.results[0].replace_all_uses_with(op.results[0])
        read.erase()


def padding_value(pad: Any) -> Any | None:
    """The value that a pad yields where it is one from outside its body; None otherwise."""
    terminator = list(pad.regions[0].blocks[0].operations)[-1]
    value = terminator.operands[0]
    owner = find.defining(value)
    if owner is None or owner.parent == pad:
        return None
    return value
