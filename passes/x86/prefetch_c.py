"""prefetch-c: while one tile of C is computed, the next one is fetched.

before -> after:
  %c = vector.transfer_read %t[%i, %j] : memref<6x16xf32, strided<...>>, vector<6x16xf32>
  scf.for %k ... iter_args(... %c ...)
->
  memref.prefetch %block[%row + 6, %col] ... %block[%row + 11, %col]            // the tile below, one line a row
  %c = ...
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass
from lowering.passes.x86 import slices

ir = mlir.ir


@dataclass(frozen=True)
class PrefetchC(Pass):
    """Prefetches the tile below every whole tile that is read in a loop of role "ir"; a hint only, never a fault."""

    name: ClassVar[str] = "prefetch-c"

    def apply(self, module: Any) -> None:
        with mlir.scope():
            for read in mlir.walk(module, lambda op: op.operation.name == "vector.transfer_read"):
                if find.role_of(read.parent) == "ir" and is_full_tile(read):
                    prefetch(read)


def is_full_tile(read: Any) -> bool:
    """Whether a read takes a whole two-dimensional buffer slice as it lies."""
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
