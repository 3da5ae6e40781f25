"""Matrix instructions: layouts against plain loops, exact sums against vectors and fractions; fused multiply-adds.

The vectors (data/gfx942_mfma_vectors.json: eight products and an addend a row, as bits) were made with MMA-Sim (MIT,
arXiv 2511.10909), whose authors compared it with MI300X hardware.
"""

from __future__ import annotations

import itertools
import json
import math
from fractions import Fraction
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from gfx942_fractions import fused, matrix_sum
from hypothesis import given, settings
from hypothesis import strategies as st

from lowering.targets.amdgpu.emulator import lane_ops, matrix
from lowering.targets.amdgpu.emulator.formats import opcodes
from lowering.targets.amdgpu.emulator.lanes import fma32, fma64

WAVES = 2
TYPES = {
    "f16": np.float16, "bf16": ml_dtypes.bfloat16, "fp8": ml_dtypes.float8_e4m3fnuz, "bf8": ml_dtypes.float8_e5m2fnuz,
    "i8": np.int8, "f32": np.float32, "xf32": np.float32, "f64": np.float64,
}  # fmt: skip
VECTORS = json.loads((Path(__file__).parent / "data" / "gfx942_mfma_vectors.json").read_text())


def input_place(shape, lane, element):
    """Block, row (or column) and k of an element: the calculator's formulas, written out."""
    if shape.blocks == 1:
        return 0, lane % shape.m, shape.per_lane * (lane // shape.m) + element
    if shape.d == "f64":
        return lane // 4 % 4, lane % 4, lane // 16
    return lane // shape.m, lane % shape.m, element


def output_place(shape, lane, register):
    """Block, row and column of a register of C and D."""
    if shape.d == "f64":
        return (0, 4 * register + lane // 16, lane % 16) if shape.blocks == 1 else (lane // 4 % 4, lane // 16, lane % 4)
    if shape.m == 32:
        return register // 16, 8 * (register % 16 // 4) + 4 * (lane // 32) + register % 4, lane % 32
    if shape.m == 16:
        return register // 4, 4 * (lane // 16) + register % 4, lane % 16
    return lane // 4, register, lane % 4


def operand(rng, shape, kind):
    """Small integers in registers, and the matrix they are."""
    values = rng.integers(-3, 4, (WAVES, 64, shape.per_lane)).astype(float)
    raw = np.ascontiguousarray(values.astype(TYPES[kind])).view(np.uint8).reshape(WAVES, 64, -1).view(np.uint32)
    whole = np.zeros((WAVES, shape.blocks, shape.m, shape.k))
    for lane in range(64):
        for element in range(shape.per_lane):
            block, row, k = input_place(shape, lane, element)
            whole[:, block, row, k] = values[:, lane, element]
    return np.ascontiguousarray(raw.transpose(2, 0, 1)), whole


def registers(shape, whole):
    """A result matrix as registers."""
    count = shape.m * shape.n * shape.blocks // 64
    found = np.zeros((count, WAVES, 64), matrix.ACCUMULATORS[shape.d])
    for lane in range(64):
        for register in range(count):
            block, row, column = output_place(shape, lane, register)
            found[register, :, lane] = whole[:, block, row, column]
    words = found.view(np.uint32)
    if shape.d == "f64":
        return words.reshape(count, WAVES, 64, 2).transpose(0, 3, 1, 2).reshape(2 * count, WAVES, 64)
    return words


@pytest.mark.parametrize("name", list(matrix.shapes()))
def test_layout(name):
    shape, rng = matrix.shapes()[name], np.random.default_rng(1)
    (a, left), (b, right) = operand(rng, shape, shape.a), operand(rng, shape, shape.b)
    c = rng.integers(-50, 50, (WAVES, shape.blocks, shape.m, shape.n)).astype(float)
    product = left @ right.swapaxes(-1, -2)
    for exact in (False, True):
        got = matrix.multiply(shape, a, b, np.ascontiguousarray(registers(shape, c)), exact)
        np.testing.assert_array_equal(got, registers(shape, product + c))
    zero = np.zeros(2, np.uint32) if shape.d == "f64" else np.zeros((), np.uint32)
    np.testing.assert_array_equal(matrix.multiply(shape, a, b, zero), registers(shape, product))


def test_all_dense_shapes_are_there():
    wanted = {each.name: dict(each.operands) for each in opcodes().values() if each.name.startswith("v_mfma_")}
    assert len(wanted) == 32
    found = {
        name: {
            "vdst": shape.result_registers,
            "src0": shape.operand_registers,
            "src1": shape.operand_registers,
            "src2": shape.result_registers,
        }
        for name, shape in matrix.shapes().items()
    }
    assert found == wanted


@pytest.mark.parametrize(
    ("name", "cycles"),
    [
        ("f32_32x32x8_f16", 32), ("f32_16x16x16_bf16", 16), ("f32_32x32x16_fp8_bf8", 32), ("i32_16x16x32_i8", 16),
        ("f32_32x32x2_f32", 64), ("f32_16x16x4_f32", 32), ("f32_32x32x4_xf32", 32), ("f32_16x16x8_xf32", 16),
        ("f32_4x4x4_16b_f16", 8), ("f32_4x4x1_16b_f32", 8), ("f32_32x32x4_2b_f16", 64), ("i32_16x16x4_4b_i8", 32),
        ("f64_16x16x4_f64", 32), ("f64_4x4x4_4b_f64", 16),
    ],
)  # fmt: skip
def test_cycles(name, cycles):
    assert matrix.shapes()[f"v_mfma_{name}"].cycles == cycles


def bits(rng, shape, waves=WAVES):
    """Any bits at all as A, B and C."""
    counts = (shape.operand_registers, shape.operand_registers, shape.result_registers)
    return [rng.integers(0, 2**32, (count, waves, 64), dtype=np.uint32) for count in counts]


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", list(matrix.shapes()))
def test_the_result_may_replace_an_operand(name, exact):
    shape = matrix.shapes()[name]
    a, b, c = bits(np.random.default_rng(2), shape)
    wanted = matrix.multiply(shape, a, b, c, exact)
    batch = np.zeros((64, 2 * WAVES, 64), np.uint32)  # registers of more waves, of which these are every other one
    mine = batch[:, ::2]
    for first in (0, shape.operand_registers, 40 - shape.result_registers):  # D over A, over B, over C
        mine[:8], mine[8 : 40 - len(c)], mine[40 - len(c) : 40] = 0, 0, c
        mine[: len(a)], mine[len(a) : 2 * len(a)] = a, b
        out = mine[first : first + len(c)]
        assert matrix.multiply(shape, mine[: len(a)], mine[len(a) : 2 * len(a)], c, exact, out) is out
        np.testing.assert_array_equal(out, wanted)
        assert not batch[:, 1::2].any()


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", ["v_mfma_f32_16x16x16_f16", "v_mfma_f64_16x16x4_f64", "v_mfma_i32_16x16x32_i8"])
def test_constants(name, exact):
    shape = matrix.shapes()[name]
    kind = matrix.ACCUMULATORS[shape.d]
    zeros = np.zeros((shape.operand_registers, 1, 64), np.uint32)
    words = np.ones(1, kind).view(np.uint32)
    tiled = np.tile(words, shape.result_registers // len(words))[:, None, None]
    for c in (words, tiled):
        assert (matrix.multiply(shape, zeros, zeros, c, exact) == tiled).all()
    assert not matrix.multiply(shape, zeros, zeros, np.uint32(0), exact).any()


WIDTHS = {"f16": np.uint16, "bf16": np.uint16, "fp8": np.uint8, "bf8": np.uint8, "xf32": np.uint32, "f32": np.uint32}


def numbers(rng, kind, shape):
    """Bits of finite numbers of both signs, many of them subnormal, some zero, of products that do not overflow."""
    width, top = WIDTHS[kind], {"f16": 0x7C00, "bf16": 0x5E80, "fp8": 0x80, "bf8": 0x80}.get(kind, 0x5E800000)
    near = {"bf16": (0x3E00, 0x4100), "xf32": (0x3E000000, 0x41000000), "f32": (0x3E000000, 0x41000000)}
    low, high = near.get(kind, (0, top))
    found = rng.integers(low, high, shape)
    wide = rng.integers(0, top, shape)
    small = rng.integers(0, max(2, top // 64), shape)
    found = np.choose(rng.choice(4, shape, p=(0.8, 0.1, 0.08, 0.02)), (found, wide, small, 0 * small))
    negative = rng.integers(0, 2, shape) & ((found != 0) | (width != np.uint8))  # the pattern of -0 is NaN there
    return (found | negative << (np.iinfo(width).bits - 1)).astype(width)


FLOATS = [name for name, shape in matrix.shapes().items() if shape.a not in ("i8", "f64")]


@pytest.mark.parametrize("name", FLOATS)
def test_exact_arithmetic_is_that_of_fractions(name):
    shape, rng = matrix.shapes()[name], np.random.default_rng(3)
    lanes = (WAVES, 64, shape.per_lane)
    a, b = numbers(rng, shape.a, lanes), numbers(rng, shape.b, lanes)
    c = numbers(rng, "f32", (shape.result_registers, WAVES, 64)).view(np.float32)
    packed = [np.ascontiguousarray(each.view(np.uint32).transpose(2, 0, 1)) for each in (a, b)]
    d = matrix.multiply(shape, *packed, c.view(np.uint32), exact=True).view(np.float32)
    rows = [{}, {}]
    for lane, element in itertools.product(range(64), range(shape.per_lane)):
        block, row, k = input_place(shape, lane, element)
        for side, values in zip(rows, (a, b), strict=True):
            side.setdefault((block, row), [[0] * shape.k for _ in range(WAVES)])
            for wave in range(WAVES):
                side[block, row][wave][k] = int(values[wave, lane, element])
    for register, wave, lane in zip(*(rng.integers(0, each, 150) for each in d.shape), strict=True):
        block, row, column = output_place(shape, lane, register)
        left, right = rows[0][block, row][wave], rows[1][block, column][wave]
        wanted = float(c[register, wave, lane])
        if shape.a == "f32":
            for x, y in zip(left, right, strict=True):
                wanted = fused(*np.array([x, y], np.uint32).view(np.float32).tolist(), wanted, "f32")
        else:
            wanted = matrix_sum(left, right, wanted, (shape.a, shape.b))
        assert d[register, wave, lane].view(np.uint32) == np.float32(wanted).view(np.uint32)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", [*FLOATS, "v_mfma_f64_16x16x4_f64", "v_mfma_f64_4x4x4_4b_f64"])
def test_infinities_and_nan_go_where_ieee_says(name, exact):
    shape, rng = matrix.shapes()[name], np.random.default_rng(4)
    values = np.array([1.0, -2.0, 0.0, np.inf, -np.inf, np.nan]).astype(TYPES[shape.a])
    other = np.array([1.0, -2.0, 0.0, np.inf, -np.inf, np.nan]).astype(TYPES[shape.b])
    chances = (0.5, 0.45, 0.02, 0.01, 0.01, 0.01)
    lanes = (WAVES, 64, shape.per_lane)
    a, b = rng.choice(values, lanes, p=chances), rng.choice(other, lanes, p=chances)
    c = np.zeros((WAVES, shape.blocks, shape.m, shape.n))
    c[:, :, 1, :2], c[:, :, 2, 1] = np.inf, np.nan
    left, right = (np.zeros((WAVES, shape.blocks, shape.m, shape.k)) for _ in range(2))
    for lane, element in itertools.product(range(64), range(shape.per_lane)):
        block, row, k = input_place(shape, lane, element)
        left[:, block, row, k], right[:, block, row, k] = a[:, lane, element], b[:, lane, element]
    packed = [np.ascontiguousarray(each.view(np.uint32).transpose(2, 0, 1)) for each in (a, b)]
    got = matrix.multiply(shape, *packed, np.ascontiguousarray(registers(shape, c)), exact)
    with np.errstate(invalid="ignore"):
        wanted = registers(shape, np.einsum("wbik,wbjk->wbij", left, right) + c)
    kind = matrix.ACCUMULATORS[shape.d]
    if shape.d == "f64":
        got, wanted = (np.stack([each[0::2], each[1::2]], -1) for each in (got, wanted))
    np.testing.assert_array_equal(got.view(kind), np.ascontiguousarray(wanted).view(kind))


@pytest.mark.parametrize("row", VECTORS, ids=lambda row: row["dtype"])
def test_exact_arithmetic_is_that_of_hardware(row):
    kind = row["dtype"]
    shape = matrix.shapes()[f"v_mfma_f32_32x32x8_{kind}"]
    # element (0, 0): row 0 of A and column 0 of B, four k in lane 0 and four in lane 32
    a, b = (np.zeros((2, 1, 64), np.uint32) for _ in range(2))
    for target, name in ((a, "a"), (b, "b")):
        words = np.array([int(each, 16) for each in row[name]], np.uint16).view(np.uint32)
        target[:, 0, 0], target[:, 0, 32] = words[:2], words[2:]
    c = np.zeros((16, 1, 64), np.uint32)
    c[0, 0, 0] = int(row["c"], 16)
    with np.errstate(all="ignore"):
        assert matrix.multiply(shape, a, b, c, exact=True)[0, 0, 0] == int(row["d"], 16)


def test_integers_wrap():
    shape = matrix.shapes()["v_mfma_i32_16x16x32_i8"]
    ones, c = np.full((2, 1, 64), 0x01010101, np.uint32), np.full((4, 1, 64), 0x7FFFFFFF, np.uint32)
    assert (matrix.multiply(shape, ones, ones, c).view(np.int32) == -(2**31) + 31).all()


@pytest.mark.parametrize("kind", ["f16", "bf16"])
def test_special_values(kind):
    shape = matrix.shapes()[f"v_mfma_f32_16x16x16_{kind}"]
    a, b = np.zeros((2, 1, 64), np.uint32), np.zeros((2, 1, 64), np.uint32)
    least = np.array([1], np.uint16).view(TYPES[kind]).astype(np.float32)[0]  # the smallest subnormal
    a[0, 0, 0], b[0, 0, 0] = 1, np.array([1.0, 0], TYPES[kind]).view(np.uint32)[0]
    a[0, 0, 1] = np.array([np.inf, 0], TYPES[kind]).view(np.uint32)[0]
    for exact in (False, True):
        with np.errstate(all="ignore"):
            d = matrix.multiply(shape, a, b, np.zeros((4, 1, 64), np.uint32), exact).view(np.float32)
        assert d[0, 0, 0] == least
        assert d[1, 0, 0] == np.inf
        assert np.isnan(d[1, 0, 1])


def exact(a, b, c, kind):
    """a * b + c by fractions, rounded once."""
    total = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    if kind is np.float64:
        return float(total)
    near = kind(float(total))  # float of a fraction is rounded; look at its neighbours too
    candidates = [near, np.nextafter(near, kind(np.inf)), np.nextafter(near, kind(-np.inf))]
    finite = [each for each in candidates if np.isfinite(each)]
    best = min(abs(Fraction(float(each)) - total) for each in finite)
    ties = [each for each in finite if abs(Fraction(float(each)) - total) == best]
    bits = {np.float32: np.uint32, np.float16: np.uint16}[kind]
    return next(each for each in ties if len(ties) == 1 or not each.view(bits) & 1)


SMALL = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(max_examples=300)
@given(SMALL, SMALL, SMALL)
def test_fma32_is_rounded_once(a, b, c):
    a, b, c = (np.array([each], np.float32) for each in (a, b, c))
    if abs(float(a[0]) * float(b[0])) > 2.0**127 or abs(float(a[0]) * float(b[0]) + float(c[0])) > 2.0**127:
        return
    assert fma32(a, b, c)[0] == exact(a[0], b[0], c[0], np.float32)


@settings(max_examples=300)
@given(st.integers(-(2**24), 2**24), st.integers(-(2**24), 2**24), st.integers(-30, 30), st.integers(-(2**24), 2**24))
def test_fma32_near_ties(x, y, shift, z):
    a, b, c = (np.array([each], np.float32) for each in (x, y, math.ldexp(z, shift)))
    assert fma32(a, b, c)[0] == exact(a[0], b[0], c[0], np.float32)


@settings(max_examples=300)
@given(*(st.floats(allow_nan=False, allow_infinity=False),) * 3)
def test_fma64_is_rounded_once(a, b, c):
    total = Fraction(a) * Fraction(b) + Fraction(c)
    if abs(total) > Fraction(2) ** 1023 or abs(Fraction(a) * Fraction(b)) > Fraction(2) ** 1023:
        return
    assert fma64(np.array([a]), np.array([b]), np.array([c]))[0] == float(total)


@settings(max_examples=300)
@given(*(st.floats(width=16, allow_nan=False, allow_infinity=False),) * 3)
def test_fma16_is_rounded_once(a, b, c):
    a, b, c = (np.array([each], np.float16) for each in (a, b, c))
    if abs(float(a[0]) * float(b[0]) + float(c[0])) > 65000:
        return
    assert lane_ops.fma(a, b, c)[0] == exact(a[0], b[0], c[0], np.float16)
