"""Shapes of vector instructions, and the LLVM IR of each: a loop over waves, in it one over lanes.

A shape is an operation with the files and kinds of its operands and their signs; registers and constants are parameters
of its function.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from lowering.targets.amdgpu.emulator.kinds import width
from lowering.targets.amdgpu.emulator.trace import TYPES, Symbol, Trace, Untraceable
from lowering.targets.amdgpu.emulator.vector_table import VECTOR
from lowering.targets.amdgpu.emulator.waves import EXEC

HEAD = "ptr %v, i64 %vs, ptr %s, i64 %ss, ptr %mask, ptr %active, i64 %waves, ptr %params"
GROUP = ", !llvm.access.group !0"
METADATA = '\n!0 = distinct !{}\n!1 = distinct !{!1, !2}\n!2 = !{!"llvm.loop.parallel_accesses", !0}\n'


@dataclass(frozen=True)
class Source:
    """Where a value comes from: v (vector), s (scalar), m (mask in a scalar pair), c (constant); its kind and signs."""

    file: str
    kind: str
    part: int = 0
    negative: bool = False
    absolute: bool = False


@dataclass(frozen=True)
class Form:
    """A shape: the operation, its sources, and the kinds of its results."""

    name: str
    sources: tuple[Source, ...]
    results: tuple[str, ...]

    @property
    def symbol(self) -> str:
        """The name of its function."""
        return "f" + hashlib.sha256(repr(self).encode()).hexdigest()[:24]


@cache
def traceable(form: Form) -> bool:
    """Whether the table's function can be written down for this shape."""
    try:
        body(form, Trace(), [Symbol("%x", each.kind, Trace()) for each in form.sources])
    except Untraceable:
        return False
    return True


def body(form: Form, trace: Trace, values: Sequence[Symbol]) -> tuple[Symbol, ...]:
    """The results of a shape's operation on symbols."""
    own = [Symbol(each.name, each.kind, trace) for each in values]
    signed = [
        -each if s.negative else each
        for s, each in zip(
            form.sources, (abs(e) if s.absolute else e for s, e in zip(form.sources, own, strict=True)), strict=True
        )
    ]
    found = VECTOR[form.name].function(*signed)
    many = found if isinstance(found, tuple) else (found,)
    if any(not isinstance(each, Symbol) for each in many):
        raise Untraceable("a constant result")
    return many


def function(form: Form, masked: bool) -> tuple[str, dict[str, str]]:
    """The IR of a shape: a loop over waves, in it one over lanes; and the intrinsics it calls."""
    trace = Trace()
    entry: list[str] = []
    outer: list[str] = []
    inner: list[str] = []
    for number, kind in enumerate(form.results):
        entry += place(number, "s" if kind == "mask" else "v", "i32", f"d{number}", width(kind) == 64)
    number = len(form.results)
    values: list[Symbol] = []
    for each in form.sources:
        values.append(load(each, number, entry, outer, inner, trace))
        number += 1
    results = body(form, trace, values)
    stores: list[str] = []
    bits: list[str] = []
    after: list[str] = []
    for index, (kind, value) in enumerate(zip(form.results, results, strict=True)):
        if kind == "mask":
            bits.append(f"  %d{index}.acc = phi i64 [0, %wave], [%d{index}.next, %lane]")
            stores += collected(f"d{index}", value)
            after += put_mask(f"d{index}", masked)
        else:
            stores += store(kind, f"d{index}", value, masked)
    name = f"{form.symbol}_{'m' if masked else 'f'}"
    lines = [
        f'define void @{name}({HEAD}) "no-builtins" {{', "entry:", *entry, "  br label %wave", "wave:",
        "  %w = phi i64 [0, %entry], [%w1, %next]", *outer, "  %base = shl i64 %w, 6", "  br label %lane", "lane:",
        "  %l = phi i64 [0, %wave], [%l1, %lane]", *bits, "  %i = add i64 %base, %l", *inner,
        *(f"  {line}" for line in trace.lines), *stores, "  %l1 = add i64 %l, 1", "  %more = icmp ult i64 %l1, 64",
        "  br i1 %more, label %lane, label %next, !llvm.loop !1", "next:", *after, "  %w1 = add i64 %w, 1",
        "  %again = icmp ult i64 %w1, %waves", "  br i1 %again, label %wave, label %done", "done:", "  ret void", "}",
    ]  # fmt: skip
    return "\n".join(lines), trace.declared


def place(number: int, file: str, typed: str, name: str, pair: bool) -> list[str]:
    """The pointer to a register that a parameter names, and to the one after it."""
    stride = "%vs" if file == "v" else "%ss"
    lines = [
        f"  %{name}.a = getelementptr i64, ptr %params, i64 {number}",
        f"  %{name}.r = load i64, ptr %{name}.a",
        f"  %{name}.o = mul i64 %{name}.r, {stride}",
        f"  %{name} = getelementptr {typed}, ptr %{file}, i64 %{name}.o",
    ]
    return [*lines, f"  %{name}.h = getelementptr {typed}, ptr %{name}, i64 {stride}"] if pair else lines


def load(each: Source, number: int, entry: list[str], outer: list[str], inner: list[str], trace: Trace) -> Symbol:
    """Adds the lines that load a source; its value as a symbol."""
    name = f"p{number}"
    if each.file == "c":
        entry += [
            f"  %{name}.a = getelementptr i64, ptr %params, i64 {number}",
            f"  %{name}.b = load i64, ptr %{name}.a",
        ]
        return narrowed(f"%{name}.b", each, name, entry, "i64")
    wide = width(each.kind) == 64
    entry += place(number, "v" if each.file == "v" else "s", "i32", name, wide)
    lines, index, group = (inner, "%i", GROUP) if each.file == "v" else (outer, "%w", "")
    lines += [
        f"  %{name}.e = getelementptr i32, ptr %{name}, i64 {index}",
        f"  %{name}.l = load i32, ptr %{name}.e{group}",
    ]
    if not wide:
        return narrowed(f"%{name}.l", each, name, lines, "i32")
    lines += [
        f"  %{name}.f = getelementptr i32, ptr %{name}.h, i64 {index}",
        f"  %{name}.m = load i32, ptr %{name}.f{group}",
        f"  %{name}.x = zext i32 %{name}.l to i64",
        f"  %{name}.y = zext i32 %{name}.m to i64",
        f"  %{name}.z = shl i64 %{name}.y, 32",
        f"  %{name}.b = or i64 %{name}.x, %{name}.z",
    ]
    if each.file == "m":
        inner += [f"  %{name}.s = lshr i64 %{name}.b, %l", f"  %{name}.v = trunc i64 %{name}.s to i1"]
        return Symbol(f"%{name}.v", "mask", trace)
    return narrowed(f"%{name}.b", each, name, lines, "i64")


def narrowed(value: str, each: Source, name: str, lines: list[str], typed: str) -> Symbol:
    """Bits of a type as a value of a source's kind."""
    bits = f"i{width(each.kind)}"
    if each.part:
        lines.append(f"  %{name}.p = lshr {typed} {value}, 16")
        value = f"%{name}.p"
    if bits != typed:
        lines.append(f"  %{name}.n = trunc {typed} {value} to {bits}")
        value = f"%{name}.n"
    if TYPES[each.kind] != bits:
        lines.append(f"  %{name}.v = bitcast {bits} {value} to {TYPES[each.kind]}")
        value = f"%{name}.v"
    return Symbol(value, each.kind, Trace())


def store(kind: str, name: str, value: Symbol, masked: bool) -> list[str]:
    """Writes a result into registers, of the lanes that take part."""
    bits = f"i{width(kind)}"
    lines = [] if TYPES[kind] == bits else [f"  %{name}.b = bitcast {TYPES[kind]} {value.name} to {bits}"]
    raw = value.name if TYPES[kind] == bits else f"%{name}.b"
    if bits == "i64":
        lines += [
            f"  %{name}.lo = trunc i64 {raw} to i32",
            f"  %{name}.s = lshr i64 {raw}, 32",
            f"  %{name}.hi = trunc i64 %{name}.s to i32",
        ]
        return [*lines, *put(f"{name}", f"%{name}.lo", masked), *put(f"{name}.h", f"%{name}.hi", masked)]
    if bits == "i16":
        lines.append(f"  %{name}.w = zext i16 {raw} to i32")
        raw = f"%{name}.w"
    return [*lines, *put(name, raw, masked)]


def collected(name: str, value: Symbol) -> list[str]:
    """One bit a lane, into the mask of the wave."""
    return [
        f"  %{name}.b = zext i1 {value.name} to i64",
        f"  %{name}.s = shl i64 %{name}.b, %l",
        f"  %{name}.next = or i64 %{name}.acc, %{name}.s",
    ]


def put_mask(name: str, masked: bool) -> list[str]:
    """Writes the mask of a wave to a pair of scalar registers: 0 where EXEC is, and only of waves that are active."""
    pair = (("lo", name, EXEC, 0), ("hi", f"{name}.h", EXEC + 1, 32))
    lines: list[str] = []
    if masked:
        lines += [
            f"  %{name}.ap = getelementptr i8, ptr %active, i64 %w",
            f"  %{name}.ab = load i8, ptr %{name}.ap",
            f"  %{name}.at = icmp ne i8 %{name}.ab, 0",
        ]
    for part, target, register_, shift in pair:
        n = f"{name}.{part}"
        lines += [
            f"  %{n}.m = lshr i64 %{name}.next, {shift}",
            f"  %{n}.t = trunc i64 %{n}.m to i32",
            f"  %{n}.q = getelementptr i32, ptr %{target}, i64 %w",
        ]
        value = f"%{n}.t"
        if masked:
            lines += [
                f"  %{n}.xr = mul i64 %ss, {register_}",
                f"  %{n}.xi = add i64 %{n}.xr, %w",
                f"  %{n}.xp = getelementptr i32, ptr %s, i64 %{n}.xi",
                f"  %{n}.xv = load i32, ptr %{n}.xp",
                f"  %{n}.and = and i32 {value}, %{n}.xv",
                f"  %{n}.old = load i32, ptr %{n}.q",
                f"  %{n}.new = select i1 %{name}.at, i32 %{n}.and, i32 %{n}.old",
            ]
            value = f"%{n}.new"
        lines.append(f"  store i32 {value}, ptr %{n}.q")
    return lines


def put(name: str, value: str, masked: bool) -> list[str]:
    """Writes one register; what takes no part keeps its old value."""
    lines = [f"  %{name}.q = getelementptr i32, ptr %{name}, i64 %i"]
    if masked:
        lines += [
            f"  %{name}.k = getelementptr i8, ptr %mask, i64 %i",
            f"  %{name}.g = load i8, ptr %{name}.k{GROUP}",
            f"  %{name}.t = icmp ne i8 %{name}.g, 0",
            f"  %{name}.old = load i32, ptr %{name}.q{GROUP}",
            f"  %{name}.new = select i1 %{name}.t, i32 {value}, i32 %{name}.old",
        ]
        value = f"%{name}.new"
    return [*lines, f"  store i32 {value}, ptr %{name}.q{GROUP}"]


def module(forms: Iterable[Form]) -> str:
    """The IR of some shapes, each with and without a mask."""
    declared: dict[str, str] = {}
    texts: list[str] = []
    for form in forms:
        for masked in (False, True):
            text, needs = function(form, masked)
            texts.append(text)
            declared |= needs
    return "\n".join((*sorted(declared.values()), *texts)) + METADATA
