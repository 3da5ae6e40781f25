"""The accumulator tile that a loop carries becomes one vector a row.

before -> after:
  %r = scf.for %k ... iter_args(%acc = %c : vector<6x16xf32>) { %n = vector.contract ..., %acc ; scf.yield %n }
->
  %c0 = vector.extract %c[0] ...
  %r:6 = scf.for %k ... iter_args(%a0 = %c0 : vector<16xf32>, ...) {
    %acc = vector.insert %a0, ... [0] ... ; %n = vector.contract ..., %acc ; scf.yield (vector.extract %n[0]), ...
  }

Rows are what the registers hold: a two-dimensional vector would be taken apart and put together in every iteration.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import mlir
from lowering.core import Pass, Problem, Target

ir = mlir.ir


@dataclass(frozen=True)
class SplitAccumulators(Pass):
    """Splits every loop that carries exactly one two-dimensional vector."""

    name: ClassVar[str] = "split-accumulators"

    def apply(self, module: Any) -> None:
        with mlir.scope():
            for loop in mlir.walk(module, carries_tile):
                split(loop)

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where a loop carries a tile."""
        if mlir.walk(state, carries_tile):
            yield cls()


def carries_tile(op: Any) -> bool:
    """Whether an op is a loop that carries one two-dimensional vector and nothing else."""
    op = op.operation
    if op.name != "scf.for" or len(op.results) != 1:
        return False
    kind = op.results[0].type
    return isinstance(kind, ir.VectorType) and len(kind.shape) == 2


def split(loop: Any) -> None:
    """Rewrites one loop."""
    kind = loop.results[0].type
    body = loop.regions[0].blocks[0]
    with ir.InsertionPoint(loop):
        new = mlir.dialect("scf").ForOp(*list(loop.operands)[:3], rows(loop.operands[3], kind))
        joined = together(list(new.results), kind)
    for name in loop.attributes:
        new.operation.attributes[name] = loop.attributes[name]
    with ir.InsertionPoint(new.body):
        tile = together(list(new.inner_iter_args), kind)
    body.arguments[0].replace_all_uses_with(new.induction_variable)
    body.arguments[1].replace_all_uses_with(tile)
    last = list(body.operations)[-1]
    value = last.operands[0]
    last.operation.erase()
    for op in list(body.operations):
        op.operation.detach_from_parent()
        new.body.append(op.operation)
    with ir.InsertionPoint(new.body):
        mlir.dialect("scf").yield_(rows(value, kind))
    loop.results[0].replace_all_uses_with(joined)
    loop.erase()


def rows(tile: Any, kind: Any) -> list[Any]:
    """The rows of a tile."""
    vector = mlir.dialect("vector")
    return [vector.extract(tile, [], [row]) for row in range(kind.shape[0])]


def together(parts: list[Any], kind: Any) -> Any:
    """A tile of rows."""
    vector, ub = mlir.dialect("vector"), mlir.dialect("ub")
    tile = ub.PoisonOp(kind).results[0]
    for row, part in enumerate(parts):
        tile = vector.insert(part, tile, [], [row])
    return tile
