"""What is counted of a launch: bank conflicts by hand-worked patterns, lines of memory, occupancy, classes."""

from __future__ import annotations

import numpy as np
import pytest
from amdgcn import code_object
from kernel_library import kernels

from lowering import targets
from lowering.targets.amdgpu.emulator import lds_banks
from lowering.targets.amdgpu.emulator.emulator import Emulator, Options
from lowering.targets.amdgpu.emulator.image import Descriptor
from lowering.targets.amdgpu.emulator.native_lines import touched
from lowering.targets.amdgpu.emulator.statistics import Statistics, lines_of, occupancy, worst

LANE = np.arange(64)
ALL = np.ones((1, 64), bool)
CHIP = targets.load("gfx942")


@pytest.mark.parametrize(
    ("name", "addresses", "nbytes", "is_read", "cycles"),
    [
        ("neighbours", 4 * LANE, 4, True, (2, 2)),
        ("one dword for all", 0 * LANE, 4, True, (2, 2)),
        ("rows of 128 bytes", 128 * LANE, 4, True, (64, 2)),
        ("every second dword", 8 * LANE, 4, True, (4, 2)),
        ("bytes of one dword", LANE % 4, 1, True, (2, 2)),
        ("8 bytes each", 8 * LANE, 8, True, (4, 4)),
        ("16 bytes each, read", 16 * LANE, 16, True, (8, 8)),
        ("16 bytes each, written", 16 * LANE, 16, False, (8, 8)),
        ("rows of 128 bytes, 16 bytes each", 128 * LANE, 16, True, (64, 8)),
        ("the same, swizzled", 128 * LANE + 16 * (LANE % 8), 16, False, (8, 8)),
        ("rows of 144 bytes: padded", 144 * LANE, 16, False, (8, 8)),
    ],
)
def test_bank_conflicts(name, addresses, nbytes, is_read, cycles):
    assert lds_banks.cycles(addresses.astype(np.uint32)[None], ALL, nbytes, is_read) == cycles


def test_lanes_that_take_no_part_do_not_conflict():
    mask = (LANE < 1)[None]
    assert lds_banks.cycles(128 * LANE.astype(np.uint32)[None], mask, 4, True) == (1, 1)


@pytest.mark.parametrize(
    ("stride", "nbytes", "offset", "lines"),
    [
        (4, 4, 0, {64: 4, 128: 2}),
        (8, 4, 0, {64: 8, 128: 4}),
        (16, 16, 0, {64: 16, 128: 8}),
        (4, 4, 32, {64: 5, 128: 3}),
    ],
)
def test_lines_of_memory(stride, nbytes, offset, lines):
    address = 0x7F0000000000 + offset + stride * LANE
    for line, count in lines.items():
        found = touched(address, nbytes, line)
        assert (found.lines, found.ideal, found.bytes, found.waves) == (count, 64 * nbytes // line, 64 * nbytes, 1)
        assert touched(np.concatenate([address, address]), nbytes, line).lines == 2 * count  # each wave has its own
        assert touched(np.where(LANE < 16, address, -1), nbytes, line).lines < count


@pytest.mark.parametrize("seed", range(20))
def test_lines_of_scattered_accesses(seed):
    rng = np.random.default_rng(seed)
    nbytes = int(rng.choice([1, 2, 4, 8, 12, 16]))
    places = rng.integers(0, rng.choice([500, 10**5, 10**12]), (5, 64)) * rng.choice([1, 64, 4096, 65536])
    places[rng.random((5, 64)) < 0.2] = rng.choice([-1, -2])
    for line in (64, 128):
        expected = sum(
            len({n // line for each in wave if each >= 0 for n in range(int(each), int(each) + nbytes)})
            for wave in places
        )
        found = touched(places.reshape(-1), nbytes, line)
        lanes = (places >= 0).sum(axis=1)
        ideal = int((-(-lanes * nbytes // line)).sum())
        assert (found.lines, found.ideal) == (expected, ideal)
        assert (found.bytes, found.waves) == (nbytes * lanes.sum(), (lanes > 0).sum())


@pytest.mark.parametrize(
    ("registers", "lds", "waves", "expected", "limit"),
    [
        (64, 0, 4, 8, "the hardware"),
        (72, 0, 4, 7, "registers"),
        (128, 0, 4, 4, "registers"),
        (168, 0, 4, 3, "registers"),
        (256, 0, 4, 2, "registers"),
        (512, 0, 4, 1, "registers"),
        (64, 32768, 4, 2, "LDS"),
        (64, 65536, 4, 1, "LDS"),
        (64, 16384, 8, 8, "the hardware"),
    ],
)
def test_occupancy(registers, lds, waves, expected, limit):
    found = occupancy(Descriptor(0, 0, 0, 0, registers // 8 - 1, 0, 0, 0, 0), lds, waves, CHIP)
    assert (found.waves, found.limit) == (expected, limit)


def test_a_kernel_is_counted():
    kernel = next(each for each in kernels() if each.name == "triton_matmul_f16_16")
    counted = Statistics()
    result = Emulator(kernel.image).launch(
        kernel.kernel, kernel.grid, kernel.block, kernel.values(True), kernel.lds, Options(watcher=counted)
    )
    counted.take(result)
    classes = counted.by_class()
    assert sum(classes.values()) == result.instructions
    # 128x128x64 in 16x16x16 products
    assert classes["matrix"] == 8 * 8 * 4
    assert counted.matrix_cycles(CHIP) == (256, 256 * 16, ())
    assert counted.by_mnemonic()["v_mfma_f32_16x16x16_f16"] == 256
    words = "\n".join(lines_of(counted, CHIP))
    assert "256 matrix instructions of at least 4,096 cycles on one SIMD" in words
    assert "loads: " in words


def test_the_worst_accesses_are_named():
    body = (
        "v_and_b32_e32 v1, 0x3ff, v0\nv_lshlrev_b32_e32 v2, 7, v1\nds_write_b32 v2, v1\n"
        "s_load_dwordx2 s[8:9], s[0:1], 0x0\ns_waitcnt lgkmcnt(0)\nglobal_store_dword v2, v1, s[8:9]"
    )
    counted = Statistics()
    Emulator(code_object(body, lds=8192)).launch(
        "k", (1, 1, 1), (64, 1, 1), [np.zeros(2048, np.uint32)], options=Options(watcher=counted)
    )
    rows = list(worst(counted))
    assert [(text, words) for _, text, words in rows] == [
        ("ds_write_b32 v2, v1", "32.00x the cycles without bank conflicts"),
        ("global_store_dword v2, v1, s[8:9]", "32.00x the fewest 128-byte lines"),
    ]
