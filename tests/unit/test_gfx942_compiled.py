"""Functions that LLVM compiles for gfx942 and for this processor: both compute the same."""

from __future__ import annotations

import math
from collections.abc import Callable

import llvmlite.binding as llvm
import ml_dtypes
import numpy as np
import pytest
from amdgcn import assemble
from gfx942_bench import bind, draw, fresh, get, put
from lane_oracle import ARRAYS, TYPES, declarations, fma16, ir, is_nan, order, raw

from lowering.targets.amdgpu.emulator.decode import decode
from lowering.targets.amdgpu.emulator.waves import Waves

COMPILED = {
    "f32 / f32": ir("f32 f32 -> f32", "fdiv"),
    "f64 / f64": ir("f64 f64 -> f64", "fdiv"),
    "sqrt f32": ir("f32 -> f32", "llvm.sqrt"),
    "sqrt f64": ir("f64 -> f64", "llvm.sqrt"),
    "i32 / i32": ir("i32 i32 -> i32", "%o = or i32 %b, 1;%r = sdiv i32 %a, %o"),
    "u32 / u32": ir("i32 i32 -> i32", "%o = or i32 %b, 1;%r = udiv i32 %a, %o"),
    "u32 % u32": ir("i32 i32 -> i32", "%z = icmp eq i32 %b, 0;%o = select i1 %z, i32 7, i32 %b;%r = urem i32 %a, %o"),
    "u32 / 7": ir("i32 -> i32", "%r = udiv i32 %a, 7"),
    "i64 / 10": ir("i64 -> i64", "%r = sdiv i64 %a, 10"),
    "i64 * i64": ir("i64 i64 -> i64", "mul"),
    "i64 + i64": ir("i64 i64 -> i64", "add"),
    "i64 - i64": ir("i64 i64 -> i64", "sub"),
    "i64 << i64": ir("i64 i64 -> i64", "%n = and i64 %b, 63;%r = shl i64 %a, %n"),
    "i64 max": ir("i64 i64 -> i64", "llvm.smax"),
    "u64 sat": ir("i64 i64 -> i64", "llvm.uadd.sat"),
    "u64 rotate": ir("i64 i64 i64 -> i64", "llvm.fshl"),
    "u64 zeros": ir("i64 -> i64", "%r = call i64 @llvm.ctlz.i64(i64 %a, i1 false)"),
    "u64 ones": ir("i64 -> i64", "llvm.ctpop"),
    "u64 bytes": ir("i64 -> i64", "llvm.bswap"),
    "u64 bits": ir("i64 -> i64", "llvm.bitreverse"),
    "u16 bytes": ir("i16 -> i16", "llvm.bswap"),
    "i16 * i16 + i16": ir("i16 i16 i16 -> i16", "%p = mul i16 %a, %b;%r = add i16 %p, %c"),
    "u64 to f32": ir("i64 -> f32", "%r = uitofp i64 %a to float"),
    "i64 to f32": ir("i64 -> f32", "%r = sitofp i64 %a to float"),
    "u64 to f64": ir("i64 -> f64", "%r = uitofp i64 %a to double"),
    "f32 to i64": ir("f32 -> i64", "%r = call i64 @llvm.fptosi.sat.i64.f32(float %a)"),
    "f64 to u64": ir("f64 -> i64", "%r = call i64 @llvm.fptoui.sat.i64.f64(double %a)"),
    "f32 order": ir("f32 f32 f32 -> f32", "%l = fcmp ult float %a, %b;%r = select i1 %l, float %c, float %a"),
    "f32 sign": ir("f32 f32 -> f32", "llvm.copysign"),
    "f64 floor": ir("f64 -> f64", "%f = call double @llvm.floor.f64(double %a);%r = fsub double %a, %f"),
    "i32 clamp": ir(
        "i32 -> i32",
        "%m = call i32 @llvm.smin.i32(i32 %a, i32 100);%r = call i32 @llvm.smax.i32(i32 %m, i32 -100)",
    ),
}


def lines_of(types: list[str], kind: str, body: str) -> list[str]:
    """The instructions of a function of IR for gfx942, without waits and the return."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    triple = "amdgcn-amd-amdhsa"
    sources = ", ".join(f"{each} %{n}" for n, each in zip("abc", types, strict=False))
    body = "\n".join(body.split(";"))
    text = f"define {kind} @f({sources}) {{\n{body}\nret {kind} %r\n}}\n" + "\n".join(declarations())
    module = llvm.parse_assembly(f'target triple = "{triple}"\n{text}')
    assembly = llvm.Target.from_triple(triple).create_target_machine(cpu="gfx942", opt=2).emit_assembly(module)
    rows = [line.split(";")[0].strip() for line in assembly.splitlines()]
    return [row for row in rows if row.startswith(("v_", "s_")) and not row.startswith(("s_waitcnt", "s_setpc"))]


def steps_of(lines: list[str]) -> list[Callable[[Waves], None]]:
    """Straight code as steps."""
    assert not any("branch" in line for line in lines), lines
    steps = [bind(decode(code, 0)) for code in assemble(lines) if isinstance(code, bytes)]
    assert len(steps) == len(lines)
    return steps


@pytest.mark.parametrize("name", COMPILED)
def test_functions_compiled_for_both_processors(name):
    """LLVM's code for gfx942 computes what its code for this processor does: divisions are correctly rounded, ...

    But for subnormal f64 quotients, where the last step of the division rounds twice.
    """
    one, rng = COMPILED[name], np.random.default_rng(11)
    lines = lines_of([TYPES[kind] for kind in one.sources], TYPES[one.result], one.body)
    steps = steps_of(lines)
    for turn in range(6):
        w, row, given = fresh(np.random.default_rng(turn), "full"), 0, []
        for kind in one.sources:
            bits = draw(rng, kind, w.shape)
            if turn % 2 and kind[0] == "f":  # near 1, with any exponent
                bits = raw(rng.standard_normal(w.shape).astype(ARRAYS[kind]))
                bits = bits ^ rng.integers(0, 2**8, w.shape).astype(bits.dtype) << bits.itemsize * 8 - 9
            put(w, row, bits if bits.itemsize > 2 else bits.astype(np.uint32))
            row += 2 if bits.itemsize == 8 else 1
            given.append(bits.view(ARRAYS[kind]))
        with np.errstate(all="ignore"):
            for step in steps:
                step(w)
        right, kind = one(*given), np.dtype(ARRAYS[one.result])
        got = get(w, 0, kind) if kind.itemsize > 2 else (w.v[0] & 0xFFFF).astype(kind)
        good = raw(got) == raw(right)
        if one.result[0] == "f":
            good |= is_nan(right) & is_nan(got)
        if name == "f64 / f64":
            good |= (np.abs(right) <= 2.0**-1022) & (np.abs(order(got) - order(right)) <= 1)
        bad = [tuple(i) for i in np.argwhere(~good)]
        assert not bad, (len(bad), [([g[i] for g in given], got[i], right[i]) for i in bad[:3]], lines)


# --- kinds that this processor may not have --------------------------------------------------------------------------

HALF_CALLS = ["declare half @llvm.fma.f16(half, half, half)", "declare half @llvm.sqrt.f16(half)",
              "declare float @llvm.exp2.f32(float)", "declare float @llvm.exp.f32(float)",
              "declare float @llvm.log.f32(float)", "declare float @llvm.log2.f32(float)",
              "declare <2 x i16> @llvm.sadd.sat.v2i16(<2 x i16>, <2 x i16>)"]  # fmt: skip


def by_f64(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """One operation of a narrow kind by way of f64."""
    return lambda *given: function(*(each.astype(np.float64) for each in given)).astype(given[0].dtype)


def near(function: Callable[[float], float]) -> Callable[[np.ndarray], np.ndarray]:
    """A function of Python's floats."""
    return lambda a: np.array([function(v) for v in a.ravel().tolist()], np.float64).astype(a.dtype).reshape(a.shape)


def exponential(base: float) -> Callable[[float], float]:
    """A power without an exception, for results that fit f32."""
    return lambda x: math.nan if math.isnan(x) else math.inf if x > 600 else 0.0 if x < -600 else base**x


def logarithm(function: Callable[[float], float]) -> Callable[[float], float]:
    """A logarithm without an exception."""
    return lambda x: -math.inf if x == 0 else math.nan if not x > 0 else function(x)


BF16 = np.dtype(ml_dtypes.bfloat16)
NARROW = {
    "f16 / f16": (("half", "half"), "half", "%r = fdiv half %a, %b", by_f64(np.divide), 0),
    "f16 fma": (("half", "half", "half"), "half", "%r = call half @llvm.fma.f16(half %a, half %b, half %c)", fma16, 0),
    "sqrt f16": (("half",), "half", "%r = call half @llvm.sqrt.f16(half %a)", by_f64(np.sqrt), 0),
    "f16 max": (("half", "half"), "half", "%c1 = fcmp ogt half %a, %b;%r = select i1 %c1, half %a, half %b",
                lambda a, b: np.where(a > b, a, b), 0),
    "bf16 + bf16": (("bfloat", "bfloat"), "bfloat", "%r = fadd bfloat %a, %b", by_f64(np.add), 0),
    "bf16 * bf16": (("bfloat", "bfloat"), "bfloat", "%r = fmul bfloat %a, %b", by_f64(np.multiply), 0),
    "f32 to bf16": (("float",), "bfloat", "%r = fptrunc float %a to bfloat", lambda a: a.astype(BF16), 0),
    "f32 to f16": (("float",), "half", "%r = fptrunc float %a to half", lambda a: a.astype(np.float16), 0),
    "f16 to i32": (("half",), "i32", "%x = fpext half %a to float;%r = call i32 @llvm.fptosi.sat.i32.f32(float %x)",
                   lambda a: np.clip(np.nan_to_num(np.trunc(a.astype(np.float64)), posinf=2**31 - 1, neginf=-(2**31)),
                                     -(2**31), 2**31 - 1).astype(np.int32).view(np.uint32), 0),
    "exp2 f32": (("float",), "float", "%r = call float @llvm.exp2.f32(float %a)", near(exponential(2)), 1),
    "exp f32": (("float",), "float", "%r = call float @llvm.exp.f32(float %a)", near(exponential(math.e)), 2),
    "log2 f32": (("float",), "float", "%r = call float @llvm.log2.f32(float %a)", near(logarithm(math.log2)), 1),
    "log f32": (("float",), "float", "%r = call float @llvm.log.f32(float %a)", near(logarithm(math.log)), 2),
}  # fmt: skip
DTYPES = {"half": np.dtype(np.float16), "bfloat": BF16, "float": np.dtype(np.float32), "i32": np.dtype(np.uint32)}


@pytest.mark.parametrize("name", NARROW)
def test_narrow_and_elementary_functions(name):
    """Halves and bf16 exactly; exponentials and logarithms within the ulps that LLVM's steps leave."""
    types, kind, body, function, ulps = NARROW[name]
    steps, rng = steps_of(lines_of(list(types), kind, body)), np.random.default_rng(3)
    for turn in range(4):
        w, given = fresh(rng, "full"), []
        for row, each in enumerate(types):
            known = DTYPES[each]
            if turn % 2:
                values = (rng.standard_normal(w.shape) * 2.0 ** rng.integers(-6, 7, w.shape)).astype(known)
            elif known == BF16:
                values = (draw(rng, "f32", w.shape) >> np.uint32(16)).astype(np.uint16).view(BF16)
            else:
                values = draw(rng, f"f{8 * known.itemsize}", w.shape).view(known)
            w.v[row] = raw(values)
            given.append(values)
        with np.errstate(all="ignore"):
            for step in steps:
                step(w)
            right = np.ascontiguousarray(function(*given))
        got = w.v[0].astype(f"u{right.dtype.itemsize}").view(right.dtype)
        good = raw(got) == raw(right)
        if kind != "i32":
            wide = [each.astype(np.float32) for each in (got, right)]
            good |= is_nan(wide[0]) & is_nan(wide[1])
        if ulps:
            good |= np.abs(order(got).astype(np.int64) - order(right)) <= ulps
        bad = [tuple(i) for i in np.argwhere(~good)]
        assert not bad, (len(bad), [([g[i] for g in given], got[i], right[i]) for i in bad[:4]])
