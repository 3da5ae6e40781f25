"""The 8-bit floats of gfx942 (FNUZ): fp8 is e4m3 with bias 8, bf8 e5m2 with bias 16; 0x80 is NaN, no infinity."""

from __future__ import annotations

from functools import cache
from typing import Any

import ml_dtypes
import numpy as np

Array = np.ndarray[Any, Any]

TYPES = {"fp8": ml_dtypes.float8_e4m3fnuz, "bf8": ml_dtypes.float8_e5m2fnuz}


@cache
def table(name: str) -> Array:
    """The value of each of the 256 patterns, as f32."""
    return np.arange(256, dtype=np.uint8).view(TYPES[name]).astype(np.float32)


def decode_fp8(value: Array, name: str) -> Array:
    """Bytes as f32."""
    return table(name)[value]


def encode_fp8(value: Array, name: str) -> Array:
    """f32 as bytes, rounded to nearest even, in u16; what is too large becomes NaN, as without FP16_OVFL."""
    return np.asarray(value).astype(TYPES[name]).view(np.uint8).astype(np.uint16)
