"""The registers of a batch of waves: one register of all waves is one contiguous slab.

Vector registers are (512, waves, 64) uint32, AccVGPR n being number 256 + n; scalar registers (256, waves) uint32,
numbered as in the encodings, so that VCC, M0 and EXEC are rows like others. `mask` says which lanes take part in an
instruction: those of EXEC in the waves that are at it; `full` that all do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

LANES = 64
WIDEST = 32  # dwords of an operand
ACC = 256  # the first AccVGPR
VCC, M0, EXEC = 106, 124, 126
FLAT_SCRATCH = 102


class Waves:
    """Registers and masks of `count` waves; a view of some of them shares their memory."""

    def __init__(self, v: Array, s: Array, scc: Array, group: Array, number: Array) -> None:
        self.v, self.s, self.scc = v, s, scc
        self.group = group  # (waves,): the workgroup of each, numbered within the batch
        self.number = number  # (waves,): its number within the workgroup
        self.scratch_bytes = 0  # a lane
        # for native code: addresses, and dwords between registers
        self.v_at, self.v_stride = v.ctypes.data, v.strides[0] // 4
        self.s_at, self.s_stride = s.ctypes.data, s.strides[0] // 4
        self.group_at, self.number_at = group.ctypes.data, number.ctypes.data
        self.count = v.shape[1]
        self.places = np.empty(self.count * LANES, np.int64)  # where native code keeps the addresses of lanes
        self.places_at = self.places.ctypes.data
        self.shape = (self.count, LANES)
        self.active = np.ones(self.count, bool)  # the waves that are at the instruction
        self.uniform = True  # all are
        self.every = np.arange(self.count * LANES)  # the places of all lanes
        self.held_exec: Array | None = None  # EXEC as one bool a lane, where it was asked for since it changed
        self.held_mask: Array | None = None
        self.full = True

    @property
    def exec_mask(self) -> Array:
        """EXEC of every wave, one bool a lane."""
        if self.held_exec is None:
            self.held_exec = self.lanes(EXEC)
        return self.held_exec

    @property
    def mask(self) -> Array:
        """The lanes that take part: those of EXEC in the waves that are at the instruction."""
        if self.held_mask is None:
            self.held_mask = self.exec_mask if self.uniform else self.exec_mask & self.active[:, None]
        return self.held_mask

    def part(self, some: slice) -> Waves:
        """The registers of consecutive waves, shared with these."""
        found = Waves(self.v[:, some], self.s[:, some], self.scc[some], self.group[some], self.number[some])
        found.scratch_bytes = self.scratch_bytes
        return found

    def select(self, active: Array | None) -> None:
        """Sets which waves run the next instructions; None: all."""
        self.uniform = active is None
        self.active = np.ones(self.count, bool) if active is None else active
        self.remask()

    def exec_changed(self) -> None:
        """Must be called after EXEC was written."""
        self.held_exec = None
        self.remask()

    def remask(self) -> None:
        """Forgets which lanes take part; finds out whether all do."""
        self.held_mask = None
        self.full = self.uniform and bool((self.s[EXEC] & self.s[EXEC + 1] == np.uint32(0xFFFFFFFF)).all())

    def lanes(self, register: int) -> Array:
        """A pair of scalar registers as one bool a lane."""
        pair = np.ascontiguousarray(self.s[register : register + 2].T)
        return np.unpackbits(pair.view(np.uint8), axis=1, bitorder="little").view(bool)

    def put_scalar(self, register: int, value: Any) -> None:
        """Writes a scalar register of the waves that are active."""
        if self.uniform:
            self.s[register] = value
        else:
            np.copyto(self.s[register], value, where=self.active, casting="unsafe")
        if register >= EXEC:
            self.exec_changed()

    def put_scalar_pair(self, register: int, value: Any) -> None:
        """Writes a pair from uint64."""
        words = np.ascontiguousarray(value, np.uint64).reshape(-1, 1).view(np.uint32)
        low, high = words[:, 0], words[:, 1]
        if self.uniform:
            self.s[register], self.s[register + 1] = low, high
        else:
            np.copyto(self.s[register], low, where=self.active, casting="unsafe")
            np.copyto(self.s[register + 1], high, where=self.active, casting="unsafe")
        if register == EXEC:
            self.exec_changed()

    def put_lanes(self, register: int, bits: Array) -> None:
        """Writes a pair of scalar registers from one bool a lane."""
        packed = np.packbits(bits, axis=1, bitorder="little").view(np.uint32)
        if self.uniform:
            self.s[register : register + 2] = packed.T
        else:
            np.copyto(self.s[register : register + 2], packed.T, where=self.active)
        if register == EXEC:
            self.exec_changed()

    def put_scc(self, value: Any) -> None:
        """Writes SCC of the waves that are active."""
        if self.uniform:
            self.scc[...] = value
        else:
            np.copyto(self.scc, value, where=self.active)

    def put(self, register: int, value: Any, mask: Array | None = None) -> None:
        """Writes a vector register in the lanes that take part, and in no others than `mask` where it is given."""
        target = self.v[register]
        if mask is None and self.full:
            target[...] = value
        else:
            np.copyto(target, value, where=self.mask if mask is None else self.mask & mask, casting="unsafe")


def waves(count: int, group: Array, number: Array) -> Waves:
    """Registers of zeros. Pages that are never touched take no memory.

    There are rows behind the last register, where a damaged kernel's operand of many dwords may end.
    """
    return Waves(
        np.zeros((512 + WIDEST, count, LANES), np.uint32),
        np.zeros((256 + WIDEST, count), np.uint32),
        np.zeros(count, bool),
        group,
        number,
    )


# --- registers of chosen lanes ----------------------------------------------------------------------------------------


def active(w: Waves) -> Array:
    """The places of the lanes that take part, in the flattened batch."""
    return w.every if w.full else np.flatnonzero(w.mask)


def values(w: Waves, index: int, count: int, lanes: Array) -> Array:
    """Some registers of the lanes: (count, lanes)."""
    return (
        w.v[index : index + count].reshape(count, -1)[:, lanes]
        if not w.full
        else w.v[index : index + count].reshape(count, -1)
    )


def put(w: Waves, index: int, found: Array, lanes: Array) -> None:
    """Writes registers of the lanes."""
    if w.full:
        w.v[index : index + len(found)] = found.reshape(len(found), w.count, LANES)
    else:
        for n, row in enumerate(found):
            w.v[index + n].reshape(-1)[lanes] = row


def values_at(w: Waves, index: int, count: int, lanes: Array) -> Array:
    """Some registers of chosen lanes."""
    return w.v[index : index + count].reshape(count, -1)[:, lanes]


def put_at(w: Waves, index: int, found: Array, lanes: Array) -> None:
    """Writes registers of chosen lanes."""
    for n, row in enumerate(found):
        w.v[index + n].reshape(-1)[lanes] = row
