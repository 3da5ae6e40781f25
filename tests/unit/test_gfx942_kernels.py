"""Whole kernels of other compilers in the emulator: bit for bit on integers, within a bound on random numbers."""

from __future__ import annotations

import numpy as np
import pytest
from amdgcn import assemble
from kernel_library import EXACT, kernels

from lowering.targets.amdgpu.emulator.decode import decode, sweep
from lowering.targets.amdgpu.emulator.emulator import Emulator, Options
from lowering.targets.amdgpu.emulator.image import load
from lowering.targets.amdgpu.emulator.text import text

KERNELS = kernels()


def run(kernel, values, options=None):
    return Emulator(kernel.image).launch(
        kernel.kernel, kernel.grid, kernel.block, values, kernel.lds, options or Options()
    )


@pytest.mark.parametrize("order", [None, 5], ids=["lock-step", "random order"])
@pytest.mark.parametrize("kernel", [k for k in KERNELS if k.function in EXACT], ids=lambda k: k.name)
def test_integers_are_exact(kernel, order):
    values = kernel.values(integers=True)
    result = run(kernel, values, Options(wave_order=order))
    assert not result.findings, [str(each) for each in result.findings]
    assert result.workgroups == result.of_workgroups
    np.testing.assert_array_equal(kernel.buffers(values)[-1].astype(np.float64), kernel.expected(kernel.values(True)))


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.name)
def test_random_numbers_are_within_the_bound(kernel):
    values = kernel.values(integers=False, seed=1)
    result = run(kernel, values)
    assert not result.findings, [str(each) for each in result.findings]
    before = kernel.values(integers=False, seed=1)
    error = np.abs(kernel.buffers(values)[-1].astype(np.float64) - kernel.expected(before))
    assert (error <= kernel.bound(before)).all(), (error.max(), np.max(kernel.bound(before)))
    for now, then in zip(kernel.buffers(values)[:-1], kernel.buffers(before)[:-1], strict=True):
        assert now.tobytes() == then.tobytes()


@pytest.mark.parametrize("kernel", [k for k in KERNELS if "matmul" in k.name], ids=lambda k: k.name)
def test_exact_matrix_arithmetic_gives_the_same_integers(kernel):
    values = kernel.values(integers=True)
    run(kernel, values, Options(exact_matrix=True))
    np.testing.assert_array_equal(kernel.buffers(values)[-1].astype(np.float64), kernel.expected(kernel.values(True)))


def test_every_instruction_of_every_kernel_assembles_to_its_bits():
    found = []
    for kernel in KERNELS:
        image = load(kernel.image)
        for code in image.kernels.values():
            start = code.descriptor.entry + (256 if code.descriptor.preload_dwords else 0)
            row = [decode(image.code, start)]
            while row[-1].name != "s_endpgm":
                row.append(decode(image.code, row[-1].end))
            found += row
            prologue = sweep(image.code, code.descriptor.entry, code.descriptor.entry + 8)
            assert prologue[0].name.startswith("s_")
    made = assemble([text(one) for one in found])
    wrong = [
        (text(one), got)
        for one, got in zip(found, made, strict=True)
        if isinstance(got, str) or got[: one.size] != one.bits.to_bytes(one.size, "little")
    ]
    assert len(found) > 4000
    assert not wrong, wrong[:5]


@pytest.mark.parametrize("order", [None, 3], ids=["lock-step", "random order"])
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.name)
def test_both_engines_give_the_same_bits(kernel, order):
    results = []
    for engine in ("numpy", "native"):
        values = kernel.values(integers=False, seed=2)
        result = run(kernel, values, Options(engine=engine, wave_order=order))
        results.append((result.instructions, [each.tobytes() for each in kernel.buffers(values)]))
    assert results[0] == results[1]
