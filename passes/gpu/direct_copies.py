"""Copies from device memory that go straight to workgroup memory, by no register: `amdgpu.gather_to_lds`.

A lane brings one dword, and the hardware puts the dwords of a wave side by side from where the wave says: the buffer
is filled in its own order, 256 bytes a wave and instruction, and which lane reads what follows from that. The copies
are under way when the instruction is over: they are waited for before the barrier.
"""

from __future__ import annotations

from math import prod
from typing import Any, Protocol

from lowering import find, mlir
from lowering.mlir import ir
from lowering.passes.gpu.index import Linear, emit

GATHER = "amdgpu.gather_to_lds"
WAIT = "amdgpu.memory_counter_wait"
LANES = 64
DWORD = 32  # bits: the widest that gfx942 takes; gfx950's 16 bytes stay unlowered without an error


class Tile(Protocol):
    """A tile that `promote` copies."""

    @property
    def read(self) -> Any:
        """The read of the source."""
        ...

    @property
    def casts(self) -> tuple[Any, ...]:
        """What is done to elements on the way."""
        ...

    @property
    def origin(self) -> tuple[Linear, ...]:
        """Where the tile lies in the source."""
        ...

    @property
    def extents(self) -> tuple[int, ...]:
        """Its size in each dimension of the source."""
        ...

    @property
    def order(self) -> tuple[int, ...]:
        """The source dimension of each dimension of the buffer."""
        ...

    @property
    def buffer(self) -> Any:
        """Workgroup memory."""
        ...


def suits(tile: Tile, threads: int) -> bool:
    """Whether a tile can be copied directly: as it lies in device memory, all of it there, by whole waves."""
    bits = tile.buffer.type.element_type.width
    plain = not tile.casts and tile.order[-1] == len(tile.extents) - 1 and list(tile.order) == sorted(tile.order)
    inside = all(each.value for each in tile.read.attributes["in_bounds"])
    whole = [extent for extent in tile.extents if extent > 1] == list(tile.buffer.type.shape)
    if not (plain and inside and whole and threads % LANES == 0 and bits <= DWORD):
        return False
    return tile.extents[-1] % (DWORD // bits) == 0 and prod(tile.extents) % (threads * DWORD // bits) == 0


def emit_copies(tile: Tile, thread: Any, threads: int, pieces: list[list[Any]]) -> None:
    """The copies of a tile; `pieces` are the indices in it of each dword that a thread brings."""
    bits, row = tile.buffer.type.element_type.width, tile.buffer.type.shape[-1]
    each = DWORD // bits
    kind = ir.VectorType.get([each], tile.buffer.type.element_type) if each > 1 else tile.buffer.type.element_type
    affine, d0 = mlir.dialect("affine"), ir.AffineExpr.get_dim(0)
    for number, ids in enumerate(pieces):
        source = [emit(origin + Linear(0, {i: 1})) for origin, i in zip(tile.origin, ids, strict=True)]
        first = (ir.AffineExpr.get_floor_div(d0, LANES) * LANES + number * threads) * each  # of the wave
        place = [ir.AffineExpr.get_floor_div(first, row), ir.AffineExpr.get_mod(first, row)]
        there = [affine.AffineApplyOp(ir.AffineMap.get(1, 0, [one]), [thread]).result for one in place]
        mlir.dialect("amdgpu").GatherToLDSOp(tile.read.operands[0], source, tile.buffer, there, kind)


def wait() -> None:
    """Waits for all copies of this wave."""
    mlir.dialect("amdgpu").MemoryCounterWaitOp(load=0)


def buffer_operand(op: Any) -> int:
    """The number of the operand that is the workgroup buffer of a direct copy; the indices follow it."""
    return 1 + len(find.shape(op.operands[0]))
