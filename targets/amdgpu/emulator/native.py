"""The native engine: one machine-code function for each shape of vector instruction, made from the table by LLVM.

A kernel of thousands of instructions has some dozens of shapes (lane_loops.py); all of them are one module. What has no
shape (lane permutations, parts of registers, what cannot be traced) runs on arrays as before, bit for bit the same.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from lowering.targets.amdgpu.emulator.decode import Instruction, Operand
from lowering.targets.amdgpu.emulator.kinds import constant, width
from lowering.targets.amdgpu.emulator.lane_loops import Form, Source, module, traceable
from lowering.targets.amdgpu.emulator.machine_code import compiled, initialise, machine
from lowering.targets.amdgpu.emulator.native_matrix import NativeMatrix
from lowering.targets.amdgpu.emulator.operands import BITS, NUMBERS, PRESERVING, half, register
from lowering.targets.amdgpu.emulator.packed import WORDS, flags
from lowering.targets.amdgpu.emulator.packed import sources as packed_sources
from lowering.targets.amdgpu.emulator.text import sign_flags
from lowering.targets.amdgpu.emulator.vector_table import VECTOR, Operation
from lowering.targets.amdgpu.emulator.waves import M0, VCC, Waves

Step = Callable[[Waves], None]
POINTER, INT = ctypes.c_void_p, ctypes.c_int64
SIGNATURE = ctypes.CFUNCTYPE(None, POINTER, INT, POINTER, INT, POINTER, POINTER, INT, POINTER)


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


# --- code -> functions -----------------------------------------------------------------------------------------------


class Native:
    """The functions of a kernel's shapes."""

    def __init__(self, instructions: Iterable[Instruction]) -> None:
        initialise()
        instructions = tuple(instructions)
        self.matrix = NativeMatrix(instructions)
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
