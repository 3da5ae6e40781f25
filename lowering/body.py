"""Elementwise payload ops in interval arithmetic: the body of one, and one rule for each scalar op.

The rules mirror the table of `arithmetic.py`, which says what the ops mean; here they say between which limits a
machine's result lies. An op that is missing here cannot be checked, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lowering import interval_math, intervals
from lowering.arithmetic import constant, erf, erfc
from lowering.core import PassError
from lowering.dtypes import lookup
from lowering.intervals import Interval, decreasing, exact, increasing
from lowering.program import Map
from lowering.reference import broadcast

FLOATS = (
    "false",
    "oeq",
    "ogt",
    "oge",
    "olt",
    "ole",
    "one",
    "ord",
    "ueq",
    "ugt",
    "uge",
    "ult",
    "ule",
    "une",
    "uno",
    "true",
)
INTEGERS = ("eq", "ne", "slt", "sle", "sgt", "sge")
Rule = Callable[..., Interval]  # (operands..., result type) -> result

RULES: dict[str, Rule] = {
    "arith.addf": intervals.add,
    "arith.addi": intervals.add,
    "arith.subf": intervals.subtract,
    "arith.subi": intervals.subtract,
    "arith.mulf": intervals.multiply,
    "arith.muli": intervals.multiply,
    "arith.divf": intervals.divide,
    "arith.negf": intervals.negate,
    "arith.maximumf": exact(np.maximum),
    "arith.minimumf": exact(np.minimum),
    "arith.maxnumf": exact(np.fmax),
    "arith.minnumf": exact(np.fmin),
    "arith.maxsi": exact(np.maximum),
    "arith.minsi": exact(np.minimum),
    "arith.andi": intervals.bitwise(np.bitwise_and),
    "arith.ori": intervals.bitwise(np.bitwise_or),
    "arith.xori": intervals.bitwise(np.bitwise_xor),
    "arith.select": intervals.choose,
    "arith.extf": lambda a, _: a,
    "arith.extsi": lambda a, _: a,
    "arith.truncf": intervals.narrow,
    "arith.trunci": lambda a, dtype: intervals.wrap(a.low, a.high, dtype),
    "arith.sitofp": lambda a, dtype: intervals.settle(a.low, a.high, dtype),
    "arith.fptosi": interval_math.to_integer,
    "arith.remf": interval_math.remainder,
    "arith.remsi": interval_math.remainder,
    "arith.divsi": lambda a, b, dtype: interval_math.quotient(a, b, dtype, np.trunc),
    "arith.floordivsi": lambda a, b, dtype: interval_math.quotient(a, b, dtype, np.floor),
    "arith.ceildivsi": lambda a, b, dtype: interval_math.quotient(a, b, dtype, np.ceil),
    "arith.shli": lambda a, b, dtype: interval_math.shift(a, b, dtype, left=True),
    "arith.shrsi": lambda a, b, dtype: interval_math.shift(a, b, dtype, left=False),
    "math.copysign": interval_math.with_sign,
    "math.absf": intervals.absolute,
    "math.absi": intervals.absolute,
    "math.fma": lambda a, b, c, dtype: intervals.add(intervals.multiply(a, b, dtype), c, dtype),
    "math.clampf": lambda a, low, high, dtype: RULES["arith.minimumf"](
        RULES["arith.maximumf"](a, low, dtype), high, dtype
    ),
    "math.floor": lambda a, _: a.map(np.floor),
    "math.ceil": lambda a, _: a.map(np.ceil),
    "math.trunc": lambda a, _: a.map(np.trunc),
    "math.roundeven": lambda a, _: a.map(np.rint),
    "math.round": lambda a, _: a.map(interval_math.half_away),
    "math.powf": interval_math.power,
    "math.fpowi": interval_math.power,
    "math.sqrt": increasing(np.sqrt, least=0.0),
    "math.rsqrt": decreasing(lambda x: 1 / np.sqrt(x), least=0.0),
    "math.cbrt": increasing(np.cbrt),
    "math.exp": increasing(np.exp, least=0.0),
    "math.exp2": increasing(np.exp2, least=0.0),
    "math.expm1": increasing(np.expm1, least=-1.0),
    "math.log": increasing(np.log),
    "math.log2": increasing(np.log2),
    "math.log10": increasing(np.log10),
    "math.log1p": increasing(np.log1p),
    "math.sinh": increasing(np.sinh),
    "math.cosh": interval_math.cosine_hyperbolic,
    "math.asinh": increasing(np.arcsinh),
    "math.acosh": increasing(np.arccosh, least=0.0),
    "math.atanh": increasing(np.arctanh),
    "math.tanh": increasing(np.tanh, least=-1.0, most=1.0),
    "math.atan": increasing(np.arctan),
    "math.asin": increasing(np.arcsin),
    "math.acos": decreasing(np.arccos, least=0.0),
    "math.erf": increasing(erf, least=-1.0, most=1.0),
    "math.erfc": decreasing(erfc, least=0.0, most=2.0),
    "math.sin": intervals.lipschitz(np.sin),
    "math.cos": intervals.lipschitz(np.cos),
    "math.tan": interval_math.tangent,
    "math.atan2": interval_math.angle,
}


def elementwise(node: Map, inputs: Sequence[Interval]) -> Interval:
    """The body of an elementwise op on whole intervals. Raises PassError 'not checkable' for an op without a rule."""
    spread = [
        value.map(lambda x, at=at: broadcast(x, at, node.shape))
        for value, at in zip(inputs, node.positions, strict=True)
    ]
    known: dict[Any, Interval] = {
        argument: spread[bound] if isinstance(bound, int) else intervals.point(constant(bound))
        for argument, bound in zip(node.body.arguments, node.bound, strict=False)
    }
    for op in node.body.operations:
        operands = [known[value] if value in known else outside(value) for value in op.operation.operands]
        if op.operation.name == "linalg.yield":
            return operands[0].map(lambda x: np.broadcast_to(x, node.shape))
        known[op.operation.results[0]] = apply(op.operation, operands)
    raise AssertionError("a body ends in linalg.yield")


def outside(value: Any) -> Interval:
    """A constant that a body captures."""
    return intervals.point(constant(value.owner.operation.attributes["value"]))


def apply(op: Any, operands: Sequence[Interval]) -> Interval:
    """What one op of a body gives."""
    if op.name == "arith.constant":
        return intervals.point(constant(op.attributes["value"]))
    if op.name in RULES:
        return RULES[op.name](*operands, str(op.results[0].type))
    if op.name in ("arith.extui", "arith.uitofp"):
        source, result = str(op.operands[0].type), str(op.results[0].type)
        if source == "i1":
            return operands[0].map(np.abs)  # true is -1 where it is a signed bit
        read = interval_math.unsigned(operands[0], lookup(source).bits)
        return intervals.settle(read.low, read.high, result)
    if op.name in ("arith.cmpf", "arith.cmpi"):
        names = FLOATS if op.name == "arith.cmpf" else INTEGERS
        number = op.attributes["predicate"].value
        if number < len(names):
            return intervals.compare(names[number], operands[0], operands[1])
    raise PassError(f"not checkable: no error bound is known for {op.name}", str(op.location), kind="unsupported")
