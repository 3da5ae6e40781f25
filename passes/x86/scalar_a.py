"""scalar-a: a vector of A that is only taken apart again is read as scalars, so that each broadcast reads memory.

before -> after:
  %v = vector.transfer_read %a[%i, %j] : memref<1x6xf32>, vector<1x6xf32>
  %x = vector.extract %v[0, 1] ; vector.broadcast %x : f32 to vector<16xf32>
->
  %x = memref.load %a[%i, %j + 1] ; vector.broadcast %x

Otherwise LLVM loads the vector and shuffles its lanes, on the pipes that the multiply-adds need.
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
class ScalarA(Pass):
    """Rewrites in-bounds reads of a buffer whose every use is the extraction of one element."""

    name: ClassVar[str] = "scalar-a"

    def apply(self, module: Any) -> None:
        with mlir.scope():
            for read in mlir.walk(module, is_read):
                if eligible(read):
                    scalarize(read)
        mlir.run(module, "cse")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where a vector is read only to be taken apart."""
        if any(map(eligible, mlir.walk(state, is_read))):
            yield cls()


def is_read(op: Any) -> bool:
    """Whether an op is a `vector.transfer_read`."""
    return op.operation.name == "vector.transfer_read"


def eligible(read: Any) -> bool:
    """Whether a read is whole, in bounds, in the order of the buffer, and used by elements only."""
    kind = read.results[0].type
    users = [use.owner.operation for use in read.results[0].uses]
    return (
        isinstance(read.operands[0].type, ir.MemRefType)
        and find.positions(read.attributes["permutation_map"].value) == list(range(len(read.operands[0].type.shape)))
        and all(bool(flag.value) for flag in read.attributes["in_bounds"])
        and len(read.operands) == len(kind.shape) + 2
        and bool(users)
        and all(user.name == "vector.extract" and takes_element(user, len(kind.shape)) for user in users)
    )


def takes_element(extract: Any, rank: int) -> bool:
    """Whether a `vector.extract` takes one element at a static position."""
    at = [int(entry) for entry in extract.attributes["static_position"]]
    return len(at) == rank and len(extract.operands) == 1


def scalarize(read: Any) -> None:
    """One load in the place of each extraction."""
    memref = mlir.dialect("memref")
    buffer, *indices = list(read.operands)[:-1]
    for use in list(read.results[0].uses):
        extract = use.owner.operation
        at = [int(entry) for entry in extract.attributes["static_position"]]
        with ir.InsertionPoint(read):
            moved = [slices.apply(slices.dim(0) + n, [i]) if n else i for i, n in zip(indices, at, strict=True)]
            value = memref.load(buffer, moved)
        extract.results[0].replace_all_uses_with(value)
        extract.erase()
    read.erase()
