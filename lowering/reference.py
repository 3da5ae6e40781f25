"""What a problem means, in numpy: the contraction in float64 (integers exactly), the elementwise ops one by one.

It reads the same nodes that the normal form is written from, and nothing of any lowering: no schedule can change it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lowering import problem as problems
from lowering.arithmetic import apply, constant, rounded, wrap
from lowering.core import Problem
from lowering.dtypes import DTYPES
from lowering.program import Contract, Map, Positions, layout

Array = np.ndarray[Any, np.dtype[Any]]


def evaluate(problem: Problem, inputs: Sequence[Array], rounding: bool = False) -> list[Array]:
    """The outputs for the inputs (of the arguments' shapes), as float64 or int64.

    Floats stay in float64 throughout, so the result is what an exact machine gives; with `rounding`, each
    elementwise op and each sum is rounded to its type, which makes results comparable bit for bit where sums are exact.
    Raises PassError 'not checkable' for an op that it does not know.
    """
    program = problems.program(problem.ir)
    values = {id(node): widened(value, node.dtype) for node, value in zip(program.inputs, inputs, strict=True)}
    with np.errstate(all="ignore"):
        for node in program.nodes:
            if isinstance(node, Contract):
                start = None if node.start is None else values[id(node.start)]
                total = contract(node, values[id(node.a)], values[id(node.b)], start)
                values[id(node)] = rounded(total, node.dtype) if rounding and total.dtype == np.float64 else total
            elif isinstance(node, Map):
                values[id(node)] = elementwise(node, [values[id(each)] for each in node.inputs], rounding)
    return [values[id(node)] for node in program.outputs]


def magnitude(problem: Problem, inputs: Sequence[Array]) -> Array:
    """|A| |B| (+ |C|), in float64 and in the shape of the contraction's result: what bounds its rounding errors.

    Higham, Accuracy and Stability of Numerical Algorithms (2nd ed., 3.5): |fl(AB) - AB| <= gamma_K |A||B|.
    """
    program = problems.program(problem.ir)
    node = program.contract
    values = {
        id(each): np.abs(np.asarray(value).astype(np.float64))
        for each, value in zip(program.inputs, inputs, strict=True)
    }
    start = None if node.start is None else values[id(node.start)]
    with np.errstate(all="ignore"):
        return contract(replace(node, dtype="f64"), values[id(node.a)], values[id(node.b)], start)


def widened(value: Array, dtype: str) -> Array:
    """An input as float64 or int64."""
    return np.asarray(value).astype(np.float64 if DTYPES[dtype].kind == "float" else np.int64)


def contract(node: Contract, a: Array, b: Array, start: Array | None) -> Array:
    """The contraction. Integers go through float64's matrix product, which is exact up to 2^53 (i8: K up to 2^38)."""
    integers = DTYPES[node.dtype].kind == "int"
    total = product(node, a.astype(np.float64), b.astype(np.float64))
    if not integers:
        return total if start is None else total + start
    exact = total.astype(np.int64) if start is None else total.astype(np.int64) + start
    return wrap(exact, DTYPES[node.dtype].bits)


def product(node: Contract, a: Array, b: Array) -> Array:
    """A times B, through the fast matrix product where the storage is one of the four layouts."""
    kind = layout(node)
    if kind == "other":
        return np.einsum(
            a, list(indices(node.positions[0])), b, list(indices(node.positions[1])), list(indices(node.positions[2]))
        )
    left = a if kind[0] == "n" else np.swapaxes(a, -1, -2)
    right = b if kind[1] == "n" else np.swapaxes(b, -1, -2)
    return np.matmul(left, right)


def indices(where: Positions) -> tuple[int, ...]:
    """Positions as einsum's sublist of indices."""
    return tuple(p for p in where if p is not None)


def elementwise(node: Map, inputs: list[Array], rounding: bool) -> Array:
    """The body of an elementwise op on whole arrays."""
    spread = [broadcast(value, where, node.shape) for value, where in zip(inputs, node.positions, strict=True)]
    known: dict[Any, Array] = {
        argument: spread[bound] if isinstance(bound, int) else constant(bound)
        for argument, bound in zip(node.body.arguments, node.bound, strict=False)
    }
    for op in node.body.operations:
        operands = [known[value] if value in known else outside(value) for value in op.operation.operands]
        if op.operation.name == "linalg.yield":
            return np.broadcast_to(operands[0], node.shape)
        known[op.operation.results[0]] = apply(op.operation, operands, rounding)
    raise AssertionError("a body ends in linalg.yield")


def outside(value: Any) -> Array:
    """A constant that a body captures."""
    return constant(value.owner.operation.attributes["value"])


def broadcast(value: Array, where: Positions, shape: tuple[int, ...]) -> Array:
    """An input seen with the result's shape: dimension d of the input runs along `where[d]` of the result."""
    kept = value[tuple(0 if p is None else slice(None) for p in where)]
    axes = [p for p in where if p is not None]
    ordered = np.transpose(kept, np.argsort(axes)) if axes else kept
    extents = [size if dim in axes else 1 for dim, size in enumerate(shape)]
    return np.broadcast_to(ordered.reshape(extents), shape)
