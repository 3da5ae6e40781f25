"""The table of semantics as LLVM IR: its functions are called with symbols, which write down what is done to them.

A symbol stands for one lane's value. It takes the operators and `lane_ops` functions that arrays take, so an operation
has one definition for both engines. What cannot be written down raises Untraceable, and stays with the arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lowering.targets.amdgpu.emulator.kinds import NUMPY

TYPES = {
    "u16": "i16", "i16": "i16", "u32": "i32", "i32": "i32", "u64": "i64", "i64": "i64", "f16": "half", "f32": "float",
    "f64": "double", "mask": "i1",
}  # fmt: skip
KINDS = {np.dtype(known): kind for kind, known in NUMPY.items()}
BITS = {"mask": 1, **{kind: int(kind[1:]) for kind in TYPES if kind != "mask"}}


class Untraceable(Exception):
    """An operation that has no IR here."""


def is_float(kind: str) -> bool:
    """Whether a kind is one of the floats."""
    return kind[0] == "f"


def literal(value: Any, kind: str) -> str:
    """A constant as IR spells it; floats by the bits of the double of the same value."""
    if not is_float(kind):
        return str(int(value))
    return f"0x{int(np.asarray(value, np.float64).view(np.uint64)):016X}" if kind != "f16" else half(value)


def half(value: Any) -> str:
    """An f16 constant."""
    return f"0xH{int(np.asarray(value, np.float16).view(np.uint16)):04X}"


@dataclass
class Trace:
    """Lines of IR, one SSA value each, and the intrinsics that they call."""

    lines: list[str] = field(default_factory=list[str])
    declared: dict[str, str] = field(default_factory=dict[str, str])

    def emit(self, text: str, kind: str) -> Symbol:
        """A new value."""
        name = f"%t{len(self.lines)}"
        self.lines.append(f"{name} = {text}")
        return Symbol(name, kind, self)

    def call(self, name: str, kind: str, result: str, *operands: Any) -> Symbol:
        """A call of an intrinsic whose operands are all of one kind."""
        values = [self.symbol(each, kind) for each in operands]
        types = ", ".join(TYPES[kind] for _ in values)
        self.declared[name] = f"declare {TYPES[result]} @{name}({types})"
        arguments = ", ".join(f"{TYPES[kind]} {each.name}" for each in values)
        return self.emit(f"call {TYPES[result]} @{name}({arguments})", result)

    def symbol(self, value: Any, kind: str = "") -> Symbol:
        """A value as a symbol: itself, or a constant of a kind."""
        if isinstance(value, Symbol):
            return value
        if isinstance(value, np.generic):
            kind = KINDS[value.dtype]
        return Symbol(literal(value, kind), kind, self)

    # --- the functions of lane_ops ---------------------------------------------------------------------------------

    def select(self, condition: Any, yes: Any, no: Any) -> Symbol:
        """`yes` or `no`, which are of one kind."""
        kind = next((each.kind for each in (yes, no) if isinstance(each, Symbol)), "") or KINDS[np.asarray(yes).dtype]
        a, b = self.symbol(yes, kind), self.symbol(no, kind)
        if a.kind != b.kind:
            raise Untraceable("select of two kinds")
        typed = TYPES[a.kind]
        return self.emit(f"select i1 {condition.name}, {typed} {a.name}, {typed} {b.name}", a.kind)

    def cast(self, value: Symbol, kind: str) -> Symbol:
        """The value in another kind."""
        if value.kind == kind:
            return value
        before, after = value.kind, kind
        if (before, after) == ("f64", "f16"):
            raise Untraceable("f64 to f16, which needs a library")
        if is_float(before) and is_float(after):
            name = "fpext" if BITS[before] < BITS[after] else "fptrunc"
        elif is_float(after):
            name = "sitofp" if before[0] == "i" else "uitofp"
        elif is_float(before):
            raise Untraceable("a float cast to an integer without saturation")
        elif BITS[before] == BITS[after]:
            return Symbol(value.name, kind, self)
        else:
            name = "trunc" if BITS[before] > BITS[after] else "sext" if before[0] == "i" else "zext"
        return self.emit(f"{name} {TYPES[before]} {value.name} to {TYPES[after]}", kind)

    def bits(self, value: Symbol, kind: str) -> Symbol:
        """The same bits as another kind."""
        if TYPES[value.kind] == TYPES[kind]:
            return Symbol(value.name, kind, self)
        return self.emit(f"bitcast {TYPES[value.kind]} {value.name} to {TYPES[kind]}", kind)

    def to_int(self, value: Symbol, kind: str) -> Symbol:
        """A saturating conversion toward zero; NaN gives 0."""
        if value.kind == "f16":  # by way of f32: LLVM 22's own for AVX512-FP16 gives the smallest integer for NaN
            value = self.cast(value, "f32")
        name = f"llvm.fpto{'s' if kind[0] == 'i' else 'u'}i.sat.{TYPES[kind]}.{value.kind}"
        return self.call(name, value.kind, kind, value)

    def fma(self, a: Any, b: Any, c: Any) -> Symbol:
        """Rounded once; not of f16, which LLVM would round twice."""
        kind = next(each.kind for each in (a, b, c) if isinstance(each, Symbol))
        if kind == "f16":
            raise Untraceable("a fused multiply-add of halves")
        return self.call(f"llvm.fma.{kind}", kind, kind, a, b, c)

    def isnan(self, value: Symbol) -> Symbol:
        """Whether it is no number."""
        return self.emit(f"fcmp uno {TYPES[value.kind]} {value.name}, {value.name}", "mask")

    def minimum(self, a: Any, b: Any) -> Symbol:
        """The smaller integer."""
        return self.extreme("min", a, b)

    def maximum(self, a: Any, b: Any) -> Symbol:
        """The larger integer."""
        return self.extreme("max", a, b)

    def extreme(self, name: str, a: Any, b: Any) -> Symbol:
        """A minimum or maximum by the kind's sign."""
        kind = next(each.kind for each in (a, b) if isinstance(each, Symbol))
        if is_float(kind):
            raise Untraceable("integers only")
        sign = "s" if kind[0] == "i" else "u"
        return self.call(f"llvm.{sign}{name}.{TYPES[kind]}", kind, kind, a, b)

    def rounded(self, name: str, value: Symbol) -> Symbol:
        """One of the roundings to an integer."""
        return self.call(f"llvm.{name}.{value.kind}", value.kind, value.kind, value)

    def floor(self, value: Symbol) -> Symbol:
        """Toward minus infinity."""
        return self.rounded("floor", value)

    def ceil(self, value: Symbol) -> Symbol:
        """Toward infinity."""
        return self.rounded("ceil", value)

    def trunc(self, value: Symbol) -> Symbol:
        """Toward zero."""
        return self.rounded("trunc", value)

    def rint(self, value: Symbol) -> Symbol:
        """To nearest even."""
        return self.rounded("roundeven", value)

    def counted(self, name: str, value: Symbol, extra: str = "") -> Symbol:
        """A count of bits, as u32."""
        typed = TYPES[value.kind]
        whole = f"llvm.{name}.{typed}"
        self.declared[whole] = f"declare {typed} @{whole}({typed}{', i1' if extra else ''})"
        found = self.emit(f"call {typed} @{whole}({typed} {value.name}{extra})", f"u{BITS[value.kind]}")
        return self.cast(found, "u32")

    def popcount(self, value: Symbol) -> Symbol:
        """Bits that are set."""
        return self.counted("ctpop", value)

    def leading_zeros(self, value: Symbol) -> Symbol:
        """Zeros above the highest set bit."""
        return self.counted("ctlz", value, ", i1 false")

    def trailing_zeros(self, value: Symbol) -> Symbol:
        """Zeros below the lowest set bit."""
        return self.counted("cttz", value, ", i1 false")

    def reverse_bits(self, value: Symbol) -> Symbol:
        """Bits in reverse order."""
        return self.call("llvm.bitreverse.i32", "u32", "u32", value)

    def by_f64(self, name: str, value: Symbol) -> Symbol:
        """rcp, sqrt and rsq, whose steps are IEEE's; the others are those of a library."""
        wide = self.cast(value, "f64")
        if name in ("sqrt", "rsq"):
            wide = self.call("llvm.sqrt.f64", "f64", "f64", wide)
        if name in ("rcp", "rsq"):
            wide = self.emit(f"fdiv double 1.0, {wide.name}", "f64")
        if name not in ("rcp", "sqrt", "rsq"):
            raise Untraceable(name)
        return self.cast(wide, value.kind)

    def kind(self, value: Symbol) -> str:
        """The kind of a value."""
        return value.kind

    def ldexp(self, value: Symbol, power: Any) -> Symbol:
        """Not written down: libraries differ in how they round subnormals."""
        raise Untraceable("ldexp")

    def frexp(self, value: Symbol) -> Symbol:
        """Not written down."""
        raise Untraceable("frexp")

    def scaled_fma(self, *_: Any) -> Symbol:
        """Not written down."""
        raise Untraceable("a scaled multiply-add")


def operator(integer: str, floating: str = "") -> Callable[[Symbol, Any], Symbol]:
    """A binary operator of both kinds."""

    def apply(self: Symbol, other: Any) -> Symbol:
        right = self.trace.symbol(other, self.kind)
        name = floating if is_float(self.kind) else integer
        if not name or right.kind != self.kind:
            raise Untraceable(f"{self.kind} {integer} {right.kind}")
        return self.trace.emit(f"{name} {TYPES[self.kind]} {self.name}, {right.name}", self.kind)

    return apply


def comparison(integer: str, floating: str) -> Callable[[Symbol, Any], Symbol]:
    """A comparison; `s` or `u` comes before an integer's order."""

    def apply(self: Symbol, other: Any) -> Symbol:
        right = self.trace.symbol(other, self.kind)
        if right.kind != self.kind:
            raise Untraceable(f"{self.kind} compared with {right.kind}")
        sign = "" if integer in ("eq", "ne") else "s" if self.kind[0] == "i" else "u"
        name = f"fcmp {floating}" if is_float(self.kind) else f"icmp {sign}{integer}"
        return self.trace.emit(f"{name} {TYPES[self.kind]} {self.name}, {right.name}", "mask")

    return apply


class Symbol:
    """One lane's value in a trace."""

    __array_ufunc__ = None  # numpy's scalars leave operators to this class
    __hash__ = object.__hash__

    def __init__(self, name: str, kind: str, trace: Trace) -> None:
        self.name, self.kind, self.trace = name, kind, trace

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise Untraceable("an array of a symbol")

    __add__ = __radd__ = operator("add", "fadd")
    __mul__ = __rmul__ = operator("mul", "fmul")
    __sub__ = operator("sub", "fsub")
    __and__ = __rand__ = operator("and")
    __or__ = __ror__ = operator("or")
    __xor__ = __rxor__ = operator("xor")
    __lshift__ = operator("shl")
    __lt__ = comparison("lt", "olt")
    __le__ = comparison("le", "ole")
    __gt__ = comparison("gt", "ogt")
    __ge__ = comparison("ge", "oge")
    __eq__ = comparison("eq", "oeq")  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]
    __ne__ = comparison("ne", "une")  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]

    def __rsub__(self, other: Any) -> Symbol:
        return self.trace.symbol(other, self.kind) - self

    def __rlshift__(self, other: Any) -> Symbol:
        return self.trace.symbol(other, self.kind) << self

    def __rshift__(self, other: Any) -> Symbol:
        return operator("ashr" if self.kind[0] == "i" else "lshr")(self, other)

    def __invert__(self) -> Symbol:
        return self.trace.emit(f"xor {TYPES[self.kind]} {self.name}, -1", self.kind)

    def __neg__(self) -> Symbol:
        if is_float(self.kind):
            return self.trace.emit(f"fneg {TYPES[self.kind]} {self.name}", self.kind)
        return self.trace.symbol(0, self.kind) - self

    def __abs__(self) -> Symbol:
        if not is_float(self.kind):
            raise Untraceable("the magnitude of an integer")
        return self.trace.call(f"llvm.fabs.{self.kind}", self.kind, self.kind, self)
