"""Every packed instruction alone: both halves with every choice of halves, signs, clamp, constants."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from amdgcn import assemble
from gfx942_bench import Expected, Place, Trial, bind, fresh, inline, run, sgpr, vgpr
from gfx942_vector_cases import CASES, dot
from lane_oracle import ARRAYS, BITS, ir, magnitude, raw, width

from lowering.targets.amdgpu.emulator.decode import decode
from lowering.targets.amdgpu.emulator.formats import opcodes
from lowering.targets.amdgpu.emulator.operands import Unsupported
from lowering.targets.amdgpu.emulator.waves import Waves

DST, MODES = 10, ("full", "some", "waves")
Bits = Callable[[Waves], np.ndarray]

HALVES = (
    "mad_i16", "mul_lo_u16", "add_i16", "sub_i16", "lshlrev_b16", "lshrrev_b16", "ashrrev_i16", "max_i16", "min_i16",
    "mad_u16", "add_u16", "sub_u16", "max_u16", "min_u16", "fma_f16", "add_f16", "mul_f16", "min_f16", "max_f16",
)  # fmt: skip
WORDS = ("fma_f32", "mul_f32", "add_f32")
FMA = ir("f32 f32 f32 -> f32", "llvm.fma")


def check(tried: list[Trial], seed: int = 3) -> Counter[str]:
    """Runs all lines, which must assemble."""
    rng, wrong, counts = np.random.default_rng(seed), [], Counter[str]()
    for n, (trial, code) in enumerate(zip(tried, assemble([each.line for each in tried]), strict=True)):
        assert isinstance(code, bytes), (trial.line, code)
        counts[trial.name] += 1
        if complaint := run(trial, decode(code, 0), rng, MODES[n % 3]):
            wrong.append(complaint)
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong[:20])
    return counts


def word_fill(index: int, kind: str) -> Callable[[Waves, np.random.Generator], None]:
    """Values of a kind in a register's halves."""
    return vgpr(index, kind).fill


def constant_halves(rng: random.Random, kind: str) -> tuple[Place, list[Bits]]:
    """A constant in an operand of two halves: a float in the low one, an integer with its sign in both."""
    place = inline(rng, kind)
    if kind == "f16" and "." in place.text:
        return place, [place.bits, lambda w: np.zeros(w.shape, np.uint16)]
    value = int(place.text)
    return place, [lambda w, v=value >> 16 * n & 0xFFFF: np.full(w.shape, v, np.uint16) for n in (0, 1)]


def sources(rng: random.Random, kinds: tuple[str, ...]) -> tuple[list[str], list[list[Bits]], list[Callable]]:
    """Texts, both parts and fills of the operands."""
    texts, halves, fills, free = [], [], [], True
    for n, kind in enumerate(kinds):
        index, chance = 2 + 2 * n if rng.random() < 0.9 else DST, rng.random()
        if kind == "f32":
            scalar = chance < 0.15 and free
            make = sgpr if scalar else vgpr
            index, free = (2 * rng.randrange(20), False) if scalar else (index, free)
            texts.append(f"{'s' if scalar else 'v'}[{index}:{index + 1}]")
            halves.append([make(index + part, "f32").bits for part in (0, 1)])
            fills += [make(index + part, "f32").fill for part in (0, 1)]
        elif chance < 0.15:
            place, pair = constant_halves(rng, kind)
            texts.append(place.text)
            halves.append(pair)
        else:
            scalar = chance < 0.3 and free
            make = sgpr if scalar else vgpr
            index, free = (2 * rng.randrange(20), False) if scalar else (index, free)
            texts.append(make(index, kind).text)
            halves.append([make(index, kind, part).bits for part in (0, 1)])
            fills.append(make(index, kind).fill)
    return texts, halves, fills


def negated(bits: Bits, kind: str) -> Bits:
    """The sign flipped."""
    return lambda w: bits(w) ^ BITS[width(kind)](1 << (width(kind) - 1))


def listed(name: str, values: list[int]) -> str:
    """A modifier."""
    return f" {name}:[{','.join(map(str, values))}]"


def packed(rng: random.Random, name: str) -> Trial:
    """A line of two operations."""
    known = CASES[f"v_{name}"]
    kinds, (kind, oracle) = known.sources, known.results[0]
    texts, halves, fills = sources(rng, kinds)
    low, high, neg_low, neg_high = ([rng.randrange(2) for _ in kinds] for _ in range(4))
    floating = kind[0] == "f"
    text = f"v_pk_{name} {'v[10:11]' if kind == 'f32' else 'v10'}, {', '.join(texts)}"
    text += listed("op_sel", low) + listed("op_sel_hi", high)
    text += listed("neg_lo", neg_low) + listed("neg_hi", neg_high) if floating else ""
    clamp = rng.random() < 0.3 and (floating or known.clamped is not None)
    text += " clamp" if clamp else ""

    def one(w: Waves, picks: list[int], negs: list[int]) -> np.ndarray:
        reads = [negated(h[p], kind) if n and floating else h[p] for h, p, n in zip(halves, picks, negs, strict=True)]
        given = [np.ascontiguousarray(np.broadcast_to(read(w), w.shape)).view(ARRAYS[kind]) for read in reads]
        found = (known.clamped if clamp and known.clamped else oracle)(*given)
        if clamp and floating:
            found = np.where(found > 1, found.dtype.type(1), np.where(found > 0, found, found.dtype.type(0)))
        return raw(found).astype(np.uint32)

    def expect(w: Waves) -> Expected:
        first, second = one(w, low, neg_low), one(w, high, neg_high)
        if kind == "f32":
            return Expected(vector={DST: first, DST + 1: second}, loose={DST: kind, DST + 1: kind})
        loose = {DST: "f16x2"} if floating else {}
        return Expected(vector={DST: first | second << np.uint32(16)}, loose=loose)

    return Trial(f"v_pk_{name}", text, fills, expect)


@pytest.mark.parametrize("names", [HALVES, WORDS], ids=["halves", "words"])
def test_two_operations_at_once(names):
    rng = random.Random(1)
    counts = check([packed(rng, name) for name in names for _ in range(16)])
    assert len(counts) == len(names)


def test_constants_of_f32_pairs():
    """As LLVM emits them: op_sel_hi 0, so that both results take the constant."""
    lines = [
        "v_pk_mul_f32 v[10:11], v[2:3], 2.0 op_sel_hi:[1,0]",
        "v_pk_add_f32 v[10:11], v[2:3], -4.0 op_sel_hi:[1,0]",
    ]
    lines += ["v_pk_fma_f32 v[10:11], v[2:3], v[4:5], 0.5 op_sel_hi:[1,1,0]"]
    lines += ["v_pk_mul_f32 v[10:11], s[4:5], v[2:3] op_sel_hi:[0,1]"]
    w = fresh(np.random.default_rng(2), "full")
    w.v[2:6] = raw(np.random.default_rng(3).standard_normal((4, *w.shape)).astype(np.float32))
    w.s[4] = raw(np.linspace(-3, 3, w.count).astype(np.float32))
    a, b, c, d = (w.v[n].view(np.float32).copy() for n in (2, 3, 4, 5))
    scalar = w.s[4].view(np.float32)[:, None].copy()
    half = np.full(w.shape, 0.5, np.float32)
    rights = [(a * np.float32(2), b * np.float32(2)), (a - np.float32(4), b - np.float32(4))]
    rights += [(FMA(a, c, half), FMA(b, d, half)), (scalar * a, scalar * b)]
    for code, right in zip(assemble(lines), rights, strict=True):
        bind(decode(code, 0))(w)
        for n in (0, 1):
            np.testing.assert_array_equal(w.v[DST + n].view(np.float32), right[n])


def moves(rng: random.Random) -> Trial:
    """v_pk_mov_b32: op_sel chooses, op_sel_hi does not matter."""
    first, second = rng.choice([2, DST]), rng.choice([4, DST])
    low, high = rng.randrange(2), rng.randrange(2)

    def expect(w: Waves) -> Expected:
        return Expected(vector={DST: w.v[first + low].copy(), DST + 1: w.v[second + high].copy()})

    text = f"v_pk_mov_b32 v[10:11], v[{first}:{first + 1}], v[{second}:{second + 1}] op_sel:[{low},{high}]"
    return Trial("v_pk_mov_b32", text, [], expect)


def test_moves():
    check([moves(random.Random(n)) for n in range(30)])


# --- mixed precision -------------------------------------------------------------------------------------------------


def mixed(rng: random.Random, name: str) -> Trial:
    """Each source an f32 or a half; neg and abs of each; neg_hi means abs."""
    texts, reads, fills, low, high = [], [], [], [], []
    for n in range(3):
        is_half, part, absolute, negative = (rng.randrange(2) for _ in range(4))
        kind = "f16" if is_half else "f32"
        place = vgpr(2 + 2 * n, kind, part if is_half else 0)
        text = f"|{place.text}|" if absolute else place.text
        texts.append(f"-{text}" if negative else text)
        low.append(part if is_half else 0)
        high.append(is_half)
        fills.append(place.fill)
        reads.append((place.bits, kind, absolute, negative))
    clamp = rng.random() < 0.3

    def expect(w: Waves) -> Expected:
        given = []
        for bits, kind, absolute, negative in reads:
            value = bits(w) & magnitude(width(kind)) if absolute else bits(w)
            value = value ^ BITS[width(kind)](1 << (width(kind) - 1)) if negative else value
            given.append(np.ascontiguousarray(value).view(ARRAYS[kind]).astype(np.float32))
        found = FMA(*given)
        found = found if name.endswith("f32") else found.astype(np.float16)
        if clamp:
            found = np.where(found > 1, found.dtype.type(1), np.where(found > 0, found, found.dtype.type(0)))
        word = raw(found).astype(np.uint32)
        if name.endswith("f32"):
            return Expected(vector={DST: word}, loose={DST: "f32"})
        old = w.v[DST]
        word = word << 16 | old & 0xFFFF if "hi" in name else word | old & 0xFFFF0000
        return Expected(vector={DST: word}, loose={DST: "f16x2"})

    text = (
        f"{name} v10, {', '.join(texts)}{listed('op_sel', low)}{listed('op_sel_hi', high)}{' clamp' if clamp else ''}"
    )
    return Trial(name, text, fills, expect)


def test_mixed_precision():
    rng = random.Random(4)
    check([mixed(rng, name) for name in ("v_fma_mix_f32", "v_fma_mixlo_f16", "v_fma_mixhi_f16") for _ in range(24)])


# --- dot products ----------------------------------------------------------------------------------------------------

DOTS = {
    "v_dot2_i32_i16": dot(16, True), "v_dot4_i32_i8": dot(8, True), "v_dot8_i32_i4": dot(4, True),
    "v_dot2_u32_u16": dot(16, False), "v_dot4_u32_u8": dot(8, False), "v_dot8_u32_u4": dot(4, False),
}  # fmt: skip


@pytest.mark.parametrize("name", DOTS)
def test_dot_products_of_integers(name):
    fills = [vgpr(2 + 2 * n, "i32").fill for n in range(3)]

    def expect(w: Waves) -> Expected:
        return Expected(vector={DST: DOTS[name](*(w.v[2 + 2 * n] for n in range(3)))})

    check([Trial(name, f"{name} v10, v2, v4, v6", fills, expect)] * 6)
    (code,) = assemble([f"{name} v10, v2, v4, v6 clamp"])
    with pytest.raises(Unsupported):
        bind(decode(code, 0))


def test_dot_product_of_halves_is_two_fused_steps():
    def expect(w: Waves) -> Expected:
        pairs = [np.ascontiguousarray(w.v[row]).view(np.float16).astype(np.float32) for row in (2, 4)]
        total = FMA(pairs[0][:, ::2], pairs[1][:, ::2], w.v[6].view(np.float32))
        return Expected(vector={DST: raw(FMA(pairs[0][:, 1::2], pairs[1][:, 1::2], total))}, loose={DST: "f32"})

    fills = [word_fill(2, "f16"), word_fill(4, "f16"), vgpr(6, "f32").fill]
    check([Trial("v_dot2_f32_f16", "v_dot2_f32_f16 v10, v2, v4, v6", fills, expect)] * 6)


def test_all_packed_operations_are_tested():
    names = {each.name for each in opcodes().values() if each.format == "VOP3P" and not each.is_matrix}
    tested = {f"v_pk_{name}" for name in HALVES + WORDS} | set(DOTS) | {"v_pk_mov_b32", "v_dot2_f32_f16"}
    tested |= {"v_fma_mix_f32", "v_fma_mixlo_f16", "v_fma_mixhi_f16"}
    tested |= {"v_accvgpr_read_b32", "v_accvgpr_write_b32"}  # test_gfx942_lanes
    assert names == tested
