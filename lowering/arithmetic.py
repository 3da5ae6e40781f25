"""The scalar ops of elementwise bodies (arith, math) on numpy arrays: floats in float64, integers in int64.

Semantics follow the MLIR documentation of the arith and math dialects: `maximumf` and `minimumf` propagate NaN,
`maxnumf` and `minnumf` prefer the number, `addi` and its like wrap.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from lowering.core import PassError
from lowering.dtypes import DTYPES

Array = np.ndarray[Any, np.dtype[Any]]


def wrap(value: Array, bits: int) -> Array:
    """Signed integers modulo 2^bits."""
    if bits >= 64:
        return value
    half = 1 << (bits - 1)
    return ((value + half) & ((1 << bits) - 1)) - half


def unsigned(value: Array, bits: int) -> Array:
    """The same bits read as an unsigned number."""
    return value & ((1 << bits) - 1)


def rounded(value: Array, dtype: str) -> Array:
    """Values rounded to a float type, still in float64."""
    if dtype == "bf16":
        return value.astype(np.float32).astype(ml_dtypes.bfloat16).astype(np.float64)
    return value.astype(DTYPES[dtype].numpy).astype(np.float64)


def constant(attribute: Any) -> Array:
    """A scalar constant's attribute as an array of rank 0."""
    value = attribute.value  # `true` is -1: an i1 is one signed bit
    return np.asarray(value, np.float64 if isinstance(value, float) else np.int64)


def divided(a: Array, b: Array) -> Array:
    """Integer division towards zero; division by zero gives 0 (it is undefined in MLIR)."""
    safe = np.where(b == 0, 1, b)
    return np.where(b == 0, 0, np.sign(a) * np.sign(safe) * (np.abs(a) // np.abs(safe)))


def floor_divided(a: Array, b: Array) -> Array:
    """Integer division towards minus infinity; division by zero gives 0 (it is undefined in MLIR)."""
    return np.where(b == 0, 0, np.floor_divide(a, np.where(b == 0, 1, b)))


erf = np.vectorize(math.erf, otypes=[np.float64])
erfc = np.vectorize(math.erfc, otypes=[np.float64])

TABLE: dict[str, Callable[..., Array]] = {
    "arith.addf": np.add,
    "arith.subf": np.subtract,
    "arith.mulf": np.multiply,
    "arith.divf": np.divide,
    "arith.remf": np.fmod,
    "arith.negf": np.negative,
    "arith.maximumf": np.maximum,
    "arith.minimumf": np.minimum,
    "arith.maxnumf": np.fmax,
    "arith.minnumf": np.fmin,
    "arith.extf": np.asarray,
    "arith.truncf": np.asarray,
    "arith.sitofp": lambda a: np.asarray(a, np.float64),
    "math.absf": np.abs,
    "math.acos": np.arccos,
    "math.acosh": np.arccosh,
    "math.asin": np.arcsin,
    "math.asinh": np.arcsinh,
    "math.atan": np.arctan,
    "math.atan2": np.arctan2,
    "math.atanh": np.arctanh,
    "math.cbrt": np.cbrt,
    "math.ceil": np.ceil,
    "math.clampf": lambda a, low, high: np.minimum(np.maximum(a, low), high),
    "math.copysign": np.copysign,
    "math.cos": np.cos,
    "math.cosh": np.cosh,
    "math.erf": erf,
    "math.erfc": erfc,
    "math.exp": np.exp,
    "math.exp2": np.exp2,
    "math.expm1": np.expm1,
    "math.floor": np.floor,
    "math.fma": lambda a, b, c: a * b + c,
    "math.fpowi": np.power,
    "math.log": np.log,
    "math.log10": np.log10,
    "math.log1p": np.log1p,
    "math.log2": np.log2,
    "math.powf": np.power,
    "math.roundeven": np.rint,
    "math.round": lambda a: np.copysign(np.floor(np.abs(a) + 0.5), a),
    "math.rsqrt": lambda a: 1.0 / np.sqrt(a),
    "math.sin": np.sin,
    "math.sinh": np.sinh,
    "math.sqrt": np.sqrt,
    "math.tan": np.tan,
    "math.tanh": np.tanh,
    "math.trunc": np.trunc,
    "arith.addi": np.add,
    "arith.subi": np.subtract,
    "arith.muli": np.multiply,
    "arith.divsi": divided,
    "arith.floordivsi": floor_divided,
    "arith.ceildivsi": lambda a, b: -floor_divided(-a, b),
    "arith.remsi": lambda a, b: a - b * divided(a, b),
    "arith.shli": lambda a, b: np.left_shift(a, b & 63),
    "arith.shrsi": lambda a, b: np.right_shift(a, b & 63),
    "arith.maxsi": np.maximum,
    "arith.minsi": np.minimum,
    "arith.andi": np.bitwise_and,
    "arith.ori": np.bitwise_or,
    "arith.xori": np.bitwise_xor,
    "arith.extsi": np.asarray,
    "arith.trunci": np.asarray,
    "arith.fptosi": lambda a: np.trunc(a).astype(np.int64),
    "math.absi": np.abs,
}
COMPARE_FLOATS: tuple[Callable[[Array, Array], Array], ...] = (  # arith.cmpf's predicates in their order
    lambda a, b: np.zeros(np.broadcast(a, b).shape, bool),
    lambda a, b: a == b,
    lambda a, b: a > b,
    lambda a, b: a >= b,
    lambda a, b: a < b,
    lambda a, b: a <= b,
    lambda a, b: (a < b) | (a > b),
    lambda a, b: ~(np.isnan(a) | np.isnan(b)),
    lambda a, b: ~((a < b) | (a > b)),
    lambda a, b: ~(a <= b),
    lambda a, b: ~(a < b),
    lambda a, b: ~(a >= b),
    lambda a, b: ~(a > b),
    lambda a, b: a != b,
    lambda a, b: np.isnan(a) | np.isnan(b),
    lambda a, b: np.ones(np.broadcast(a, b).shape, bool),
)
COMPARE_SIGNED: tuple[Callable[[Array, Array], Array], ...] = (  # arith.cmpi's eq, ne, slt, sle, sgt, sge
    np.equal,
    np.not_equal,
    np.less,
    np.less_equal,
    np.greater,
    np.greater_equal,
)


def apply(op: Any, operands: list[Array], rounding: bool) -> Array:
    """One op of a body, its result rounded to the op's type where `rounding`. PassError 'not checkable' if unknown."""
    kind = str(op.results[0].type)
    exact = unrounded(op, operands)
    if DTYPES[kind].kind == "int":
        return wrap(exact, DTYPES[kind].bits)
    return rounded(exact, kind) if rounding else exact


def unrounded(op: Any, operands: list[Array]) -> Array:
    """One op of a body in float64 or int64."""
    name = op.name
    if name == "arith.constant":
        return constant(op.attributes["value"])
    if name == "arith.select":
        return np.where(operands[0] != 0, operands[1], operands[2])
    if name in TABLE:
        return TABLE[name](*operands)
    if name in ("arith.extui", "arith.uitofp"):
        bits = DTYPES[str(op.operands[0].type)].bits
        return unsigned(operands[0], bits).astype(np.float64 if name == "arith.uitofp" else np.int64)
    predicates = {"arith.cmpf": COMPARE_FLOATS, "arith.cmpi": COMPARE_SIGNED}.get(name, ())
    if predicates and op.attributes["predicate"].value < len(predicates):
        return predicates[op.attributes["predicate"].value](*operands).astype(np.int64)
    raise PassError(f"not checkable: the reference does not know {name}", str(op.location), kind="unsupported")
