"""Rules of integer instructions that are more than one operation: halves of products, fields, bytes, saturation.

AMD CDNA3 ISA guide, pseudo code of the vector ALU opcodes.
"""

from __future__ import annotations

from typing import Any

from lowering.targets.amdgpu.emulator import lane_ops as o


def extend(value: Any, kind: str, low: int, width: int) -> Any:
    """Bits [low, low + width) of a u32, extended as a kind."""
    return o.bits(value << (32 - low - width), kind) >> (32 - width)


def wide(a: Any) -> Any:
    """A u32 as u64."""
    return o.cast(a, "u64")


def low(a: Any) -> Any:
    """The low half of a 64-bit integer."""
    return o.cast(a, "u32")


def high(a: Any) -> Any:
    """The high half of a 64-bit integer."""
    return o.cast(o.bits(a, "u64") >> o.const(32, "u64"), "u32")


def pair(a: Any, b: Any) -> Any:
    """A u64 of a low and a high half."""
    return wide(a) | (wide(b) << o.const(32, "u64"))


def mul_i24(a: Any, b: Any) -> Any:
    """The product of two signed 24-bit integers."""
    return o.cast(extend(a, "i32", 0, 24), "i64") * o.cast(extend(b, "i32", 0, 24), "i64")


def add_carry(a: Any, b: Any, carry: Any) -> Any:
    """Sum and carry."""
    total = wide(a) + wide(b) + o.cast(carry, "u64")
    return low(total), high(total) != 0


def sub_borrow(a: Any, b: Any, borrow: Any) -> Any:
    """Difference and borrow."""
    taken = wide(b) + o.cast(borrow, "u64")
    return low(wide(a) - taken), wide(a) < taken


def mad_u64(a: Any, b: Any, c: Any) -> Any:
    """A 32-bit product added to 64 bits, and its carry."""
    total = wide(a) * wide(b) + c
    return total, total < c


def mad_i64(a: Any, b: Any, c: Any) -> Any:
    """A signed 32-bit product added to 64 bits, and bit 64 of the sum: its true sign."""
    product = o.cast(a, "i64") * o.cast(b, "i64")
    total = product + c
    overflow = ((product ^ total) & (c ^ total)) < 0
    return total, overflow ^ (total < 0)


def median(a: Any, b: Any, c: Any) -> Any:
    """The one in the middle."""
    return o.maximum(o.minimum(a, b), o.minimum(o.maximum(a, b), c))


def field(a: Any, offset: Any, width: Any) -> Any:
    """Bits [offset, offset + width) of a u32; a width of 0 gives 0."""
    return (a >> offset) & ((o.const(1, "u32") << width) - o.const(1, "u32"))


def signed_field(a: Any, offset: Any, width: Any) -> Any:
    """Bits [offset, offset + width) of a u32, sign-extended; above bit 31 there are copies of it."""
    found = o.bits(o.bits(a, "i32") >> o.bits(offset, "i32"), "u32")
    one = o.const(1, "u32")
    sign = o.select(width == 0, o.const(0, "u32"), (one << width) >> 1)
    return o.bits(((found & ((one << width) - one)) ^ sign) - sign, "i32")


def first_other(a: Any) -> Any:
    """How many bits below the sign equal it, counted from the top with it; all ones where all do."""
    folded = o.bits(a ^ (a >> 31), "u32")
    return o.select(folded == 0, o.bits(o.const(-1, "i32"), "u32"), o.leading_zeros(folded))


def permute(a: Any, b: Any, selector: Any) -> Any:
    """Each byte chosen by a byte of the selector: 0-3 of b, 4-7 of a, 8-11 a sign, 12 zero, above 0xff."""
    both = pair(b, a)
    found = None
    for number in range(4):
        chosen = (selector >> (8 * number)) & 255
        byte = low(both >> wide((chosen & 7) << 3)) & 255
        odd = low(both >> wide((((chosen & 3) << 1) | 1) << 3)) & 255  # 8-11: the sign of byte 1, 3, 5, 7
        sign = (odd >> 7) * o.const(255, "u32")
        value = o.select(
            chosen < 8, byte, o.select(chosen < 12, sign, o.select(chosen == 12, chosen & 0, (chosen & 0) | 255))
        )
        found = value if found is None else found | (value << (8 * number))
    return found


def dot(a: Any, b: Any, parts: int) -> Any:
    """The sum of products of signed parts of two dwords."""
    size = 32 // parts
    total = None
    for number in range(parts):
        product = extend(a, "i32", size * number, size) * extend(b, "i32", size * number, size)
        total = product if total is None else total + product
    return total


def distance(a: Any, b: Any, size: int, masked: bool = False) -> Any:
    """The sum of absolute differences of unsigned parts; `masked`: of those that are not 0 in b."""
    total = None
    for low in range(0, 32, size):
        x, y = ((each >> low) & ((1 << size) - 1) for each in (a, b))
        apart = o.maximum(x, y) - o.minimum(x, y)
        apart = o.select(y == 0, y, apart) if masked else apart
        total = apart if total is None else total + apart
    return total


def averages(a: Any, b: Any, c: Any) -> Any:
    """Bytes halfway between those of a and b, rounded up where the lowest bit of c's is set."""
    found = None
    for low in (0, 8, 16, 24):
        x, y, up = (a >> low) & 255, (b >> low) & 255, (c >> low) & 1
        byte = ((x + y + up) >> 1) << low
        found = byte if found is None else found | byte
    return found


def clamp_u8(a: Any, low: int) -> Any:
    """A signed 16-bit part of a u32 saturated to a byte, as u16."""
    cut = o.minimum(o.maximum(extend(a, "i32", low, 16), o.const(0, "i32")), o.const(255, "i32"))
    return o.cast(cut, "u16")


def clamp_u16(a: Any) -> Any:
    """A u32 saturated to 16 bits."""
    return o.minimum(a, o.const(65535, "u32"))


def clamp_i16(a: Any) -> Any:
    """An i32 saturated to 16 bits, as u32."""
    cut = o.minimum(o.maximum(a, o.const(-32768, "i32")), o.const(32767, "i32"))
    return o.bits(cut, "u32") & 0xFFFF


def saturate16(value: Any) -> Any:
    """An i32 saturated to 16 bits, as u16."""
    return o.cast(clamp_i16(value), "u16")
