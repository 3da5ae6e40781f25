"""Permutes the 16-byte chunks of each row of a workgroup buffer, so that lanes that read a column hit different banks.

before:  vector.store %x, %w[%row, %column] : memref<128x64xf16, #gpu.address_space<workgroup>>, vector<8xf16>
after, with swizzle{rows=1,2,4}:
         %chunk = (%column floordiv 8) xor (%row mod 8)
         vector.store %x, %w[%row, 8 * %chunk + %column mod 8]

All accesses of a buffer move alike, so what is read is what was written. Bit n of what a chunk's number is xored with
is the parity of the row's bits in `rows[n]`: 1,2,4 is the row modulo 8.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.common.slices import apply
from lowering.passes.gpu.direct_copies import DWORD, GATHER, LANES, buffer_operand
from lowering.passes.gpu.index import emit, head, known_divisor, launch_of, linear
from lowering.passes.gpu.map_threads import is_launch

TURNED = "lower.turned"  # on a direct copy whose lanes read what a permutation brings to their places
CHUNK_BYTES = 16  # the widest access of a lane, and what banks are given out by
ACCESSES = {"vector.load": 0, "vector.store": 1, "vector.transfer_read": 0, "vector.transfer_write": 1,
            "memref.load": 0, "memref.store": 1}  # fmt: skip


@dataclass(frozen=True)
class Swizzle(Pass):
    """`buffer` is the number of the launch's workgroup buffer; `rows` one mask of the row's bits a bit of the chunk."""

    name: ClassVar[str] = "swizzle"
    rows: tuple[int, ...]
    buffer: int = 0

    def __post_init__(self) -> None:
        if not self.rows or min(self.rows) < 1 or self.buffer < 0:
            raise ValueError("rows takes masks of the row's bits, each at least 1, and buffer a number from 0 on")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The row modulo the number of chunks, or half of it, of every buffer that can be swizzled."""
        for launch in mlir.walk(state, is_launch):
            for number, buffer in enumerate(buffers(launch)):
                bits = chunks(buffer).bit_length() - 1
                if bits > 0 and objection(buffer) is None:
                    yield cls(tuple(1 << n for n in range(bits)), number)
                    yield cls(tuple(2 << n for n in range(bits)), number)

    def apply(self, module: Any) -> None:
        launches = [op for op in mlir.walk(module, is_launch) if len(buffers(op)) > self.buffer]
        if len(launches) != 1:
            raise PassError(
                f"looked for one gpu.launch with a workgroup buffer {self.buffer} and found {len(launches)}; "
                "promote makes buffers"
            )
        buffer = buffers(launches[0])[self.buffer]
        reason = objection(buffer)
        if reason is None and len(self.rows) > chunks(buffer).bit_length() - 1:
            reason = f"rows has {len(self.rows)} masks, and a row {chunks(buffer)} chunks"
        if reason is not None:
            raise PassError(reason, str(launches[0].location))
        with mlir.scope():
            for op in accesses(buffer):
                (turn if op.name == GATHER else move)(op, self.rows)
        mlir.run(module, "canonicalize,cse")


def buffers(launch: Any) -> list[Any]:
    """The workgroup buffers of a launch."""
    return list(launch.regions[0].blocks[0].arguments)[head(launch) :]


def chunk_elements(buffer: Any) -> int:
    """Elements of a chunk."""
    return CHUNK_BYTES * 8 // buffer.type.element_type.width


def chunks(buffer: Any) -> int:
    """Chunks of a row, where that is a power of two; 1 otherwise."""
    count, rest = divmod(buffer.type.shape[-1], chunk_elements(buffer))
    return count if not rest and count & (count - 1) == 0 else 1


def accesses(buffer: Any) -> list[Any]:
    """The ops that use a buffer, each once."""
    return list(dict.fromkeys(use.owner.operation for use in buffer.uses))


def objection(buffer: Any) -> str | None:
    """Why a buffer cannot be swizzled; None where it can."""
    if len(buffer.type.shape) != 2 or chunks(buffer) == 1:
        return f"a row of {buffer.type} is no power of two of chunks of {CHUNK_BYTES} bytes"
    for op in accesses(buffer):
        if op.name == GATHER and TURNED in op.attributes:
            return "the buffer's direct copies are permuted already, and can be once"
        if op.name == GATHER:
            continue
        if op.name not in ACCESSES:
            return f"{op.name} uses the buffer, and cannot be moved"
        width = width_of(op)
        last = list(op.operands)[ACCESSES[op.name] + 2]
        if width is None or chunk_elements(buffer) % width or known_divisor(last) % width:
            return f"{op.name} may reach over chunks of {CHUNK_BYTES} bytes"
    return None


def width_of(op: Any) -> int | None:
    """How many neighbouring elements of a row an access touches; None where it is not of one row."""
    if op.name.startswith("memref."):
        return 1
    kind = op.operands[0].type if ACCESSES[op.name] else op.results[0].type
    if "permutation_map" in op.attributes:
        wide = dict(zip(find.positions(op.attributes["permutation_map"].value), kind.shape, strict=True))
        return wide.get(1, 1) if wide.get(0, 1) == 1 else None
    return kind.shape[-1] if all(n == 1 for n in kind.shape[:-1]) else None


def move(op: Any, rows: tuple[int, ...]) -> None:
    """Gives an access its permuted column."""
    first = ACCESSES[op.name] + 1
    buffer, row, column = list(op.operands)[first - 1 : first + 2]
    with ir.InsertionPoint(op):
        op.operands[first + 1] = permuted(row, column, chunk_elements(buffer), rows)


def permuted(row: Any, column: Any, size: int, rows: tuple[int, ...]) -> Any:
    """The column that an element of a row goes to, and the one that comes to its place."""
    arith, affine = mlir.dialect("arith"), mlir.dialect("affine")
    d0, d1 = ir.AffineExpr.get_dim(0), ir.AffineExpr.get_dim(1)
    chunk = affine.AffineApplyOp(ir.AffineMap.get(1, 0, [ir.AffineExpr.get_floor_div(d0, size)]), [column]).result
    row = emit(linear(row))
    for bit, mask in enumerate(rows):
        chunk = arith.XOrIOp(chunk, hash_bit(row, mask, bit)).result
    inner = ir.AffineExpr.get_mod(d1, size)
    return affine.AffineApplyOp(ir.AffineMap.get(2, 0, [d0 * size + inner]), [chunk, column]).result


def turn(op: Any, rows: tuple[int, ...]) -> None:
    """Makes each lane of a direct copy read what belongs to its place, which is the wave's place and its own."""
    arith, first = mlir.dialect("arith"), buffer_operand(op)
    buffer, row, column = list(op.operands)[first : first + 3]
    launch = launch_of(op)
    assert launch is not None
    thread, length = launch.regions[0].blocks[0].arguments[3], buffer.type.shape[-1]
    d0, d1, width = ir.AffineExpr.get_dim(0), ir.AffineExpr.get_dim(1), DWORD // buffer.type.element_type.width
    at = d1 + ir.AffineExpr.get_mod(d0, LANES) * width
    with ir.InsertionPoint(op):
        over = apply(ir.AffineExpr.get_floor_div(at, length), [thread, column])
        mine = apply(ir.AffineExpr.get_mod(at, length), [thread, column])
        its_row = arith.AddIOp(row, over).result
        moved = arith.SubIOp(permuted(its_row, mine, chunk_elements(buffer), rows), mine).result
        op.operands[first - 1] = arith.AddIOp(op.operands[first - 1], moved).result
    op.attributes[TURNED] = ir.UnitAttr.get()


def hash_bit(row: Any, mask: int, bit: int) -> Any:
    """The parity of the row's bits in a mask, as bit `bit`."""
    arith, index = mlir.dialect("arith"), ir.IndexType.get()
    parts: list[Any] = []
    for n in range(mask.bit_length()):
        if mask >> n & 1:
            kept = arith.AndIOp(row, arith.ConstantOp(index, 1 << n).result).result
            shift = arith.ConstantOp(index, abs(n - bit)).result
            if n != bit:
                kept = (arith.ShRUIOp if n > bit else arith.ShLIOp)(kept, shift).result
            parts.append(kept)
    found = parts[0]
    for each in parts[1:]:
        found = arith.XOrIOp(found, each).result
    return found
