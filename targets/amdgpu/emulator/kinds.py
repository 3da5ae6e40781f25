"""The kinds of values that instructions work on, as numpy types, and the bits of constants in each."""

from __future__ import annotations

from typing import Any

import numpy as np

from lowering.targets.amdgpu.emulator.decode import Operand

Array = np.ndarray[Any, Any]

NUMPY: dict[str, type[np.generic]] = {
    "u32": np.uint32, "i32": np.int32, "f32": np.float32,
    "u64": np.uint64, "i64": np.int64, "f64": np.float64,
    "u16": np.uint16, "i16": np.int16, "f16": np.float16,
    "mask": np.bool_,
}  # fmt: skip
FLOATS = {240: 0.5, 241: -0.5, 242: 1.0, 243: -1.0, 244: 2.0, 245: -2.0, 246: 4.0, 247: -4.0}
INV_2PI = {
    16: 0x3118,
    32: 0x3E22F983,
    64: 0x3FC45F306DC9C882,
}  # source 248: 1 / (2 pi), as the ISA guide gives its bits
FLOAT_OF = {16: np.float16, 32: np.float32, 64: np.float64}
UNSIGNED = {16: np.uint16, 32: np.uint32, 64: np.uint64}
SHARED_APERTURE = 0x0002_0000_0000_0000  # where flat addresses mean LDS: 4 GiB from here
PRIVATE_APERTURE = 0x0001_0000_0000_0000  # and scratch
APERTURES = {
    235: SHARED_APERTURE,
    236: SHARED_APERTURE + 0xFFFFFFFF,
    237: PRIVATE_APERTURE,
    238: PRIVATE_APERTURE + 0xFFFFFFFF,
}


def width(kind: str) -> int:
    """Bits of a kind; a mask's are those of a pair of scalar registers."""
    return 64 if kind == "mask" else int(kind[1:])


def integer(code: int) -> int | None:
    """The value of an inline integer: 0 to 64 and -1 to -16; None where a source is no integer."""
    if not 128 <= code <= 208:
        return None
    return code - 128 if code <= 192 else 192 - code


def constant(place: Operand, kind: str) -> np.generic | None:
    """An inline constant or literal as a value of a kind; None for a source that is no constant (scc, vccz, ...).

    Inline floats take the operand's width. A literal has 32 bits: the high half of an f64, sign-extended for i64,
    zero-extended for u64, cut for 16 bits (LLVM AMDGPUOperandSyntax, "Literal").
    """
    bits = width(kind)
    value = pattern(place, kind, bits)
    return None if value is None else UNSIGNED[bits](value).view(NUMPY[kind] if kind != "mask" else np.uint64)


def pattern(place: Operand, kind: str, bits: int) -> int | None:
    """The bits of a constant in an operand of some width."""
    every = (1 << bits) - 1
    if place.file == "literal":
        if kind == "f64":
            return place.index << 32
        negative = kind == "i64" and place.index >> 31
        return (place.index - (1 << 32 if negative else 0)) & every
    if (number := integer(place.index)) is not None:
        return number & every
    if place.index in FLOATS:
        return int(FLOAT_OF[bits](FLOATS[place.index]).view(UNSIGNED[bits]))
    if place.index in APERTURES:
        return APERTURES[place.index] >> (64 - bits) & every
    return INV_2PI[bits] if place.index == 248 else None
