"""Every LDS instruction alone: reads and writes of all widths, exchanges between lanes."""

from __future__ import annotations

import re
import struct

import numpy as np
import pytest
from gfx942_bench import mask_of
from gfx942_lds_bench import MODES, READS, SIZE, fresh, memory, put_addresses, run, span, taking
from lane_oracle import signed
from test_gfx942_lds_atomics import INTEGERS

from lowering.targets.amdgpu.emulator import lds_steps
from lowering.targets.amdgpu.emulator.decode import decode
from lowering.targets.amdgpu.emulator.findings import EmulationError
from lowering.targets.amdgpu.emulator.formats import opcodes
from lowering.targets.amdgpu.emulator.operands import Unsupported
from lowering.targets.amdgpu.emulator.waves import EXEC


@pytest.mark.parametrize("checked", [False, True], ids=["unchecked", "checked"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", READS)
def test_reads(name, mode, checked):
    w, rng = fresh(mode)
    space = memory(rng, checked)
    nbytes, is_signed = READS[name]
    put_addresses(w, rng, max(nbytes & -nbytes, 1) if name != "b96" else 16, 4096, False)
    expected = w.v.copy()
    for wave, lane in taking(w):
        base = int(w.group[wave]) * space.stride + int(w.v[1, wave, lane]) + 528
        data = space.bytes_[base : base + nbytes].tobytes()
        if nbytes < 4:
            value = int.from_bytes(data, "little")
            expected[8, wave, lane] = (signed(value, 8 * nbytes) if is_signed else value) & 0xFFFFFFFF
        else:
            expected[8 : 8 + nbytes // 4, wave, lane] = struct.unpack(f"<{nbytes // 4}I", data)
    run(f"ds_read_{name} {span('v', 8, nbytes)}, v1 offset:528", w, space)
    np.testing.assert_array_equal(w.v, expected)
    assert not space.findings.found


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["u8_d16", "u8_d16_hi", "i8_d16", "i8_d16_hi", "u16_d16", "u16_d16_hi"])
def test_reads_of_halves_keep_the_other_half(name, mode):
    w, rng = fresh(mode)
    space = memory(rng)
    nbytes, is_signed = READS[name.split("_")[0]]
    put_addresses(w, rng, nbytes, 4096, False)
    expected = w.v.copy()
    for wave, lane in taking(w):
        base = int(w.group[wave]) * space.stride + int(w.v[1, wave, lane]) + 6
        value = int.from_bytes(space.bytes_[base : base + nbytes].tobytes(), "little")
        value = (signed(value, 8) if is_signed else value) & 0xFFFF
        old = int(expected[8, wave, lane])
        expected[8, wave, lane] = value << 16 | old & 0xFFFF if name.endswith("hi") else value | old & 0xFFFF0000
    run(f"ds_read_{name} v8, v1 offset:6", w, space)
    np.testing.assert_array_equal(w.v, expected)


@pytest.mark.parametrize("checked", [False, True], ids=["unchecked", "checked"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["b8", "b16", "b8_d16_hi", "b16_d16_hi", "b32", "b64", "b96", "b128"])
def test_writes(name, mode, checked):
    w, rng = fresh(mode)
    space = memory(rng, checked)
    nbytes = int(name.split("_")[0][1:]) // 8
    put_addresses(w, rng, 16, 4096, True)
    before, expected = w.v.copy(), space.bytes_.copy()
    for wave, lane in taking(w):
        base = int(w.group[wave]) * space.stride + int(w.v[1, wave, lane]) + 32
        words = [int(each) for each in w.v[8 : 8 + max(1, nbytes // 4), wave, lane]]
        data = struct.pack(f"<{len(words)}I", *words)[2 if name.endswith("hi") else 0 :][:nbytes]
        expected[base : base + nbytes] = np.frombuffer(data, np.uint8)
    run(f"ds_write_{name} v1, {span('v', 8, nbytes)} offset:32", w, space)
    np.testing.assert_array_equal(space.bytes_, expected)
    np.testing.assert_array_equal(w.v, before)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", ["2", "2st64"])
@pytest.mark.parametrize("bits", [32, 64])
def test_pairs(bits, form, mode):
    w, rng = fresh(mode)
    nbytes, unit = bits // 8, bits // 8 * (64 if form == "2st64" else 1)
    first, second = (3, 7) if form == "2" else (1, 5)
    put_addresses(w, rng, 2 * nbytes * 8, 4096, False)
    space, expected = memory(rng), w.v.copy()
    for wave, lane in taking(w):
        for n, offset in enumerate((first, second)):
            base = int(w.group[wave]) * space.stride + int(w.v[1, wave, lane]) + offset * unit
            words = np.frombuffer(space.bytes_[base : base + nbytes].tobytes(), np.uint32)
            expected[8 + n * len(words) : 8 + (n + 1) * len(words), wave, lane] = words
    run(f"ds_read{form}_b{bits} {span('v', 8, 2 * nbytes)}, v1 offset0:{first} offset1:{second}", w, space)
    np.testing.assert_array_equal(w.v, expected)

    if form == "2":
        put_addresses(w, rng, 8 * nbytes, 128 * 8 * nbytes, True)
    else:  # no two lanes at one place: 64 lanes in a stretch, one wave a group
        w.v[1] = np.arange(64, dtype=np.uint32) * nbytes
        w.select(np.array([True, False, False, True]))
    wanted = space.bytes_.copy()
    for wave, lane in taking(w):
        for n, offset in enumerate((first, second)):
            base = int(w.group[wave]) * space.stride + int(w.v[1, wave, lane]) + offset * unit
            index = 8 + 4 * n
            wanted[base : base + nbytes] = np.ascontiguousarray(w.v[index : index + nbytes // 4, wave, lane]).view(
                np.uint8
            )
    data = f"{span('v', 8, nbytes)}, {span('v', 12, nbytes)}"
    run(f"ds_write{form}_b{bits} v1, {data} offset0:{first} offset1:{second}", w, space)
    np.testing.assert_array_equal(space.bytes_, wanted)


def test_accumulators_as_data():
    w, rng = fresh("full")
    space = memory(rng)
    put_addresses(w, rng, 16, 4096, True)
    kept = w.v[256:260].copy()
    run("ds_write_b128 v1, a[0:3]", w, space)
    run("ds_read_b128 a[4:7], v1", w, space)
    run("ds_read_b64 v[20:21], v1 offset:8", w, space)
    np.testing.assert_array_equal(w.v[260:264], kept)
    np.testing.assert_array_equal(w.v[20:22], kept[2:])


def test_the_highest_lane_wins():
    w, rng = fresh("full")
    space = memory(rng)
    w.v[1] = 64
    w.select(np.array([True, False, False, True]))
    run("ds_write_b32 v1, v8", w, space)
    for group, wave in ((0, 0), (1, 3)):
        word = space.bytes_[group * space.stride + 64 :][:4].view(np.uint32)[0]
        assert word == w.v[8, wave, 63]


def test_out_of_range_is_a_fault():
    w, rng = fresh("full")
    space = memory(rng)
    w.v[1] = SIZE - 4
    run("ds_read_b32 v8, v1", w, space)
    with pytest.raises(EmulationError, match="out of bounds"):
        run("ds_read_b64 v[8:9], v1", w, space)
    space.findings.on_fault = "zero"
    before = space.bytes_.copy()
    run("ds_read_b64 v[8:9], v1", w, space)
    run("ds_write_b64 v1, v[10:11]", w, space)
    assert not w.v[8:10].any()
    np.testing.assert_array_equal(space.bytes_, before)


# --- exchanges between lanes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("offset", [0, 12, 252])
def test_backward_permute(mode, offset):
    w, _ = fresh(mode)
    before, on = w.v.copy(), mask_of(EXEC)(w)
    run(f"ds_bpermute_b32 v8, v1, v2 offset:{offset}", w, memory(np.random.default_rng(0)))
    expected = before.copy()
    for wave, lane in taking(w):
        source = (int(before[1, wave, lane]) + offset) % 2**32 // 4 % 64
        expected[8, wave, lane] = before[2, wave, source] if on[wave, source] else 0
    np.testing.assert_array_equal(w.v, expected)


@pytest.mark.parametrize("mode", MODES)
def test_permute(mode):
    w, _ = fresh(mode)
    before = w.v.copy()
    run("ds_permute_b32 v1, v1, v2 offset:20", w, memory(np.random.default_rng(0)))
    expected = before.copy()
    sent = np.zeros(w.shape, np.uint32)
    for wave, lane in taking(w):
        sent[wave, (int(before[1, wave, lane]) + 20) % 2**32 // 4 % 64] = before[2, wave, lane]
    for wave, lane in taking(w):
        expected[1, wave, lane] = sent[wave, lane]
    np.testing.assert_array_equal(w.v, expected)


def swizzled(lane: int, control: str) -> int:
    """Where a lane reads from."""
    name, *rest = control.split(",")
    if name == "QUAD_PERM":
        return lane // 4 * 4 + int(rest[lane % 4])
    if name == "SWAP":
        return lane ^ int(rest[0])
    if name == "REVERSE":
        return lane ^ (int(rest[0]) - 1)
    if name == "BROADCAST":
        size = int(rest[0])
        return lane // size * size + int(rest[1])
    bits = [int(each) for each in f"{lane % 32:05b}"]
    for n, rule in enumerate(rest[0]):
        bits[n] = {"0": 0, "1": 1, "p": bits[n], "i": 1 - bits[n]}[rule]
    return lane // 32 * 32 + int("".join(map(str, bits)), 2)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "control",
    ["QUAD_PERM,3,1,0,2", "SWAP,1", "SWAP,16", "REVERSE,8", "REVERSE,32", "BROADCAST,4,2", "BROADCAST,32,17",
     "BITMASK_PERM,01pip", "BITMASK_PERM,ppppp", "BITMASK_PERM,iiiii"],
)  # fmt: skip
def test_swizzle(control, mode):
    w, _ = fresh(mode)
    before, on = w.v.copy(), mask_of(EXEC)(w)
    words = re.sub("^BITMASK_PERM,(.*)", r'BITMASK_PERM,"\1"', control)
    run(f"ds_swizzle_b32 v8, v1 offset:swizzle({words})", w, memory(np.random.default_rng(0)))
    expected = before.copy()
    for wave, lane in taking(w):
        source = swizzled(lane, control)
        expected[8, wave, lane] = before[1, wave, source] if on[wave, source] else 0
    np.testing.assert_array_equal(w.v, expected)


NOT_EMULATED = {
    "mskor": "no LLVM operation", "cmpst_f": "floats are compared as integers", "wrxchg2": "no LLVM operation",
    "wrap": "no LLVM operation", "addtid": "graphics", "condxchg": "no LLVM operation", "consume": "global data share",
    "append": "global data share",
}  # fmt: skip


def test_all_operations_are_tested_or_refused():
    names = {each.name for each in opcodes().values() if each.format == "DS"}
    refused = {name for name in names if any(each in name.replace("_rtn", "") for each in NOT_EMULATED)}
    tested = {f"ds_{name}" for name in INTEGERS}
    tested |= {f"ds_{name.replace('_', '_rtn_', 1)}" for name in INTEGERS}
    tested |= {f"ds_{op}{rtn}_f{bits}" for op in ("add", "min", "max") for rtn in ("", "_rtn") for bits in (32, 64)}
    tested |= {f"ds_pk_add{rtn}_{kind}" for rtn in ("", "_rtn") for kind in ("f16", "bf16")}
    tested |= {f"ds_wrxchg_rtn_b{bits}" for bits in (32, 64)}
    tested |= {f"ds_cmpst{rtn}_b{bits}" for rtn in ("", "_rtn") for bits in (32, 64)}
    tested |= {f"ds_read_{name}" for name in READS} | {"ds_read_u8_d16", "ds_read_u8_d16_hi", "ds_read_i8_d16"}
    tested |= {"ds_read_i8_d16_hi", "ds_read_u16_d16", "ds_read_u16_d16_hi", "ds_nop"}
    tested |= {f"ds_write_{name}" for name in ("b8", "b16", "b8_d16_hi", "b16_d16_hi", "b32", "b64", "b96", "b128")}
    tested |= {f"ds_{way}{form}_b{bits}" for way in ("read", "write") for form in ("2", "2st64") for bits in (32, 64)}
    tested |= {"ds_bpermute_b32", "ds_permute_b32", "ds_swizzle_b32"}
    assert names == tested | refused
    for opcode in opcodes().values():
        if opcode.name in refused:
            word = 0xD8000000 | opcode.number << 17
            with pytest.raises(Unsupported):
                lds_steps.bind(decode(word.to_bytes(4, "little") + bytes(12), 0), lambda: None)
