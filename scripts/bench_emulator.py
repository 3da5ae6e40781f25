"""How fast the emulator runs gfx942 kernels, both engines, and what its checks cost.

usage: python scripts/bench_emulator.py [--repeats 3]

Kernels: Triton's f16 matrix product of tests/kernels (128x128x64 tiles) at 256 and 1024, and the default schedule for
gfx942 (multiply-adds) at 512. Bars, on one core: 1024^3 in 2.0 s with arrays and 0.4 s natively, 256^3 in 0.1 s, 0.2 s
to start, 1 GB of memory; bounds are always checked, --stats and the race detector may cost 2x each. Seconds are this
machine's: they say nothing of a device's time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from lowering import problem, targets
from lowering.lower import lower
from lowering.targets.amdgpu.emulator.emulator import EmulationResult, Emulator, Options, Value
from lowering.targets.amdgpu.emulator.statistics import Statistics
from lowering.targets.families import FAMILIES

KERNELS = Path(__file__).parent.parent / "tests" / "kernels"
STARTED = "import time; t = time.perf_counter(); from lowering.targets.amdgpu.emulator.emulator import Emulator; {}"
CODE = "Emulator(open({!r}, 'rb').read()); print(time.perf_counter() - t)"
MATRIX = "triton_matmul_f16_large.hsaco"


def matrix(size: int) -> Callable[[Options], EmulationResult]:
    """A launch of Triton's kernel on square matrices; the result is compared."""
    row = next(each for each in json.loads((KERNELS / "kernels.json").read_text()) if each["file"] == MATRIX)
    emulator = Emulator((KERNELS / MATRIX).read_bytes())
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-3, 4, (size, size)).astype(np.float16) for _ in range(2))
    expected = a.astype(np.float32) @ b.astype(np.float32)

    def launch(options: Options) -> EmulationResult:
        c = np.zeros((size, size), np.float32)
        arguments = [a, b, c, *(Value("i32", size) for _ in range(3)), None, None]
        tiles = (size // 128, size // 128, 1)
        result = emulator.launch(row["kernel"], tiles, tuple(row["block"]), arguments, row["lds"], options)
        assert np.array_equal(c, expected)
        return result

    return launch


def vector(size: int) -> Callable[[Options], EmulationResult]:
    """A launch of the binary of the default schedule without matrix instructions."""
    chip = targets.load("gfx942")
    of = problem.from_shape(size, size, size, "f32")
    built: Any = lower(of, FAMILIES[chip.family].space.schedule({"cores": "vector"}, of, chip), chip).outcome
    (one,) = built.launches
    emulator = Emulator(built.image)
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-3, 4, (size, size)).astype(np.float32) for _ in range(2))

    def launch(options: Options) -> EmulationResult:
        c = np.zeros((size, size), np.float32)
        result = emulator.launch(one.kernel, one.grid, one.block, [a, b, c], one.shared_bytes, options)
        assert np.array_equal(c, a @ b)
        return result

    return launch


def timed(launch: Callable[[Options], EmulationResult], options: Options, repeats: int) -> tuple[float, int]:
    """Median seconds of a launch, the first not counted, and wave-instructions."""
    launch(options)
    results = [launch(options) for _ in range(repeats)]
    return median(each.seconds for each in results), results[0].instructions


def started(cached: bool) -> float:
    """Seconds from the import to a loaded code object, in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ if cached else {**os.environ, "XDG_CACHE_HOME": folder}
        code = STARTED.format(CODE.format(str(KERNELS / MATRIX)))
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
        return float(done.stdout)


def main() -> None:
    """Prints the figures beside their bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    print(f"start-up  {min(started(True) for _ in range(repeats)):.2f} s to a loaded code object (bar 0.2 s)")
    cases = (
        ("f16 matrix product 256x256x256", matrix(256), {"numpy": 0.1, "native": 0.1}),
        ("f16 matrix product 1024x1024x1024", matrix(1024), {"numpy": 2.0, "native": 0.4}),
        ("f32 multiply-adds 512x512x512", vector(512), {}),
    )
    for name, launch, bars in cases:
        print(name)
        for engine in ("numpy", "native"):
            seconds, count = timed(launch, Options(engine=engine, checks=False), repeats)
            bar = f" (bar {bars[engine]} s)" if engine in bars else ""
            print(f"  {engine:7} {seconds:6.3f} s{bar}, {64 * count / seconds / 1e6:,.0f} M lane-instructions/s")
        plain, _ = timed(launch, Options(checks=False), repeats)
        races, _ = timed(launch, Options(checks=True), repeats)
        counted = median(launch(Options(checks=False, watcher=Statistics())).seconds for _ in range(repeats))
        print(f"  race detector {races / plain:.2f}x, statistics {counted / plain:.2f}x (bars 2x, beside native)")
        array, _ = timed(launch, Options(engine="numpy", checks=False), repeats)
        array_races, _ = timed(launch, Options(engine="numpy", checks=True), repeats)
        print(f"  race detector {array_races / array:.2f}x beside numpy")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB (bar 1 GB)")


if __name__ == "__main__":
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":  # read when numpy is imported
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    main()
