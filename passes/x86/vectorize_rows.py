"""vectorize-rows: a copy between buffers whose rows are short and lie side by side moves a row as one vector.

before -> after:
  memref.copy %b, %panel : memref<?x16xf32, strided<[1000, 1], offset: ?>> to memref<?x16xf32, strided<[16, 1], ...>>
->
  scf.for %k = 0 to %n step 1 {
    %v = vector.transfer_read %b[%k, 0] : vector<1x16xf32> ; vector.transfer_write %v, %panel[%k, 0]
  }

Likewise a `linalg.generic` that widens on the way. The panels of B are such copies. Those that transpose, and those
whose rows are not static, are left to loops.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, Problem, Target
from lowering.passes.common.expand_copies import expand

MARK = "lower.rows"
LONGEST = 64  # elements of a row: more is better left to a loop


@dataclass(frozen=True)
class VectorizeRows(Pass):
    """Vectorises two-dimensional copies between buffers with static rows of at most 64 elements."""

    name: ClassVar[str] = "vectorize-rows"

    def apply(self, module: Any) -> None:
        copies = mlir.walk(module, is_row_copy)
        if not copies:
            return
        with mlir.scope():
            for op in copies:
                generic = expand(op) if op.name == "memref.copy" else op
                generic.attributes[MARK] = mlir.ir.UnitAttr.get()
        handle = "!transform.any_op"
        mlir.transform(
            module,
            f"""%c = transform.structured.match attributes {{{MARK}}} in %root : ({handle}) -> {handle}
            %t, %l = transform.structured.tile_using_for %c tile_sizes [1] : ({handle}) -> ({handle}, {handle})
            transform.structured.vectorize %t : {handle}""",
        )
        mlir.run(module, "canonicalize,cse")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where there is such a copy."""
        if mlir.walk(state, is_row_copy):
            yield cls()


def is_row_copy(op: Any) -> bool:
    """Whether an op copies a two-dimensional buffer as it lies, perhaps widening it, in short static rows."""
    op = op.operation
    if op.name not in ("memref.copy", "linalg.generic") or len(op.operands) != 2:
        return False
    if not all(is_row_buffer(value.type) for value in op.operands):
        return False
    return op.name == "memref.copy" or (
        all(find.positions(each) == [0, 1] for each in find.maps(op)) and only_widens(op)
    )


def only_widens(generic: Any) -> bool:
    """Whether a body yields its input, or one widening of it."""
    ops = [op.operation for op in generic.regions[0].blocks[0].operations]
    value = find.unwidened(ops[-1].operands[0])
    return value == generic.regions[0].blocks[0].arguments[0]


def is_row_buffer(kind: Any) -> bool:
    """Whether a type is a two-dimensional buffer whose rows are short, static and contiguous."""
    if not isinstance(kind, mlir.ir.MemRefType) or len(kind.shape) != 2:
        return False
    strides, _ = kind.get_strides_and_offset()
    return 0 < kind.shape[1] <= LONGEST and strides[1] == 1
