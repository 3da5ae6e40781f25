"""Accesses of device memory as buffer instructions: what lies beyond a buffer's end reads as zero and is not written.

before:  %x = vector.transfer_read %A[%i, %j], %zero {in_bounds = [false, true]} : memref<1000x512xf16>, vector<1x8xf16>
after:   %x = amdgpu.raw_buffer_load {boundsCheck = true} %A[%ti, %tj] sgprOffset %u : .. -> vector<8xf16>

No row needs a check, since the rows beyond the last one lie beyond the end; a column that leaves its row is sent there
by one select. An index is taken apart into what differs between lanes, which stays in one register over a loop, and
what does not, which is added by the instruction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu.index import Linear, emit, from_threads, known_divisor, launch_of, linear
from lowering.passes.gpu.lower_transfers import READ, Access, is_transfer, objection
from lowering.passes.gpu.prefetch import in_workgroup

# An offset has 32 bits, and what is sent behind the end may lie as far behind it as the buffer is long.
MOST_BYTES = 3 << 29
WIDTHS = (16, 8, 4, 2, 1)  # bytes of an access; 12 holds no power of two of elements


@dataclass(frozen=True)
class BufferAccesses(Pass):
    """Takes the transfers of device memory whose padding is zero, in a launch; the others stay as they are."""

    name: ClassVar[str] = "buffer-accesses"

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where there is a transfer that it takes."""
        if target.family == "amdgpu" and mlir.walk(state, takes):
            yield cls()

    def apply(self, module: Any) -> None:
        with mlir.scope():
            for op in mlir.walk(module, takes):
                access = Access.of(op)
                launch = launch_of(op)
                read(access, launch) if op.name == READ else write(access, launch)
                op.erase()
        mlir.run(module, "canonicalize,cse")


def takes(op: Any) -> bool:
    """Whether a transfer can be done by buffer instructions."""
    if not is_transfer(op) or objection(op) is not None or launch_of(op) is None:
        return False
    access = Access.of(op)
    kind = access.buffer.type
    if in_workgroup(access.buffer) or not kind.has_static_shape or access.dims[-1] != len(access.indices) - 1:
        return False
    if kind.affine_map != ir.AffineMap.get_identity(len(kind.shape), context=kind.context):
        return False
    bits = kind.element_type.width
    if bits % 8 or prod(kind.shape) * bits // 8 >= MOST_BYTES or width_of(access) * bits // 8 not in WIDTHS:
        return False
    return op.name != READ or all(access.inside) or is_zero(op.operands[len(op.operands) - 1])


def is_zero(value: Any) -> bool:
    """Whether padding is what a buffer instruction gives."""
    op = find.defining(value)
    return op is not None and (
        op.name == "ub.poison" or (op.name == "arith.constant" and float(op.attributes["value"].value) == 0.0)
    )


def width_of(access: Access) -> int:
    """Elements of one instruction: neighbours that are in bounds or out of them together, at most 16 bytes."""
    width, most = access.width(), WIDTHS[0] * 8 // access.buffer.type.element_type.width
    if not access.inside[-1]:
        extent, index = access.buffer.type.shape[-1], access.indices[-1]
        wide = access.vector.shape[-1]
        while wide > 1 and (extent % wide or known_divisor(index) % wide):
            wide //= 2
        width = max(width, wide)
    return min(width, most)


def place(access: Access, launch: Any, offsets: tuple[int, ...], width: int) -> tuple[list[Any], Any]:
    """The index of a piece for each lane, as i32, and what all lanes add, in elements."""
    arith, index, i32 = mlir.dialect("arith"), ir.IndexType.get(), ir.IntegerType.get_signless(32)
    shape = list(access.buffer.type.shape)
    strides = [prod(shape[dim + 1 :]) for dim in range(len(shape))]
    forms = [linear(each) for each in access.indices]
    for dim, offset in zip(access.dims, offsets, strict=True):
        forms[dim] = forms[dim] + Linear(offset)
    lanes = [Linear(0, {v: f for v, f in form.terms.items() if from_threads(v, launch)}) for form in forms]
    shared = Linear()
    for form, own, stride in zip(forms, lanes, strides, strict=True):
        shared = shared + (form + own.scaled(-1)).scaled(stride)
    outside = None
    for dim, inside in zip(access.dims, access.inside, strict=True):
        if inside or dim == 0:  # a row beyond the last lies beyond the end
            continue
        most = arith.ConstantOp(index, shape[dim] - (width if dim == access.dims[-1] else 1)).result
        check = arith.CmpIOp(arith.CmpIPredicate.ugt, emit(forms[dim]), most).result
        outside = check if outside is None else arith.OrIOp(outside, check).result
    indices = [emit(each) for each in lanes]
    if outside is not None:
        beyond = arith.ConstantOp(index, shape[0]).result
        indices[0] = arith.SelectOp(outside, beyond, indices[0]).result
    narrow = [arith.IndexCastOp(i32, each).result for each in indices]
    return narrow, arith.IndexCastOp(i32, emit(shared)).result


def read(access: Access, launch: Any) -> None:
    """Replaces a read."""
    vector, amdgpu, op = mlir.dialect("vector"), mlir.dialect("amdgpu"), access.op
    width = width_of(access)
    with ir.InsertionPoint(op):
        kind = ir.VectorType.get([width], access.vector.element_type)
        result = mlir.dialect("ub").PoisonOp(access.vector).result
        for offsets in pieces(access, width):
            lanes, shared = place(access, launch, offsets, width)
            loaded: Any = kind if width > 1 else access.vector.element_type
            value = amdgpu.RawBufferLoadOp(loaded, access.buffer, lanes, boundsCheck=True, sgprOffset=shared).result
            if width == 1:
                value = vector.BroadcastOp(kind, value).result
            if kind == access.vector:
                result = value
            elif width == access.vector.shape[-1]:
                result = vector.InsertOp(value, result, [], list(offsets[:-1])).result
            else:
                result = vector.InsertStridedSliceOp(value, result, list(offsets), [1]).result
        op.results[0].replace_all_uses_with(result)


def write(access: Access, launch: Any) -> None:
    """Replaces a write."""
    vector, amdgpu, op = mlir.dialect("vector"), mlir.dialect("amdgpu"), access.op
    width = width_of(access)
    with ir.InsertionPoint(op):
        for offsets in pieces(access, width):
            lanes, shared = place(access, launch, offsets, width)
            row = op.operands[0]
            if len(offsets) > 1:
                row = vector.ExtractOp(row, [], list(offsets[:-1])).result
            if width != access.vector.shape[-1]:
                kind = ir.VectorType.get([width], access.vector.element_type)
                row = vector.ExtractStridedSliceOp(kind, row, list(offsets[-1:]), [width], [1]).result
            if width == 1:
                row = vector.ExtractOp(row, [], [0]).result
            amdgpu.RawBufferStoreOp(row, access.buffer, lanes, boundsCheck=True, sgprOffset=shared)


def pieces(access: Access, width: int) -> Iterator[tuple[int, ...]]:
    """The offsets in the vector of each instruction."""
    *outer, last = access.vector.shape
    yield from product(*map(range, outer), range(0, last, width))
