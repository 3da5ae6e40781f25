"""How fast the tool is: a warm candidate from MLIR text to binary, two processes against one, and the whole command.

usage: python scripts/bench_build.py [--repeats 7]

Bars: <= 0.20 s a warm gfx942 or sm_90 candidate on one core, link and ptxas apart; two worker processes >= 1.9x one;
`lower --target gfx942` from the shell, build only: <= 3 s wall and <= 600 MB peak.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from lowering import problem, targets
from lowering.agent.default import Default
from lowering.core import Failure
from lowering.lower import lower

SHAPES = ((1024, 1024, 1024, "f16"), (4096, 4096, 4096, "f32"), (1000, 333, 77, "bf16"))


Case = tuple[str, int, int, int, str]  # target, M, N, K, element type
SPAWN = get_context("spawn")


def seconds_of_one(case: Case) -> dict[str, float]:
    """Seconds by stage of one lowering in this process, no folder: what a search pays."""
    name, m, n, k, dtype = case
    target = targets.load(name)
    payload = problem.from_shape(m, n, k, dtype)
    schedule = Default().propose(payload, target, (), 1)[0].schedule
    began = time.perf_counter()
    lowered = lower(payload, schedule, target)
    total = time.perf_counter() - began
    if isinstance(lowered.outcome, Failure):
        raise SystemExit(f"{case}: {lowered.outcome}")
    built, linked = lowered.codegen_seconds, lowered.link_seconds
    return {"mlir": total - built - linked, "codegen": built, "finish": linked}


def many(case: Case, repeats: int) -> list[dict[str, float]]:
    """`repeats` lowerings of one case, after one to warm up."""
    return [seconds_of_one(case) for _ in range(repeats + 1)][1:]


def warm(case: Case, repeats: int) -> dict[str, float]:
    """Median seconds by stage of a warm candidate."""
    with ProcessPoolExecutor(1, SPAWN) as pool:
        rows = pool.submit(many, case, repeats).result()
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


def scaling(case: Case, repeats: int) -> float:
    """Throughput of two worker processes over that of one, in one run."""
    with ProcessPoolExecutor(1, SPAWN) as one, ProcessPoolExecutor(1, SPAWN) as two:

        def run(*pools: ProcessPoolExecutor) -> float:
            began = time.perf_counter()
            for job in [pool.submit(many, case, repeats) for pool in pools]:
                job.result()
            return time.perf_counter() - began

        run(one, two)  # warm up
        return 2 * run(one) / run(one, two)


def whole_command(name: str) -> tuple[float, float]:
    """Wall seconds and peak MB (of the largest process) of `lower --target NAME`, build only."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-P",
            "-m",
            "lowering.cli",
            "--target",
            name,
            "--verify",
            "none",
            "--no-time",
            "--runs",
            folder,
        ]
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)
        wall = time.perf_counter() - began
    return wall, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def main() -> None:
    """Prints the figures against their bars."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    wall, peak = whole_command("gfx942")
    print(f"lower --target gfx942, build only: {wall:.2f} s wall (bar 3), {peak:.0f} MB peak (bar 600)")
    print(f"\n{'warm candidate, one core':34s} {'MLIR':>7s} {'LLVM':>7s} {'both':>7s}  bar   link/ptxas")
    for name in ("gfx942", "sm_90"):
        for m, n, k, dtype in SHAPES:
            row = warm((name, m, n, k, dtype), repeats)
            both = row["mlir"] + row["codegen"]
            label = f"{name} {m}x{n}x{k} {dtype}"
            print(f"{label:34s} {row['mlir']:7.3f} {row['codegen']:7.3f} {both:7.3f}  0.20  {row['finish']:.3f}  s")
    ratio = statistics.median(scaling(("gfx942", 1024, 1024, 1024, "f16"), 4 * repeats) for _ in range(3))
    print(f"\ntwo worker processes over one: {ratio:.2f}x (bar 1.9) on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
