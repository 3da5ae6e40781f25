"""sm_90's default schedules beside cuBLASLt and Triton, measured: verifies, times in turn, prints a table, writes JSON.

usage: python scripts/bench_sm90.py [--rows TEXT ...] [--json FILE] [--workers 12] [--no-triton]

Needs an NVIDIA GPU with torch (for the data and Triton). Every row is the target's default schedule, taken through the
one loop (witness with every check, then full size: integers, random numbers against their bound, poison, guard bands);
the very image that was verified is then timed, one after the other: normal random data, a cold L2 for every call,
each contender once a round in random order, medians of at least 30 rounds. cuBLASLt runs the fastest of all
algorithms that its heuristic offers, chosen in the same process by the same protocol; Triton a tiled product tuned over
its configurations. `--rows` does those whose name has the text (`bf16 4096`), and merges them into the file, of which
sm90_table.py makes the table.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import json
import math
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from lowering import inputs, problem, search, targets, toolchain
from lowering.agent.default import Default
from lowering.core import Binary, Failure, Problem
from lowering.lower import lower
from lowering.passes import pipeline
from lowering.store import Record
from lowering.targets.nvidia import rivals, runtime
from lowering.targets.nvidia.rounds import Contender, Rounds
from lowering.worker import Limits

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "scripts" / "results"
ROUNDS, FEWEST, MOST_SECONDS = 60, 30, 4.0


@dataclass(frozen=True)
class Row:
    """A problem with the least ratio to cuBLAS that was promised, and the one aimed at."""

    shape: str
    dtype: str
    layout: str
    bar: float
    aim: float
    epilogue: str = ""

    @property
    def name(self) -> str:
        """What `--rows` looks for."""
        return " ".join(filter(None, (self.dtype, self.shape, self.layout, self.epilogue)))


def cube(n: int) -> str:
    """n x n x n."""
    return f"{n}x{n}x{n}"


def rows() -> tuple[Row, ...]:
    """The table."""
    found: list[Row] = []
    for dtype in ("bf16", "f16"):
        found.append(Row(cube(512), dtype, "nn", 0.95, 1.10))
        found += [Row(cube(n), dtype, "nn", 1.02, 1.10) for n in (1024, 2048, 3072)]
        large = (cube(4096), cube(8192), cube(16384), "4096x14336x4096", "8192x8192x1024")
        found += [Row(shape, dtype, "nn", 1.02, 1.06) for shape in large]
    found += [Row(cube(n), "bf16", "nt", 1.02, 1.10 if n < 4096 else 1.06) for n in (1024, 2048, 3072, 4096, 8192)]
    found += [Row(cube(n), "tf32", "nt", 0.97, 1.05) for n in (1024, 2048, 4096, 8192)]
    found += [Row(cube(n), "f8E4M3FN", "nt", 1.02, 1.05) for n in (2048, 4096, 8192, 16384)]
    found += [Row(cube(n), "f32", "nn", 0.85, 1.00) for n in (2048, 4096)]
    found += [
        Row(f"{m}x{n}x{n}", "bf16", layout, 1.10, 1.5)
        for layout in ("nn", "nt")
        for m in (1, 8, 16, 64, 128)
        for n in (4096, 8192)
    ]
    found += [Row(shape, "bf16", "nn", 1.00, 1.1) for shape in ("64x512x512x512", "16x1024x1024x1024")]
    found += [Row(shape, "bf16", "nn", 1.00, 1.2) for shape in ("256x256x65536", "4096x4096x64")]
    found += [Row(shape, "bf16", "nn", 1.00, 1.3) for shape in (cube(1000), "4000x4100x4104")]
    found += [Row(shape, "bf16", "nn", 2.0, 4.0) for shape in (cube(4095), "4097x4095x4099")]
    found += [Row(shape, "bf16", "nt", 1.10, 1.2, "bias+gelu") for shape in (cube(2048), cube(4096), cube(8192))]
    return tuple(found)


GELU = """func.func @main(%a: tensor<{m}x{k}x{t}>, %b: {b}, %bias: tensor<{n}x{t}>) -> tensor<{m}x{n}x{t}> {{
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<{m}x{n}xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<{m}x{n}xf32>) -> tensor<{m}x{n}xf32>
  %r = linalg.matmul {maps} ins(%a, %b : tensor<{m}x{k}x{t}>, {b}) outs(%f : tensor<{m}x{n}xf32>) -> tensor<{m}x{n}xf32>
  %o = tensor.empty() : tensor<{m}x{n}x{t}>
  %g = linalg.generic {{iterator_types = ["parallel", "parallel"],
      indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (j)>, affine_map<(i, j) -> (i, j)>]}}
      ins(%r, %bias : tensor<{m}x{n}xf32>, tensor<{n}x{t}>) outs(%o : tensor<{m}x{n}x{t}>) {{
    ^bb0(%x: f32, %y: {t}, %unused: {t}):
      %wide = arith.extf %y : {t} to f32
      %s = arith.addf %x, %wide : f32
      %c = arith.constant 0.70710678 : f32
      %p = arith.mulf %s, %c : f32
      %q = math.erf %p : f32
      %one = arith.constant 1.0 : f32
      %v = arith.addf %q, %one : f32
      %half = arith.constant 0.5 : f32
      %w = arith.mulf %s, %half : f32
      %u = arith.mulf %w, %v : f32
      %n = arith.truncf %u : f32 to {t}
      linalg.yield %n : {t}
  }} -> tensor<{m}x{n}x{t}>
  return %g : tensor<{m}x{n}x{t}>
}}"""
TRANSPOSED = """indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>,
      affine_map<(m, n, k) -> (m, n)>]"""


def load(row: Row) -> Problem:
    """The problem of a row."""
    m, n, k, batch = problem.parse_shape(row.shape)
    if not row.epilogue:
        return problem.from_shape(m, n, k, row.dtype, row.layout, batch=batch)
    right = f"tensor<{n}x{k}x{row.dtype}>" if row.layout == "nt" else f"tensor<{k}x{n}x{row.dtype}>"
    maps = TRANSPOSED if row.layout == "nt" else ""
    return problem.from_text(GELU.format(m=m, n=n, k=k, t=row.dtype, b=right, maps=maps), row.name.replace(" ", "_"))


# --- built and verified, several at a time ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Built:
    """A row through the one loop, and the image that was verified; `reason` says why there is none."""

    row: Row
    record: Record
    binary: Binary | None
    reason: str


def build(row: Row, folder: str) -> Built:
    """Verifies a row; in a process of its own."""
    task, target = load(row), targets.load("sm_90")
    options = search.Options(runs=Path(folder), texts=(), timed=False, limits=Limits(600.0, 48 << 30), checks="full")
    (record,) = search.run(task, target, Default(), options)
    if record.failure or not record.outcome.startswith("verified"):
        return Built(row, record, None, record.failure.reason if record.failure else record.outcome)
    outcome = lower(task, pipeline.parse(record.schedule), target).outcome
    if isinstance(outcome, Failure) or hashlib.sha256(outcome.image).hexdigest() != record.image_digest:
        return Built(row, record, None, "lowered again, the schedule gives another image than the verified one")
    return Built(row, record, outcome, "")


def compile_triton(row: Row) -> None:
    """Compiles what Triton will choose from into its cache; in a process of its own."""
    rival = None if row.epilogue else tritons(row, rivals.data(load(row)), None)
    if rival is not None:
        rival()


# --- what is timed ---------------------------------------------------------------------------------------------------


def eager(row: Row, clock: Rounds, tensors: list[Any]) -> Contender:
    """torch's product with bias (cuBLASLt's own epilogue), then its gelu."""
    torch: Any = importlib.import_module("torch")
    stream = torch.cuda.ExternalStream(int(clock.stream))
    a, b, bias = tensors[:3]
    right = b.t() if row.layout == "nt" else b

    def call() -> None:
        with torch.cuda.stream(stream):
            torch.nn.functional.gelu(torch.addmm(bias, a, right))

    call()
    return Contender(f"torch {torch.__version__} addmm, gelu", call)


# --- Triton's ---------------------------------------------------------------------------------------------------------


def beside(name: str) -> Any:
    """The module of a file beside this one."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tritons(row: Row, tensors: list[Any], clock: Rounds | None) -> Callable[[], None] | None:
    """What calls Triton's product; None where there is no Triton."""
    if importlib.util.find_spec("triton") is None:
        return None
    torch: Any = importlib.import_module("torch")
    a, b, out = tensors[0], tensors[1], torch.empty_like(tensors[-1])
    m, n, k, batch = problem.parse_shape(row.shape)
    left = (k, 1) if row.layout[0] == "n" else (1, m)
    right = (n, 1) if row.layout[1] == "n" else (1, k)
    function, stream = (
        beside("triton_matmul").tuned(),
        torch.cuda.ExternalStream(int(clock.stream)) if clock else torch.cuda.current_stream(),
    )

    def grid(meta: dict[str, int]) -> tuple[int, int]:
        return -(-m // meta["BM"]) * -(-n // meta["BN"]), max(1, batch)

    def call() -> None:
        with torch.cuda.stream(stream):
            function[grid](
                a, b, out, m, n, k, k * n, *left, *right, EXACT=row.dtype == "f32", INT=out.dtype == torch.int32
            )

    return call


# --- timed, one after the other --------------------------------------------------------------------------------------


def measure(built: Built, with_triton: bool) -> dict[str, Any]:
    """The figures of a row; in the process that times."""
    torch: Any = importlib.import_module("torch")
    row, task = built.row, load(built.row)
    assert built.binary is not None
    tensors = rivals.data(task)
    with runtime.Cuda().load(built.binary) as program:
        clock = Rounds(program.stream)
        calls = program.calls([each.data_ptr() for each in tensors])

        def enqueue() -> None:
            for each in calls:
                each.enqueue()

        ours = Contender("ours", enqueue)
        theirs, held = (eager(row, clock, tensors), None) if row.epilogue else rivals.cublas(task, clock, tensors)
        contenders = [ours, theirs]
        call = tritons(row, tensors, clock) if with_triton and not row.epilogue else None
        if call is not None:
            call()  # tunes
            contenders.append(Contender("Triton", call))
        once = sum(clock.medians(contenders, 2))
        count = max(FEWEST, min(ROUNDS, int(MOST_SECONDS / once)))
        found = clock.medians(contenders, count)
        hot = runtime.timed(clock.cu, clock.stream, [ours.call] * 10)
        gigabytes = 1e-9 * clock.bandwidth()
        after = clocks()
        agree = apart(tensors[-1], held[0]) if held else None
        clock.close()
    torch.cuda.synchronize()
    flops = task.contraction.flops
    third = found[2] if len(found) > 2 else None
    kernel_ = built.record.kernels[0]
    return {
        "problem": row.shape, "dtype": row.dtype, "layout": row.layout, "epilogue": row.epilogue,
        "ms": 1e3 * found[0], "tflops": flops / found[0] / 1e12, "hot_ms": 1e3 * statistics.median(hot),
        "baseline": theirs.name, "cublas_ms": 1e3 * found[1], "ratio_to_cublas": found[1] / found[0],
        "triton_ms": 1e3 * third if third else None, "ratio_to_triton": third / found[0] if third else None,
        "bar": row.bar, "aim": row.aim, "rounds": count, "copy_gb_s": gigabytes, "bytes": traffic(task),
        "clocks": after, "verified": built.record.outcome, "apart": agree, "knobs": built.record.knobs,
        "registers": kernel_.registers, "spills": kernel_.spills, "shared_bytes": kernel_.shared_bytes,
        "image": built.record.image_digest[:12], "schedule": built.record.schedule,
    }  # fmt: skip


def traffic(task: Problem) -> int:
    """Bytes that must be moved: every argument once."""
    return sum(math.prod(each.shape) * inputs.lookup(each.dtype).bytes for each in task.arguments)


def apart(ours: Any, theirs: Any) -> float:
    """The Frobenius norm of the difference, over that of the other's."""
    torch: Any = importlib.import_module("torch")
    wide = torch.float64 if ours.numel() < 1 << 26 else torch.float32
    return float(torch.linalg.norm(ours.to(wide) - theirs.to(wide)) / torch.linalg.norm(theirs.to(wide)))


def clocks() -> str:
    """The SM's and the memory's clock and the power just after, as nvidia-smi says."""
    query = "clocks.sm,clocks.mem,power.draw,power.limit"
    return smi(query)


def smi(query: str) -> str:
    """A line of nvidia-smi; empty where it is not there."""
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader", "--id=0"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def failed(built: Built, reason: str) -> dict[str, Any]:
    """A row without figures."""
    row = built.row
    return {
        "problem": row.shape, "dtype": row.dtype, "layout": row.layout, "epilogue": row.epilogue, "bar": row.bar,
        "aim": row.aim, "verified": f"no: {reason}", "ms": None, "knobs": built.record.knobs,
        "schedule": built.record.schedule,
    }  # fmt: skip


# --- the file -------------------------------------------------------------------------------------------------------


def key(row: dict[str, Any]) -> tuple[str, ...]:
    """What a row is known by."""
    return tuple(str(row[name]) for name in ("problem", "dtype", "layout", "epilogue"))


def merged(old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a file with those that were done anew, in the table's order."""
    known = {key(row): row for row in (*old, *new)}
    order: list[tuple[str, ...]] = [(row.shape, row.dtype, row.layout, row.epilogue) for row in rows()]
    return sorted(known.values(), key=lambda row: order.index(key(row)) if key(row) in order else len(order))


def content(path: Path) -> dict[str, Any]:
    """What a file of results has."""
    return json.loads(path.read_text()) if path.is_file() else {"rows": []}


def run(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Verifies the chosen rows, several at a time, then times them one by one."""
    chosen = [row for row in rows() if not given.rows or any(text in row.name for text in given.rows)]
    spawn, with_triton = get_context("spawn"), not given.no_triton
    with tempfile.TemporaryDirectory() as folder:
        with ProcessPoolExecutor(given.workers, spawn, max_tasks_per_child=4) as pool:
            building = [pool.submit(build, row, folder) for row in chosen]
            if with_triton:
                wait([pool.submit(compile_triton, row) for row in chosen])  # one that fails is told when it is timed
            built = [each.result() for each in building]
        timer = ProcessPoolExecutor(1, spawn)
        for each in built:
            if each.binary is None:
                yield failed(each, each.reason)
                continue
            figures = timer.submit(measure, each, with_triton)
            error = figures.exception()
            if error is None:
                yield figures.result()
                continue
            timer.shutdown(wait=False)
            timer = ProcessPoolExecutor(1, spawn)  # a row that falls costs only itself, and the process
            yield failed(each, f"timing: {type(error).__name__}: {str(error)[:200]}")
        timer.shutdown()


def line(row: dict[str, Any]) -> str:
    """A row in short."""
    name = " ".join(key(row))
    if not row["ms"]:
        return f"{name}: {row['verified']}"
    other = f", Triton {1e3 * row['triton_ms']:.1f}" if row["triton_ms"] else ""
    return (
        f"{name}: {1e3 * row['ms']:.1f} us, cuBLASLt {1e3 * row['cublas_ms']:.1f}{other} ({row['ratio_to_cublas']:.3f})"
    )


def main() -> int:
    """0 where every row meets its bar."""
    parser = argparse.ArgumentParser(description="sm_90's default schedules beside cuBLASLt and Triton, measured")
    parser.add_argument("--rows", nargs="*", default=[])
    parser.add_argument("--json", type=Path, help="instead of scripts/results/h200.json, of what the GPU is called")
    parser.add_argument("--workers", type=int, default=12)
    parser.add_argument("--no-triton", action="store_true")
    given = parser.parse_args()
    device = smi("name,driver_version,clocks.max.sm")
    kind = re.search(r"[A-Z]+\d+", device.removeprefix("NVIDIA"))
    path = given.json or RESULTS / f"{kind[0].lower() if kind else 'gpu'}.json"
    done = content(path)["rows"]
    for row in run(given):  # written one by one: what was measured is kept, whatever happens
        print(line(row), flush=True)
        done = merged(done, [{**row, "device": device}])
        path.write_text(json.dumps({"versions": toolchain.versions(), "device": device, "rows": done}, indent=1) + "\n")
    table = ROOT / "scripts" / "sm90_table.py"
    return subprocess.run([sys.executable, str(table), str(path)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
