"""Random programs of several waves on a few places of LDS: both engines give the same memory and find the same."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from amdgcn import code_object

from lowering.targets.amdgpu.emulator.emulator import Emulator, Options

START = (
    "s_load_dwordx2 s[8:9], s[0:1], 0x0\ns_waitcnt lgkmcnt(0)\nv_and_b32_e32 v1, 0x3ff, v0\n"
    "v_lshlrev_b32_e32 v2, 2, v1\nv_readfirstlane_b32 s5, v1\ns_lshr_b32 s5, s5, 6\nv_mov_b32_e32 v3, 1\n"
    "v_and_b32_e32 v4, 1, v1\n"
    "v_lshrrev_b32_e32 v5, 6, v1\nv_mov_b32_e32 v6, 0\nv_and_b32_e32 v7, 12, v2\n"
)
END = "s_waitcnt lgkmcnt(0)\ns_barrier\nds_read_b32 v12, v2\ns_waitcnt lgkmcnt(0)\nglobal_store_dword v2, v12, s[8:9]"
PLACES, VALUES = ("v6", "v7", "v2"), ("v1", "v3", "v4", "v5")  # one for all, four, one each; lanes, 1, parity, waves
LINES = (
    "ds_write_b32 {at}, {value} offset:{offset}",
    "ds_write_b8 {at}, {value} offset:{offset}",
    "ds_write2_b32 {at}, {value}, v3 offset1:1",
    "ds_read_b32 v10, {at} offset:{offset}",
    "ds_read2_b32 v[10:11], {at} offset1:1",
    "ds_read_b64 v[10:11], {at} offset:{offset}",
    "ds_add_u32 {at}, {value} offset:4",
    "ds_max_rtn_u32 v10, {at}, {value}",
    "s_waitcnt lgkmcnt(0)\ns_barrier",
)


@st.composite
def programs(draw: st.DrawFn) -> str:
    """Some accesses, each of all waves or of one."""
    body = START
    for number in range(draw(st.integers(1, 7))):
        at, value, offset = (draw(st.sampled_from(each)) for each in (PLACES, VALUES, (0, 4, 2, 1)))
        line = draw(st.sampled_from(LINES)).format(at=at, value=value, offset=offset)
        wave = None if "barrier" in line else draw(st.sampled_from((None, None, 0, 1, 2)))
        if wave is not None:
            line = f"s_cmp_lg_u32 s5, {wave}\ns_cbranch_scc1 next_{number}\n{line}\nnext_{number}:"
        body += line + "\n"
    return body + END


@settings(max_examples=60, deadline=None)
@given(programs(), st.sampled_from((None, 1, 2)))
def test_engines_agree(body, order):
    code, results = code_object(body, ("global_buffer",), lds=1024), []
    for engine in ("numpy", "native"):
        out = np.zeros(192, np.uint32)
        ran = Emulator(code).launch(
            "k", (1, 1, 1), (192, 1, 1), [out], options=Options(engine=engine, wave_order=order, on_fault="warn")
        )
        results.append((sorted(str(each) for each in ran.findings), out.tolist()))
    assert results[0] == results[1]
