"""The tile model against what others measured on MI300X, and its own rules."""

from __future__ import annotations

import runpy
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lowering import problem, targets
from lowering.targets.amdgpu import matrix_tiles, space
from lowering.targets.kernel_model import Counts, bounds
from lowering.targets.tile_model import Tiling, predict

CHIP = targets.load("gfx942")

# hipBLASLt through aten, bf16, TFLOP/s (facebookexperimental/triton#2891); the constants were fitted to these rows
LIBRARY = {
    (1024, 1024, 1024): (84, 0.30), (2048, 2048, 2048): (330, 0.30), (4096, 4096, 4096): (612, 0.15),
    (8192, 8192, 8192): (635, 0.15), (1024, 8192, 8192): (569, 0.15), (8192, 1024, 8192): (564, 0.15),
}  # fmt: skip


def best(m: int, n: int, k: int) -> float:
    """The rate of the schedule that is ranked first, in TFLOP/s."""
    of = problem.from_shape(m, n, k, "bf16", layout="nt")
    return space.ranked({}, of, CHIP)[0][1].rate / 1e12


@pytest.mark.parametrize("sizes", list(LIBRARY), ids=str)
def test_the_best_schedule_is_near_the_librarys_time(sizes):
    rate, share = LIBRARY[sizes]
    assert abs(best(*sizes) / rate - 1) < share


def test_sizes_come_in_the_order_that_every_implementation_has():
    """hipBLASLt, TLX (39, 286, 503, 514) and HipKittens (60, 298, 714, 749) all grow from 1k to 8k."""
    rates = [best(size, size, size) for size in (1024, 2048, 4096, 8192)]
    assert rates == sorted(rates)


def test_sizes_come_in_each_implementations_order_but_for_the_largest():
    """The tables of scripts/model_errors.py: AMD's library, Wave, TLX, HipKittens, PyTorch.

    Known to be missed: that rates fall again at 16384^3, of which the model has no term.
    """
    script = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "model_errors.py"))
    for table in script["TABLES"]:
        assert all((16384,) * 3 in pair for pair in script["inversions"](table)), table.name


LADDER = Tiling(
    4096, 4096, 4096, 1, 2, 2, (128, 128, 64), (64, 64), (16, 16, 16), 16, 150, 32768, "bf16", rows=4, chiplets=8
)
STEPS = (  # learn-cuda 02d on MI300X, 4096^3 bf16: 122, 245, 370, 421, 454 TFLOP/s; none was fitted to
    {"conflicts": 8.0, "prefetch": False, "read_bytes": 8, "ahead": False},
    {"conflicts": 2.0, "prefetch": False, "read_bytes": 8, "ahead": False},  # rows of workgroup memory padded
    {"prefetch": False, "read_bytes": 8, "ahead": False},  # permuted
    {"read_bytes": 8, "ahead": False},  # the next tile in registers
    {"ahead": False},  # reads of 16 bytes
)


def test_the_steps_of_a_hand_written_ladder_come_in_order():
    rates = [predict(replace(LADDER, **step), CHIP).rate for step in STEPS]
    assert rates == sorted(set(rates))


def test_thousands_of_schedules_a_second():
    began = time.perf_counter()
    for _ in range(500):
        predict(LADDER, CHIP)
    assert 500 / (time.perf_counter() - began) > 5000


def test_more_work_takes_longer():
    base = predict(LADDER, CHIP).seconds
    for name in ("m", "n", "k"):
        assert predict(replace(LADDER, **{name: 8192}), CHIP).seconds > base
    assert predict(replace(LADDER, batch=2), CHIP).seconds > base


FEW = replace(LADDER, m=512, n=512, k=65536)  # 16 tiles, on 304 units


def test_few_deep_tiles_are_split():
    whole, parts = predict(FEW, CHIP), predict(replace(FEW, parts=16), CHIP)
    assert parts.seconds < whole.seconds / 4
    assert predict(replace(FEW, stream=1), CHIP).seconds < whole.seconds / 4


def test_what_is_split_costs_a_launch_and_its_sums():
    assert predict(replace(LADDER, parts=2), CHIP).seconds > predict(LADDER, CHIP).seconds + 18e-6
    assert predict(replace(LADDER, stream=1), CHIP).seconds > predict(LADDER, CHIP).seconds


def test_shared_steps_leave_no_unit_idle():
    ragged = replace(LADDER, m=128 * 305, n=128, k=1 << 16)  # a tile more than there are units
    assert predict(replace(ragged, stream=1), CHIP).seconds < 0.6 * predict(replace(ragged, persistent=1), CHIP).seconds


def test_the_bound_is_the_largest_term_and_terms_are_times():
    found = predict(LADDER, CHIP)
    assert found.bound == max(found.terms, key=lambda name: found.terms[name])
    assert found.seconds >= max(found.terms.values())
    assert found.flops / found.seconds == found.rate


def test_conflicts_bind_workgroup_memory():
    assert predict(replace(LADDER, conflicts=8.0), CHIP).bound == "workgroup memory"


def test_knobs_that_are_given_stay():
    of = problem.from_shape(4096, 4096, 4096, "f16", layout="nt")
    rows = space.ranked({"block_m": 128, "swizzle": False}, of, CHIP)
    assert rows
    assert {(knobs["block_m"], knobs["swizzle"]) for knobs, _ in rows} == {(128, False)}
    first, *others = [p.seconds for _, p in rows]
    assert others == sorted(others)
    assert first <= 1.05 * others[0]
    assert dict(rows[0][0]) == space.full({"block_m": 128, "swizzle": False}, of, CHIP)
    assert matrix_tiles.prediction(rows[0][0], of, CHIP) == rows[0][1]


# --- compiled kernels ------------------------------------------------------------------------------------------------

COUNTED = Counts(4, 256, 8, 2, 8_388_608, 140_000, 262_144, 16_777_216, 8_192, 4_096, 100_000_000)


def test_a_kernel_is_bound_by_what_it_does_most_of():
    assert bounds(COUNTED, CHIP).binding == "matrix cores"
    assert bounds(replace(COUNTED, shared_clocks=10**8), CHIP).binding == "workgroup memory"
    assert bounds(replace(COUNTED, line_bytes=10**10), CHIP).binding == "L2"
    assert bounds(replace(COUNTED, issued=10**8), CHIP).binding == "instruction issue"
    assert bounds(replace(COUNTED, barriers=10**7), CHIP).binding == "latency"
    assert bounds(replace(COUNTED, buffer_bytes=10**12), CHIP).binding == "device memory"


def test_a_sample_stands_for_all():
    whole = bounds(replace(COUNTED, workgroups=256, **{name: 64 * getattr(COUNTED, name) for name in SUMS}), CHIP)
    sample = bounds(COUNTED, CHIP)
    for name, seconds in sample.seconds.items():
        assert abs(whole.seconds[name] / seconds - 1) < 1e-9


SUMS = ("matrix_clocks", "issued", "shared_clocks", "line_bytes", "loads", "barriers")


def test_bounds_are_called_predicted_and_name_their_model():
    assert str(bounds(COUNTED, CHIP)).startswith("bounds in µs at the peak clock (model kernel-1; nothing was timed): ")
