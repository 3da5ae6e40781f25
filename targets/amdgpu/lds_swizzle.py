"""Which bits of a row to permute its 16-byte chunks by, so that no access of the tiles in workgroup memory conflicts.

Found by trying masks, the simplest first, against the banks (`emulator/lds_banks.py`) with the rows and chunks that the
lanes of a wave read (`map-lanes`) and write (`promote`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np

from lowering.passes.amdgpu.matrix_layout import LANES, Layout
from lowering.targets.amdgpu.emulator import lds_banks

Array = np.ndarray[Any, Any]
CHUNK = 16  # bytes
SINGLE = tuple(1 << n for n in range(6))  # the bits of a row that are tried


@dataclass(frozen=True)
class Tile:
    """One operand's tile: rows, chunks of a row, and how it is written: rows of K, or pieces turned in registers."""

    layout: Layout
    rows: int
    chunks: int
    is_first: bool
    turned: int = 0  # rows of a piece that a thread turns; 0: none is
    deep: int = CHUNK  # bytes of it along K

    def reads(self) -> Iterator[tuple[Array, Array]]:
        """Row and place along K, in bytes, of each lane's read, for every instruction's part of the tile."""
        lanes = range(LANES)
        chunk = np.array([lane // self.layout.tile % self.chunks for lane in lanes])
        for tile in range(min(self.rows // self.layout.tile, 4)):
            row = self.layout.first_row if self.is_first else self.layout.second_row
            yield np.array([row(tile, lane) for lane in lanes]), chunk * CHUNK

    def writes(self) -> Iterator[tuple[Array, Array]]:
        """The same of the writes of the copy, one a row of a thread's piece; the chunk in bytes along K."""
        lane = np.arange(LANES)
        if not self.turned:
            yield lane // self.chunks, lane % self.chunks * CHUNK
            return
        across = max(1, self.rows // self.turned)
        for row in range(self.turned):
            yield lane % across * self.turned + row, lane // across * self.deep % (self.chunks * CHUNK)

    def cycles(self, masks: tuple[int, ...]) -> Iterator[tuple[int, int]]:
        """Of each access its cycles, and those without conflicts."""
        wide = self.deep if self.turned else CHUNK
        for accesses, nbytes, is_read in ((self.writes(), wide, False), (self.reads(), CHUNK, True)):
            for row, place in accesses:
                permuted = place // CHUNK
                for bit, mask in enumerate(masks):
                    permuted = permuted ^ parity(row & mask) << bit
                address = (row * self.chunks + permuted) * CHUNK + place % CHUNK
                yield lds_banks.cycles(address[None].astype(np.uint32), np.ones((1, LANES), bool), nbytes, is_read)


def parity(bits: Array) -> Array:
    """Whether an odd number of bits is set."""
    found = np.zeros_like(bits)
    while bits.any():
        found ^= bits & 1
        bits = bits >> 1
    return found


@cache
def masks(tile: Tile) -> tuple[int, ...]:
    """The first masks that leave no conflict; where none do, those of one bit each that leave the fewest cycles."""
    bits = tile.chunks.bit_length() - 1
    for candidate in candidates(bits):
        if all(taken == least for taken, least in tile.cycles(candidate)):
            return candidate
    return min(combinations(SINGLE, bits), key=lambda each: sum(taken for taken, _ in tile.cycles(each)), default=())


def candidates(bits: int) -> Iterator[tuple[int, ...]]:
    """Masks of one bit each, then of up to two."""
    yield from combinations(SINGLE, bits)
    double = [*SINGLE, *(a | b for a, b in combinations(SINGLE, 2))]
    for chosen in combinations(double, bits):
        if any(each.bit_count() > 1 for each in chosen) and independent(chosen):
            yield chosen


def independent(chosen: tuple[int, ...]) -> bool:
    """Whether no mask is the sum of others, which would waste a bit of the chunk."""
    reduced: list[int] = []
    for mask in chosen:
        for each in reduced:
            mask = min(mask, mask ^ each)
        if not mask:
            return False
        reduced.append(mask)
    return True
