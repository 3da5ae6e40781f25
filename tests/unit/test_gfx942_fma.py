"""Fused multiply-adds of arrays against fractions: at the corners of the range, on any bits and where a sum cancels."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from gfx942_fractions import fused
from hypothesis import given, settings
from hypothesis import strategies as st

from lowering.targets.amdgpu.emulator.lanes import fma32, fma64


def corners(kind):
    """Zeros, the ends of the range, neighbours of 1, ties, infinities and NaN."""
    known = np.finfo(kind)
    tiny, least, step = float(known.tiny), float(known.smallest_subnormal), float(known.eps)
    most = float(known.max)
    low = [0.0, least, 3 * least, tiny - least, tiny, tiny * (1 + step), math.sqrt(tiny), step / 2]
    high = [1 - step / 2, 1.0, 1 + step, 3.0, 2.0**known.nmant + 1, math.sqrt(most), most, math.inf]
    positive = low + high
    return np.array([*positive, *(-each for each in positive), math.nan]).astype(kind)


@pytest.mark.parametrize(("fma", "kind"), [(fma32, "f32"), (fma64, "f64")])
def test_fma_at_corners(fma, kind):
    values = corners({"f32": np.float32, "f64": np.float64}[kind])
    got = fma(values[:, None, None], values[:, None], values)
    wanted = [fused(*map(float, each), kind) for each in itertools.product(values, repeat=3)]
    np.testing.assert_array_equal(got.reshape(-1), wanted)
    np.testing.assert_array_equal(np.signbit(got.reshape(-1)) | np.isnan(wanted), np.signbit(wanted) | np.isnan(wanted))


@settings(max_examples=300)
@given(
    st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.booleans(), st.integers(-4, 4)
)
def test_fma32_of_any_bits(x, y, z, cancels, off):
    a, b, c = (np.array([each], np.uint32).view(np.float32) for each in (x, y, z))
    if cancels:  # a sum near zero, of the product's magnitude
        with np.errstate(all="ignore"):
            c = (np.abs(-(a * b)).view(np.uint32) + np.uint32(off % 2**32)).view(np.float32)
    wanted = fused(float(a[0]), float(b[0]), float(c[0]), "f32")
    np.testing.assert_array_equal(fma32(a, b, c), [wanted])


@settings(max_examples=300)
@given(
    st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.booleans(), st.integers(-4, 4)
)
def test_fma64_of_any_bits(x, y, z, cancels, off):
    a, b, c = (np.array([each], np.uint64).view(np.float64) for each in (x, y, z))
    if cancels:
        with np.errstate(all="ignore"):
            c = ((-(a * b)).view(np.int64) + off).view(np.float64)
    wanted = fused(float(a[0]), float(b[0]), float(c[0]), "f64")
    np.testing.assert_array_equal(fma64(a, b, c), [wanted])


@pytest.mark.parametrize("sign", [1, -1])
def test_fma32_rounds_once_below_normal_numbers(sign):
    near = 2.0**-75 * (1 + 2.0**-23), 2.0**-75 * (1 - 2.0**-23)  # a product a little below half of the last place
    a, b, c = (np.array([each], np.float32) for each in (sign * near[0], near[1], sign * (2.0**-127 + 2.0**-149)))
    assert fma32(a, b, c)[0] == c[0]  # rounded to f64 first, the sum is a tie, whose even neighbour is another
