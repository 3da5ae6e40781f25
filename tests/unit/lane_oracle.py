"""What instructions ought to compute, from elsewhere: LLVM IR run on this machine, and exact rational arithmetic."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import llvmlite.binding as llvm
import numpy as np

TYPES = {"i8": "i8", "i16": "i16", "i32": "i32", "i64": "i64", "f32": "float", "f64": "double", "m": "i1"}
ARRAYS = {
    "i8": np.uint8, "i16": np.uint16, "i32": np.uint32, "i64": np.uint64, "f16": np.float16, "f32": np.float32,
    "f64": np.float64, "m": np.bool_,
}  # fmt: skip
BITS = {8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64}
MANTISSA = {"f16": 10, "f32": 23, "f64": 52}


def width(kind: str) -> int:
    """Bits of a kind."""
    return 32 if kind == "f16x2" else int(kind[1:])


def raw(values: np.ndarray) -> np.ndarray:
    """The bits of an array, as unsigned integers."""
    values = np.ascontiguousarray(values)
    return values.view(BITS[8 * values.dtype.itemsize])


# --- LLVM ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ir:
    """A function given as LLVM IR: statements parted by `;` that define %r from %a, %b and %c, of these kinds."""

    sources: tuple[str, ...]
    result: str
    body: str

    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        given = [np.ascontiguousarray(each, ARRAYS[k]) for each, k in zip(arrays, self.sources, strict=True)]
        found = np.empty(given[0].shape, ARRAYS[self.result])
        pointers = [each.ctypes.data for each in (found, *given)] + [None] * (3 - len(given))
        compiled()[self](*pointers, found.size)
        return found


REGISTERED: dict[Ir, None] = {}


def ir(signature: str, body: str) -> Ir:
    """A function for the module of all; a body of one word is an instruction or intrinsic on all sources."""
    left, _, right = signature.partition("->")
    sources, result = tuple(left.split()), right.strip()
    if " " not in body:
        operands = ["%a", "%b", "%c"][: len(sources)]
        kind = TYPES[sources[0]]
        if body.startswith("llvm."):
            arguments = ", ".join(f"{TYPES[k]} {o}" for k, o in zip(sources, operands, strict=True))
            body = f"%r = call {TYPES[result]} @{body}.{sources[0]}({arguments})"
        else:
            body = f"%r = {body} {kind} {', '.join(operands)}"
    found = Ir(sources, result, body)
    REGISTERED[found] = None
    return found


def function_text(number: int, one: Ir) -> str:
    """A loop over arrays around a body."""
    lines = [f"define void @f{number}(ptr %out, ptr %pa, ptr %pb, ptr %pc, i64 %count) {{", "entry:", "br label %loop"]
    lines += ["loop:", "%i = phi i64 [0, %entry], [%next, %loop]"]
    for name, kind in zip("abc", one.sources, strict=False):
        memory = "i8" if kind == "m" else TYPES[kind]
        lines += [f"%q{name} = getelementptr {memory}, ptr %p{name}, i64 %i"]
        lines += [f"%{name}{'8' if kind == 'm' else ''} = load {memory}, ptr %q{name}"]
        lines += [f"%{name} = trunc i8 %{name}8 to i1"] if kind == "m" else []
    lines += one.body.split(";")
    memory = "i8" if one.result == "m" else TYPES[one.result]
    lines += ["%r8 = zext i1 %r to i8"] if one.result == "m" else []
    lines += [f"%qo = getelementptr {memory}, ptr %out, i64 %i"]
    lines += [f"store {memory} %{'r8' if one.result == 'm' else 'r'}, ptr %qo"]
    lines += ["%next = add i64 %i, 1", "%done = icmp uge i64 %next, %count", "br i1 %done, label %end, label %loop"]
    return "\n".join([*lines, "end:", "ret void", "}"])


INTRINSICS = {
    1: ("bitreverse i32 i64", "ctpop i32 i64", "floor f32 f64", "ceil f32 f64", "trunc f32 f64", "roundeven f32 f64",
        "sqrt f32 f64", "bswap i16 i32 i64"),
    2: ("uadd.sat i16 i32 i64", "usub.sat i16 i32", "sadd.sat i16 i32", "ssub.sat i16 i32", "smin i16 i32",
        "smax i16 i32 i64", "umin i16 i32", "umax i16 i32", "copysign f32"),
    3: ("fma f32 f64", "fshr i32", "fshl i64"),
}  # fmt: skip


def declarations() -> list[str]:
    """The intrinsics that bodies call."""
    found: list[str] = []
    for count, rows in INTRINSICS.items():
        for name, *kinds in (row.split() for row in rows):
            found += [f"declare {TYPES[k]} @llvm.{name}.{k}({', '.join([TYPES[k]] * count)})" for k in kinds]
    for name in ("ctlz", "cttz", "abs"):
        found += [f"declare {k} @llvm.{name}.{k}({k}, i1)" for k in ("i32", "i64")]
    for to in ("i16", "i32", "i64"):
        found += [f"declare {to} @llvm.fpto{s}i.sat.{to}.{f}({TYPES[f]})" for s in "su" for f in ("f32", "f64")]
    return found


@cache
def compiled() -> dict[Ir, Callable[..., None]]:
    """All registered functions, as machine code of this processor."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    text = "\n".join([*declarations(), *(function_text(n, one) for n, one in enumerate(REGISTERED))])
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=1, jit=True
    )
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(text), machine)
    engine.finalize_object()
    shape = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4, ctypes.c_int64)
    found = {one: shape(engine.get_function_address(f"f{n}")) for n, one in enumerate(REGISTERED)}
    ENGINES.append(engine)
    return found


ENGINES: list[llvm.ExecutionEngine] = []  # kept: the code lives as long as its engine


# --- exact numbers ---------------------------------------------------------------------------------------------------


def rounded(value: Fraction, kind: str, toward_zero: bool = False) -> int:
    """The bits of the float of a kind next to a number: to nearest even, or toward zero."""
    mantissa, bits = MANTISSA[kind], width(kind)
    largest = ((1 << (bits - 1 - mantissa)) - 1) << mantissa
    sign = (1 << (bits - 1)) if value < 0 else 0
    value = abs(value)
    if value == 0:
        return 0
    lowest = 2 - (1 << (bits - 2 - mantissa))  # the exponent of the smallest normal number
    exponent = max(value.numerator.bit_length() - value.denominator.bit_length(), lowest)
    if exponent > lowest and Fraction(2) ** exponent > value:
        exponent -= 1
    steps = value / Fraction(2) ** (exponent - mantissa)
    whole = steps.numerator // steps.denominator if toward_zero else round(steps)
    found = whole + ((exponent - lowest) << mantissa)
    if found >= largest:
        found = largest - 1 if toward_zero else largest
    return sign | found


def exact(function: Callable[..., Fraction], kind: str, plain: Callable[..., float], *arrays: np.ndarray) -> np.ndarray:
    """A function of exact numbers, rounded once; `plain` for infinities, NaN, and results of 0 for their sign."""
    found = np.empty(arrays[0].size, BITS[width(kind)])
    for i, values in enumerate(zip(*(each.ravel().tolist() for each in arrays), strict=True)):
        if all(np.isfinite(v) for v in values):
            value = function(*(Fraction(v) for v in values))
            found[i] = rounded(value, kind)
            if value != 0:
                continue
        found[i] = raw(np.asarray(plain(*map(np.float64, values))).astype(ARRAYS[kind]).reshape(1))[0]
    return found.view(ARRAYS[kind]).reshape(arrays[0].shape)


def fma16(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """A fused multiply-add of half floats."""
    return exact(lambda x, y, z: x * y + z, "f16", lambda x, y, z: x * y + z, a, b, c)


def is_nan(values: np.ndarray) -> np.ndarray:
    """NaN, by the bits."""
    bits, size = raw(values), 8 * values.dtype.itemsize
    return (bits & magnitude(size)) > infinity(size)


def is_signalling(values: np.ndarray) -> np.ndarray:
    """NaN whose quiet bit is clear."""
    size = 8 * values.dtype.itemsize
    return is_nan(values) & (raw(values) & BITS[size](1 << (MANTISSA[f"f{size}"] - 1)) == 0)


def magnitude(size: int) -> np.generic:
    """All bits but the sign."""
    return BITS[size]((1 << (size - 1)) - 1)


def infinity(size: int) -> np.generic:
    """The bits of +infinity."""
    mantissa = MANTISSA[f"f{size}"]
    return BITS[size](((1 << (size - 1 - mantissa)) - 1) << mantissa)


def order(values: np.ndarray) -> np.ndarray:
    """Integers in the order of the floats, -0 below +0."""
    size = 8 * values.dtype.itemsize
    signed = raw(values).view(f"i{size // 8}")
    return np.where(signed < 0, -(signed & np.asarray(magnitude(size)).view(signed.dtype)) - 1, signed)


def choose(first: Callable[[np.ndarray, np.ndarray], np.ndarray], a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Minimum or maximum of numbers: a signalling NaN gives NaN, another NaN the other operand."""
    picked = np.where(first(order(a), order(b)), a, b)
    picked = np.where(is_nan(a), b, np.where(is_nan(b), a, picked))
    return np.where(is_signalling(a) | is_signalling(b), np.asarray(np.nan, a.dtype), picked)


def minimum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """As V_MIN of the ISA guide, in IEEE mode."""
    return choose(np.less_equal, a, b)


def maximum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """As V_MAX of the ISA guide, in IEEE mode."""
    return choose(np.greater_equal, a, b)


def median(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """As V_MED3 of the ISA guide: the larger of the two that are not the largest; with a NaN the minimum."""
    most = maximum(maximum(a, b), c)
    found = np.where(most == a, maximum(b, c), np.where(most == b, maximum(a, c), maximum(a, b)))
    return np.where(is_nan(a) | is_nan(b) | is_nan(c), minimum(minimum(a, b), c), found)


def lanewise(function: Callable[..., int], kind: str) -> Callable[..., np.ndarray]:
    """A function of Python integers as one of arrays; the result is cut to its kind."""
    mask = (1 << width(kind)) - 1

    def apply(*arrays: np.ndarray) -> np.ndarray:
        rows = zip(*(raw(each).ravel().tolist() for each in arrays), strict=True)
        found = np.array([function(*row) & mask for row in rows], BITS[width(kind)])
        return found.view(ARRAYS[kind]).reshape(arrays[0].shape)

    return apply


def signed(value: int, bits: int) -> int:
    """The low bits as two's complement."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def parts(value: int, size: int, is_signed: bool = False) -> Sequence[int]:
    """The parts of a dword, from the lowest."""
    found = [value >> low & (1 << size) - 1 for low in range(0, 32, size)]
    return [signed(each, size) for each in found] if is_signed else found


def clamp_int(value: int, low: int, high: int) -> int:
    """An integer within limits."""
    return max(low, min(high, value))
