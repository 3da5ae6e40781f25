"""vectorize-contraction: the register kernels of static size become `vector.contract`.

before -> after:
  %r = linalg.generic ins(%a : tensor<1x6xf32>, %b : tensor<1x16xf32>) outs(%c : tensor<6x16xf32>)
->
  %va = vector.transfer_read %a : vector<1x6xf32>     // likewise %vb : vector<1x16xf32>, %vc : vector<6x16xf32>
  %v = vector.contract %va, %vb, %vc                  // with the generic's maps, after its widening casts
  %r = vector.transfer_write %v, %c
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.passes.common.slices import as_index, zero

ir = mlir.ir
MOST = 4096  # elements of a vector; more is a tile that was never made


@dataclass(frozen=True)
class VectorizeContraction(Pass):
    """Vectorises every contraction on tensors of static size; those of dynamic size stay as they are."""

    name: ClassVar[str] = "vectorize-contraction"

    def apply(self, module: Any) -> None:
        found = [op for op in find.contractions(module) or [find.contraction(module)] if min(find.loop_sizes(op)) >= 0]
        if not found:
            raise PassError(
                "looked for a contraction of static size and found none: run tile-registers and tile-k before"
            )
        for op in found:
            extent = find.loop_sizes(op)
            if prod(extent) > MOST:
                raise PassError(
                    f"a vector of {'x'.join(map(str, extent))} is too large: tile the contraction before", op.name
                )
        with mlir.scope():
            for op in found:
                vectorize(op)
        mlir.run(module, "canonicalize,cse")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where a contraction on tensors is static and small."""
        sizes = [find.loop_sizes(op) for op in find.contractions(state) if len(op.results)]
        if any(min(extent) >= 0 and prod(extent) <= MOST for extent in sizes):
            yield cls()


def vectorize(op: Any) -> None:
    """Replaces one contraction by reads, a `vector.contract` and a write."""
    vector = mlir.dialect("vector")
    with ir.InsertionPoint(op):
        a, b, c = (read(op.operands[number]) for number in range(3))
        a, b = (widened(op, number, value) for number, value in enumerate((a, b)))
        maps = ir.ArrayAttr.get([ir.AffineMapAttr.get(each) for each in find.maps(op)])
        reduced = set(find.reduction_dims(op))
        kinds = ["reduction" if loop in reduced else "parallel" for loop in range(maps[0].value.n_dims)]
        iterators = ir.ArrayAttr.get([ir.Attribute.parse(f"#vector.iterator_type<{kind}>") for kind in kinds])
        value = vector.contract(c.type, a, b, c, maps, iterators)
        dest = op.operands[2]
        rank = len(dest.type.shape)
        written = vector.TransferWriteOp(
            dest.type, value, dest, [as_index(0)] * rank, ir.AffineMap.get_identity(rank), [True] * rank
        )
    op.results[0].replace_all_uses_with(written.results[0])
    op.erase()


def read(value: Any) -> Any:
    """A whole tensor as a vector."""
    shape, element = list(value.type.shape), value.type.element_type
    rank = len(shape)
    padding = mlir.dialect("arith").constant(element, zero(element))
    read_op = mlir.dialect("vector").TransferReadOp(
        ir.VectorType.get(shape, element),
        value,
        [as_index(0)] * rank,
        ir.AffineMap.get_identity(rank),
        padding,
        [True] * rank,
    )
    return read_op.results[0]


def widened(op: Any, number: int, value: Any) -> Any:
    """A vector after the casts that the contraction's body applies to that operand."""
    argument = op.regions[0].blocks[0].arguments[number]
    while True:
        users = [use.owner.operation for use in argument.uses]
        cast = next((user for user in users if user.name in find.WIDENING), None)
        if cast is None:
            return value
        argument = cast.results[0]
        wide = ir.VectorType.get(list(value.type.shape), argument.type)
        value = ir.Operation.create(cast.name, [wide], [value]).results[0]
