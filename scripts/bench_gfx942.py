"""What the default schedules for gfx942 come to: resources, main loop, LDS conflicts, lines, verdict. No device needed.

usage: python scripts/bench_gfx942.py [--out scripts/results/gfx942.json] [--only TEXT] [--minutes 60] [--no-verify]
       python scripts/bench_gfx942.py --ladder      what each step adds to a 4096^3 bf16 schedule, counted and predicted

Every row is a problem: its default schedule is built, its binary read, and run in the emulator: verified, sampled above
the work limit. What was done is kept in the file and not done again while the schedule's digest is the same, so that
the run can be stopped and taken up. All figures are counted or *emulated*; times are *predicted* (the tile model).
Bars: no spills, no scratch, LDS within 64 KiB, no bank conflicts and lines within 1.25 of the fewest where rows are
whole lines, elsewhere within 1.25 of those that the byte ranges of the tiles touch; for tiles of 256 by 256, matrix
instructions 50 % of the main loop (40 % where B is turned), loads 256 clocks ahead, no copies of accumulators, at most
two barriers a step.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lowering import dtypes, targets
from lowering import problem as problems
from lowering.core import Problem
from lowering.ladder import ladder
from lowering.lower import lower
from lowering.targets.amdgpu import matrix_tiles, space
from lowering.targets.amdgpu.emulator.emulator import Emulator, Options
from lowering.targets.amdgpu.emulator.statistics import LINES, Statistics, occupancy
from lowering.targets.amdgpu.main_loop import main_loop

CUBES = (512, 1024, 2048, 4096, 8192)
LAYOUTS = ("nt", "nn", "tn", "tt")
ELEMENTS = ("f16", "bf16", "i8", "f8E4M3FNUZ")
# Projections of transformers (N, K): with 4096 features (7 billion parameters) and with 8192 (70 billion)
PROJECTIONS = ((12288, 4096), (4096, 11008), (10240, 8192), (8192, 28672))
TOKENS = (1, 16, 512, 4096)
CHIP = targets.load("gfx942")
COUNTED = 4  # workgroups that are counted
LINE = 128  # bytes: what leading dimensions are to be multiples of for the bars on lines and banks
UNSEEN = 2**14  # in C before a launch: larger than the sums of the small integers that are multiplied
BIG = (256, 256)  # the tile that the bars on the main loop are for


@dataclass(frozen=True)
class Row:
    """One problem."""

    m: int
    n: int
    k: int
    element: str
    layout: str
    batch: int = 0

    @property
    def name(self) -> str:
        """What it is called in the file."""
        return f"{self.shape} {self.element} {self.layout}"

    @property
    def shape(self) -> str:
        """As --shape takes it."""
        return "x".join(map(str, ([self.batch] if self.batch else []) + [self.m, self.n, self.k]))

    @property
    def problem(self) -> Problem:
        """The payload."""
        return problems.from_shape(self.m, self.n, self.k, self.element, layout=self.layout, batch=self.batch)

    @property
    def whole_lines(self) -> bool:
        """Whether the rows of A and B are whole lines."""
        a = self.k if self.layout[0] == "n" else self.m
        b = self.n if self.layout[1] == "n" else self.k
        return all(extent * dtypes.lookup(self.element).bytes % LINE == 0 for extent in (a, b))


def rows() -> Iterator[Row]:
    """All problems: cubes in four layouts, smallest first, then those of models."""
    for size in CUBES:
        yield from (Row(size, size, size, element, layout) for element in ELEMENTS for layout in LAYOUTS)
    yield from (Row(tokens, n, k, "bf16", "nt") for tokens in TOKENS for n, k in PROJECTIONS)
    yield Row(512, 512, 512, "bf16", "nt", 64)
    yield Row(4000, 4100, 4104, "bf16", "nn")
    yield Row(4000, 4100, 4104, "bf16", "nt")
    yield Row(1000, 333, 77, "bf16", "nn")


def digest(problem: Problem) -> str:
    """The digest of a problem's default schedule."""
    return hashlib.sha256(str(space.schedule({}, problem, CHIP)).encode()).hexdigest()[:16]


def range_lines(row: Row, knobs: dict[str, Any], written: np.ndarray[Any, Any]) -> int:
    """The lines that the byte ranges of a workgroup's tiles touch in all steps of K; `written`: its elements of C."""
    rows, columns = np.flatnonzero(written.any(axis=1)), np.flatnonzero(written.any(axis=0))
    nbytes, total = dtypes.lookup(row.element).bytes, 0
    for k in range(0, row.k, knobs["block_k"]):
        depth = np.arange(k, min(k + knobs["block_k"], row.k))
        a = (rows, depth, row.k) if row.layout[0] == "n" else (depth, rows, row.m)
        b = (depth, columns, row.n) if row.layout[1] == "n" else (columns, depth, row.k)
        for outer, inner, pitch in (a, b):
            first = (outer * pitch + inner[0]) * nbytes // LINE
            last = ((outer * pitch + inner[-1] + 1) * nbytes - 1) // LINE
            total += int((last - first + 1).sum())
    return total


EIGHT = {"block_m": 128, "block_n": 128, "wave_m": 32, "wave_n": 64}
OTHERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("as the default has it", {}),
    ("`double-buffer`", {"stages": 2}),
    ("`double-buffer, fill-ahead`", {"stages": 3}),
    ("`double-buffer, fill-ahead, ping-pong`", {"stages": 3, "ping_pong": True}),
    ("`promote{direct=true}`, no `prefetch`", {"direct": True}),
    ("the same with `double-buffer, fill-ahead`", {"direct": True, "stages": 3}),
    ("`promote{padding=8}` for `swizzle`", {"swizzle": False, "padding": 8}),
    ("`map-lanes{shuffle=true}`", {"shuffle": True}),
    ("`persist`, a workgroup a unit", {"persistent": 1}),
)


def show_ladder() -> None:
    """Prints the steps to the default on matrix cores, one more, and a schedule with one thing done in another way."""
    row = Row(4096, 4096, 4096, "bf16", "nt")
    steps = [each for each in ladder(row.problem, CHIP, {}) if each.knobs["cores"] == "matrix" and not each.skipped]
    print(HEAD.format("step"))
    for each in steps:
        print(rung(each.name, measured(row, dict(each.knobs))))
    print(rung("`pipeline-fragments`", measured(row, {**steps[-1].knobs, "ahead": 1})))
    print()
    print(HEAD.format("instead"))
    for name, changed in OTHERS:
        print(rung(name, measured(row, EIGHT | changed)))


HEAD = "| {} | VGPR | spills | loop | matrix | slack | LDS cycles | store lines | predicted |\n" + "|---" * 9 + "|"


def rung(name: str, found: dict[str, Any]) -> str:
    """One line of a ladder."""
    loop = found["loop"]
    return (
        f"| {name} | {found['registers']} | {found['spills']} | {loop['instructions']} | {loop['matrix share']:.0%} | "
        f"{loop['load slack']} | {found['conflicts']:.2f}x | {found['store lines']:.2f}x | "
        f"{found['predicted']['TFLOP/s']:.0f} TFLOP/s |"
    )


def measured(row: Row, given: dict[str, Any]) -> dict[str, Any]:
    """The figures of a row's schedule with some knobs, counted and predicted."""
    problem, began = row.problem, time.perf_counter()
    knobs = space.full(given, problem, CHIP)
    built: Any = lower(problem, space.schedule(given, problem, CHIP), CHIP).outcome
    seconds = time.perf_counter() - began
    (launch,) = built.launches
    (kernel,) = built.kernels
    emulator, counted = Emulator(built.image), Statistics()
    rng = np.random.default_rng(0)
    buffers = [rng.integers(-2, 3, a.shape).astype(dtypes.lookup(a.dtype).numpy) for a in problem.arguments]
    total = launch.grid[0]
    chosen = tuple(sorted({0, total // 3, total * 2 // 3, total - 1}))[:COUNTED]
    options = Options(watcher=counted, workgroups=chosen)
    counted.take(emulator.launch(launch.kernel, launch.grid, launch.block, buffers, launch.shared_bytes, options))
    code = emulator.image.kernel(launch.kernel)
    lds = code.descriptor.group_segment + launch.shared_bytes
    fill = occupancy(code.descriptor, lds, -(-launch.block[0] // 64), CHIP)
    loop = main_loop(emulator.image, launch.kernel, CHIP)
    stores = [each for each in counted.memory.values() if "_store_" in each.instruction.name]
    loads = [each for each in counted.memory.values() if "_load_" in each.instruction.name]
    predicted = matrix_tiles.prediction(knobs, problem, CHIP)
    found = {
        "digest": digest(problem), "knobs": knobs, "seconds to build": round(seconds, 3),
        "registers": kernel.vgprs, "accumulation registers": kernel.agprs, "spills": kernel.spills,
        "scratch": kernel.scratch_bytes, "LDS": lds, "occupancy": fill.waves, "limited by": fill.limit,
        "conflicts": round(ratio(counted.lds.values(), "taken", "least"), 3),
        "lines": lines(loads), "store lines": lines(stores),
        "predicted": {"us": round(predicted.seconds * 1e6, 1), "TFLOP/s": round(predicted.rate / 1e12, 1),
                      "bound": predicted.bound, "model": predicted.version},
    }  # fmt: skip
    if not row.whole_lines:
        wanted = 0
        for number in chosen:
            buffers[-1][...] = UNSEEN
            alone = Options(workgroups=(number,))
            emulator.launch(launch.kernel, launch.grid, launch.block, buffers, launch.shared_bytes, alone)
            wanted += range_lines(row, knobs, buffers[-1] != UNSEEN)
        found["range lines"] = round(sum(t.lines[LINE] for t in loads) / wanted, 3)
    if loop is not None:
        found["loop"] = {
            **loop.classes, "instructions": loop.instructions, "matrix share": round(loop.matrix_share, 3),
            "barriers": loop.barriers, "copies": loop.copies, "load slack": loop.load_slack,
            "LDS slack": loop.lds_slack,
        }  # fmt: skip
    return found


def lines(accesses: list[Any]) -> float:
    """Lines of 128 bytes that accesses touch, over the fewest."""
    return round(sum(t.lines[LINES[1]] for t in accesses) / max(1, sum(t.ideal[LINES[1]] for t in accesses)), 3)


def ratio(rows: Any, over: str, under: str) -> float:
    """The sum of one field over that of another."""
    below = sum(getattr(each, under) for each in rows)
    return sum(getattr(each, over) for each in rows) / below if below else 1.0


def verified(row: Row, folder: Path) -> dict[str, Any]:
    """The verdict of the command line on a row, and its seconds."""
    words = [sys.executable, "-m", "lowering.cli", "--target", "gfx942", "--shape", row.shape, "--dtype", row.element]
    began = time.perf_counter()
    done = subprocess.run(
        [*words, "--layout", row.layout, "--json", "--runs", str(folder), "--timeout", "900"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode not in (0, 1):
        return {"verdict": done.stderr.strip(), "seconds": time.perf_counter() - began}
    record = json.loads(done.stdout)
    word = "" if record["word"] == "none" else f"{record['word']}, "
    return {"verdict": f"{word}{record['outcome']}", "seconds": round(time.perf_counter() - began, 1)}


def complaints(row: Row, found: dict[str, Any]) -> list[str]:
    """The bars that a row misses."""
    loop, knobs, wrong = found.get("loop", {}), found["knobs"], list[str]()
    for name in ("spills", "scratch"):
        wrong += [f"{found[name]} {name}"] if found[name] else []
    wrong += [f"{found['LDS']} bytes of LDS"] if found["LDS"] > 65536 else []
    if row.whole_lines:
        wrong += [f"bank conflicts {found['conflicts']:.2f}x"] if found["conflicts"] > 1 else []
        wrong += [f"lines {found['lines']:.2f}x"] if found["lines"] > 1.25 else []
    else:
        wrong += [f"lines of ranges {found['range lines']:.2f}x"] if found["range lines"] > 1.25 else []
    if loop and (knobs.get("block_m"), knobs.get("block_n")) == BIG and row.element in ("f16", "bf16"):
        least = 0.5 if row.layout == "nt" else 0.4
        wrong += [f"matrix instructions {loop['matrix share']:.0%} of the loop"] if loop["matrix"] < least else []
        wrong += [f"loads {loop['load slack']} clocks ahead"] if (loop["load slack"] or 0) < 256 else []
    if loop:
        wrong += [f"{loop['copies']} copies of accumulators"] if loop["copies"] else []
        wrong += [f"{loop['barriers']} barriers a step"] if loop["barriers"] > 2 else []
    if "verdict" in found and not found["verdict"].startswith("emulated, verified"):
        wrong.append(found["verdict"])
    return wrong


def main() -> None:
    """Goes through the rows, and prints one line of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "gfx942.json")
    parser.add_argument("--only", default="", help="rows whose name holds this")
    parser.add_argument("--minutes", type=float, default=60.0, help="stop beginning rows after so long")
    parser.add_argument("--no-verify", action="store_true", help="count, and do not verify")
    parser.add_argument("--ladder", action="store_true", help="one schedule, a step at a time")
    options = parser.parse_args()
    if options.ladder:
        show_ladder()
        return
    kept: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {}
    end, missed = time.monotonic() + 60 * options.minutes, 0
    with tempfile.TemporaryDirectory() as folder:
        for row in (each for each in rows() if options.only in each.name):
            old = kept.get(row.name, {})
            same = old.get("digest") == digest(row.problem)
            counted = same and (row.whole_lines or "range lines" in old)
            if not counted or ("verdict" not in old and not options.no_verify):
                if time.monotonic() > end:
                    print(f"{row.name:34} not done")
                    continue
                verdict = {key: old[key] for key in ("verdict", "seconds") if same and key in old}
                old = measured(row, {}) | verdict
                if not options.no_verify and not verdict:
                    old |= verified(row, Path(folder))
                kept[row.name] = old
                options.out.write_text(json.dumps(kept, indent=1) + "\n")
            wrong = complaints(row, old)
            missed += bool(wrong)
            print(line(row, old), "; ".join(wrong) or "ok", flush=True)
    print(f"{missed} rows miss a bar")


def line(row: Row, found: dict[str, Any]) -> str:
    """A row's figures in one line."""
    loop, knobs = found.get("loop", {}), found["knobs"]
    return (
        f"{row.name:34} {knobs.get('block_m')}x{knobs.get('block_n')}x{knobs.get('block_k')} "
        f"{found['registers']:3} VGPR, {found['occupancy']} waves, loop {loop.get('instructions', 0):3} "
        f"({loop.get('matrix share', 0):.0%} matrix), slack {loop.get('load slack')}, banks {found['conflicts']:.2f}x, "
        f"lines {found.get('range lines', found['lines']):.2f}x, predicted {found['predicted']['TFLOP/s']:.0f} TFLOP/s:"
    )


if __name__ == "__main__":
    main()
