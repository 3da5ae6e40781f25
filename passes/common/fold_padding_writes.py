"""Writes past the padding instead of making a padded result and copying the kept part out of it.

before:  %p = memref.alloc() : memref<1024x384xf32>
         vector.transfer_write %v, %p[%i, %j] {in_bounds = [true, true]}
         memref.copy (memref.subview %p[0, 0] [1000, 333]), %out
after:   vector.transfer_write %v, %out[%i, %j] {in_bounds = [false, false]}

A write out of bounds is dropped, and what it would have written is cut off anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, Problem, Target
from lowering.mlir import ir


@dataclass(frozen=True)
class FoldPaddingWrites(Pass):
    """Works on bufferised states; a padded buffer that is read anywhere else is left alone."""

    name: ClassVar[str] = "fold-padding-writes"

    def apply(self, module: Any) -> None:
        mlir.run(module, "cse,canonicalize,cse,canonicalize,fold-memref-alias-ops,cse,canonicalize")
        with mlir.scope():
            for copy in mlir.walk(module, lambda op: op.operation.name == "memref.copy"):
                fold(copy)
        mlir.run(module, "canonicalize,cse")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where a vector is written to a buffer and a buffer is copied."""
        names = {op.operation.name for op in mlir.walk(state, lambda op: True)}
        if {"vector.transfer_write", "memref.copy"} <= names:
            yield cls()


def fold(copy: Any) -> None:
    """Replaces one padded buffer by the destination of the copy out of it."""
    source, out = copy.operands
    cut = find.defining(source)
    if cut is None or cut.name != "memref.subview" or any(cut.attributes["static_offsets"]):
        return
    padded = find.defining(cut.operands[0])
    if padded is None or padded.name != "memref.alloc" or any(step != 1 for step in cut.attributes["static_strides"]):
        return
    others = [use.owner.operation for use in padded.results[0].uses if use.owner.operation != cut]
    writes = [op for op in others if op.name == "vector.transfer_write"]
    frees = [op for op in others if op.name == "memref.dealloc"]
    if len(writes) + len(frees) != len(others) or not defined_above(out):
        return
    grown = [a != b for a, b in zip(find.shape(padded.results[0]), find.shape(out), strict=True)]
    if not all(redirect(write, out, grown) for write in writes):
        return
    for op in (copy, cut, *frees, padded):
        op.erase()


def defined_above(out: Any) -> bool:
    """Whether the destination exists before any op of the function: an argument of it."""
    return find.defining(out) is None


def redirect(write: Any, out: Any, grown: list[bool]) -> bool:
    """Turns a write to the padded buffer into one to the real one; False where the dimensions do not allow it."""
    vector_dims = find.positions(write.attributes["permutation_map"].value)
    if any(grew and dim not in vector_dims for dim, grew in enumerate(grown)):
        return False
    inside = [attribute.value for attribute in write.attributes["in_bounds"]]
    write.operands[1] = out
    bounds = [was and dim is not None and not grown[dim] for was, dim in zip(inside, vector_dims, strict=True)]
    write.attributes["in_bounds"] = ir.ArrayAttr.get([ir.BoolAttr.get(each) for each in bounds])
    return True
