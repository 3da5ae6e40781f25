"""Damaged kernels: whatever bits stand there, the emulator runs them or says what is wrong with them."""

from __future__ import annotations

import random

import pytest
from kernel_library import kernels

from lowering.targets.amdgpu.emulator.emulator import EmulationError, Emulator, ImageError, Options
from lowering.targets.amdgpu.emulator.image import load

NAMES = (
    "triton_attention_f16",
    "triton_histogram_i32",
    "triton_matmul_f16_16",
    "triton_softmax_f32",
    "iree_matmul_f16",
)
KERNELS = [each for each in kernels() if each.name in NAMES]


def damaged(rng, kernel):
    """The image with one to six bytes of its code changed."""
    image = load(kernel.image)
    descriptor = image.kernel(kernel.kernel).descriptor
    entry = descriptor.entry + (256 if descriptor.preload_dwords else 0)
    start = kernel.image.find(image.code[entry : entry + 256])
    changed = bytearray(kernel.image)
    for _ in range(rng.randint(1, 6)):
        at = start + rng.randrange(min(len(image.code) - entry, 2500))
        changed[at] = rng.randrange(256) if rng.random() < 0.5 else changed[at] ^ (1 << rng.randrange(8))
    return bytes(changed)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["numpy", "native"])
@pytest.mark.parametrize("seed", range(8))
def test_damage_is_run_or_named(seed, engine):
    rng, ran, refused = random.Random(seed), 0, 0
    for _ in range(25):
        kernel = rng.choice(KERNELS)
        options = Options(
            max_instructions=20_000,
            engine=engine,
            on_fault=rng.choice(["zero", "warn", "error"]),
            wave_order=rng.choice([None, 1]),
        )
        try:
            Emulator(damaged(rng, kernel)).launch(
                kernel.kernel, kernel.grid, kernel.block, kernel.values(True), kernel.lds, options
            )
        except (EmulationError, ImageError):
            refused += 1
        else:
            ran += 1
    assert ran
    assert refused
