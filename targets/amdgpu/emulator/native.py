"""The native engine: one machine-code function for each shape of vector instruction, made from the table by LLVM.

A shape is an operation with the files and kinds of its operands and their signs; registers and constants are parameters
of its function, so a kernel of thousands of instructions has some dozens of shapes. All shapes of a kernel are one
module; its object is kept on disk under the digest of its text and of this machine's CPU. What has no shape (lane
permutations, parts of registers, what cannot be traced) runs on arrays as before, bit for bit the same.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numpy as np

from lowering.targets.amdgpu.emulator.decode import Instruction, Operand
from lowering.targets.amdgpu.emulator.kinds import constant, width
from lowering.targets.amdgpu.emulator.operands import BITS, NUMBERS, PRESERVING, half, register
from lowering.targets.amdgpu.emulator.packed import WORDS, flags
from lowering.targets.amdgpu.emulator.packed import sources as packed_sources
from lowering.targets.amdgpu.emulator.text import sign_flags
from lowering.targets.amdgpu.emulator.trace import TYPES, Symbol, Trace, Untraceable
from lowering.targets.amdgpu.emulator.vector_table import VECTOR, Operation
from lowering.targets.amdgpu.emulator.waves import EXEC, M0, VCC, Waves

Step = Callable[[Waves], None]
POINTER, INT = ctypes.c_void_p, ctypes.c_int64
SIGNATURE = ctypes.CFUNCTYPE(None, POINTER, INT, POINTER, INT, POINTER, POINTER, INT, POINTER)
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


@dataclass(frozen=True)
class Call:
    """One use of a shape: the registers and constants that it is called with, results first."""

    form: Form
    parameters: tuple[int, ...]


# --- instructions -> shapes ------------------------------------------------------------------------------------------


def calls(one: Instruction) -> tuple[Call, ...] | None:
    """The calls that do an instruction; None where arrays must."""
    fields = one.fields
    if one.dpp is not None or one.sdwa is not None or fields.get("clamp") or one.name in PRESERVING:
        return None
    if one.name in WORDS and one.opcode.format == "VOP3P":
        return packed_calls(one)
    operation = VECTOR.get(one.name)
    if operation is None or one.opcode.format not in ("VOP1", "VOP2", "VOP3", "VOPC") or one.name.startswith("v_cmpx"):
        return None
    if one.opcode.format == "VOP3" and fields["op_sel"] >> 3 and width(operation.results[0]) == 16:
        return None
    made = vector_call(one, operation)
    return None if made is None or not traceable(made.form) else (made,)


def vector_call(one: Instruction, operation: Operation) -> Call | None:
    """The call of an instruction of one result, or of one and a mask."""
    names = [name for name, _ in one.opcode.operands]
    outputs, inputs = names[: len(operation.results)], iter(names[len(operation.results) :])
    parameters: list[int] = []
    for name, kind in zip(outputs, operation.results, strict=True):
        place = one.operands[name] if name in one.operands else one.operand("sdst", 2)
        if (place.file == "s") != (kind == "mask") or (kind == "mask" and place.index >= M0):
            return None
        parameters.append(place.index if kind == "mask" else register(place))
    found: list[Source] = []
    for kind in operation.sources:
        name = "vdst" if kind.startswith("dst:") else "vcc" if kind == "vcc" else next(inputs)
        made = source(one, name, kind.removeprefix("dst:"))
        if made is None:
            return None
        found.append(made[0])
        parameters.append(made[1])
    return Call(Form(one.name, tuple(found), operation.results), tuple(parameters))


def source(one: Instruction, name: str, kind: str) -> tuple[Source, int] | None:
    """A source and its parameter."""
    if name == "vcc":
        return Source("m", "mask"), VCC
    number = NUMBERS.get(name, 3)
    numeric = BITS.get(kind, kind)
    place = Operand("literal", one.literal or 0, 1) if name == "literal" else one.operands[name]
    negative, absolute, _ = sign_flags(one, number) if number < 3 else (0, 0, 0)
    if (negative or absolute) and numeric[0] != "f":
        return None
    part = half(one, number, numeric) if number < 3 else 0
    return of_place(place, numeric, part, bool(negative), bool(absolute))


def of_place(place: Operand, kind: str, part: int, negative: bool, absolute: bool) -> tuple[Source, int] | None:
    """A register or constant as a source."""
    if place.file in ("v", "a"):
        return Source("v", kind, part, negative, absolute), register(place)
    if place.file == "s":
        return Source("m" if kind == "mask" else "s", kind, part, negative, absolute), place.index
    value = None if kind == "mask" else constant(place, kind)
    if value is None:
        return None
    bits = int(np.asarray(value).view(f"u{np.asarray(value).itemsize}"))
    return Source("c", kind, 0, negative, absolute), bits - (1 << 64) if bits >> 63 else bits


def packed_calls(one: Instruction) -> tuple[Call, ...] | None:
    """The two calls of a packed f32 instruction; None where the first would change what the second reads."""
    low, high = flags(one)
    target, operation = register(one.operands["vdst"]), WORDS[one.name]
    made: list[Call] = []
    for part, bits, signs in ((0, low, one.fields["neg"]), (1, high, one.fields["neg_hi"])):
        found: list[Source] = []
        parameters = [target + part]
        for n, name in enumerate(packed_sources(one)):
            place = one.operands[name]
            index = place.index + (bits >> n & 1) if place.is_register else place.index
            word = of_place(Operand(place.file, index, 1), "f32", 0, bool(signs >> n & 1), False)
            if word is None or (part and word[0].file == "v" and word[1] == target):
                return None
            found.append(word[0])
            parameters.append(word[1])
        base = "v_" + one.name.removeprefix("v_pk_")
        made.append(Call(Form(base, tuple(found), operation.results), tuple(parameters)))
    return tuple(made)


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


# --- shapes -> code --------------------------------------------------------------------------------------------------


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


# --- code -> functions -----------------------------------------------------------------------------------------------


def features() -> str:
    """This machine's features as LLVM takes them."""
    return llvm.get_host_cpu_features().flatten()


@cache
def initialise() -> None:
    """Registers LLVM's native target, once a process."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def cache_folder() -> Path:
    """Where objects are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base, "lower", "emulator")


def compiled(text: str) -> bytes:
    """The object of a module, from the disk where it is there."""
    key = "\n".join((text, llvm.get_host_cpu_name(), features(), llvmlite.__version__))
    file = cache_folder() / f"{hashlib.sha256(key.encode()).hexdigest()}.o"
    try:
        return file.read_bytes()
    except OSError:
        made = emitted(text)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as part:
            part.write(made)
        Path(part.name).replace(file)
    except OSError:
        pass  # a cache that cannot be written costs time only
    return made


def machine() -> Any:
    """LLVM's machine for this CPU."""
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features(), opt=2, jit=True
    )


def emitted(text: str) -> bytes:
    """Optimises and emits a module."""
    found = llvm.parse_assembly(text)
    found.verify()  # what does not verify would take the process down
    made = machine()
    found.triple = made.triple
    found.data_layout = str(made.target_data)
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = True
    options.loop_unrolling = False
    builder = llvm.create_pass_builder(made, options)
    builder.getModulePassManager().run(found, builder)
    return made.emit_object(found)


class Native:
    """The functions of a kernel's shapes."""

    def __init__(self, instructions: Iterable[Instruction]) -> None:
        initialise()
        found = [calls(one) for one in instructions]
        self.forms = sorted({call.form for each in found if each for call in each}, key=lambda form: form.symbol)
        self.engine: Any = None
        self.functions: dict[Form, tuple[Any, Any]] = {}
        if not self.forms:
            return
        self.engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine())
        self.engine.add_object_file(llvm.ObjectFileRef.from_data(compiled(module(self.forms))))
        self.engine.finalize_object()
        for form in self.forms:
            plain, masked = (SIGNATURE(self.engine.get_function_address(f"{form.symbol}_{v}")) for v in "fm")
            self.functions[form] = plain, masked

    def bind(self, one: Instruction) -> Step | None:
        """What an instruction does, natively; None where arrays must."""
        found = calls(one)
        if not found or any(call.form not in self.functions for call in found):
            return None
        steps = [self.step(call) for call in found]
        if len(steps) == 1:
            return steps[0]
        first, second = steps

        def both(w: Waves) -> None:
            first(w)
            second(w)

        return both

    def step(self, call: Call) -> Step:
        """One call as a function of waves."""
        plain, masked = self.functions[call.form]
        held = (INT * len(call.parameters))(*call.parameters)
        address, engine = ctypes.addressof(held), (held, self.engine)  # both live as long as the step

        def step(w: Waves, _: Any = engine) -> None:
            if w.full:
                plain(w.v_at, w.v_stride, w.s_at, w.s_stride, 0, 0, w.count, address)
            else:
                mask, active = w.mask.ctypes.data, w.active.ctypes.data
                masked(w.v_at, w.v_stride, w.s_at, w.s_stride, mask, active, w.count, address)

        return step
