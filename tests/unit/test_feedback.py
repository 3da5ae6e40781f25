"""What a measured time says: shares of roofs, occupancy by the chip's granularities, the binding word."""

from __future__ import annotations

import pytest

from lowering import problem, targets
from lowering.agent.default import Default
from lowering.core import Kernel, Launch
from lowering.feedback import Occupancy, feedback, occupancy
from lowering.report import text
from lowering.search import Options, run

CHIP = targets.load("sm_90")


def launch(blocks=132, threads=384, shared=0):
    return Launch("main_kernel", (blocks, 1, 1), (threads, 1, 1), (), shared_bytes=shared)


@pytest.mark.parametrize(
    ("registers", "threads", "shared", "found"),
    [
        (168, 384, 229376, Occupancy(1, 12, "registers and workgroup memory")),  # 168 x 384 = 64512 of 65536
        (128, 256, 16640, Occupancy(2, 16, "registers")),
        (129, 256, 0, Occupancy(1, 8, "registers")),  # 136 a thread: 8 at a time
        (32, 128, 0, Occupancy(16, 64, "registers and threads")),
        (16, 32, 0, Occupancy(32, 32, "workgroups")),
        (32, 64, 40 * 1024, Occupancy(5, 10, "workgroup memory")),  # 41 KiB each with what is reserved
    ],
)
def test_occupancy(registers, threads, shared, found):
    kernel = Kernel("main_kernel", registers=registers, shared_bytes=0)
    assert occupancy(kernel, launch(threads=threads, shared=shared), CHIP.facts) == found


@pytest.mark.parametrize(
    ("shape", "blocks", "seconds", "word"),
    [
        ((4096, 4096, 4096), 132, 180e-6, "arithmetic"),
        ((16, 8192, 8192), 128, 40e-6, "memory"),
        ((64, 64, 4096), 1, 20e-6, "parallelism"),
        ((512, 512, 512), 132, 5e-6, "launch"),
        ((2048, 2048, 2048), 132, 60e-6, "latency"),
    ],
)
def test_the_word(shape, blocks, seconds, word):
    task = problem.from_shape(*shape, "bf16")
    kernel = Kernel("main_kernel", registers=168, shared_bytes=0)
    found = feedback(task, CHIP, [kernel], [launch(blocks)], seconds, seconds)
    assert found.binding == word
    assert found.flops == pytest.approx(task.contraction.flops / seconds)
    m, n, k = shape
    assert found.bandwidth == pytest.approx(2 * (m * k + k * n + m * n) / seconds)
    assert found.of_peak == pytest.approx(found.flops / 989.4e12)
    assert found.of_bandwidth == pytest.approx(found.bandwidth / 4.8e12)


def test_a_record_of_a_timed_run_carries_it(tmp_path):
    (record,) = run(problem.from_shape(64, 64, 64, "f32"), targets.load("x86_64"), Default(), Options(runs=tmp_path))
    assert record.feedback is not None
    assert record.feedback.flops == pytest.approx(record.problem.flops / record.timing.hot)
    assert record.feedback.occupancy is None
    assert f"bound by {record.feedback.binding} (derived)" in text(record)
