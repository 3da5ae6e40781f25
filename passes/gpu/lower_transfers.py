"""Lowers vector transfers to loads and stores, with a check only where one may leave its buffer.

before:  %v = vector.transfer_read %a[%i, %j], %zero {in_bounds = [false, true]} : memref<1000x512xf32>, vector<1x4xf32>
         vector.transfer_write %w, %c[%i, %j] {in_bounds = [false, true]} : vector<1x4xf32>, memref<1000x512xf32>
after:   %inside = %i < 1000
         %r = vector.load %a[min(%i, 999), %j] : vector<4xf32>
         %v = arith.select %inside, %r, %zero
         scf.if %inside { vector.store %w[0], %c[%i, %j] }

A read never branches: it loads from a clamped place and drops what it loaded. Where the row ends inside a vector, the
vector is cut into the largest pieces that are in bounds or out of them as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from math import gcd
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu.index import Linear, divisor, emit, linear

READ, WRITE = "vector.transfer_read", "vector.transfer_write"


@dataclass(frozen=True)
class LowerTransfers(Pass):
    """Takes every unmasked transfer on buffers that permutes no dimension away or broadcasts none."""

    name: ClassVar[str] = "lower-transfers"

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The default, where there are transfers and it can take each of them."""
        found = mlir.walk(state, is_transfer)
        if found and not any(map(objection, found)):
            yield cls()

    def apply(self, module: Any) -> None:
        with mlir.scope():
            for op in mlir.walk(module, is_transfer):
                access = Access.of(op)
                read(access) if op.name == READ else write(access)
                op.erase()
        mlir.run(module, "canonicalize,cse")


@dataclass(frozen=True)
class Place:
    """A piece's index, the same clamped into the buffer, and whether it is inside (None: always)."""

    index: list[Any]
    clamped: list[Any]
    inside: Any | None


@dataclass(frozen=True)
class Access:
    """A transfer: its buffer and index, and for each dimension of the vector the buffer's dimension and the check."""

    op: Any
    buffer: Any
    indices: tuple[Any, ...]
    vector: Any
    dims: tuple[int, ...]
    inside: tuple[bool, ...]
    made: dict[tuple[int, int], tuple[Any, Any, Any | None]] = field(default_factory=dict)

    @staticmethod
    def of(op: Any) -> Access:
        reason = objection(op)
        if reason is not None:
            raise PassError(reason, str(op.location))
        first = int(op.name == WRITE)
        buffer = op.operands[first]
        vector = op.results[0].type if op.name == READ else op.operands[0].type
        dims = find.positions(op.attributes["permutation_map"].value)
        rank = len(buffer.type.shape)
        inside = tuple(each.value for each in op.attributes["in_bounds"])
        indices = tuple(op.operands[first + 1 : first + 1 + rank])
        return Access(op, buffer, indices, vector, tuple(d for d in dims if d is not None), inside)

    def width(self) -> int:
        """How many elements one load or store moves."""
        last, extent = self.dims[-1], self.vector.shape[-1]
        if last != len(self.indices) - 1:
            return 1  # not contiguous
        if self.inside[-1]:
            return extent
        return gcd(extent, self.buffer.type.shape[-1], divisor(linear(self.indices[-1])))

    def pieces(self) -> Iterator[tuple[tuple[int, ...], int]]:
        """The offsets in the vector of each piece, and its width."""
        width = self.width()
        *outer, last = self.vector.shape
        for offsets in product(*map(range, outer), range(0, last, width)):
            yield offsets, width

    def at(self, offsets: tuple[int, ...], width: int) -> Place:
        """Where a piece is."""
        true, clamped = list(self.indices), list(self.indices)
        checks: list[Any] = []
        for dim, offset, inside in zip(self.dims, offsets, self.inside, strict=True):
            span = width if dim == self.dims[-1] else 1
            if (dim, offset) not in self.made:
                self.made[dim, offset] = self.along(dim, offset, None if inside else span)
            true[dim], clamped[dim], check = self.made[dim, offset]
            checks += [] if check is None else [check]
        arith = mlir.dialect("arith")
        check = checks[0] if checks else None
        for other in checks[1:]:
            check = arith.AndIOp(check, other).result
        return Place(true, clamped, check)

    def along(self, dim: int, offset: int, span: int | None) -> tuple[Any, Any, Any | None]:
        """One dimension's index, the same clamped, and its check that `span` elements are inside (None: they are)."""
        index = emit(linear(self.indices[dim]) + Linear(offset))
        if span is None:
            return index, index, None
        arith = mlir.dialect("arith")
        most = arith.ConstantOp(ir.IndexType.get(), self.buffer.type.shape[dim] - span).result
        check = arith.CmpIOp(arith.CmpIPredicate.ule, index, most).result
        return index, arith.MinUIOp(index, most).result, check


def is_transfer(op: Any) -> bool:
    """Whether an op reads or writes a vector of a buffer or tensor."""
    return op.operation.name in (READ, WRITE)


def objection(op: Any) -> str | None:
    """Why a transfer cannot be taken; None where it can."""
    buffer = op.operands[int(op.name == WRITE)].type
    if not isinstance(buffer, ir.MemRefType):
        return f"{op.name} is on a tensor: bufferise first"
    if not buffer.has_static_shape and not all(each.value for each in op.attributes["in_bounds"]):
        return f"{op.name} may leave a buffer of dynamic size: pad first"
    if None in find.positions(op.attributes["permutation_map"].value) or len(op.operands) != 2 + len(buffer.shape):
        return f"{op.name} broadcasts or is masked"
    return None


def read(access: Access) -> None:
    """Replaces a read by loads."""
    vector, arith, op = mlir.dialect("vector"), mlir.dialect("arith"), access.op
    with ir.InsertionPoint(op):
        padding = op.operands[len(op.operands) - 1]
        result = mlir.dialect("ub").PoisonOp(access.vector).result
        for offsets, width in access.pieces():
            place = access.at(offsets, width)
            kind = ir.VectorType.get([width], access.vector.element_type)
            value = vector.LoadOp(kind, access.buffer, place.clamped).result
            if place.inside is not None:
                value = arith.SelectOp(place.inside, value, vector.BroadcastOp(kind, padding).result).result
            if kind == access.vector:
                result = value
            elif width == access.vector.shape[-1]:
                result = vector.InsertOp(value, result, [], list(offsets[:-1])).result
            else:
                result = vector.InsertStridedSliceOp(value, result, list(offsets), [1]).result
        op.results[0].replace_all_uses_with(result)


def write(access: Access) -> None:
    """Replaces a write by stores."""
    vector, scf, op = mlir.dialect("vector"), mlir.dialect("scf"), access.op
    with ir.InsertionPoint(op):
        for offsets, width in access.pieces():
            place = access.at(offsets, width)
            row = op.operands[0]
            if len(offsets) > 1:
                row = vector.ExtractOp(row, [], list(offsets[:-1])).result
            if width != access.vector.shape[-1]:
                kind = ir.VectorType.get([width], access.vector.element_type)
                row = vector.ExtractStridedSliceOp(kind, row, list(offsets[-1:]), [width], [1]).result
            if place.inside is None:
                vector.StoreOp(row, access.buffer, place.index)
                continue
            branch = scf.IfOp(place.inside)
            with ir.InsertionPoint(branch.then_block):
                vector.StoreOp(row, access.buffer, place.index)
                scf.YieldOp([])
