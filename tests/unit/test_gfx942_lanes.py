"""Vector instructions that are not one function of a lane: lane reads, permutations, 8-bit floats, divisions."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from amdgcn import assemble
from gfx942_bench import bind, draw, fresh, get, mask_of, put
from gfx942_lds_bench import READS
from gfx942_scalar_cases import CASES as SCALAR
from gfx942_vector_cases import CASES
from lane_oracle import ir, is_nan, raw
from test_gfx942_packed import HALVES, WORDS
from test_gfx942_scalar import SAVES

from lowering.targets.amdgpu.emulator.decode import decode
from lowering.targets.amdgpu.emulator.formats import opcodes
from lowering.targets.amdgpu.emulator.vector_table import VECTOR
from lowering.targets.amdgpu.emulator.waves import EXEC, Waves

DATA = Path(__file__).parent / "data"


def execute(lines: list[str], w: Waves) -> None:
    """Runs lines one after the other."""
    with np.errstate(all="ignore"):
        for code in assemble(lines):
            assert isinstance(code, bytes), (lines, code)
            bind(decode(code, 0))(w)


def state(mode: str = "some", seed: int = 1) -> Waves:
    return fresh(np.random.default_rng(seed), mode)


# --- lanes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["full", "some", "waves"])
def test_readfirstlane_takes_the_lowest_active_lane(mode):
    w = state(mode)
    before, old = w.v.copy(), w.s[7].copy()
    execute(["v_readfirstlane_b32 s7, v3"], w)
    for wave in range(w.count):
        lanes = np.flatnonzero(mask_of(EXEC)(w)[wave])
        wanted = before[3, wave, lanes[0] if len(lanes) else 0] if w.active[wave] else old[wave]
        assert w.s[7, wave] == wanted


@pytest.mark.parametrize("mode", ["full", "some", "waves"])
def test_readlane_and_writelane_ignore_exec(mode):
    w = state(mode)
    before, old = w.v.copy(), w.s.copy()
    execute(["v_readlane_b32 s7, v3, 41", "v_readlane_b32 s8, v3, s9"], w)
    for wave in np.flatnonzero(w.active):
        assert w.s[7, wave] == before[3, wave, 41]
        assert w.s[8, wave] == before[3, wave, old[9, wave] & 63]
    execute(["v_writelane_b32 v4, s9, 17", "v_writelane_b32 v5, -3, m0", "v_writelane_b32 v5, s10, s10"], w)
    wanted = before.copy()
    for wave in np.flatnonzero(w.active):
        wanted[4, wave, 17] = old[9, wave]
        wanted[5, wave, old[124, wave] & 63] = 0xFFFFFFFD
        wanted[5, wave, old[10, wave] & 63] = old[10, wave]
    np.testing.assert_array_equal(w.v, wanted)
    assert not w.active.all() or mode != "waves"


@pytest.mark.parametrize("mode", ["full", "some", "waves"])
def test_swap_and_accumulators(mode):
    w = state(mode)
    before = w.v.copy()
    taking = mask_of(EXEC)(w) & w.active[:, None]
    execute(["v_swap_b32 v2, v3"], w)
    np.testing.assert_array_equal(w.v[2], np.where(taking, before[3], before[2]))
    np.testing.assert_array_equal(w.v[3], np.where(taking, before[2], before[3]))
    execute(["v_accvgpr_write_b32 a5, v9", "v_accvgpr_write_b32 a6, 1.0", "v_accvgpr_mov_b32 a7, a5"], w)
    execute(["v_accvgpr_read_b32 v10, a7", "v_accvgpr_read_b32 v11, a6", "v_nop", "v_clrexcp"], w)
    np.testing.assert_array_equal(w.v[10], np.where(taking, before[9], before[10]))
    np.testing.assert_array_equal(w.v[11], np.where(taking, 0x3F800000, before[11]))
    assert not w.v[5 + 256][~taking].any()


def test_mbcnt_counts_the_lanes_below():
    w = state("full")
    before, masks = w.v.copy(), w.s.copy()
    execute(["v_mbcnt_lo_u32_b32 v2, -1, 0", "v_mbcnt_hi_u32_b32 v2, -1, v2"], w)
    np.testing.assert_array_equal(w.v[2], np.broadcast_to(np.arange(64), w.shape))
    execute(["v_mbcnt_lo_u32_b32 v3, s4, v5", "v_mbcnt_hi_u32_b32 v3, v6, v3"], w)
    for wave in range(w.count):
        for lane in range(64):
            low = int(masks[4, wave]) & (1 << min(lane, 32)) - 1
            high = int(before[6, wave, lane]) & (1 << max(lane - 32, 0)) - 1
            wanted = int(before[5, wave, lane]) + low.bit_count() + high.bit_count()
            assert w.v[3, wave, lane] == wanted & 0xFFFFFFFF


def test_dot2c_of_halves():
    w = state("full")
    values = np.random.default_rng(2).integers(-64, 64, (4, *w.shape)).astype(np.float16)
    for index, (low, high) in ((2, (values[0], values[1])), (3, (values[2], values[3]))):
        w.v[index] = raw(low).astype(np.uint32) | raw(high).astype(np.uint32) << np.uint32(16)
    put(w, 4, np.full(w.shape, 1.5, np.float32))
    execute(["v_dot2c_f32_f16_e32 v4, v2, v3"], w)
    a, b, c, d = values.astype(np.float64)
    np.testing.assert_array_equal(get(w, 4, np.float32), 1.5 + a * c + b * d)


FMA32 = ir("f32 f32 f32 -> f32", "llvm.fma")


def test_literals_of_fused_operations():
    w = state("full")
    rng = np.random.default_rng(5)
    a, b = (draw(rng, "f32", w.shape).view(np.float32) for _ in range(2))
    put(w, 2, a)
    put(w, 3, b)
    execute(["v_fmamk_f32 v4, v2, 0x3fb8aa3b, v3", "v_fmaak_f32 v5, v2, v3, 0xc1200001"], w)
    for index, third in ((4, (np.uint32(0x3FB8AA3B), b)), (5, (b, np.uint32(0xC1200001)))):
        second, addend = (np.broadcast_to(np.asarray(each).view(np.float32), w.shape) for each in third)
        right, got = FMA32(a, second, addend), get(w, index, np.float32)
        assert ((raw(got) == raw(right)) | is_nan(right) & is_nan(got)).all()


# --- 8-bit floats ----------------------------------------------------------------------------------------------------

SMALL = {"fp8": (3, 8), "bf8": (2, 16)}  # bits of the mantissa, bias


def decoded(code: int, name: str) -> float:
    """The value of a byte: FNUZ, with one zero, one NaN and no infinities."""
    mantissa, bias = SMALL[name]
    if code == 0x80:
        return math.nan
    exponent, rest = (code & 0x7F) >> mantissa, code & (1 << mantissa) - 1
    value = math.ldexp(rest + (1 << mantissa if exponent else 0), max(exponent, 1) - bias - mantissa)
    return -value if code >> 7 else value


def encoded(value: float, name: str) -> int:
    """The byte next to a value, ties to even; NaN for what would round beyond the largest."""
    numbers = [decoded(code, name) for code in range(0x80)]
    if math.isnan(value) or abs(value) > 2 * numbers[-1]:
        return 0x80
    numbers.append(2 * numbers[-1] - numbers[-2])  # what would follow
    code = min(range(0x81), key=lambda c: (abs(numbers[c] - abs(value)), c & 1))
    if code == 0x80 or code == 0:
        return code
    return code | (0x80 if value < 0 else 0)


@pytest.mark.parametrize("name", ["fp8", "bf8"])
def test_all_bytes_as_floats(name):
    w = state("full")
    words = np.arange(w.count * 64, dtype=np.uint32) * np.uint32(0x01020501) + np.uint32(7)
    put(w, 2, words.reshape(w.shape))
    lines = [f"v_cvt_f32_{name}_sdwa v{4 + n}, v2 src0_sel:BYTE_{n}" for n in range(4)]
    lines += [f"v_cvt_f32_{name}_e32 v8, v2", f"v_cvt_pk_f32_{name}_e32 v[10:11], v2"]
    lines += [f"v_cvt_pk_f32_{name}_sdwa v[12:13], v2 src0_sel:WORD_1"]
    execute(lines, w)
    table = np.array([decoded(code, name) for code in range(256)], np.float32)
    for row, part in ((4, 0), (5, 1), (6, 2), (7, 3), (8, 0), (10, 0), (11, 1), (12, 2), (13, 3)):
        wanted = table[(words >> np.uint32(8 * part) & np.uint32(255)).reshape(w.shape)]
        np.testing.assert_array_equal(get(w, row, np.float32), wanted, err_msg=f"v{row}")
    assert len(set(words & 255)) == 256


@pytest.mark.parametrize("name", ["fp8", "bf8"])
@pytest.mark.parametrize("mode", ["full", "some"])
def test_floats_as_bytes(name, mode):
    w, rng = state(mode), np.random.default_rng(9)
    numbers = np.array([decoded(code, name) for code in range(0x80)])
    middles = np.concatenate([numbers, (numbers[1:] + numbers[:-1]) / 2, numbers[-1:] * 1.03, numbers[-1:] * 1.1])
    pool = np.concatenate(
        [middles, np.nextafter(middles.astype(np.float32), np.float32(0)), [np.inf, np.nan, 1e30, 1e-30]]
    )
    pool = np.concatenate([pool, -pool]).astype(np.float32)
    a, b = (pool[rng.integers(0, len(pool), w.shape)] for _ in range(2))
    put(w, 2, a)
    put(w, 3, b)
    before = w.v.copy()
    lines = [f"v_cvt_pk_{name}_f32 v4, v2, v3", f"v_cvt_pk_{name}_f32 v5, v2, -v3 op_sel:[0,0,1]"]
    execute(lines, w)
    code = {v: encoded(float(v), name) for v in pool.tolist() if v == v} | {-0.0: 0}
    low = np.array([code.get(v, 0x80) for v in a.ravel().tolist()], np.uint32).reshape(w.shape)
    high = np.array([code.get(v, 0x80) for v in b.ravel().tolist()], np.uint32).reshape(w.shape)
    flipped = np.array([code.get(-v, 0x80) for v in b.ravel().tolist()], np.uint32).reshape(w.shape)
    taking = mask_of(EXEC)(w)
    for row, word in (
        (4, low | high << 8 | before[4] & 0xFFFF0000),
        (5, (low | flipped << 8) << 16 | before[5] & 0xFFFF),
    ):
        np.testing.assert_array_equal(w.v[row], np.where(taking, word, before[row]), err_msg=f"v{row}")


# --- what is covered -------------------------------------------------------------------------------------------------

HERE = {
    "v_readfirstlane_b32", "v_readlane_b32", "v_writelane_b32", "v_swap_b32", "v_accvgpr_mov_b32", "v_nop", "v_clrexcp",
    "v_accvgpr_read_b32", "v_accvgpr_write_b32", "v_mbcnt_lo_u32_b32", "v_mbcnt_hi_u32_b32", "v_dot2c_f32_f16",
    "v_fmamk_f32", "v_fmaak_f32", "v_cvt_f32_fp8", "v_cvt_f32_bf8", "v_cvt_pk_f32_fp8", "v_cvt_pk_f32_bf8",
    "v_cvt_pk_fp8_f32", "v_cvt_pk_bf8_f32", "v_div_scale_f32", "v_div_scale_f64", "v_div_fmas_f32", "v_div_fmas_f64",
}  # fmt: skip
REFUSED = {
    "v_screen_partition_4se_b32": "graphics", "v_cubeid_f32": "graphics",
    "v_cubesc_f32": "graphics", "v_cubetc_f32": "graphics", "v_cubema_f32": "graphics",
    "v_cvt_norm_i16_f16": "rounding not documented", "v_cvt_norm_u16_f16": "rounding not documented",
    "v_cvt_pknorm_i16_f32": "rounding not documented", "v_cvt_pknorm_u16_f32": "rounding not documented",
    "v_cvt_pknorm_i16_f16": "rounding not documented", "v_cvt_pknorm_u16_f16": "rounding not documented",
    "v_cvt_pk_u8_f32": "rounding not documented", "v_cvt_pkaccum_u8_f32": "rounding not documented",
    "v_cvt_sr_fp8_f32": "stochastic rounding", "v_cvt_sr_bf8_f32": "stochastic rounding",
    "v_qsad_pk_u16_u8": "not emitted for IR", "v_mqsad_pk_u16_u8": "not emitted for IR",
    "v_mqsad_u32_u8": "not emitted for IR", "v_trig_preop_f64": "a table of 2 / pi",
    "v_mac_f16": "not fused: only without denormals", "v_madmk_f16": "not fused: only without denormals",
    "v_madak_f16": "not fused: only without denormals", "v_mad_f16": "not fused: only without denormals",
    "v_mad_legacy_f16": "not fused: only without denormals", "v_pk_fmac_f16": "not emitted for IR",
}  # fmt: skip
ELSEWHERE = ("v_mfma_", "buffer_", "global_", "s_load_", "s_cbranch_", "s_branch", "s_barrier", "s_endpgm")


def test_all_vector_operations_are_tested_or_named():
    names = {each.name for each in opcodes().values() if each.format in ("VOP1", "VOP2", "VOP3", "VOPC")}
    assert not (names | {"v_accvgpr_read_b32", "v_accvgpr_write_b32"}) ^ (set(CASES) | HERE | set(REFUSED))
    assert not set(VECTOR) & set(REFUSED)


def test_what_compilers_emit_is_tested():
    """But matrices, memory and branches, which have tests of their own."""
    known = set(CASES) | HERE | set(SCALAR) | {f"s_{name}_saveexec_b64" for name in SAVES}
    known |= {f"v_pk_{name}" for name in (*HALVES, *WORDS, "mov_b32")} | {"v_fma_mix_f32"}
    known |= {"s_nop", "s_waitcnt", "s_setprio"}
    known |= {f"ds_read_{name}" for name in READS} | {f"ds_write_b{bits}" for bits in (8, 16, 32, 64, 96, 128)}
    known |= {f"ds_{way}2{stride}_b{bits}" for way in ("read", "write") for stride in ("", "st64") for bits in (32, 64)}
    known |= {"ds_bpermute_b32"}
    names = {re.sub("_(e32|e64|dpp|sdwa)$", "", each) for each in (DATA / "gfx942_mnemonics.txt").read_text().split()}
    assert {each for each in names - known if not each.startswith(ELSEWHERE)} == set()
