"""Every LDS instruction alone: reads and writes of all widths, atomics, exchanges between lanes."""

from __future__ import annotations

import struct
from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest
from amdgcn import assemble
from gfx942_bench import draw, mask_of
from lane_oracle import is_nan, maximum, minimum, raw, signed

from lowering.targets.amdgpu.emulator import lds
from lowering.targets.amdgpu.emulator.decode import decode
from lowering.targets.amdgpu.emulator.findings import EmulationError, Findings
from lowering.targets.amdgpu.emulator.formats import opcodes
from lowering.targets.amdgpu.emulator.operands import Unsupported
from lowering.targets.amdgpu.emulator.waves import EXEC, Waves, waves

GROUPS, SIZE = 2, 16384  # each of the groups has two waves and its own memory
MODES = ("full", "some", "waves")


def fresh(mode: str, seed: int = 1) -> tuple[Waves, np.random.Generator]:
    """Four waves with random registers."""
    rng = np.random.default_rng(seed)
    w = waves(2 * GROUPS, np.repeat(np.arange(GROUPS), 2), np.tile(np.arange(2), GROUPS))
    w.v[:32] = rng.integers(0, 2**32, (32, *w.shape), np.uint32)
    w.v[256:272] = rng.integers(0, 2**32, (16, *w.shape), np.uint32)
    w.s[EXEC : EXEC + 2] = 0xFFFFFFFF if mode == "full" else rng.integers(0, 2**32, (2, w.count), np.uint32)
    w.exec_changed()
    w.select(np.array([True, False, True, True]) if mode == "waves" else None)
    return w, rng


def memory(rng: np.random.Generator, checked: bool = False) -> lds.Lds:
    """Workgroup memory of random bytes, all of them written."""
    found = Findings()
    found.groups = np.arange(GROUPS)
    made = lds.Lds(SIZE, GROUPS, found, checked)
    made.bytes_[:] = rng.integers(0, 256, made.bytes_.size, np.uint8)
    if made.shadow is not None:
        made.shadow.writer[:] = 1
    return made


CODES: dict[str, bytes | str] = {}


def prepare(lines: list[str]) -> None:
    """Assembles many lines at once."""
    left = [line for line in lines if line not in CODES]
    CODES.update(zip(left, assemble(left), strict=True) if left else ())


def code_of(line: str) -> bytes:
    """An instruction's bytes."""
    prepare([line])
    code = CODES[line]
    assert isinstance(code, bytes), (line, code)
    return code


def run(line: str, w: Waves, space: lds.Lds) -> None:
    """Executes a line."""
    lds.bind(decode(code_of(line), 0), lambda: space)(w)


def taking(w: Waves) -> list[tuple[int, int]]:
    """Waves and lanes that take part, in order."""
    return [(int(a), int(b)) for a, b in np.argwhere(mask_of(EXEC)(w) & w.active[:, None])]


def put_addresses(w: Waves, rng: np.random.Generator, unit: int, top: int, distinct: bool) -> None:
    """Addresses below `top`, in units; `distinct` within a group."""
    count = top // unit
    for group in range(GROUPS):
        some = rng.permutation(count)[:128] if distinct else rng.integers(0, count, 128)
        w.v[1, 2 * group : 2 * group + 2] = (some * unit).reshape(2, 64)


READS = {"u8": (1, False), "i8": (1, True), "u16": (2, False), "i16": (2, True), "b32": (4, False), "b64": (8, False),
         "b96": (12, False), "b128": (16, False)}  # fmt: skip


def span(letter: str, index: int, nbytes: int) -> str:
    """The text of the registers that hold some bytes."""
    count = max(1, nbytes // 4)
    return f"{letter}{index}" if count == 1 else f"{letter}[{index}:{index + count - 1}]"


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


# --- atomics ---------------------------------------------------------------------------------------------------------


def wrap(bits: int, function: Callable[[int, int], int]) -> Callable[[int, int], int]:
    """A function of unsigned integers, cut to their width."""
    return lambda old, data: function(old, data) & (1 << bits) - 1


def of_signed(bits: int, function: Callable[[int, int], int]) -> Callable[[int, int], int]:
    """A function of signed integers."""
    return lambda old, data: function(signed(old, bits), signed(data, bits)) & (1 << bits) - 1


def atomics(bits: int) -> dict[str, Callable[[int, int], int]]:
    """Old value and data to the new value."""
    functions: dict[str, Callable[[int, int], int]] = {
        f"add_u{bits}": lambda a, b: a + b, f"sub_u{bits}": lambda a, b: a - b, f"rsub_u{bits}": lambda a, b: b - a,
        f"inc_u{bits}": lambda a, b: 0 if a >= b else a + 1,
        f"dec_u{bits}": lambda a, b: b if a == 0 or a > b else a - 1,
        f"min_u{bits}": min, f"max_u{bits}": max, f"and_b{bits}": lambda a, b: a & b,
        f"or_b{bits}": lambda a, b: a | b, f"xor_b{bits}": lambda a, b: a ^ b,
    }  # fmt: skip
    found = {name: wrap(bits, function) for name, function in functions.items()}
    return found | {f"min_i{bits}": of_signed(bits, min), f"max_i{bits}": of_signed(bits, max)}


INTEGERS = {name: (bits, function) for bits in (32, 64) for name, function in atomics(bits).items()}


def load(space: lds.Lds, base: int, bits: int) -> int:
    return int.from_bytes(space.bytes_[base : base + bits // 8].tobytes(), "little")


def atomic_line(name: str, bits: int, returns: bool, sources: int) -> str:
    """The text of an atomic."""
    data = ", ".join(span("v", n, bits // 8) for n in (8, 10)[:sources])
    operation, _, suffix = name.partition("_")
    text = f"ds_{operation}_rtn_{suffix} {span('v', 20, bits // 8)}, v1" if returns else f"ds_{name} v1"
    return f"{text}, {data} offset:16"


def atomic_case(name: str, bits: int, function: Callable[..., int], mode: str, returns: bool, sources: int = 1) -> None:
    """Runs an atomic at few places, so that lanes meet, and compares memory and old values."""
    w, rng = fresh(mode)
    space, nbytes = memory(rng), bits // 8
    put_addresses(w, rng, 8, 160, False)
    kind = f"i{bits}"
    for index in (8, 10):
        value = draw(rng, kind, w.shape).astype(np.uint64)
        w.v[index], w.v[index + 1] = value & np.uint64(0xFFFFFFFF), value >> np.uint64(32)
    expected, registers = space.bytes_.copy(), w.v.copy()
    for wave, lane in taking(w):
        base = int(w.group[wave]) * space.stride + int(w.v[1, wave, lane]) + 16
        old = int.from_bytes(expected[base : base + nbytes].tobytes(), "little")
        given = [int(registers[n, wave, lane]) | int(registers[n + 1, wave, lane]) << 32 for n in (8, 10)[:sources]]
        new = function(old, *(each & (1 << bits) - 1 for each in given))
        expected[base : base + nbytes] = np.frombuffer(new.to_bytes(nbytes, "little"), np.uint8)
        if returns:
            registers[20 : 20 + nbytes // 4, wave, lane] = np.frombuffer(old.to_bytes(nbytes, "little"), np.uint32)
    prepare([atomic_line(each, size, rtn, 1) for each, (size, _) in INTEGERS.items() for rtn in (False, True)])
    run(atomic_line(name, bits, returns, sources), w, space)
    np.testing.assert_array_equal(space.bytes_, expected)
    np.testing.assert_array_equal(w.v, registers)


@pytest.mark.parametrize("returns", [False, True], ids=["", "rtn"])
@pytest.mark.parametrize("name", INTEGERS)
def test_integer_atomics(name, returns):
    for mode in MODES:
        atomic_case(name, *INTEGERS[name], mode, returns)


@pytest.mark.parametrize("bits", [32, 64])
def test_exchanges(bits):
    for mode in MODES:
        atomic_case(f"wrxchg_b{bits}", bits, lambda old, data: data, mode, True)
        for returns in (False, True):
            # the first operand is what memory is compared with, the second what is stored
            atomic_case(f"cmpst_b{bits}", bits, lambda old, test, data: data if old == test else old, mode, returns, 2)


def test_compare_and_store_where_it_is_equal():
    w, rng = fresh("full")
    space = memory(rng)
    put_addresses(w, rng, 4, 4096, True)
    run("ds_read_b32 v8, v1", w, space)
    run("ds_cmpst_rtn_b32 v20, v1, v8, v9", w, space)
    run("ds_read_b32 v21, v1", w, space)
    np.testing.assert_array_equal(w.v[20], w.v[8])
    np.testing.assert_array_equal(w.v[21], w.v[9])


@pytest.mark.parametrize("returns", ["", "_rtn"])
@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize("operation", ["add", "min", "max"])
def test_float_atomics(operation, kind, returns):
    w, rng = fresh("some")
    space, nbytes = memory(rng), int(kind[1:]) // 8
    float_kind = np.dtype(f"f{nbytes}")
    put_addresses(w, rng, nbytes, 4096, True)
    before, data = (draw(rng, kind, w.shape).view(float_kind) for _ in range(2))
    for index, values in ((8, before), (10, data)):
        words = raw(values).astype(np.uint64)
        w.v[index], w.v[index + 1] = words & np.uint64(0xFFFFFFFF), words >> np.uint64(32)
    run(f"ds_write_b{8 * nbytes} v1, {span('v', 8, nbytes)}", w, space)
    result = f"{span('v', 20, nbytes)}, " if returns else ""
    run(f"ds_{operation}{returns}_{kind} {result}v1, {span('v', 10, nbytes)}", w, space)
    run(f"ds_read_b{8 * nbytes} {span('v', 12, nbytes)}, v1", w, space)
    lanes = mask_of(EXEC)(w)
    got = np.ascontiguousarray(np.moveaxis(w.v[12 : 12 + nbytes // 4], 0, -1)).view(float_kind)[..., 0]
    if returns:
        np.testing.assert_array_equal(w.v[20 : 20 + nbytes // 4][:, lanes], w.v[8 : 8 + nbytes // 4][:, lanes])
    with np.errstate(all="ignore"):
        if operation == "add":
            right = before + data
        else:
            right = (minimum if operation == "min" else maximum)(before, data)
    equal = (raw(got) == raw(right)) | (is_nan(got) & is_nan(right)) | ((got == 0) & (right == 0))
    bad = [tuple(i) for i in np.argwhere(lanes & ~equal)]
    assert not bad, [(before[i], data[i], got[i], right[i]) for i in bad[:5]]


@pytest.mark.parametrize("kind", ["f16", "bf16"])
@pytest.mark.parametrize("returns", ["", "_rtn"])
def test_packed_float_atomics(kind, returns):
    w, rng = fresh("some")
    space = memory(rng)
    put_addresses(w, rng, 4, 4096, True)
    number = {"f16": np.float16, "bf16": ml_dtypes.bfloat16}[kind]
    first, second = (rng.standard_normal((*w.shape, 2)).astype(number) for _ in range(2))
    w.v[8], w.v[9] = first.view(np.uint32)[..., 0], second.view(np.uint32)[..., 0]
    run("ds_write_b32 v1, v8", w, space)
    run(f"ds_pk_add{returns}_{kind} {'v20, ' if returns else ''}v1, v9", w, space)
    run("ds_read_b32 v21, v1", w, space)
    right = (first.astype(np.float64) + second.astype(np.float64)).astype(number).view(np.uint32)[..., 0]
    lanes = mask_of(EXEC)(w)
    np.testing.assert_array_equal(w.v[21][lanes], right[lanes])
    if returns:
        np.testing.assert_array_equal(w.v[20][lanes], w.v[8][lanes])


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
    words = control.replace("BITMASK_PERM,", 'BITMASK_PERM,"')
    run(f"ds_swizzle_b32 v8, v1 offset:swizzle({words}{chr(34) if chr(34) in words else ''})", w, memory(np.random.default_rng(0)))  # fmt: skip
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
                lds.bind(decode(word.to_bytes(4, "little") + bytes(12), 0), lambda: None)
