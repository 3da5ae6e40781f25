"""Exact matrix arithmetic where one rule decides: sums worked out by hand from the rules in `matrix_exact.py`."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from lowering.targets.amdgpu.emulator import matrix

TYPES = {"f16": np.float16, "bf16": ml_dtypes.bfloat16}


def added(kind: str, products: list[tuple[float, float]], c: float) -> np.float32:
    """c + sum of at most four products, as element (0, 0) of a 32x32x8 instruction: lane 0 holds k = 0 to 3."""
    shape = matrix.shapes()[f"v_mfma_f32_32x32x8_{kind}"]
    a, b = np.zeros((2, 1, 64), np.uint32), np.zeros((2, 1, 64), np.uint32)
    for side, values in ((a, [x for x, _ in products]), (b, [y for _, y in products])):
        side[:, 0, 0] = np.array([*values, *[0.0] * (4 - len(values))]).astype(TYPES[kind]).view(np.uint32)
    return matrix.multiply(shape, a, b, np.float32(c).view(np.uint32), exact=True).view(np.float32)[0, 0, 0]


TIE = (2.0**-12, 2.0**-12)  # half of the last place of 1


@pytest.mark.parametrize(
    ("kind", "products", "c", "wanted"),
    [
        # the sum of the products keeps 31 fractional bits, cut toward minus infinity
        ("f16", [TIE], 1.0, 1.0),
        ("f16", [TIE, (2.0**-15, 2.0**-16)], 1.0, 1 + 2.0**-23),
        ("f16", [TIE, (2.0**-16, 2.0**-16)], 1.0, 1.0),
        ("f16", [(-(2.0**-12), 2.0**-13)], 1.0, 1.0),
        ("f16", [(-(2.0**-12), 2.0**-13), (-(2.0**-16), 2.0**-16)], 1.0, 1 - 2.0**-24),
        # products keep 24 below the largest, cut toward zero
        ("f16", [(1.0, 1.0), (2.0**-12, 2.0**-12)], -1.0, 2.0**-24),
        ("f16", [(1.0, 1.0), (2.0**-13, 2.0**-12)], -1.0, 0.0),
        ("f16", [(1.0, 1.0), (-(2.0**-13), 2.0**-12)], -1.0, 0.0),
        # products are not normalised: 1.5 * 1.5 counts with exponent 0
        ("f16", [(1.5, 1.5), (2.0**-12, 2.0**-12)], -2.25, 2.0**-24),
        # the addend keeps 24, cut toward minus infinity
        ("f16", [(1.0, 1.0), (-1.0, 1.0)], 2.0**-25, 0.0),
        ("f16", [(1.0, 1.0), (-1.0, 1.0)], -(2.0**-25), -(2.0**-24)),
        # a zero counts with exponent -126, so what it meets may push others out; a subnormal likewise
        ("bf16", [(0.0, 2.0**126), (2.0**-25, 1.0)], 0.0, 0.0),
        ("bf16", [(0.0, 2.0**125), (2.0**-25, 1.0)], 0.0, 2.0**-25),
        ("bf16", [(2.0**-127, 2.0**126), (2.0**-25, 1.0)], -0.5, 0.0),
        ("bf16", [(2.0**-127, 2.0**125), (2.0**-25, 1.0)], -0.25, 2.0**-25),
        # a product beyond f32 is infinite, even if another one would bring the sum back
        ("bf16", [(2.0**127, 2.0), (-(2.0**127), 1.0)], 0.0, np.inf),
        ("bf16", [(2.0**127, 1.0), (2.0**127, 1.0), (-(2.0**127), 1.0)], 0.0, 2.0**127),
    ],
)
def test_one_rule_decides(kind, products, c, wanted):
    assert added(kind, products, c) == wanted


def test_a_sum_of_integers_has_no_negative_zero():
    shape = matrix.shapes()["v_mfma_f32_32x32x8_f16"]
    zeros, ones = np.full((2, 1, 64), 0x80008000, np.uint32), np.full((2, 1, 64), 0x3C003C00, np.uint32)
    assert not matrix.multiply(shape, zeros, ones, np.uint32(0x80000000), exact=True).any()


@pytest.mark.parametrize("exact", [False, True])
def test_xf32_keeps_nan(exact):
    shape = matrix.shapes()["v_mfma_f32_16x16x8_xf32"]
    nan, ones = np.full((2, 1, 64), 0x7F800001, np.uint32), np.full((2, 1, 64), 0x3F800000, np.uint32)
    assert np.isnan(matrix.multiply(shape, nan, ones, np.uint32(0), exact).view(np.float32)).all()
