"""Rules of scalar instructions that are more than one operation, on arrays of one value a wave.

AMD CDNA3 ISA guide, pseudo code of the scalar ALU opcodes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lowering.targets.amdgpu.emulator import lane_ops as o

Function = Callable[..., Any]
ONE = np.uint32(1)


def overflow_add(a: Any, b: Any) -> Any:
    """A signed sum and whether it overflowed."""
    total = a + b
    return total, ((a ^ total) & (b ^ total)) < 0


def overflow_sub(a: Any, b: Any) -> Any:
    """A signed difference and whether it overflowed."""
    total = a - b
    return total, ((a ^ b) & (a ^ total)) < 0


def carry_add(a: Any, b: Any, carry: Any) -> Any:
    """A sum with carry."""
    total = a.astype(np.uint64) + b.astype(np.uint64) + carry.astype(np.uint64)
    return total.astype(np.uint32), total >> np.uint64(32) != 0


def borrow_sub(a: Any, b: Any, borrow: Any) -> Any:
    """A difference with borrow."""
    taken = b.astype(np.uint64) + borrow.astype(np.uint64)
    return (a.astype(np.uint64) - taken).astype(np.uint32), a.astype(np.uint64) < taken


def high(product: Any) -> Any:
    """The high half of a 64-bit product."""
    return (product.view(np.uint64) >> np.uint64(32)).astype(np.uint32)


def lshl_add(n: int) -> Function:
    """(a << n) + b and its carry."""

    def function(a: Any, b: Any) -> Any:
        total = (a.astype(np.uint64) << np.uint64(n)) + b.astype(np.uint64)
        return total.astype(np.uint32), total >> np.uint64(32) != 0

    return function


def bit_field(a: Any, b: Any) -> Any:
    """Offset in the low bits of b, width from bit 16 on; what lies above the last bit is 0, or the sign of `a`."""
    kind = np.asarray(a).dtype
    bits = 8 * kind.itemsize
    offset = (b & np.uint32(bits - 1)).astype(kind)
    size = np.minimum(b >> np.uint32(16) & np.uint32(127), np.uint32(bits)).astype(np.int64)
    shift = np.minimum(bits - size, bits - 1).astype(kind)
    return np.where(size == 0, np.zeros(1, kind), ((a >> offset) << shift) >> shift)


def bit_mask(a: Any, b: Any) -> Any:
    """A run of ones: its length and where it starts."""
    return ((ONE << (a & 31)) - ONE) << (b & 31)


def bit_mask64(a: Any, b: Any) -> Any:
    """A run of ones of up to 63 bits."""
    one = np.uint64(1)
    return ((one << (a & 63).astype(np.uint64)) - one) << (b & 63).astype(np.uint64)


def reverse_bits64(a: Any) -> Any:
    """A u64 with its bits in reverse order."""
    low, high = a.astype(np.uint32), (a >> np.uint64(32)).astype(np.uint32)
    return o.reverse_bits(high).astype(np.uint64) | o.reverse_bits(low).astype(np.uint64) << np.uint64(32)


def each_bit_twice(a: Any) -> Any:
    """A u32 with each bit doubled."""
    found = a.astype(np.uint64)
    for step, mask in (
        (16, 0x0000FFFF0000FFFF),
        (8, 0x00FF00FF00FF00FF),
        (4, 0x0F0F0F0F0F0F0F0F),
        (2, 0x3333333333333333),
        (1, 0x5555555555555555),
    ):
        found = (found | found << np.uint64(step)) & np.uint64(mask)
    return found | found << np.uint64(1)


def absolute_difference(a: Any, b: Any) -> Any:
    """|a - b|."""
    return np.abs(a - b)


def first_one(a: Any) -> Any:
    """The lowest set bit, -1 where there is none, as i32."""
    return np.where(a == 0, -1, o.trailing_zeros(a).astype(np.int32)).astype(np.int32)


def highest(a: Any) -> Any:
    """Zeros above the highest set bit, -1 where there is none, as i32."""
    return np.where(a == 0, -1, o.leading_zeros(a).astype(np.int32)).astype(np.int32)


def highest_other(a: Any) -> Any:
    """How many bits from the top are the same as the sign, -1 where all are, as i32."""
    folded = (a ^ (a >> np.asarray(a).dtype.type(8 * np.asarray(a).dtype.itemsize - 1))).view(
        f"u{np.asarray(a).dtype.itemsize}"
    )
    return highest(folded)


def pack(a: Any, low_shift: int, b: Any, high_shift: int) -> Any:
    """A half of each of two words."""
    return (a >> np.uint32(low_shift) & np.uint32(0xFFFF)) | (b >> np.uint32(high_shift) << np.uint32(16))
