"""One instruction at a time on a few waves: values at the edges, what it should do, and what it did.

Instructions are assembled from text that is drawn here together with a model of what each operand reads, so that
neither the decoder nor the operands of the emulator are trusted.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from lane_oracle import ARRAYS, BITS, MANTISSA, infinity, is_nan, magnitude, order, raw, width

from lowering.targets.amdgpu.emulator import packed, scalar, vector
from lowering.targets.amdgpu.emulator.decode import Instruction
from lowering.targets.amdgpu.emulator.waves import EXEC, VCC, Waves, waves

WAVES, LANES = 8, 64
SHAPE = (WAVES, LANES)
ROWS = 64  # vector registers that take part
INLINE_FLOATS = {"0.5": 0.5, "-0.5": -0.5, "1.0": 1, "-1.0": -1, "2.0": 2, "-2.0": -2, "4.0": 4, "-4.0": -4}
INV_2PI = {16: 0x3118, 32: 0x3E22F983, 64: 0x3FC45F306DC9C882}


# --- values ----------------------------------------------------------------------------------------------------------


def corners(kind: str) -> np.ndarray:
    """Values where things go wrong."""
    bits = width(kind)
    every = (1 << bits) - 1
    if kind[0] == "i":
        near = [0, 1, 2, 3, 7, 8, 12, 15, 16, 23, 24, 31, 32, 33, 63, 64, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF]
        near += [1 << (bits - 1), (1 << (bits - 1)) - 1, 0x7FFFFF, 0x800000, 0xFFFFFF, 0x1000000, 0xAAAAAAAA, 1 << 31]
        return np.array([each & every for n in near for each in (n, -n, ~n)], BITS[bits])
    mantissa = MANTISSA[kind]
    bias, inf, one = (1 << (bits - 2 - mantissa)) - 1, int(infinity(bits)), 1 << mantissa
    found = [0, 1, 2, one - 1, one, one + 1, inf - 1, inf, inf + 1, inf | one >> 1, inf | one - 1]  # + sNaN, qNaN
    for power in (-1, 0, 1, 2, 5, 8, 15, 16, 23, 24, 30, 31, 32, bias // 2, -bias // 2, bias - 3, 3 - bias, 52, 53, 63):
        if 0 < power + bias < inf >> mantissa:
            found += [(power + bias << mantissa) + each for each in (0, 1, -1, one >> 1)]
    return np.array([each | sign << (bits - 1) for each in found for sign in (0, 1)], BITS[bits])


POOLS = {kind: corners(kind) for kind in ("i16", "i32", "i64", "f16", "f32", "f64")}


def draw(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """Bits: half of them corners, the others random; floats are mostly near 1 then."""
    pool, bits = POOLS[kind], BITS[width(kind)]
    chosen = pool[rng.integers(0, len(pool), shape)]
    anything = rng.integers(0, np.iinfo(bits).max, shape, bits, endpoint=True)
    if kind[0] == "f":
        near = raw((rng.standard_normal(shape) * 2.0 ** rng.integers(-4, 5, shape)).astype(ARRAYS[kind]))
        anything = np.where(rng.random(shape) < 0.6, near, anything)
    return np.where(rng.random(shape) < 0.5, chosen, anything)


# --- operands --------------------------------------------------------------------------------------------------------


@dataclass
class Place:
    """An operand: its text, and what it reads as bits of its kind (an array or one value)."""

    text: str
    bits: Callable[[Waves], np.ndarray]
    fill: Callable[[Waves, np.random.Generator], None] = lambda w, rng: None
    index: int = -1
    register: bool = False
    uses_bus: bool = False


def span(letter: str, index: int, kind: str) -> str:
    """The text of registers of a kind."""
    return f"{letter}[{index}:{index + 1}]" if width(kind) == 64 else f"{letter}{index}"


def vgpr(index: int, kind: str, half: int = 0) -> Place:
    """A vector register, or one of its halves."""
    bits = width(kind)

    def get(w: Waves) -> np.ndarray:
        if bits == 64:
            return w.v[index].astype(np.uint64) | w.v[index + 1].astype(np.uint64) << np.uint64(32)
        return (w.v[index] >> np.uint32(16 * half)).astype(BITS[bits])

    def fill(w: Waves, rng: np.random.Generator) -> None:
        if bits == 16:
            low, high = (draw(rng, kind, w.shape).astype(np.uint32) for _ in range(2))
            w.v[index] = low | high << np.uint32(16)
            return
        value = draw(rng, kind, w.shape)
        w.v[index] = value & BITS[bits](0xFFFFFFFF)
        if bits == 64:
            w.v[index + 1] = value >> np.uint64(32)

    return Place(span("v", index, kind), get, fill, index, True)


def sgpr(index: int, kind: str, half: int = 0) -> Place:
    """A scalar register for all lanes of its wave."""
    bits = width(kind)

    def one(w: Waves) -> np.ndarray:
        if bits == 64:
            return w.s[index].astype(np.uint64) | w.s[index + 1].astype(np.uint64) << np.uint64(32)
        return (w.s[index] >> np.uint32(16 * half)).astype(BITS[bits])

    def fill(w: Waves, rng: np.random.Generator) -> None:
        value = draw(rng, kind, (w.count,))
        w.s[index] = value & BITS[bits](0xFFFFFFFF if bits > 16 else 0xFFFF)
        if bits == 64:
            w.s[index + 1] = value >> np.uint64(32)
        if bits == 16:
            w.s[index] |= draw(rng, kind, (w.count,)).astype(np.uint32) << np.uint32(16)

    names = {VCC: {64: "vcc", 32: "vcc_lo", 16: "vcc_lo"}, 124: {32: "m0", 16: "m0"}}
    text = names.get(index, {}).get(bits) or span("s", index, kind)
    return Place(text, lambda w: np.broadcast_to(one(w)[:, None], w.shape), fill, index, True, True)


def number(kind: str, text: str, bits: int) -> Place:
    """A constant."""
    value = BITS[width(kind)](bits & (1 << width(kind)) - 1)
    return Place(text, lambda w: np.full(w.shape, value))


def inline(rng: random.Random, kind: str) -> Place:
    """An inline constant, of the kinds that the operand's kind takes."""
    bits = width(kind)
    if kind == "i16" or rng.random() < 0.5:
        value = rng.randrange(-16, 65)
        return number(kind, str(value), value)
    if rng.random() < 0.1:
        return number(kind, {16: "0.15915494", 32: "0.15915494", 64: "0.15915494309189532"}[bits], INV_2PI[bits])
    text = rng.choice(list(INLINE_FLOATS))
    value = np.asarray(INLINE_FLOATS[text], ARRAYS[f"f{bits}"]).reshape(1)
    return number(kind, text, int(raw(value)[0]))


def literal(rng: random.Random, kind: str, extends: bool = False) -> Place:
    """A constant of 32 bits behind the instruction: the high half of an f64; `extends`: a signed i64."""
    bits = width(kind)
    value = rng.choice([0x3F8CCCCD, 0x7F7FFFFF, 0x80000000, 0xFFFFFF00, 0xFF800001, 0x12345678, 0x41F00001])
    value &= 0xFFFF if bits == 16 else 0xFFFFFFFF
    if bits == 16 and value in (0, *(each & 0xFFFF for each in range(-16, 65))):
        value = 0x1234
    whole = value - (1 << 32) if extends and value >> 31 else value
    place = number(kind, hex(value), value << 32 if kind == "f64" else whole)
    place.uses_bus = True
    return place


def special(rng: random.Random) -> Place:
    """The conditions as a source: 1 or 0."""
    name = rng.choice(["src_scc", "src_vccz", "src_execz"])

    def get(w: Waves) -> np.ndarray:
        pair = {"src_vccz": VCC, "src_execz": EXEC}.get(name)
        value = w.scc if pair is None else (w.s[pair] | w.s[pair + 1]) == 0
        return np.broadcast_to(value[:, None], w.shape).astype(np.uint32)

    return Place(name, get, uses_bus=True)


def mask_of(index: int) -> Callable[[Waves], np.ndarray]:
    """A pair of scalar registers as a bool a lane."""

    def get(w: Waves) -> np.ndarray:
        pair = w.s[index].astype(np.uint64) | w.s[index + 1].astype(np.uint64) << np.uint64(32)
        return (pair[:, None] >> np.arange(64, dtype=np.uint64) & np.uint64(1)).astype(bool)

    return get


def with_signs(place: Place, kind: str, negative: bool, absolute: bool) -> Place:
    """An operand with abs and neg."""
    size = width(kind)
    text = f"|{place.text}|" if absolute else place.text

    def get(w: Waves) -> np.ndarray:
        value = place.bits(w)
        value = value & magnitude(size) if absolute else value
        return value ^ BITS[size](1 << (size - 1)) if negative else value

    return Place(f"-{text}" if negative else text, get, place.fill, place.index, place.register, place.uses_bus)


def put(w: Waves, index: int, values: np.ndarray) -> None:
    """Floats or bits into a register, or a pair."""
    bits = raw(values)
    if bits.itemsize == 8:
        w.v[index], w.v[index + 1] = bits & np.uint64(0xFFFFFFFF), bits >> np.uint64(32)
    else:
        w.v[index] = bits


def get(w: Waves, index: int, kind: type[np.generic]) -> np.ndarray:
    """A register, or a pair, as a kind."""
    if np.dtype(kind).itemsize == 8:
        return (w.v[index].astype(np.uint64) | w.v[index + 1].astype(np.uint64) << np.uint64(32)).view(kind)
    return w.v[index].view(kind)


# --- one run ---------------------------------------------------------------------------------------------------------


@dataclass
class Trial:
    """A line, how its registers are filled, and what changes: register row -> (bits, kind), in the lanes that run."""

    name: str
    line: str
    fills: list[Callable[[Waves, np.random.Generator], None]]
    expect: Callable[[Waves], Expected]


@dataclass
class Expected:
    """What a trial writes. `loose`: kinds of vector rows in which any NaN is as good as another."""

    vector: dict[int, np.ndarray] = field(default_factory=dict)
    lanes: np.ndarray | None = None  # which lanes are written beside those of EXEC; None: all
    masks: dict[int, np.ndarray] = field(default_factory=dict)  # pairs of scalar registers, a bool a lane
    scalars: dict[int, np.ndarray] = field(default_factory=dict)
    scc: np.ndarray | None = None
    loose: dict[int, str] = field(default_factory=dict)
    ulps: int = 0  # how far such a row may be off
    ignored: np.ndarray | None = None  # lanes whose vector results are not looked at: parts of a NaN
    all_lanes: bool = False  # whatever EXEC says


def fresh(rng: np.random.Generator, mode: str, count: int = WAVES) -> Waves:
    """Waves with random registers. Modes: `full` EXEC, `some` lanes, `waves`: some lanes of some waves."""
    w = waves(count, np.zeros(count, np.int64), np.arange(count))
    w.v[:ROWS] = rng.integers(0, 2**32, (ROWS, *w.shape), np.uint32)
    w.s[:] = rng.integers(0, 2**32, w.s.shape, np.uint32)
    w.s[VCC : VCC + 2, ::4] = 0
    w.scc[:] = rng.random(count) < 0.5
    if mode == "full":
        w.s[EXEC : EXEC + 2] = 0xFFFFFFFF
    else:
        w.s[EXEC : EXEC + 2, 0] = 0
        w.s[EXEC : EXEC + 2, 1] = 0xFFFFFFFF
        w.s[EXEC, 2], w.s[EXEC + 1, 2] = 0, 0x1000
    w.exec_changed()
    w.select(rng.random(count) < 0.6 if mode == "waves" else None)
    return w


def bind(one: Instruction) -> Callable[[Waves], None]:
    """The step of an instruction."""
    if one.opcode.format.startswith("SOP"):
        return scalar.bind(one)
    if one.opcode.format == "VOP3P" and not one.name.startswith("v_accvgpr"):
        return packed.bind(one)
    return vector.bind(one)


def run(trial: Trial, one: Instruction, rng: np.random.Generator, mode: str) -> str | None:
    """Runs an instruction; what is wrong with what it did, or None."""
    w = fresh(rng, mode)
    for fill in trial.fills:
        fill(w, rng)
    w.exec_changed()
    before_v, before_s, before_scc = w.v[:ROWS].copy(), w.s.copy(), w.scc.copy()
    with np.errstate(all="ignore"):
        wanted = trial.expect(w)
        v, s, scc = applied(w, wanted)
        bind(one)(w)
    for row in range(ROWS):
        good = w.v[row] == v[row]
        good |= row in wanted.vector and wanted.ignored is not None and wanted.ignored
        if row in wanted.loose and not good.all():
            good |= alike(w.v, v, row, wanted)
        if not good.all():
            wave, lane = (int(each[0]) for each in np.nonzero(~good))
            inputs = [hex(int(each[wave, lane])) for each in before_v[:8]]
            got, right = int(w.v[row, wave, lane]), int(v[row, wave, lane])
            return f"{trial.line} [{mode}]: v{row} is {got:#x}, not {right:#x}; v0.. {inputs} wave {wave} lane {lane}"
    if not np.array_equal(w.s, s):
        row, wave = (int(each[0]) for each in np.nonzero(w.s != s))
        return (
            f"{trial.line} [{mode}]: s{row} is {w.s[row, wave]:#x}, not {s[row, wave]:#x}; was {before_s[row, wave]:#x}"
        )
    if not np.array_equal(w.scc, scc):
        wave = int(np.flatnonzero(w.scc != scc)[0])
        return (
            f"{trial.line}: SCC is {w.scc[wave]}, was {before_scc[wave]}; s0.. {[hex(x) for x in before_s[:8, wave]]}"
        )
    return None


def applied(w: Waves, wanted: Expected) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The registers as they should be afterwards."""
    v, s, scc = w.v[:ROWS].copy(), w.s.copy(), w.scc.copy()
    taking = (w.active[:, None] if wanted.all_lanes else mask_of(EXEC)(w) & w.active[:, None]) & np.ones(SHAPE, bool)
    lanes = taking if wanted.lanes is None else taking & wanted.lanes
    for row, value in wanted.vector.items():
        v[row] = np.where(lanes, value, v[row])
    for row, value in wanted.masks.items():
        packed_bits = np.packbits(value & mask_of(EXEC)(w), axis=1, bitorder="little").view(np.uint32).T
        s[row : row + 2] = np.where(w.active, packed_bits, s[row : row + 2])
    for row, value in wanted.scalars.items():
        s[row] = np.where(w.active, value, s[row])
    if wanted.scc is not None:
        scc = np.where(w.active, wanted.scc, scc)
    return v, s, scc


def alike(got: np.ndarray, right: np.ndarray, row: int, wanted: Expected) -> np.ndarray:
    """Whether two results are both NaN, or as near as they must be; an f64 is judged by both its rows.

    A register of half floats has the kind f16x2: each half may be NaN, or both be the same bits.
    """
    kind = wanted.loose[row]
    if kind == "f16x2":
        pairs = [[np.ascontiguousarray(each[row]).view(np.float16)[..., n::2] for each in (got, right)] for n in (0, 1)]
        return np.logical_and(*(same(a, b, wanted.ulps) for a, b in pairs))
    first = row - 1 if kind == "f64" and row - 1 in wanted.loose else row
    return same(typed(got, first, kind), typed(right, first, kind), wanted.ulps)


def same(a: np.ndarray, b: np.ndarray, ulps: int) -> np.ndarray:
    """Equal bits, two NaN, or numbers next to each other where that is enough."""
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    found = (raw(a) == raw(b)) | (is_nan(a) & is_nan(b))
    if ulps:
        near = np.abs(order(a).astype(np.float64) - order(b).astype(np.float64)) <= ulps
        found |= near & ~is_nan(a) & ~is_nan(b)
    return found


def typed(rows: np.ndarray, row: int, kind: str) -> np.ndarray:
    """Registers as floats."""
    if kind == "f64":
        return (rows[row].astype(np.uint64) | rows[row + 1].astype(np.uint64) << np.uint64(32)).view(np.float64)
    return rows[row].astype(BITS[width(kind)]).view(ARRAYS[kind])
