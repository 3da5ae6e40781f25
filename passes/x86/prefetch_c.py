"""prefetch-c: while one tile of C is computed, the next one is fetched.

before -> after:
  %c = vector.transfer_read %t[%i, %j] : memref<6x16xf32, strided<...>>, vector<6x16xf32>
  scf.for %k ... iter_args(... %c ...)
->
  memref.prefetch %block[%row + 6, %col] ... %block[%row + 11, %col]            // the tile below, one line a row
  %c = ...
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, Problem, Target
from lowering.passes.common import slices

ir = mlir.ir


@dataclass(frozen=True)
class PrefetchC(Pass):
    """Prefetches the tile below every whole tile that is read in a loop of role "ir"; a hint only, never a fault."""

    name: ClassVar[str] = "prefetch-c"

    def apply(self, module: Any) -> None:
        with mlir.scope():
            for read in mlir.walk(module, reads_tile):
                prefetch(read)

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where such a tile is read and nothing is prefetched yet."""
        if mlir.walk(state, reads_tile) and not mlir.walk(state, lambda op: op.operation.name == "memref.prefetch"):
            yield cls()


def reads_tile(op: Any) -> bool:
    """Whether an op reads, in a loop of role "ir", a whole two-dimensional slice of a buffer as it lies."""
    read = op.operation
    if read.name != "vector.transfer_read" or find.role_of(read.parent) != "ir":
        return False
    kind = read.results[0].type
    return (
        isinstance(read.operands[0].type, ir.MemRefType)
        and len(kind.shape) == 2
        and list(read.operands[0].type.shape) == list(kind.shape)
        and len(read.operands) == 4
        and all(bool(flag.value) for flag in read.attributes["in_bounds"])
    )


def prefetch(read: Any) -> None:
    """One prefetch a row, `rows` further down."""
    memref = mlir.dialect("memref")
    buffer, row, column = list(read.operands)[:3]
    height = int(read.results[0].type.shape[0])
    with ir.InsertionPoint(read):
        for number in range(height, 2 * height):
            memref.prefetch(buffer, [slices.apply(slices.dim(0) + number, [row]), column], True, 3, True)
