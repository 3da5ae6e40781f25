"""f32 matmul on one thread of this machine against numpy's BLAS on one thread: the x86-64 table of the benchmarks.

Each size is lowered by the default schedule, verified, and then timed on the same buffers ('hot'), call by call in turn
with numpy, pinned to one CPU. 'median' is the median of numpy's time over ours, pair by pair; 'best' is best over best.
The bar: the geometric mean of the medians is at least 0.90, and none is below 0.75.

Usage: PYTHONSAFEPATH=1 python scripts/bench_x86.py [--seconds S] [SIZE ...]
"""

from __future__ import annotations

import argparse
import os
import sys
import time

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import numpy as np

from lowering import lower, problem, verify
from lowering.core import Binary, Failure
from lowering.targets import load
from lowering.targets.x86 import space
from lowering.targets.x86.runtime import CPU, CpuProgram

SIZES = (256, 384, 512, 768, 1000, 1024, 1536)
GEOMEAN, LEAST = 0.90, 0.75


def pin() -> None:
    """Keeps this process on its last CPU: the first ones serve interrupts."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def build(size: int) -> tuple[problem.Problem, Binary, float]:
    """The problem, its default binary, and the seconds that lowering took. Exits where it fails."""
    target = load("x86_64")
    task = problem.from_shape(size, size, size, "f32")
    began = time.perf_counter()
    outcome = lower.lower(task, space.schedule({}, task, target), target).outcome
    if isinstance(outcome, Failure):
        sys.exit(f"{size}: {outcome}")
    return task, outcome, time.perf_counter() - began


def pairs(program: CpuProgram, size: int, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of ours and of numpy's calls, in turn, at least ten of each."""
    rng = np.random.default_rng(0)
    a, b, c = (rng.standard_normal((size, size), dtype=np.float32) for _ in range(3))
    pointers = [program.allocate(c.nbytes) for _ in range(3)]
    for pointer, data in zip(pointers, (a, b), strict=False):
        program.write(pointer, data)
    ours: list[float] = []
    theirs: list[float] = []
    program.run(pointers)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(ours) < 10:
        began = time.perf_counter()
        np.matmul(a, b, out=c)
        theirs.append(time.perf_counter() - began)
        ours.append(program.time([pointers], 1)[0])
    return np.array(ours), np.array(theirs)


def row(size: int, seconds: float) -> float:
    """Prints the line of one size; returns the median ratio. Exits where the binary is wrong."""
    task, binary, built = build(size)
    with CPU().load(binary) as program:
        wrong = [check for check in verify.verify_full(task, program) if not check.ok]
        if wrong:
            sys.exit(f"{size}: WRONG: {wrong[0].name}: {wrong[0].detail}")
        ours, theirs = pairs(program, size, seconds)
    rate = 2e-9 * size**3
    median, best = float(np.median(theirs / ours)), float(theirs.min() / ours.min())
    print(
        f"{size:5d}  {rate / theirs.min():6.1f}  {rate / ours.min():6.1f}  {best:5.3f}  {median:6.3f}  {built:5.2f}",
        flush=True,
    )
    return median


def main() -> int:
    """The exit code: 0 where the bar is met."""
    parser = argparse.ArgumentParser(description="x86-64 f32 against numpy's BLAS, one thread")
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES)
    parser.add_argument("--seconds", type=float, default=1.0, help="of timing, a size")
    arguments = parser.parse_args()
    pin()
    print(" size   numpy    ours   best  median  build\n       GFLOP/s GFLOP/s                    s")
    ratios = [row(size, arguments.seconds) for size in arguments.sizes]
    mean = float(np.exp(np.mean(np.log(ratios))))
    met = mean >= GEOMEAN and min(ratios) >= LEAST
    verdict = "met" if met else "MISSED"
    print(f"geometric mean {mean:.3f} (bar {GEOMEAN}), least {min(ratios):.3f} (bar {LEAST}): {verdict}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
