"""Matrix instructions as machine code against arrays: every shape that has a function, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from amdgcn import assemble

from lowering.targets.amdgpu.emulator import matrix, matrix_steps
from lowering.targets.amdgpu.emulator.decode import decode
from lowering.targets.amdgpu.emulator.native_matrix import NativeMatrix, shape_of
from lowering.targets.amdgpu.emulator.operands import Unsupported
from lowering.targets.amdgpu.emulator.waves import EXEC, waves

COUNT = 3
A, B, C, D = 8, 16, 64, 96
NATIVE = sorted(name for name, shape in matrix.shapes().items() if shape.blocks == 1 and shape.d != "f64")


def line(shape: matrix.Shape, addend: str, file: str = "v") -> str:
    """An instruction with operands in fixed registers."""

    def span(first: int, count: int, letter: str = "v") -> str:
        return f"{letter}[{first}:{first + count - 1}]" if count > 1 else f"{letter}{first}"

    mnemonic = shape.name
    operands, results = shape.operand_registers, shape.result_registers
    c = span(int(addend), results, file) if addend.isdigit() else addend
    return f"{mnemonic} {span(D, results, file)}, {span(A, operands)}, {span(B, operands)}, {c}"


def registers(seed: int, kind: str, special: bool):
    """Waves of numbers of a kind; with `special`, of any bits."""
    rng = np.random.default_rng(seed)
    w = waves(COUNT, np.arange(COUNT), np.zeros(COUNT, np.int64))
    w.v[:160] = rng.integers(0, 2**32, (160, COUNT, 64), dtype=np.uint32)
    if not special:
        size = (160, COUNT, 64)
        if matrix.BITS[kind] == 16:
            halves = rng.standard_normal((*size, 2)).astype(np.float32)
            w.v[:C] = (
                halves.astype(np.float16).view(np.uint32)[..., 0]
                if kind == "f16"
                else (halves.view(np.uint32)[..., 0] >> 16 | halves.view(np.uint32)[..., 1] & 0xFFFF0000)
            )[:C]
        elif matrix.BITS[kind] == 32:
            w.v[:C] = rng.standard_normal(size).astype(np.float32).view(np.uint32)[:C]
        w.v[C:160] = rng.standard_normal(size).astype(np.float32).view(np.uint32)[C:]
    w.v[256:416] = w.v[:160]
    w.put_lanes(EXEC, rng.random((COUNT, 64)) < 0.5)  # matrix instructions take no notice
    return w


@pytest.fixture(scope="module")
def code():
    """Every shape, with C in registers of its own, in D's, in AccVGPRs and as a constant."""
    ways = [(str(C), "v"), (str(D), "v"), (str(D), "a"), ("0", "v"), ("1.0", "v"), ("-4", "v")]
    found = {}
    for name in NATIVE:
        shape = matrix.shapes()[name]
        lines = [line(shape, f" {c}" if c in ("0",) else c, file) for c, file in ways]
        for each, (c, file) in zip(assemble(lines), ways, strict=True):
            if isinstance(each, bytes):
                found[name, c, file] = decode(each, 0)
    return found


@pytest.fixture(scope="module")
def native(code):
    """One engine for all of them."""
    return NativeMatrix(code.values())


def test_every_shape_is_there(code):
    assert {name for name, _, _ in code} == set(NATIVE)
    assert len(NATIVE) > 12


@pytest.mark.parametrize("name", NATIVE)
@pytest.mark.parametrize("special", [False, True], ids=["numbers", "any bits"])
def test_bits_are_those_of_arrays(name, special, code, native):
    shape = matrix.shapes()[name]
    for (other, c, _), one in code.items():
        if other != name:
            continue
        first, second = (registers(7, shape.a, special) for _ in range(2))
        arrays = matrix_steps.bind(one, False, {})
        with np.errstate(all="ignore"):
            arrays(first)
        native.bind(one, lambda w: pytest.fail("left to arrays"))(second)
        a, b = first.v.copy(), second.v.copy()
        if shape.d == "f32":  # the payloads of NaN are nobody's business
            for each in (a, b):
                numbers = each.view(np.float32)
                numbers[np.isnan(numbers)] = np.nan
        np.testing.assert_array_equal(a, b, err_msg=f"{name} C={c}")


def test_results_that_overlap_c_are_left_to_arrays(native):
    (word,) = assemble(["v_mfma_f32_16x16x16_f16 v[96:99], v[8:9], v[16:17], v[98:101]"])
    one, went = decode(word, 0), []
    native.bind(one, lambda w: went.append(1))(registers(1, "f16", False))
    assert went


def test_some_waves_are_left_to_arrays(code, native):
    one = next(iter(code.values()))
    w, went = registers(1, "f16", False), []
    w.select(np.array([True, False, True]))
    native.bind(one, lambda w: went.append(1))(w)
    assert went


def test_modifiers_are_left_to_arrays():
    (word,) = assemble(["v_mfma_f32_4x4x4_16b_f16 v[96:99], v[8:9], v[16:17], v[98:101] cbsz:1"])
    one = decode(word, 0)
    assert shape_of(one) is None
    with pytest.raises(Unsupported, match="cbsz"):
        matrix_steps.bind(one, False, {})
