"""Reads through the padding instead of making a padded copy.

before:  %p = tensor.pad %a low[0, 0] high[24, 3] { 0.0 }                     : 1000x77 to 1024x80
         vector.transfer_read %p[%i, %k], %any {in_bounds = [true, true]}      : vector<16x4xf32>
after:   vector.transfer_read %a[%i, %k], %zero {in_bounds = [false, false]}   : vector<16x4xf32>

A read out of bounds gives the padding value, which is what the padded copy holds there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass
from lowering.mlir import ir

# Reads of a slice become reads of what it is a slice of.
INDICES = """
%f = transform.structured.match ops{["func.func"]} in %root : (!transform.any_op) -> !transform.any_op
transform.apply_patterns to %f {
  transform.apply_patterns.tensor.fold_tensor_subset_ops_into_vector_transfers
} : !transform.any_op"""


@dataclass(frozen=True)
class FoldPaddingReads(Pass):
    """Folds every `vector.transfer_read` of a `tensor.pad` whose padding is one value at the high end."""

    name: ClassVar[str] = "fold-padding-reads"

    def apply(self, module: Any) -> None:
        mlir.transform(module, INDICES)
        with mlir.scope():
            for read in mlir.walk(module, lambda op: op.operation.name == "vector.transfer_read"):
                fold(read)
        mlir.run(module, "canonicalize,cse")


def fold(read: Any) -> None:
    """Moves one read from the padded tensor to its source, where that means the same."""
    pad = find.defining(read.operands[0])
    if pad is None or pad.name != "tensor.pad" or len(read.operands) != len(find.shape(read.operands[0])) + 2:
        return  # not padded, or masked
    value = padding_value(pad)
    high = list(pad.attributes["static_high"])
    if value is None or any(pad.attributes["static_low"]) or any(n < 0 for n in high):
        return
    vector_dims = find.positions(read.attributes["permutation_map"].value)
    if any(n and dim not in vector_dims for dim, n in enumerate(high)):
        return  # only a dimension of the vector may be out of bounds
    inside = [attribute.value for attribute in read.attributes["in_bounds"]]
    bounds = [was and (dim is None or not high[dim]) for was, dim in zip(inside, vector_dims, strict=True)]
    with ir.InsertionPoint(read):
        new = mlir.dialect("vector").TransferReadOp(
            read.results[0].type,
            pad.operands[0],
            list(read.operands)[1:-1],
            read.attributes["permutation_map"],
            value,
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
