"""Every LDS atomic alone: memory and old values, with lanes that meet."""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest
from gfx942_bench import draw, mask_of
from gfx942_lds_bench import MODES, fresh, memory, prepare, put_addresses, run, span, taking
from lane_oracle import is_nan, maximum, minimum, raw, signed

from lowering.targets.amdgpu.emulator import lds
from lowering.targets.amdgpu.emulator.waves import EXEC


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
        right = {"add": np.add, "min": minimum, "max": maximum}[operation](before, data)
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
