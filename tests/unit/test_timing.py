"""The timing protocol: units, interleaving, early stop, lock, roofline floor, and kernels that cheat the clock."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from fixtures import kernels

from lowering import baselines, roofline, timing
from lowering.core import Binary, Problem, Target
from lowering.problem import from_shape
from lowering.targets import load
from lowering.targets.x86.runtime import BATCH_SECONDS, CPU

TARGET = load("x86_64")
PROBLEM = from_shape(48, 40, 64, "f32")
OUT = "memref<48x40xf32>"


def measured(problem: Problem, binary: Binary, **options: float) -> timing.Timing:
    with CPU().load(binary) as program:
        return timing.measure(problem, program, TARGET, **options)  # type: ignore[arg-type]


def sleeper(problem: Problem, microseconds: int) -> Binary:
    """A kernel that computes the product and then sleeps: its duration is known."""
    body = f"""{kernels.loops(problem)}
    %us = arith.constant {microseconds} : i32
    %rc = llvm.call @usleep(%us) : (i32) -> i32"""
    return kernels.kernel(problem, body, "llvm.func @usleep(i32) -> i32")


def test_units_by_a_kernel_of_known_duration() -> None:
    found = measured(PROBLEM, sleeper(PROBLEM, 4000), seconds=0.1)
    assert min(found.hot_samples) >= 0.004
    assert 0.004 <= found.hot < 0.006
    assert 0.004 <= found.rotated < 0.006
    assert found.ok


def test_all_that_a_timing_tells() -> None:
    found = measured(PROBLEM, kernels.honest(PROBLEM), seconds=0.1)
    assert found.ok
    assert found.device == "x86_64"
    assert found.hot == statistics.median(found.hot_samples)
    assert found.rotated == statistics.median(found.rotated_samples)
    assert found.baseline_hot == statistics.median(found.baseline_samples)
    assert len(found.hot_samples) >= timing.LEAST
    assert 0 < found.baseline_hot < found.hot
    assert found.baseline_name == f"numpy {np.__version__} BLAS, f32, 1 thread"
    assert found.drift is not None
    assert 0.1 < found.drift < 10


def test_a_kernel_faster_than_the_roofline() -> None:
    large = from_shape(512, 512, 512, "f32")
    found = measured(large, kernels.kernel(large, ""), seconds=0.05)
    assert not found.ok
    names = [check.name for check in found.checks if not check.ok]
    assert names[0] == "faster than the roofline"
    assert "the chip needs at least" in found.checks[0].detail


def test_a_kernel_that_works_only_when_not_timed() -> None:
    """The first call is right, later ones do nothing: the timed result is not the untimed one."""
    body = f"""%d = memref.get_global @done : memref<1xi32>
    %was = memref.load %d[%c0] : memref<1xi32>
    %no = arith.constant 0 : i32
    %yes = arith.constant 1 : i32
    %first = arith.cmpi eq, %was, %no : i32
    memref.store %yes, %d[%c0] : memref<1xi32>
    scf.if %first {{
      {kernels.loops(PROBLEM)}
    }}"""
    extra = 'memref.global "private" @done : memref<1xi32> = dense<0>'
    found = measured(PROBLEM, kernels.kernel(PROBLEM, body, extra), seconds=0.05)
    assert "timed calls give the same result" in [check.name for check in found.checks if not check.ok]


def test_the_hot_buffers_are_poisoned_before_they_are_timed() -> None:
    with CPU().load(kernels.kernel(PROBLEM, "")) as program:
        (pointers, *_) = timing.rotation(program, PROBLEM, [], 0)
        program.write(pointers[2], b"\0" * 7680)
        timing.poison(program, PROBLEM, pointers)
        assert timing.result(program, PROBLEM, pointers, run=False) == [b"\xff" * 7680]
        found = timing.measure(PROBLEM, program, TARGET, seconds=0.02)
    assert found.checks[1].ok, "doing nothing twice is the same result: verification, not timing, catches it"


def test_far_from_the_best_stops_after_three_samples() -> None:
    calls: list[str] = []

    def timer(name: str, seconds: float) -> timing.Timer:
        return lambda repeats: (calls.append(name), [seconds] * repeats)[1]

    slow = timing.interleave(timer("hot", 0.3), timer("rotated", 0.3), best=0.05, seconds=100)
    assert slow.stopped
    assert len(slow.hot) == timing.LEAST
    calls.clear()
    near = timing.interleave(timer("hot", 0.1), timer("rotated", 0.1), timer("baseline", 0.2), best=0.05, seconds=0.0)
    assert not near.stopped
    assert calls == [
        "hot",
        "baseline",
        "baseline",
        *["hot", "rotated", "baseline"] * 3,
        "baseline",
    ]  # warm, before, ...
    assert near.drift == 1.0


def test_the_first_call_of_a_block_is_not_counted() -> None:
    assert timing.samples(lambda repeats: [9.0] + [1.0] * (repeats - 1), 1e-4) == [1.0] * timing.BLOCK_MOST
    assert timing.samples(lambda repeats: [7.0] * repeats, 7.0) == [7.0]


def test_rotation_goes_past_the_last_cache_and_round() -> None:
    problem = from_shape(64, 64, 64, "f32")
    with CPU().load(kernels.honest(problem)) as program:
        sets = timing.rotation(program, problem, [b"\1" * 16384, b"\2" * 16384], 1 << 20)
        assert len(sets) * 3 * 16384 >= 1 << 20
        assert len({pointer for each in sets for pointer in each}) == 3 * len(sets)
        assert all(pointer % 256 == 0 for each in sets for pointer in each)
        assert program.read(sets[-1][1], 4) == b"\2\2\2\2"
        assert program.read(sets[-1][2], 4) == b"\xff\xff\xff\xff"
        rotate = timing.Rotation(program, sets[:5])
        rotate.time(3)
        assert (rotate.next, rotate.last) == (3, 2)
        rotate.time(4)
        assert (rotate.next, rotate.last) == (2, 1)


def test_the_lock_keeps_others_out() -> None:
    holder = """
import sys, time
from lowering.timing import exclusive
with exclusive("test-device"):
    print("held", flush=True)
    time.sleep(0.4)
"""
    process = subprocess.Popen([sys.executable, "-P", "-c", holder], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    began = time.perf_counter()
    with timing.exclusive("test-device"):
        waited = time.perf_counter() - began
    process.wait()
    assert waited > 0.2
    assert (Path(tempfile.gettempdir()) / "lower-test-device.lock").exists()


def test_the_lock_of_another_user_is_shared(tmp_path: Path) -> None:
    """What was created under any umask can be locked; what cannot be read is left alone."""
    if os.getuid():
        pytest.skip("needs a second user")
    for folder in (tmp_path, *tmp_path.parents[:-1]):
        if folder != Path(tempfile.gettempdir()):
            folder.chmod(folder.stat().st_mode | 0o011)
    tmp_path.chmod(0o1777)
    before = os.umask(0o077)
    os.close(timing.lock_file(tmp_path / "lower-a.lock"))
    (tmp_path / "lower-b.lock").touch()
    os.umask(before)
    os.seteuid(65534)
    try:
        for name in ("lower-a.lock", "lower-b.lock"):
            os.close(timing.lock_file(tmp_path / name))
    finally:
        os.seteuid(0)
    assert {path.name for path in tmp_path.iterdir()} == {"lower-a.lock", "lower-b.lock", "lower-b-65534.lock"}


def test_a_slow_first_call_does_not_decide_how_many_make_a_sample() -> None:
    """A kernel of a microsecond whose first call takes a hundred: its samples are still batches."""
    small = from_shape(4, 4, 4, "f32")
    body = f"""%d = memref.get_global @done : memref<1xi32>
    %was = memref.load %d[%c0] : memref<1xi32>
    %no = arith.constant 0 : i32
    %yes = arith.constant 1 : i32
    %first = arith.cmpi eq, %was, %no : i32
    memref.store %yes, %d[%c0] : memref<1xi32>
    scf.if %first {{
      %us = arith.constant 100 : i32
      %rc = llvm.call @usleep(%us) : (i32) -> i32
    }}
    {kernels.loops(small)}"""
    extra = 'llvm.func @usleep(i32) -> i32\nmemref.global "private" @done : memref<1xi32> = dense<0>'
    with CPU().load(kernels.kernel(small, body, extra)) as program:
        ((pointers, *_), calls) = timing.rotation(program, small, [], 0), 5
        samples = program.time([pointers], calls)
        assert program.batch > 5
        assert program.batch * sorted(samples)[2] > 0.8 * BATCH_SECONDS


@pytest.mark.parametrize("layout", ["nn", "nt", "tn", "tt"])
def test_the_baseline_computes_the_product(layout: str) -> None:
    problem = from_shape(6, 5, 7, "f16", layout)
    peer = baselines.NumpyBaseline(problem)
    assert len(peer.time(3)) == 3
    a, b = baselines.operands(problem, 0, np.float32)
    assert np.allclose(peer.c, (a @ b)[0], rtol=1e-5)


def test_blas_can_be_pinned() -> None:
    assert baselines.pin(1) in (0, 1)
    assert baselines.openblas() is not None, "numpy's wheel brings OpenBLAS"
    assert baselines.pin(2) == 2
    assert baselines.pin(1) == 1


def test_the_floor() -> None:
    gpu = Target("g", "nvidia", "nvptx64", "g", "", {"flops_f16": 1e15, "memory_bandwidth": 4e9})
    problem = from_shape(1024, 1024, 1024, "f16")
    assert roofline.floor(problem, gpu, cold=False) == pytest.approx(2 * 1024**3 / 1e15)
    flat = from_shape(4096, 4096, 1, "f16")
    assert roofline.floor(flat, gpu, cold=True) == pytest.approx(2 * 4096 * 2 / 4e9)
    unknown = Target("u", "nvidia", "nvptx64", "u", "", {})
    assert roofline.check(problem, unknown, 1e-12, 1e-12).ok
    assert not roofline.check(problem, gpu, 1e-9, 1.0).ok
    assert "with cold caches" in roofline.check(from_shape(4096, 4096, 8, "f16"), gpu, 1.0, 1e-8).detail


def test_the_cpu_floor_is_below_what_blas_reaches() -> None:
    problem = from_shape(256, 256, 256, "f32")
    peer = baselines.NumpyBaseline(problem)
    assert roofline.floor(problem, TARGET, cold=False) < min(peer.time(5))


@pytest.mark.parametrize(
    ("problem", "can"),
    [
        (from_shape(64, 64, 64, "tf32"), True),
        (from_shape(64, 64, 64, "f8E4M3FN", "nt"), True),
        (from_shape(64, 72, 64, "f8E4M3FN", "nt"), False),  # N is in sixteens
        (from_shape(64, 64, 64, "f8E5M2", "nt"), False),
        (from_shape(64, 64, 64, "f8E4M3FNUZ", "nt"), False),
        (from_shape(64, 64, 64, "f8E4M3FN", "nt", batch=2), False),
        (from_shape(16, 64, 64, "i8"), False),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_what_torch_can_be_timed_with(problem, can):
    assert baselines.torch_can(problem) == can


def test_tf32_is_held_to_its_own_rate():
    chip = load("sm_90")
    times = [roofline.floor(from_shape(4096, 4096, 4096, dtype, "nt"), chip, cold=False) for dtype in ("f32", "tf32")]
    assert times[0] > 7 * times[1] > 0
