"""The element types: names as MLIR spells them, numpy's type, precision, and what they accumulate in."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any, Literal

import ml_dtypes
import numpy as np

from lowering.core import UserError


@dataclass(frozen=True)
class Dtype:
    """One element type. `mantissa` counts the stored bits, so the unit roundoff is 2^-(mantissa + 1)."""

    name: str
    kind: Literal["float", "int"]
    bits: int
    numpy: np.dtype[Any]
    mantissa: int  # 0 for integers
    accumulator: str  # what a contraction of this element accumulates in
    output: str  # the default result of a contraction of this element
    not_yet: str = ""  # why no problem may use it as an element; empty where it may

    @property
    def bytes(self) -> int:
        """Size of one element in memory."""
        return (self.bits + 7) // 8

    @property
    def unit_roundoff(self) -> float:
        """Largest relative error of one rounding to nearest; 0 for integers."""
        return 2.0 ** -(self.mantissa + 1) if self.kind == "float" else 0.0


def integer(name: str, numpy_type: type[Any], accumulator: str = "", not_yet: str = "") -> Dtype:
    """An integer type; signless, as MLIR's are, and read as signed."""
    into = accumulator or name
    bits = 1 if name == "i1" else np.dtype(numpy_type).itemsize * 8
    return Dtype(name, "int", bits, np.dtype(numpy_type), 0, into, into, not_yet)


def small(name: str, numpy_type: Any, mantissa: int) -> Dtype:
    """An 8-bit float: accumulated in f32, delivered in bf16."""
    return Dtype(name, "float", 8, np.dtype(numpy_type), mantissa, "f32", "bf16")


DTYPES: dict[str, Dtype] = {
    dtype.name: dtype
    for dtype in (
        Dtype("f64", "float", 64, np.dtype(np.float64), 52, "f64", "f64"),
        Dtype("f32", "float", 32, np.dtype(np.float32), 23, "f32", "f32"),
        Dtype("f16", "float", 16, np.dtype(np.float16), 10, "f32", "f16"),
        Dtype("bf16", "float", 16, np.dtype(ml_dtypes.bfloat16), 7, "f32", "bf16"),
        small("f8E4M3FNUZ", ml_dtypes.float8_e4m3fnuz, 3),
        small("f8E4M3FN", ml_dtypes.float8_e4m3fn, 3),
        small("f8E5M2FNUZ", ml_dtypes.float8_e5m2fnuz, 2),
        small("f8E5M2", ml_dtypes.float8_e5m2, 2),
        integer("i1", np.bool_, not_yet="it is a condition, not an element"),
        integer("i8", np.int8, "i32"),
        integer("i16", np.int16, "i32", "16-bit integers may come in a later version"),
        integer("i32", np.int32),
        integer("i64", np.int64, not_yet="64-bit integers may come in a later version"),
    )
}

ELEMENTS: tuple[str, ...] = (
    "f64",
    "f32",
    "f16",
    "bf16",
    "i8",
    "f8E4M3FN",
    "f8E5M2",
    "f8E4M3FNUZ",
    "f8E5M2FNUZ",
)  # what A and B may be made of
ROUNDED: dict[str, int] = {"tf32": 10}  # f32 operands that may be multiplied with so many bits of mantissa
SUMS: dict[str, int] = {"f8E4M3FN": 13, "f8E5M2": 13}  # bits of mantissa of a sum of products, where less than f32's
OUTPUTS: tuple[str, ...] = ("f64", "f32", "f16", "bf16", "i8", "i32")  # what a result may be made of


def operand_mantissa(element: str, multiplied: str) -> int:
    """Bits of mantissa that the operands of a product keep, without the leading one."""
    return ROUNDED.get(multiplied, DTYPES[element].mantissa)


def sum_mantissa(element: str, accumulator: str) -> int:
    """Bits of mantissa that a sum of products keeps, without the leading one; 0 for integers (`bounds.py`: sources)."""
    return min(SUMS.get(element, 64), DTYPES[accumulator].mantissa)


def is_small(name: str) -> bool:
    """Whether a type is an 8-bit float, which only matrix cores multiply."""
    return name in DTYPES and DTYPES[name].kind == "float" and DTYPES[name].bits == 8


def lookup(name: str) -> Dtype:
    """The dtype of a name. Raises UserError with the nearest names."""
    if name in DTYPES:
        return DTYPES[name]
    every = (*DTYPES, *ROUNDED)
    close = difflib.get_close_matches(name.lower(), [known.lower() for known in every], n=3, cutoff=0.6)
    spelt = [known for known in every if known.lower() in close]
    hint = f"did you mean {' or '.join(spelt)}?" if spelt else f"known are {', '.join((*ELEMENTS, *ROUNDED))}"
    raise UserError(f"there is no element type '{name}'; {hint}")


def element(name: str) -> Dtype:
    """The dtype of A and B. Raises UserError for an unknown name, and a 'not yet' one for types still to come."""
    dtype = lookup(name)
    if dtype.not_yet:
        raise UserError(f"'{name}' is not available yet as an element type: {dtype.not_yet}; use {', '.join(ELEMENTS)}")
    if name not in ELEMENTS:
        raise UserError(f"'{name}' cannot be the element type of A and B; use {', '.join(ELEMENTS)}")
    return dtype
