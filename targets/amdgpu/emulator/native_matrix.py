"""Matrix instructions of one block and 32-bit results as machine code: wave after wave, nothing leaves the caches.

The arithmetic is that of `matrix.py`, 'fast': the products of an element are added to zero one after the other in the
order of k, each with one rounding, and C last. That is the order of BLAS, which multiplies for the arrays.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from lowering.targets.amdgpu.emulator import matrix
from lowering.targets.amdgpu.emulator.decode import Instruction
from lowering.targets.amdgpu.emulator.kinds import constant
from lowering.targets.amdgpu.emulator.machine_code import loaded
from lowering.targets.amdgpu.emulator.matrix import Shape
from lowering.targets.amdgpu.emulator.operands import register
from lowering.targets.amdgpu.emulator.waves import Waves

Step = Callable[[Waves], None]
WORD = ctypes.c_int64
SIGNATURE = ctypes.CFUNCTYPE(None, *[WORD] * 8)
AT_ONCE = 2  # rows of the result: as many as keep the adders busy while there are registers for them


def shape_of(one: Instruction) -> Shape | None:
    """The shape of an instruction that has a function; None where arrays must."""
    shape = matrix.shapes().get(one.name)
    if shape is None or shape.blocks != 1 or shape.d == "f64":
        return None
    if one.fields["cbsz"] or one.fields["abid"] or one.fields["blgp"]:
        return None
    return shape


def function(shape: Shape) -> str:
    """The IR of a shape: A and B are spread out as f32 with k first, then multiplied row by row.

    Registers %a, %b, %c, %d; %c is negative for a constant, the bits of which are %word.
    """
    m, n, k, groups = shape.m, shape.n, shape.k, 64 // shape.m
    vector = f"<{n} x float>"
    result, add = ("i32", "add") if shape.d == "i32" else ("float", "fadd")
    wide = f"<{n} x {result}>"
    lines = [f"  %at{row} = add i64 %i, {row}" for row in range(AT_ONCE)]
    last = {row: "zeroinitializer" for row in range(AT_ONCE)}
    for step in range(k):
        lines.append(f"  %bp{step} = getelementptr float, ptr %right, i64 {step * n}")
        lines.append(f"  %bv{step} = load {vector}, ptr %bp{step}, align 64")
        for row in range(AT_ONCE):
            name = f"{step}_{row}"
            lines += [
                f"  %ai{name} = add i64 %at{row}, {step * m}",
                f"  %ap{name} = getelementptr float, ptr %left, i64 %ai{name}",
                f"  %av{name} = load float, ptr %ap{name}",
                f"  %as{name} = insertelement {vector} poison, float %av{name}, i64 0",
                f"  %aw{name} = shufflevector {vector} %as{name}, {vector} poison, <{n} x i32> zeroinitializer",
                f"  %f{name} = call {vector} @llvm.fma.v{n}f32({vector} %aw{name}, {vector} %bv{step}, "
                f"{vector} {last[row]})",
            ]
            last[row] = f"%f{name}"
    for row in range(AT_ONCE):
        lines += stored(shape, row, last[row], wide, add)
    return f"""define void @{shape.name}(ptr %v, i64 %vs, i64 %waves, i64 %a, i64 %b, i64 %c, i64 %d, i64 %word)
    "no-builtins" {{
entry:
  %left = alloca [{k * m} x float], align 64
  %right = alloca [{k * n} x float], align 64
  %constant = icmp slt i64 %c, 0
  %bits = trunc i64 %word to i32
  %w0 = insertelement <{n} x i32> poison, i32 %bits, i64 0
  %words = shufflevector <{n} x i32> %w0, <{n} x i32> poison, <{n} x i32> zeroinitializer
  %ca = mul i64 %c, %vs
  %da = mul i64 %d, %vs
  br label %wave
wave:
  %w = phi i64 [0, %entry], [%w1, %wnext]
  %first = shl i64 %w, 6
{spread(shape, "a", shape.a, m)}
{spread(shape, "b", shape.b, n)}
  br label %rows
rows:
  %i = phi i64 [0, %wave], [%i1, %stored{AT_ONCE - 1}]
  %quad = udiv i64 %i, {4 * groups}
  %four = mul i64 %quad, 4
  %in4 = and i64 %i, 3
  %reg = add i64 %four, %in4
  %g0 = lshr i64 %i, 2
  %g = and i64 %g0, {groups - 1}
  %lane = mul i64 %g, {n}
  %column = add i64 %first, %lane
{chr(10).join(lines)}
  %i1 = add i64 %i, {AT_ONCE}
  %more = icmp ult i64 %i1, {m}
  br i1 %more, label %rows, label %wnext
wnext:
  %w1 = add i64 %w, 1
  %again = icmp ult i64 %w1, %waves
  br i1 %again, label %wave, label %done
done:
  ret void
}}
"""


def stored(shape: Shape, row: int, total: str, wide: str, add: str) -> list[str]:
    """Adds C to a row of the result, and writes it: rows lie in groups of four registers."""
    n = shape.n
    lines = [f"  %r{row} = add i64 %reg, {row}", f"  %ro{row} = mul i64 %r{row}, %vs"]
    if shape.d == "i32":
        lines.append(f"  %t{row} = fptosi <{n} x float> {total} to {wide}")
        total = f"%t{row}"
    return [
        *lines,
        f"  %co{row} = add i64 %ca, %ro{row}",
        f"  %cl{row} = add i64 %co{row}, %column",
        f"  br i1 %constant, label %stored{row}, label %read{row}",
        f"read{row}:",
        f"  %cp{row} = getelementptr i32, ptr %v, i64 %cl{row}",
        f"  %cr{row} = load <{n} x i32>, ptr %cp{row}, align 4",
        f"  br label %stored{row}",
        f"stored{row}:",
        f"  %cx{row} = phi <{n} x i32> [%words, %{'rows' if row == 0 else f'stored{row - 1}'}], [%cr{row}, %read{row}]",
        f"  %cv{row} = bitcast <{n} x i32> %cx{row} to {wide}",
        f"  %s{row} = {add} {wide} {total}, %cv{row}",
        f"  %do{row} = add i64 %da, %ro{row}",
        f"  %dl{row} = add i64 %do{row}, %column",
        f"  %dp{row} = getelementptr i32, ptr %v, i64 %dl{row}",
        f"  store {wide} %s{row}, ptr %dp{row}, align 4",
    ]


def spread(shape: Shape, side: str, kind: str, width: int) -> str:
    """The lines that write an operand's elements as f32, k first: k runs along groups of lanes, registers, elements."""
    registers, per = shape.operand_registers, 32 // matrix.BITS[kind]
    target = "%left" if side == "a" else "%right"
    lines: list[str] = []
    for number in range(registers):
        lines.append(f"  %{side}r{number} = add i64 %{side}, {number}")
        lines.append(f"  %{side}o{number} = mul i64 %{side}r{number}, %vs")
        lines.append(f"  %{side}l{number} = add i64 %{side}o{number}, %first")
        for group in range(64 // width):
            name = f"{side}{number}_{group}"
            lines += [
                f"  %i{name} = add i64 %{side}l{number}, {group * width}",
                f"  %p{name} = getelementptr i32, ptr %v, i64 %i{name}",
                f"  %w{name} = load <{width} x i32>, ptr %p{name}, align 4",
            ]
            for element in range(per):
                k = (group * registers + number) * per + element
                value = f"{name}_{element}"
                lines += converted(value, f"%w{name}", kind, element, width)
                lines += [
                    f"  %q{value} = getelementptr float, ptr {target}, i64 {k * width}",
                    f"  store <{width} x float> %v{value}, ptr %q{value}, align 64",
                ]
    return "\n".join(lines)


def converted(name: str, words: str, kind: str, element: int, width: int) -> list[str]:
    """One element of each dword as f32."""
    i32, f32 = f"<{width} x i32>", f"<{width} x float>"

    def splat(value: int) -> str:
        return "<" + ", ".join([f"i32 {value}"] * width) + ">"

    if kind == "f32":
        return [f"  %v{name} = bitcast {i32} {words} to {f32}"]
    if kind == "xf32":
        return [
            f"  %x0{name} = and {i32} {words}, {splat(-8192)}",  # as `matrix.cut` has it
            f"  %x1{name} = and {i32} {words}, {splat(0x7FFFFFFF)}",
            f"  %x2{name} = icmp ugt {i32} %x1{name}, {splat(0x7F800000)}",
            f"  %x3{name} = or {i32} {words}, {splat(0x00400000)}",
            f"  %x4{name} = select <{width} x i1> %x2{name}, {i32} %x3{name}, {i32} %x0{name}",
            f"  %v{name} = bitcast {i32} %x4{name} to {f32}",
        ]
    if kind == "bf16":
        move = f"shl {i32} {words}, {splat(16)}" if element == 0 else f"and {i32} {words}, {splat(-65536)}"
        return [f"  %x{name} = {move}", f"  %v{name} = bitcast {i32} %x{name} to {f32}"]
    if kind == "f16":
        return [
            f"  %x0{name} = lshr {i32} {words}, {splat(16 * element)}",
            f"  %x1{name} = trunc {i32} %x0{name} to <{width} x i16>",
            f"  %x2{name} = bitcast <{width} x i16> %x1{name} to <{width} x half>",
            f"  %v{name} = fpext <{width} x half> %x2{name} to {f32}",
        ]
    if kind == "i8":
        return [
            f"  %x0{name} = shl {i32} {words}, {splat(24 - 8 * element)}",
            f"  %x1{name} = ashr {i32} %x0{name}, {splat(24)}",
            f"  %v{name} = sitofp {i32} %x1{name} to {f32}",
        ]
    return small_float(name, words, kind, element, width)


def small_float(name: str, words: str, kind: str, element: int, width: int) -> list[str]:
    """An 8-bit float: its exponent and mantissa as those of an f32, times what the biases differ by.

    Subnormals come out right by the same multiplication; the pattern of minus zero is NaN (FNUZ).
    """
    i32, f32 = f"<{width} x i32>", f"<{width} x float>"
    mantissa, bias = (3, 8) if kind == "fp8" else (2, 16)
    factor = np.float32(2.0 ** (127 - bias)).view(np.uint32)

    def splat(value: int) -> str:
        return "<" + ", ".join([f"i32 {value}"] * width) + ">"

    return [
        f"  %x0{name} = lshr {i32} {words}, {splat(8 * element)}",
        f"  %x1{name} = and {i32} %x0{name}, {splat(127)}",
        f"  %x2{name} = shl {i32} %x1{name}, {splat(23 - mantissa)}",
        f"  %x3{name} = bitcast {i32} %x2{name} to {f32}",
        f"  %fa{name} = bitcast {i32} {splat(int(factor))} to {f32}",
        f"  %x4{name} = fmul {f32} %x3{name}, %fa{name}",
        f"  %x5{name} = bitcast {f32} %x4{name} to {i32}",
        f"  %x6{name} = and {i32} %x0{name}, {splat(128)}",
        f"  %x7{name} = shl {i32} %x6{name}, {splat(24)}",
        f"  %x8{name} = or {i32} %x5{name}, %x7{name}",
        f"  %x9{name} = and {i32} %x0{name}, {splat(255)}",
        f"  %xa{name} = icmp eq {i32} %x9{name}, {splat(128)}",
        f"  %xb{name} = select <{width} x i1> %xa{name}, {i32} {splat(0x7FC00000)}, {i32} %x8{name}",
        f"  %v{name} = bitcast {i32} %xb{name} to {f32}",
    ]


class NativeMatrix:
    """The functions of the shapes that some instructions have."""

    def __init__(self, instructions: Iterable[Instruction]) -> None:
        self.functions: dict[str, Any] = {}
        found = [shape for each in instructions if each.opcode.is_matrix and (shape := shape_of(each)) is not None]
        shapes = sorted(set(found), key=lambda shape: shape.name)
        if not shapes:
            return
        declared = [f"declare <{n} x float> @llvm.fma.v{n}f32({', '.join([f'<{n} x float>'] * 3)})" for n in (16, 32)]
        engine = loaded("\n".join((*declared, *(function(shape) for shape in shapes))))
        self.functions = {shape.name: SIGNATURE(engine.get_function_address(shape.name)) for shape in shapes}

    def bind(self, one: Instruction, arrays: Step) -> Step:
        """A matrix instruction natively; with arrays where it has no function, or some of the waves are elsewhere."""
        call = self.functions.get(one.name)
        place = one.operands["src2"]
        if call is None or shape_of(one) is None:
            return arrays
        a, b, d = (register(one.operands[name]) for name in ("src0", "src1", "vdst"))
        c, word = -1, 0
        if place.file in ("v", "a"):
            c = register(place)
            if c != d and abs(c - d) < place.width:  # a row that is written would be read later
                return arrays
        else:
            value = constant(place, "i32" if one.name.startswith("v_mfma_i32") else "f32")
            if value is None:
                return arrays
            word = int(np.asarray(value).view(np.uint32))

        def step(w: Waves) -> None:
            if w.uniform:
                call(w.v_at, w.v_stride, w.count, a, b, c, d, word)
            else:
                arrays(w)

        return step
