"""Global memory: buffers in one array of bytes, and the test of every lane's address against them.

An address is `BASE` plus an offset into the array. Between two buffers lies a gap that belongs to none, so that running
past an end is a fault and not a neighbour's data. Which bytes were written is kept for buffers that ask for it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

BASE = 0x7F00_0000_0000  # where buffers begin; below it nothing is mapped
GAP = 8192  # bytes between buffers
ALIGNMENT = 256  # bytes: what the drivers align to
FIRST = 1 << 20  # bytes of the array at first; it doubles
NULL = 1 << 16  # addresses below it are a null pointer's: indexed, or one member of a structure further
CGROUPS = "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"


class TooLarge(Exception):
    """The buffers do not fit into this machine's memory."""


@cache
def room() -> int:
    """The bytes of buffers that this machine can hold: an eighth of its memory, or of the control group's.

    A buffer of f32 took 6.4 times its bytes, where its unwritten elements were counted.
    """
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in CGROUPS:
        with suppress(OSError, ValueError):  # not there, or "max"
            limits.append(int(Path(file).read_text()))
    return min(limits) // 8


@dataclass(frozen=True)
class Region:
    """A buffer's place: address, bytes, and what people call it. `own`: not of the caller's, but of a launch's."""

    name: str
    address: int
    nbytes: int
    writable: bool = True
    own: bool = False

    @property
    def end(self) -> int:
        """The address after it."""
        return self.address + self.nbytes


@dataclass
class Memory:
    """All buffers. `bytes_` holds their contents, offset 0 being `BASE`; `written`, where it is kept, a byte each."""

    regions: list[Region] = field(default_factory=list[Region])
    bytes_: Array = field(default_factory=lambda: np.zeros(FIRST, np.uint8))
    written: Array | None = None
    used: int = GAP

    def allocate(self, nbytes: int, name: str = "", writable: bool = True, own: bool = False) -> int:
        """The address of a new buffer of zeros, aligned to 256 bytes. Raises TooLarge."""
        start = -(-self.used // ALIGNMENT) * ALIGNMENT
        if start + nbytes + GAP > room():
            raise TooLarge(f"the buffers take {start + nbytes:,} bytes; this machine has room for {room():,} of them")
        self.used = start + nbytes + GAP
        if self.used > self.bytes_.size:
            grown = np.zeros(max(2 * self.bytes_.size, -(-self.used // 4096) * 4096), np.uint8)
            grown[: self.bytes_.size] = self.bytes_
            self.bytes_ = grown
            if self.written is not None:
                self.written = np.concatenate([self.written, np.zeros(grown.size - self.written.size, np.uint8)])
        self.bytes_[start : start + nbytes] = 0  # an earlier launch may have been here
        region = Region(name or f"buffer {len(self.regions)}", BASE + start, nbytes, writable, own)
        self.regions.append(region)
        return region.address

    def track(self) -> None:
        """Begins to keep which bytes are written; none is so far."""
        self.written = np.zeros(self.bytes_.size, np.uint8)

    def write(self, address: int, data: bytes) -> None:
        """Copies bytes into a buffer."""
        self.bytes_[address - BASE : address - BASE + len(data)] = np.frombuffer(data, np.uint8)

    def read(self, address: int, nbytes: int) -> bytes:
        """Copies bytes out of a buffer."""
        return self.bytes_[address - BASE : address - BASE + nbytes].tobytes()

    @property
    def bias(self) -> int:
        """For native code: what added to an address gives this machine's."""
        return int(self.bytes_.ctypes.data) - BASE

    @property
    def written_bias(self) -> int:
        """The same for the bytes that tell which were written; 0 where they are not kept."""
        return 0 if self.written is None else int(self.written.ctypes.data) - BASE

    def bounds(self, written: bool = False) -> Array:
        """First address and end of each buffer (of each that may be written): (buffers, 2) int64."""
        found = [(each.address, each.end) for each in self.regions if each.writable or not written]
        return np.array(found, np.int64).reshape(-1, 2)

    def region(self, address: int) -> Region | None:
        """The buffer that an address lies in."""
        return next((each for each in self.regions if each.address <= address < each.end), None)

    def nearest(self, address: int) -> str:
        """Where an address lies relative to the nearest of the caller's buffers, in words."""
        if address < NULL:
            return "a null pointer" if not address else f"{address} bytes behind a null pointer"
        inside = self.region(address)
        if inside is not None:
            why = "" if inside.writable else ", which is read-only"
            return f"byte {address - inside.address} of {inside.name} of {inside.nbytes} bytes{why}"
        given = [each for each in self.regions if not each.own]
        if not given:
            return "there is no buffer"
        best = min(given, key=lambda r: max(r.address - address, address - r.end + 1))
        if address < best.address:
            return f"{best.address - address} bytes before {best.name} of {best.nbytes} bytes"
        return f"{address - best.end} bytes past the end of {best.name} of {best.nbytes} bytes"

    def invalid(self, offsets: Array, nbytes: int, written: bool = False) -> Array | None:
        """Which accesses of `nbytes` bytes at int64 offsets leave their buffer, or write one that may only be read.

        None where none does.
        """
        regions = [each for each in self.regions if each.writable or not written]
        if not offsets.size or not regions:
            return np.ones(offsets.shape, bool) if offsets.size else None
        low, high = int(offsets.min()), int(offsets.max())
        for each in regions:
            start = each.address - BASE
            if start <= low and high + nbytes <= start + each.nbytes:
                return None
        starts = np.array([r.address - BASE for r in regions])
        ends = np.array([r.end - BASE for r in regions])
        place = np.searchsorted(starts, offsets, "right") - 1
        bad = (place < 0) | (offsets > ends[place] - nbytes)  # a sum with an offset may overflow
        return bad if bad.any() else None


def gather(space: Array, offsets: Array, nbytes: int) -> Array:
    """Loads: the bytes at some offsets of a byte array, as uint32 (dwords, lanes); below 4 bytes zero-extended."""
    if nbytes < 4:
        kind = np.uint8 if nbytes == 1 else np.uint16
        if nbytes == 1 or not (offsets & 1).any():
            return space.view(kind)[offsets // nbytes].astype(np.uint32)[None]
        return (space[offsets].astype(np.uint32) | space[offsets + 1].astype(np.uint32) << 8)[None]
    low = int(np.bitwise_or.reduce(offsets)) & 15 if len(offsets) else 0
    if nbytes == 16 and not low:
        return np.ascontiguousarray(space.view(np.uint32).reshape(-1, 4).take(offsets >> 4, axis=0).T)
    if nbytes == 8 and not low & 7:
        pairs = space.view(np.uint64).take(offsets >> 3)
        return np.ascontiguousarray(pairs.view(np.uint32).reshape(-1, 2).T)
    if not low & 3:
        return space.view(np.uint32).take((offsets >> 2) + np.arange(nbytes // 4)[:, None])
    parts = space[offsets[:, None] + np.arange(nbytes)]
    return np.ascontiguousarray(np.ascontiguousarray(parts).view(np.uint32).T)


def scatter(space: Array, offsets: Array, values: Array, nbytes: int) -> None:
    """Stores uint32 (dwords, lanes) at offsets of a byte array, lane after lane: where some meet the last one wins."""
    if nbytes < 4:
        kind = np.uint8 if nbytes == 1 else np.uint16
        if nbytes == 1 or not (offsets & 1).any():
            space.view(kind)[offsets // nbytes] = values[0].astype(kind)
            return
        halves = np.stack([values[0].astype(np.uint8), (values[0] >> 8).astype(np.uint8)], axis=1)
        space[offsets[:, None] + np.arange(2)] = halves
        return
    if not (offsets & 3).any():
        words = space.view(np.uint32)
        first = offsets >> 2
        if nbytes == 16 and not (first & 3).any():
            words.reshape(-1, 4)[first >> 2] = values.T
            return
        words[first[:, None] + np.arange(nbytes // 4)] = values.T
        return
    parts = np.ascontiguousarray(values.T).view(np.uint8).reshape(len(offsets), nbytes)
    space[offsets[:, None] + np.arange(nbytes)] = parts
