"""A copy between buffers becomes a linalg op, and with it loops instead of a call.

before -> after:
  memref.copy %a, %b : memref<?x16xf32, strided<[77, 1], offset: ?>> to memref<?x16xf32, strided<[16, 1], offset: ?>>
->
  linalg.generic ins(%a) outs(%b) { yield }

A strided `memref.copy` would otherwise call `memrefCopy`, a library function that nobody links here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import mlir
from lowering.core import Pass, Problem, Target

ir = mlir.ir


@dataclass(frozen=True)
class ExpandCopies(Pass):
    """Rewrites every `memref.copy` of ranked buffers."""

    name: ClassVar[str] = "expand-copies"

    def apply(self, module: Any) -> None:
        with mlir.scope():
            for op in mlir.walk(module, is_ranked_copy):
                expand(op)

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where there is a `memref.copy`."""
        if mlir.walk(state, is_ranked_copy):
            yield cls()


def is_ranked_copy(op: Any) -> bool:
    """Whether an op copies a buffer of known rank."""
    return op.operation.name == "memref.copy" and isinstance(op.operation.operands[0].type, ir.MemRefType)


def expand(op: Any) -> Any:
    """One copy as an identity generic, which is returned."""
    source, dest = op.operands
    kind = source.type
    identity = ir.AffineMapAttr.get(ir.AffineMap.get_identity(len(kind.shape)))
    parallel = ir.Attribute.parse("#linalg.iterator_type<parallel>")
    attributes = {
        "indexing_maps": ir.ArrayAttr.get([identity, identity]),
        "iterator_types": ir.ArrayAttr.get([parallel] * len(kind.shape)),
        "operandSegmentSizes": ir.DenseI32ArrayAttr.get([1, 1]),
    }
    with ir.InsertionPoint(op):
        generic = ir.Operation.create("linalg.generic", [], [source, dest], attributes, regions=1)
        block = ir.Block.create_at_start(generic.regions[0], [kind.element_type] * 2)
        with ir.InsertionPoint(block):
            mlir.dialect("linalg").YieldOp([block.arguments[0]])
    op.erase()
    return generic
