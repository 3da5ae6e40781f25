"""Draws lines of a vector case in each encoding, with what they do."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache

import numpy as np
from gfx942_bench import (
    SHAPE,
    Expected,
    Place,
    Trial,
    inline,
    literal,
    mask_of,
    sgpr,
    span,
    special,
    vgpr,
    with_signs,
)
from gfx942_vector_cases import Case
from lane_oracle import ARRAYS, BITS, is_nan, raw, width

from lowering.targets.amdgpu.emulator.waves import EXEC, VCC, Waves

LANE = np.arange(64)
DST, SDST = 10, 70
FLOAT_KINDS = ("f16", "f32", "f64")
Bits = Callable[[Waves], np.ndarray]


def value_kind(kind: str) -> str:
    """The kind of a source without its mark."""
    return kind.removeprefix("d:")


def vectors(case: Case) -> list[str]:
    """The kinds of the sources that the text names."""
    return [kind for kind in case.sources if not kind.startswith("d:")]


def clamped(value: np.ndarray) -> np.ndarray:
    """A float held between 0 and 1; NaN gives 0."""
    limited = np.where(value > 1, value.dtype.type(1), np.where(value > 0, value, value.dtype.type(0)))
    return limited.astype(value.dtype)


def expectation(
    case: Case,
    reads: list[Bits],
    mask_index: int,
    high: int = 0,
    clamp: bool = False,
    lanes: Bits | None = None,
    part: Callable[[Waves, np.ndarray], np.ndarray] | None = None,
) -> Callable[[Waves], Expected]:
    """What a case writes, of how its sources are read; `part` places a dword in the old one."""

    def expect(w: Waves) -> Expected:
        reading = iter(reads)
        sources: list[np.ndarray] = []
        for kind in case.sources:
            bits = vgpr(DST, value_kind(kind)).bits(w) if kind.startswith("d:") else next(reading)(w)
            bits = np.broadcast_to(bits, SHAPE)
            sources.append(bits if kind == "m" else np.ascontiguousarray(bits).view(ARRAYS[value_kind(kind)]))
        found = Expected(ulps=case.ulps, lanes=lanes(w) if lanes else None)
        for n, (kind, oracle) in enumerate(case.results):
            value = (case.clamped if clamp and case.clamped and n == 0 else oracle)(*sources)
            if kind == "m":
                found.masks[mask_index] = value
                if case.name.startswith("v_cmpx"):
                    found.masks[EXEC] = value
                continue
            if clamp and kind in FLOAT_KINDS:
                value = clamped(value)
            put(found, w, kind, raw(value), high, part)
            if part and kind[0] == "f":
                found.ignored = is_nan(value.view(ARRAYS["f16"])[..., ::2] if kind == "f16x2" else value)
        return found

    return expect


def put(found: Expected, w: Waves, kind: str, bits: np.ndarray, high: int, part: Callable | None) -> None:
    """Notes a result in the destination's rows."""
    if bits.dtype == np.uint64:
        found.vector[DST], found.vector[DST + 1] = bits & np.uint64(0xFFFFFFFF), bits >> np.uint64(32)
        found.loose |= {DST: kind, DST + 1: kind} if kind == "f64" else {}
        return
    word = bits.astype(np.uint32)
    if high:
        word = word << np.uint32(16) | w.v[DST] & np.uint32(0xFFFF)
    found.vector[DST] = part(w, word) if part else word
    if kind[0] == "f" and part is None:
        found.loose[DST] = "f16x2" if kind.startswith("f16") else kind


def line(case: Case, suffix: str, sources: list[str], mask: str, end: str = "") -> str:
    """The text of an instruction."""
    results = [mask if kind == "m" else span("v", DST, kind) for kind, _ in case.results]
    return f"{case.name}{suffix} {', '.join([*results, *sources])}{' ' + end if end else ''}"


def short(rng: random.Random, case: Case) -> Trial:
    """The encoding of 32 bits: any source first, a vector register second."""
    kinds, masked = vectors(case), "m" in case.sources
    places = []
    for n, kind in enumerate(kinds):
        if kind == "m":
            places.append(Place("vcc", mask_of(VCC)))
        elif n or rng.random() < 0.4:
            places.append(vgpr(source_row(rng, n, kind), kind))
        else:
            writes_vcc = any(result == "m" for result, _ in case.results)
            extends = "_i64" in case.name
            places.append(first_source(rng, kind, not masked, not masked and not writes_vcc, extends))
    text = line(case, "_e32", [each.text for each in places], "vcc")
    return Trial(case.name, text, [each.fill for each in places], expectation(case, [p.bits for p in places], VCC))


def source_row(rng: random.Random, n: int, kind: str) -> int:
    """The register of a source: its own, or one of the destination's."""
    if rng.random() < 0.1:
        return DST + (rng.randrange(2) if width(kind) < 64 else 0)
    return 2 + 2 * n


def first_source(rng: random.Random, kind: str, bus: bool, vcc: bool, extends: bool) -> Place:
    """A source that may be anything; over the constant bus only where that is free."""
    choices: list[Callable[[], Place]] = [lambda: inline(rng, kind)]
    if bus:
        choices += [lambda: sgpr(2 * rng.randrange(20), kind), lambda: literal(rng, kind, extends)]
        choices += [lambda: sgpr(VCC, kind)] if vcc else []
        choices += [lambda: special(rng)] if kind == "i32" else []
    return rng.choice(choices)()


def long(rng: random.Random, case: Case, suffix: str) -> Trial:
    """The encoding of 64 bits: any sources with one register over the bus; signs, clamp, op_sel."""
    kinds = vectors(case)
    free = "m" not in kinds
    mask = 2 * rng.randrange(25, 30)
    fills, reads, texts, selects = [], [], [], []
    for n, kind in enumerate(kinds):
        if kind == "m":
            place = Place(f"s[{mask}:{mask + 1}]", mask_of(mask))
        else:
            half = int(width(kind) == 16 and rng.random() < 0.3)
            place = any_source(rng, source_row(rng, n, kind), kind, free, half)
            selects.append(half if place.register else 0)
            free = free and not place.uses_bus
            if kind in FLOAT_KINDS and place.register:
                place = with_signs(place, kind, rng.random() < 0.3, rng.random() < 0.3 and "co_u32" not in case.name)
        fills.append(place.fill)
        reads.append(place.bits)
        texts.append(place.text)
    high = int(any(selects) and case.results[0][0] in ("f16", "i16") and rng.random() < 0.5)
    end = [f"op_sel:[{','.join(map(str, [*selects, high]))}]"] if any(selects) else []
    floating = case.results[0][0] in FLOAT_KINDS
    clamp = bool(rng.random() < 0.3 and (floating or case.clamped)) and "mov" not in case.name
    end += ["clamp"] if clamp else []
    end += [rng.choice(["mul:2", "mul:4", "div:2"])] if floating and rng.random() < 0.1 else []
    sdst = VCC if rng.random() < 0.2 and VCC not in (mask,) else SDST
    text = line(case, suffix, texts, "vcc" if sdst == VCC else f"s[{SDST}:{SDST + 1}]", " ".join(end))
    return Trial(case.name, text, fills, expectation(case, reads, sdst, high, clamp))


def any_source(rng: random.Random, index: int, kind: str, free: bool, half: int) -> Place:
    """A vector register mostly, else a constant or a scalar register."""
    chance = rng.random()
    if chance < 0.6:
        return vgpr(index, kind, half)
    if chance < 0.8 or not free:
        return inline(rng, kind)
    return sgpr(2 * rng.randrange(20), kind, half)


# --- DPP -------------------------------------------------------------------------------------------------------------


@cache
def controls() -> dict[str, list[int | None]]:
    """Every control's text, and the lane that each lane reads."""

    def row(function: Callable[[int], int]) -> list[int | None]:
        found = [function(lane % 16) for lane in range(64)]
        return [lane // 16 * 16 + at if 0 <= at < 16 else None for lane, at in enumerate(found)]

    found: dict[str, list[int | None]] = {}
    for a, b, c, d in ((0, 1, 2, 3), (3, 2, 1, 0), (1, 1, 3, 0), (2, 0, 0, 2)):
        found[f"quad_perm:[{a},{b},{c},{d}]"] = row(lambda at, q=(a, b, c, d): at // 4 * 4 + q[at % 4])
    for n in range(1, 16):
        found[f"row_shl:{n}"] = row(lambda at, n=n: at + n)
        found[f"row_shr:{n}"] = row(lambda at, n=n: at - n)
        found[f"row_ror:{n}"] = row(lambda at, n=n: (at - n) % 16)
    for n in range(16):
        found[f"row_newbcast:{n}"] = row(lambda at, n=n: n)
    found["row_mirror"] = row(lambda at: 15 - at)
    found["row_half_mirror"] = row(lambda at: at // 8 * 8 + 7 - at % 8)
    found["wave_shl:1"] = [*range(1, 64), None]
    found["wave_rol:1"] = [*range(1, 64), 0]
    found["wave_shr:1"] = [None, *range(63)]
    found["wave_ror:1"] = [63, *range(63)]
    found["row_bcast:15"] = [None if lane < 16 else lane // 16 * 16 - 1 for lane in range(64)]
    found["row_bcast:31"] = [None if lane < 32 else 31 for lane in range(64)]
    return found


def permuted(rng: random.Random, case: Case, control: str | None = None) -> Trial:
    """DPP: the first source of other lanes."""
    kinds, known = vectors(case), controls()
    if control is None:
        control = rng.choice([each for each in known if width(kinds[0]) < 64 or "newbcast" in each])
    sources = known[control]
    rows, banks, zero = (
        rng.choice([15, 15, rng.randrange(16)]),
        rng.choice([15, 15, rng.randrange(16)]),
        rng.randrange(2),
    )
    index, there = np.array([each or 0 for each in sources]), np.array([each is not None for each in sources])
    places = [Place("vcc", mask_of(VCC)) if kind == "m" else vgpr(2 + 2 * n, kind) for n, kind in enumerate(kinds)]
    plain = places[0].bits

    def valid(w: Waves) -> np.ndarray:
        return there & mask_of(EXEC)(w)[:, index]

    def moved(w: Waves) -> np.ndarray:
        bits = plain(w)
        return np.where(valid(w), bits[:, index], bits.dtype.type(0))

    def written(w: Waves) -> np.ndarray:
        chosen = np.array([rows >> lane // 16 & 1 and banks >> lane // 4 % 4 & 1 for lane in range(64)], bool)
        return np.broadcast_to(chosen, w.shape) if zero else chosen & valid(w)

    places[0].bits = moved
    for n, kind in enumerate(kinds):
        if kind in FLOAT_KINDS:
            places[n] = with_signs(places[n], kind, rng.random() < 0.2, rng.random() < 0.2)
    end = f"{control} row_mask:{rows:#x} bank_mask:{banks:#x}{' bound_ctrl:1' if zero else ''}"
    text = line(case, "_dpp", [each.text for each in places], "vcc", end)
    reads = [each.bits for each in places]
    return Trial(case.name, text, [each.fill for each in places], expectation(case, reads, VCC, lanes=written))


# --- SDWA ------------------------------------------------------------------------------------------------------------

SELECTS = {"BYTE_0": (0, 8), "BYTE_1": (8, 8), "BYTE_2": (16, 8), "BYTE_3": (24, 8), "WORD_0": (0, 16),
           "WORD_1": (16, 16), "DWORD": (0, 32)}  # fmt: skip


def chosen_part(bits: Bits, select: str, extend: bool, kind: str) -> Bits:
    """A part of a dword, as bits of a kind."""
    low, size = SELECTS[select]

    def get(w: Waves) -> np.ndarray:
        value = (bits(w).astype(np.uint64) >> np.uint64(low)) & np.uint64((1 << size) - 1)
        if extend:
            top = np.uint64(1 << (size - 1))
            value = (value ^ top) - top
        return (value & np.uint64(0xFFFFFFFF)).astype(BITS[width(kind)])

    return get


def selected(rng: random.Random, case: Case) -> Trial:
    """SDWA: parts of sources, and of the destination."""
    kinds = vectors(case)
    fills, reads, texts, ends = [], [], [], []
    free = "m" not in kinds
    for n, kind in enumerate(kinds):
        if kind == "m":
            reads.append(mask_of(VCC))
            texts.append("vcc")
            continue
        place = vgpr(2 + 2 * n, "i32")
        if free and rng.random() < 0.2:
            place, free = sgpr(2 * rng.randrange(20), "i32"), False
        select, extend = rng.choice(list(SELECTS)), rng.random() < 0.3 and kind not in FLOAT_KINDS
        part = Place(place.text, chosen_part(place.bits, select, extend, kind))
        if kind in FLOAT_KINDS:
            part = with_signs(part, kind, rng.random() < 0.2, rng.random() < 0.2)
        fills.append(typed_fill(place, kind))
        reads.append(part.bits)
        texts.append(f"sext({part.text})" if extend else part.text)
        ends.append(f"src{n}_sel:{select}")
    compare = case.results[0][0] == "m"
    select, unused = rng.choice(list(SELECTS)), rng.choice(["UNUSED_PAD", "UNUSED_SEXT", "UNUSED_PRESERVE"])
    clamp = case.results[0][0] in FLOAT_KINDS and rng.random() < 0.2
    if not compare:
        ends = [*(["clamp"] if clamp else []), f"dst_sel:{select}", f"dst_unused:{unused}", *ends]
    mask = SDST if compare and rng.random() < 0.5 else VCC
    text = line(case, "_sdwa", texts, "vcc" if mask == VCC else f"s[{SDST}:{SDST + 1}]", " ".join(ends))
    placed = None if compare else placement(select, unused)
    return Trial(case.name, text, fills, expectation(case, reads, mask, clamp=clamp, part=placed))


def typed_fill(place: Place, kind: str) -> Callable[[Waves, np.random.Generator], None]:
    """Values of the operand's own kind."""
    make = sgpr if place.uses_bus else vgpr
    return make(place.index, kind).fill


def placement(select: str, unused: str) -> Callable[[Waves, np.ndarray], np.ndarray]:
    """A result in its part of the old dword."""
    low, size = SELECTS[select]

    def place(w: Waves, value: np.ndarray) -> np.ndarray:
        part = value.astype(np.uint64) & np.uint64((1 << size) - 1)
        if unused == "UNUSED_SEXT":
            top = np.uint64(1 << (size - 1))
            return (((part ^ top) - top) << np.uint64(low) & np.uint64(0xFFFFFFFF)).astype(np.uint32)
        kept = w.v[DST].astype(np.uint64) & np.uint64(0xFFFFFFFF ^ ((1 << size) - 1) << low)
        return (part << np.uint64(low) | (kept if unused == "UNUSED_PRESERVE" else np.uint64(0))).astype(np.uint32)

    return place
