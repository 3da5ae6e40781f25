"""Matrix instructions (MFMA): D = A B + C on registers of waves, bits in and bits out.

Which lane and register hold which element follows from the shape (AMD matrix instruction calculator, CDNA3): an operand
of E elements a lane has element e of lane L at row L % m and k = E (L / m) + e; shapes of several blocks have their
blocks side by side in the lanes instead. The result has columns along the lanes and rows in groups of four registers.

Two arithmetics. 'fast': products and sums in f32 (f64 for f64), integers exactly; where all partial sums are
representable, as on integer data, it gives what hardware gives. 'exact' is in `matrix_exact.py`.
"""

from __future__ import annotations

import math
import re
import threading
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
# Floating-point operations a cycle of one SIMD, of shapes with one block and with several (AMD matrix instruction
# calculator, CDNA3; LLVM's scheduling model of gfx942 has the same passes).
RATES = {"f16": 512, "bf16": 512, "fp8": 1024, "bf8": 1024, "i8": 1024, "f32": 64, "xf32": 256, "f64": 64}
BLOCK_RATES = {"f16": 256, "bf16": 256, "i8": 256, "f32": 64, "f64": 32}
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

    @property
    def operand_registers(self) -> int:
        """Registers of A (and of B): both have elements of one width."""
        return self.per_lane * BITS[self.a] // 32

    @property
    def result_registers(self) -> int:
        """Registers of C and D."""
        return self.m * self.n * self.blocks // 64 * (2 if self.d == "f64" else 1)

    @property
    def cycles(self) -> int:
        """How long a SIMD is busy with it: four a pass."""
        return self.flops // (RATES if self.blocks == 1 else BLOCK_RATES)[self.a]


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


def multiply(shape: Shape, a: Array, b: Array, c: Array, exact: bool = False, out: Array | None = None) -> Array:
    """D as uint32 (registers, waves, 64); A and B alike, C too or something that broadcasts to it.

    D is written to `out` where it is given, which may be the same memory as any operand.
    """
    return combined(shape, turned(operand(shape, a, shape.a)), operand(shape, b, shape.b), c, exact, out)


def turned(left: Array) -> Array:
    """A as (waves, blocks, m, k), of what `operand` gives."""
    return np.ascontiguousarray(left.swapaxes(-1, -2))


def combined(shape: Shape, left: Array, right: Array, c: Array, exact: bool = False, out: Array | None = None) -> Array:
    """D of operands that are spread out already: A (waves, blocks, m, k), B (waves, blocks, k, n)."""
    with np.errstate(all="ignore"):
        addend = accumulators(shape, c)
        if exact and shape.d != "i32":
            full = as_matrix(shape, addend, left.shape[0])
            return to_words(as_registers(shape, exact_sum(shape, left, right.swapaxes(-1, -2), full)), out)
        total = scratch((*left.shape[:-1], right.shape[-1]), left.dtype)
        (np.multiply if shape.k == 1 else np.matmul)(left, right, out=total)  # matmul is slow at outer products
        if shape.d == "f64":
            return to_words(as_registers(shape, total) + addend, out)
        if shape.d == "i32":
            floats, total = total, scratch(total.shape, np.dtype(np.int32))
            np.copyto(total, floats, casting="unsafe")
        return added(shape, total, addend, out)


BUFFERS = threading.local()


def scratch(sizes: tuple[int, ...], kind: np.dtype[Any]) -> Array:
    """An array that the same thread's next call overwrites.

    A product takes less time than it takes the system to give and take back the memory for its result.
    """
    count, held = math.prod(sizes), getattr(BUFFERS, kind.name, None)
    if held is None or held.size < count:
        held = np.empty(count, kind)
        setattr(BUFFERS, kind.name, held)
    return held[:count].reshape(sizes)


def added(shape: Shape, total: Array, addend: Array, out: Array | None) -> Array:
    """A B + C as uint32 registers, of 32-bit accumulators: turned and added at once, without another array."""
    waves = total.shape[0]
    if out is None:
        out = np.empty((shape.result_registers, waves, 64), np.uint32)
    order, split = register_order(shape), register_shape(shape, waves)
    product = total.reshape(element_shape(shape, waves)).transpose(order)
    full = addend if addend.shape == out.shape else np.broadcast_to(addend, out.shape)
    np.add(product, full.reshape(split), out=out.view(total.dtype).reshape(split))  # axes are only split: all are views
    return out


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
        return doubles(raw)[..., None]
    if kind in ("f32", "xf32"):
        return (cut(raw) if kind == "xf32" else raw).view(np.float32).reshape(shape)
    if kind == "f16":
        return HALVES.take(raw.view(np.uint16), mode="wrap").reshape(shape)  # 'wrap' saves the check of the index
    if kind == "bf16":
        return (raw.view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32).reshape(shape)
    if kind == "i8":
        return raw.view(np.int8).astype(np.float32).reshape(shape)  # a product sum of at most 32 * 2^14 is exact
    return byte_pairs(kind).take(raw.view(np.uint16), mode="wrap").view(np.float32).reshape(shape)


HALVES = np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32)


@cache
def byte_pairs(kind: str) -> Array:
    """Both f32 of each pattern of two 8-bit floats, as one u64: twice as fast as one by one."""
    both = table(kind)[np.arange(65536, dtype=np.uint16).view(np.uint8)]
    return both.view(np.uint64)


def cut(raw: Array) -> Array:
    """Bits of f32 cut to 10 bits of mantissa; NaN stays NaN."""
    kept = raw & np.uint32(0xFFFFE000)
    nan = (raw & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
    return np.where(nan, raw | np.uint32(0x00400000), kept)


def doubles(registers: Array) -> Array:
    """The f64 in pairs of registers: (pairs, waves, 64)."""
    both = np.stack([registers[0::2], registers[1::2]], axis=-1)
    return both.view(np.float64)[..., 0]


def accumulators(shape: Shape, c: Array) -> Array:
    """C's elements as they lie in registers (elements of a lane, waves, 64), or what broadcasts to that."""
    if shape.d == "f64":
        return doubles(c if np.ndim(c) == 3 else np.resize(c, 2)[:, None, None])
    return np.asarray(c).view(ACCUMULATORS[shape.d])


def as_matrix(shape: Shape, c: Array, waves: int) -> Array:
    """Accumulators as (waves, blocks, m, n)."""
    count = shape.m * shape.n * shape.blocks // 64
    split = np.broadcast_to(c, (count, waves, 64)).reshape(register_shape(shape, waves))
    return split.transpose(np.argsort(register_order(shape))).reshape(waves, shape.blocks, shape.m, shape.n)


def as_registers(shape: Shape, d: Array) -> Array:
    """(waves, blocks, m, n) as accumulators: (elements of a lane, waves, 64)."""
    waves = d.shape[0]
    split = d.reshape(element_shape(shape, waves)).transpose(register_order(shape))
    return split.astype(ACCUMULATORS[shape.d], order="C").reshape(-1, waves, 64)


def to_words(values: Array, out: Array | None) -> Array:
    """Accumulators as uint32 registers."""
    words = values.view(np.uint32)
    if values.dtype == np.float64:
        count, waves, lanes = values.shape
        words = words.reshape(count, waves, lanes, 2).transpose(0, 3, 1, 2).reshape(2 * count, waves, lanes)
    if out is None:
        return words
    out[...] = words
    return out


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


def register_shape(shape: Shape, waves: int) -> tuple[int, ...]:
    """Accumulators in registers with the axes that `register_order` gives."""
    sizes = element_shape(shape, waves)
    return tuple(sizes[axis] for axis in register_order(shape))
