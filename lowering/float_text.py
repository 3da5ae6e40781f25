"""Floating-point constants of newer LLVM text in the spelling that LLVM 22 reads.

MLIR's LLVM (24) prints NaN as `+qnan`, infinity as `+inf`, other bit patterns as `f0x...`, and decimals that are only
the nearest number of their type. LLVM 22 knows none of these: it takes decimals that are exact, and hexadecimal bits
(`0x` with the bits of a double for float and double, `0xH` for half, `0xR` for bfloat; LLVM Language Reference,
Simple Constants).
"""

from __future__ import annotations

import re
import struct
from typing import Any

import ml_dtypes
import numpy as np

TYPES: dict[str, tuple[Any, Any]] = {  # LLVM's name -> numpy's type and the integer of its bits
    "half": (np.float16, np.uint16),
    "bfloat": (ml_dtypes.bfloat16, np.uint16),
    "float": (np.float32, np.uint32),
    "double": (np.float64, np.uint64),
}
LITERAL = r"[+-]?(?:qnan|s?nan\(0x[0-9A-Fa-f]+\)|inf)|f0x[0-9A-Fa-f]+|[+-]?\d+\.\d+(?:e[+-]?\d+)?"
TOKEN = re.compile(rf"\b(half|bfloat|float|double)\b|(?<![\w%@.\"$-])({LITERAL})(?![\w.\"])")
NEEDED = re.compile(r"qnan|nan\(0x|[+-]inf\b|f0x|\d\.\d")


def readable(text: str) -> str:
    """LLVM IR text with every floating-point constant spelt as bits. A constant has the type named last before it."""
    return "\n".join(line if not NEEDED.search(line) else spelt(line) for line in text.split("\n"))


def spelt(line: str) -> str:
    """One line with its constants as bits; names in quotes and lines without a floating-point type stay as they are."""
    kind = ""

    def change(match: re.Match[str]) -> str:
        nonlocal kind
        if match[1]:
            kind = match[1]
            return match[0]
        return bits(match[2], kind) if kind else match[0]

    return TOKEN.sub(change, line)


def bits(literal: str, kind: str) -> str:
    """A constant of a type as LLVM's hexadecimal bits."""
    number_type, integer = TYPES[kind]
    pattern = np.array(parsed(literal, kind)).astype(integer)
    if kind == "half":
        return f"0xH{int(pattern):04X}"
    if kind == "bfloat":
        return f"0xR{int(pattern):04X}"
    if kind == "double":
        return f"0x{int(pattern):016X}"
    if "nan" in literal or (literal.startswith("f0x") and np.isnan(pattern.view(number_type))):
        sign, payload = int(pattern) >> 31, int(pattern) & 0x7FFFFF  # Python's own widening would quieten a NaN
        return f"0x{(sign << 63) | (0x7FF << 52) | (payload << 29):016X}"
    return f"0x{struct.unpack('<Q', struct.pack('<d', float(pattern.view(number_type))))[0]:016X}"


def parsed(literal: str, kind: str) -> int:
    """The bit pattern of a constant of a type."""
    number_type, integer = TYPES[kind]
    if literal.startswith("f0x"):
        return int(literal[3:], 16)
    if "nan" not in literal:
        return int(np.array(float(literal)).astype(number_type).view(integer))
    mantissa = int(ml_dtypes.finfo(number_type).nmant)
    width = np.dtype(integer).itemsize * 8
    payload = re.search(r"0x([0-9A-Fa-f]+)", literal)
    fraction = int(payload[1], 16) if payload else 0
    quiet = 0 if literal.lstrip("+-").startswith("snan") else 1 << (mantissa - 1)
    exponent = ((1 << (width - mantissa - 1)) - 1) << mantissa
    return (literal.startswith("-") << (width - 1)) | exponent | quiet | fraction
