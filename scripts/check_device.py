"""Lowers, runs and verifies a grid of problems on a device, then times a few of them; prints a table and writes JSON.

usage: python scripts/check_device.py --target sm_90 [--workers 12] [--json scripts/results/sm_90_default.json]

Every row is the target's default schedule, verified on its witness with every check and at full size. The sizes are
those that divide nothing beside those that divide everything, in all four layouts and each element type; 8-bit floats
where tensor cores take them, which are the only ones that do.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from lowering import dtypes, problem, search, targets, toolchain
from lowering.agent.default import Default
from lowering.core import Problem
from lowering.program import MULTIPLIED
from lowering.store import Record
from lowering.targets.families import FAMILIES

SHAPES = (
    "1x1x1", "7x5x3", "128x128x128", "1000x333x77", "1000x1544x1104", "4095x4097x31", "3x65x130x70", "64x80x96+C",
    "7x5x3+C",
)  # fmt: skip
LAYOUTS = ("nn", "nt", "tn", "tt")
DTYPES = ("f32", "f16", "bf16", "i8", "tf32", "f8E4M3FN", "f8E5M2")
TIMED = (
    ("1024x1024x1024", "f32", "nn"),
    ("4096x4096x4096", "f32", "nn"),
    ("4096x4096x4096", "f16", "nn"),
    ("4096x4096x4096", "bf16", "nn"),
    ("4096x4096x4096", "i8", "nt"),
    ("4096x4096x4096", "tf32", "nt"),
    ("4096x4096x4096", "f8E4M3FN", "nt"),
    ("1000x333x77", "bf16", "nn"),
)


def load(shape: str, dtype: str, layout: str) -> Problem:
    """The problem of one row; `+C` adds the product to a C that is an argument."""
    m, n, k, batch = problem.parse_shape(shape.removesuffix("+C"))
    multiplied = f'{{{MULTIPLIED} = "{dtype}"}} ' if dtype in dtypes.ROUNDED else ""
    if not shape.endswith("+C"):
        return problem.from_shape(m, n, k, dtype, layout, batch=batch)
    a, b, total = (f"tensor<{size}x{kind}>" for size, kind in operands(m, n, k, dtype))
    return problem.from_text(
        f"""func.func @main(%a: {a}, %b: {b}, %c: {total}) -> {total} {{
              %r = linalg.matmul {multiplied}ins(%a, %b : {a}, {b}) outs(%c : {total}) -> {total}
              return %r : {total}
            }}""",
        f"matmul_{shape}_{dtype}",
    )


def operands(m: int, n: int, k: int, dtype: str) -> tuple[tuple[str, str], ...]:
    """Sizes and element types of A, B and the accumulator."""
    dtype = "f32" if dtype in dtypes.ROUNDED else dtype
    return (f"{m}x{k}", dtype), (f"{k}x{n}", dtype), (f"{m}x{n}", dtypes.lookup(dtype).accumulator)


def makes_sense(case: tuple[str, str, str], target: str) -> bool:
    """Whether a target multiplies a row's elements in its layout: 8-bit floats only on tensor cores."""
    chip, of = targets.load(target), load(*case)
    space = FAMILIES[chip.family].space
    return not dtypes.is_small(of.contraction.element) or space.illegal({}, of, chip) is None


def run_one(case: tuple[str, str, str], target: str, options: search.Options) -> Record:
    """One row through the one loop."""
    (record,) = search.run(load(*case), targets.load(target), Default(), options)
    return record


def checked(case: tuple[str, str, str], target: str, options: search.Options) -> dict[str, object]:
    """One row, verified; in a process of its own, since MLIR's context is not for threads."""
    return row(case, run_one(case, target, options))


def row(case: tuple[str, str, str], record: Record) -> dict[str, object]:
    """What is kept of a record."""
    shape, dtype, layout = case
    kernel = record.kernels[0] if record.kernels else None
    timing = record.timing
    return {
        "problem": shape,
        "dtype": dtype,
        "layout": layout,
        "outcome": record.outcome,
        "reason": record.failure.reason if record.failure else "",
        "checks": len(record.checks),
        "witness": record.problem.witness,
        "knobs": record.knobs,
        "registers": kernel.registers if kernel else None,
        "spills": kernel.spills if kernel else None,
        "shared_bytes": kernel.shared_bytes if kernel else None,
        "ms": 1e3 * timing.hot if timing else None,
        "tflops": record.problem.flops / timing.hot / 1e12 if timing else None,
        "baseline": timing.baseline_name if timing else None,
        "baseline_ms": 1e3 * timing.baseline_hot if timing and timing.baseline_hot else None,
    }


def show(rows: Iterable[dict[str, object]]) -> None:
    """The table: a line a problem and type, a column a layout; then the timed rows."""
    rows = list(rows)
    print(f"{'problem':16s} {'type':8s} " + " ".join(f"{layout:26s}" for layout in LAYOUTS))
    for shape in dict.fromkeys(r["problem"] for r in rows if r["ms"] is None):
        for dtype in DTYPES:
            found = {r["layout"]: r for r in rows if (r["problem"], r["dtype"]) == (shape, dtype) and r["ms"] is None}
            cells = [f"{found[x]['outcome']!s:26.26s}" if x in found else " " * 26 for x in LAYOUTS]
            if not found:
                continue
            print(f"{shape!s:16s} {dtype:8s} " + " ".join(cells))
    for r in rows:
        if r["ms"] is not None:
            ratio = r["ms"] / r["baseline_ms"] if r["baseline_ms"] else 0.0
            rate = r["tflops"] * ratio
            peer = f"{r['baseline']} {r['baseline_ms']:.4f} ms, {rate:.2f} TFLOP/s" if r["baseline_ms"] else ""
            speed = f"{r['ms']:.4f} ms, {r['tflops']:.2f} TFLOP/s"
            print(f"measured: {r['problem']} {r['dtype']} {r['layout']}: {speed}; {peer}")
    for r in rows:
        if r["reason"]:
            print(f"{r['problem']} {r['dtype']} {r['layout']}: {r['reason']}")


def device_name() -> str:
    """The GPU and its driver, as nvidia-smi says; empty where there is none."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version,clocks.max.sm", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def main() -> int:
    """0 where every row is verified."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", required=True)
    parser.add_argument("--workers", type=int, default=12)
    parser.add_argument("--shapes", nargs="*", default=SHAPES)
    parser.add_argument("--layouts", nargs="*", default=LAYOUTS)
    parser.add_argument("--dtypes", nargs="*", default=DTYPES)
    parser.add_argument("--no-time", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    cases = [
        (shape, dtype, layout)
        for shape in given.shapes
        for dtype in given.dtypes
        for layout in (("nn",) if shape.endswith("+C") else given.layouts)
        if makes_sense((shape, dtype, layout), given.target)
    ]
    with tempfile.TemporaryDirectory() as folder:
        options = search.Options(runs=Path(folder), texts=(), timed=False)
        with ProcessPoolExecutor(given.workers, get_context("spawn")) as pool:
            rows = list(pool.map(partial(checked, target=given.target, options=options), cases))
        timed = replace(options, timed=True)
        for case in () if given.no_time else TIMED:
            rows.append(row(case, run_one(case, given.target, timed)))
    show(rows)
    good = sum(str(r["outcome"]).startswith("verified") for r in rows)
    print(f"{good} of {len(rows)} rows verified on {device_name() or 'this machine'}")
    if given.json:
        content = {"versions": toolchain.versions(), "device": device_name(), "target": given.target, "rows": rows}
        given.json.write_text(json.dumps(content, indent=1) + "\n")
    return 0 if good == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
