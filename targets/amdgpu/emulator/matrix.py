"""Matrix instructions (MFMA): D = A B + C on registers of waves, bits in and bits out.

Which lane and register hold which element follows from the shape (AMD matrix instruction calculator, CDNA3): an operand
of E elements a lane has element e of lane L at row L % m and k = E (L / m) + e; shapes of several blocks have their
blocks side by side in the lanes instead. The result has columns along the lanes and rows in groups of four registers.

Two arithmetics. 'fast': products and sums in f32 (f64 for f64), integers exactly; where all partial sums are
representable, as on integer data, it gives what hardware gives. 'exact' is in `matrix_exact.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from lowering.targets.amdgpu.emulator.formats import opcodes
from lowering.targets.amdgpu.emulator.fp8 import table
from lowering.targets.amdgpu.emulator.matrix_exact import exact_sum

Array = np.ndarray[Any, Any]

NAME = re.compile(
    r"v_mfma_(?P<d>f32|i32|f64)_(?P<m>\d+)x(?P<n>\d+)x(?P<k>\d+)(?:_(?P<b>\d+)b)?_(?P<a>\w+?)(?:_(?P<a2>\w+))?"
)
BITS = {"f16": 16, "bf16": 16, "fp8": 8, "bf8": 8, "i8": 8, "f32": 32, "xf32": 32, "f64": 64}
ACCUMULATORS = {"f32": np.float32, "i32": np.int32, "f64": np.float64}


@dataclass(frozen=True)
class Shape:
    """One matrix instruction: sizes, blocks, and the kinds of A, B and the result."""

    name: str
    m: int
    n: int
    k: int
    blocks: int
    a: str
    b: str
    d: str

    @property
    def per_lane(self) -> int:
        """Elements of A (and of B) in a lane."""
        return self.m * self.k * self.blocks // 64

    @property
    def flops(self) -> int:
        """Multiply-adds times two, of one wave."""
        return 2 * self.m * self.n * self.k * self.blocks


@cache
def shapes() -> Mapping[str, Shape]:
    """All dense matrix instructions of the opcode table, by name."""
    found: dict[str, Shape] = {}
    for opcode in opcodes().values():
        match = NAME.fullmatch(opcode.name)
        if match is not None:
            m, n, k = (int(match[name]) for name in "mnk")
            found[opcode.name] = Shape(
                opcode.name, m, n, k, int(match["b"] or 1), match["a"], match["a2"] or match["a"], match["d"]
            )
    return found


def multiply(shape: Shape, a: Array, b: Array, c: Array, exact: bool = False) -> Array:
    """D as uint32 (registers, waves, 64); A and B alike, C too or something that broadcasts to it."""
    return combined(shape, turned(operand(shape, a, shape.a)), operand(shape, b, shape.b), c, exact)


def turned(left: Array) -> Array:
    """A as (waves, blocks, m, k), of what `operand` gives."""
    return np.ascontiguousarray(left.swapaxes(-1, -2))


def combined(shape: Shape, left: Array, right: Array, c: Array, exact: bool) -> Array:
    """D of operands that are spread out already: A (waves, blocks, m, k), B (waves, blocks, k, n)."""
    if exact and shape.d != "i32":
        return result(shape, exact_sum(shape, left, right.swapaxes(-1, -2), addend(shape, c, left.shape[0])))
    total = np.matmul(left, right)
    if shape.d == "f64":
        return result(shape, total + addend(shape, c, left.shape[0]))
    kind = ACCUMULATORS[shape.d]
    found = result(shape, total.astype(kind) if shape.d == "i32" else total)
    np.add(found.view(kind), c.view(kind), out=found.view(kind))
    return found


def operand(shape: Shape, registers: Array, kind: str) -> Array:
    """A or B with k first: (waves, blocks, k, m or n), in the kind that is computed in."""
    waves = registers.shape[1]
    values = elements(registers, kind)  # (registers, waves, 64, elements of a register)
    count, per = values.shape[0], values.shape[-1]
    if shape.blocks == 1:
        split = values.reshape(count, waves, 1, 64 // shape.m, shape.m, per)
        return split.transpose(1, 2, 3, 0, 5, 4).reshape(waves, 1, shape.k, shape.m)
    if shape.d == "f64":  # 4x4x4: k along the groups of 16 lanes, blocks within them
        return values.reshape(waves, shape.k, shape.blocks, shape.m).transpose(0, 2, 1, 3)
    split = values.reshape(count, waves, shape.blocks, shape.m, per)
    return split.transpose(1, 2, 0, 4, 3).reshape(waves, shape.blocks, shape.k, shape.m)


def elements(registers: Array, kind: str) -> Array:
    """The elements in registers, in the order in which they lie: (registers, waves, 64, elements of a register)."""
    shape = (*registers.shape, -1)
    raw = np.ascontiguousarray(registers)
    if kind == "f64":
        both = np.stack([raw[0::2], raw[1::2]], axis=-1)
        return np.ascontiguousarray(both).view(np.float64)
    if kind in ("f32", "xf32"):
        cut = raw & np.uint32(0xFFFFE000) if kind == "xf32" else raw  # to 10 bits of mantissa
        return cut.view(np.float32).reshape(shape)
    if kind == "f16":
        return HALVES.take(raw.view(np.uint16)).reshape(shape)
    if kind == "bf16":
        return (raw.view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32).reshape(shape)
    if kind == "i8":
        return raw.view(np.int8).astype(np.float32).reshape(shape)  # a product sum of at most 32 * 2^14 is exact
    return table(kind).take(raw.view(np.uint8)).reshape(shape)


HALVES = np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32)


def addend(shape: Shape, c: Array, waves: int) -> Array:
    """C as (waves, blocks, m, n)."""
    kind = ACCUMULATORS[shape.d]
    count = shape.m * shape.n * shape.blocks // 64
    if c.ndim < 3 or c.shape[1] != waves:  # a constant
        value = np.ascontiguousarray(c).reshape(-1)[: kind().itemsize // 4].view(kind)[0]
        return np.full((1, 1, 1, 1), value, kind)
    if shape.d == "f64":
        pairs = np.ascontiguousarray(np.stack([c[0::2], c[1::2]], axis=-1)).view(np.float64)[..., 0]
    else:
        pairs = np.ascontiguousarray(c).view(kind)
    return (
        pairs.reshape(register_shape(shape, count, waves))
        .transpose(np.argsort(register_order(shape)))
        .reshape(waves, shape.blocks, shape.m, shape.n)
    )


def result(shape: Shape, d: Array) -> Array:
    """(waves, blocks, m, n) as registers."""
    waves = d.shape[0]
    split = d.reshape(element_shape(shape, waves)).transpose(register_order(shape))
    flat = np.ascontiguousarray(split).reshape(-1, waves, 64)
    if shape.d != "f64":
        return flat.view(np.uint32)
    words = flat.view(np.uint32).reshape(*flat.shape, 2)
    return words.transpose(0, 3, 1, 2).reshape(2 * flat.shape[0], waves, 64)


def element_shape(shape: Shape, waves: int) -> tuple[int, ...]:
    """(waves, blocks, m, n) with m split into what is along registers and lanes, as `register_order` permutes it."""
    if shape.d == "f64" and shape.blocks == 1:  # row 4 r + L / 16
        return waves, 1, 4, 4, shape.n
    if shape.d == "f64":
        return waves, shape.blocks, 4, shape.n
    if shape.m == 4:
        return waves, shape.blocks, 4, shape.n
    groups = 64 // shape.m
    return waves, shape.blocks, shape.m // (4 * groups), groups, 4, shape.n


def register_order(shape: Shape) -> tuple[int, ...]:
    """How the axes of `element_shape` lie in registers: those of the register's number, the wave, those of the lane."""
    if shape.d == "f64" and shape.blocks == 1:
        return 1, 2, 0, 3, 4
    if shape.d == "f64":  # lane = 16 row + 4 block + column, one register
        return 0, 2, 1, 3
    if shape.m == 4:  # register = row, lane = 4 block + column
        return 2, 0, 1, 3
    return 1, 2, 4, 0, 3, 5  # register = block, quad, row in four; lane = group, column


def register_shape(shape: Shape, count: int, waves: int) -> tuple[int, ...]:
    """The registers' array with the axes that `register_order` gives."""
    sizes = element_shape(shape, waves)
    return tuple(sizes[axis] for axis in register_order(shape))
