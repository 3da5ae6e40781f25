"""LDS bank conflicts: how many cycles an access of a wave's lanes takes beyond those it must.

32 banks of 4 bytes. The lanes of an access are served in sets; within a set, lanes that want different dwords of one
bank wait for each other, the same dword is read once for all. AMD CDNA3 ISA guide, "LDS"; the sets of 8 and 16 bytes as
AMD's blog on LDS bank conflicts and public micro-benchmarks on MI300X have them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

BANKS = 32
HALVES = tuple(tuple(range(start, start + 32)) for start in (0, 32))
QUARTERS = tuple(tuple(range(start, start + 16)) for start in range(0, 64, 16))
EIGHTHS = tuple(tuple(range(start, start + 8)) for start in range(0, 64, 8))
READS_OF_16 = tuple(
    tuple(base + lane for pair in pairs for lane in range(*pair))
    for base in (0, 32)
    for pairs in (((0, 4), (20, 24)), ((4, 8), (16, 20)), ((8, 12), (28, 32)), ((12, 16), (24, 28)))
)


def sets(nbytes: int, is_read: bool) -> tuple[tuple[int, ...], ...]:
    """The lanes that are served together, for an access of some bytes a lane."""
    if nbytes <= 4:
        return HALVES
    if nbytes == 8:
        return QUARTERS
    return READS_OF_16 if is_read else EIGHTHS


def cycles(addresses: Array, mask: Array, nbytes: int, is_read: bool) -> tuple[int, int]:
    """Cycles of an access by all waves, and without conflicts. `addresses` in bytes and `mask`: (waves, 64)."""
    lanes = np.array(sets(nbytes, is_read))  # (sets, lanes of one)
    there = mask[:, lanes].reshape(-1, lanes.shape[1])
    first = (addresses.astype(np.int64) >> 2)[:, lanes].reshape(there.shape)
    dwords = first[:, :, None] + np.arange(max(1, nbytes // 4))  # (waves and sets, lanes, dwords of a lane)
    return int(most_in_a_bank(dwords, there).sum()), int(there.any(axis=1).sum())


def most_in_a_bank(dwords: Array, there: Array) -> Array:
    """For each set of lanes, how many different dwords the fullest bank is asked for."""
    count = dwords.shape[0]
    flat = np.where(there[:, :, None], dwords, -1).reshape(count, -1)
    ordered = np.sort(flat, axis=1)
    fresh = np.ones(ordered.shape, bool)
    fresh[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    fresh &= ordered >= 0
    places = np.arange(count)[:, None] * BANKS + ordered % BANKS
    asked = np.bincount(places[fresh], minlength=count * BANKS)
    return asked.reshape(count, BANKS).max(axis=1)
