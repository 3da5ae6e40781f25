"""How fast the pass graph grows and what a state takes: edges a second, two processes against one, bytes a state.

usage: python scripts/bench_graph.py [--states 3000] [--repeats 3] [--large 0]

Bars: 800 edges a second and core on states up to 4 kB (a tiled matmul on tensors), 150 at the outlined GPU level
(20 kB), store and digests included; two processes 1.9x one; 100 000 states in under 1 GB of memory (`--large 100000`).
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from lowering import expand, findings, mlir, problem, targets
from lowering.agent.default import Default
from lowering.core import Problem, Target
from lowering.expand import Job, Task
from lowering.explore import Space, attempt, explore
from lowering.graph import Graph
from lowering.passes import pipeline
from lowering.plan import ToDepth
from lowering.pool import Pool
from lowering.worker import Limits

TENSORS = (
    "canonicalize,cse,loop-invariant-code-motion,linalg-generalize-named-ops,linalg-fuse-elementwise-ops,sccp,"
    "tile{tile-sizes=64,64},tile{tile-sizes=128,64},tile{tile-sizes=32,16},tile-reduction{tile-sizes=16},"
    "tile-reduction{tile-sizes=4},pad{tile-sizes=48,48,1},linalg-fold-unit-extent-dims,"
    "func.func(scf-for-loop-canonicalization),symbol-dce"
)
MORE = (  # for a graph without an end
    "tile{tile-sizes=8,8},tile{tile-sizes=16,64},tile-reduction{tile-sizes=32},tile-reduction{tile-sizes=2},"
    "one-shot-bufferize{bufferize-function-boundaries=true},convert-linalg-to-loops"
)
OUTLINED = (
    "canonicalize,cse,loop-invariant-code-motion,sccp,gpu.module(expand-strided-metadata),affine-expand-index-ops,"
    "lower-affine,gpu.module(convert-scf-to-cf),arith-expand,control-flow-sink,fold-memref-alias-ops,"
    "func.func(affine-simplify-structures),int-range-optimizations"
)


@dataclass(frozen=True)
class Level:
    """What is explored, and the bar in edges a second and core."""

    name: str
    start: Problem
    target: Target
    passes: str
    bar: int

    def space(self, states: int) -> Space:
        """Breadth first, without a limit on the depth that would be met before that on the states."""
        instances, asked = pipeline.parse_moves(self.passes)
        return Space(
            self.start, self.target, ToDepth((*map(str, instances), *asked), 12, frozenset(asked)), most=states
        )


def tensors() -> Level:
    """A matmul on tensors, tiled in many ways."""
    return Level(
        "tiled matmul on tensors", problem.from_shape(1024, 1024, 1024, "f32"), targets.this_machine(), TENSORS, 800
    )


def outlined() -> Level:
    """The default GPU schedule's state after gpu-kernel-outlining."""
    target = next(chip for chip in map(targets.load, targets.names()) if chip.family == "amdgpu")
    payload = problem.from_shape(1024, 1024, 1024, "f32")
    module = mlir.parse(payload.ir)
    for step in Default().propose(payload, target, (), 1)[0].schedule:
        step.apply(module)
        if str(step) == "gpu-kernel-outlining":
            break
    return Level("outlined GPU kernel", replace(payload, ir=mlir.text(module)), target, OUTLINED, 150)


@dataclass(frozen=True)
class Run:
    """What one exploration came to."""

    rate: float  # edges a second
    states: int
    edges: int
    text: float  # mean bytes of a state's text
    disk: float  # bytes a state, edges included


def run(level: Level, processes: int, states: int, folder: Path) -> Run:
    """Explores once; the workers are warm when the clock starts."""
    file = folder / f"{processes}-{time.monotonic_ns()}.sqlite"
    with Graph(file) as graph, Pool(processes, Limits(60.0)) as pool:
        graph.add_root(expand.root(level.start))
        list(pool.map(attempt, [Job("warm", level.start, level.target, ())] * 4 * processes))
        began = time.perf_counter()
        walked = explore(graph, level.space(states), pool)
        took = time.perf_counter() - began
        edges = walked.progress.edges
        text = statistics.mean(state.bytes for state in graph.states())
        count = len(graph)
    return Run(edges / took, count, edges, text, file.stat().st_size / count)


def limit(level: Level) -> float:
    """How much faster two processes are than one where they share nothing: the ratio of the machine itself."""
    root = expand.root(level.start)
    assert root.packed is not None
    instances, _ = pipeline.parse_moves(level.passes)
    task = Task(1, root.packed, tuple(map(str, instances)))
    jobs = [Job("limit", level.start, level.target, (task,) * 200)] * 4

    def seconds(processes: int) -> float:
        with Pool(processes, Limits(60.0)) as pool:
            list(pool.map(attempt, [Job("limit", level.start, level.target, (task,))] * 4 * processes))
            began = time.perf_counter()
            list(pool.map(attempt, jobs))
            return time.perf_counter() - began

    return seconds(1) / seconds(2)


def compared(level: Level, states: int, repeats: int, folder: Path) -> None:
    """One and two processes in turn, so that both see the same machine."""
    pairs: list[tuple[Run, Run]] = []
    limits: list[float] = []
    for _ in range(repeats):
        pairs.append((run(level, 1, states, folder), run(level, 2, states, folder)))
        limits.append(limit(level))
    one = statistics.median(pair[0].rate for pair in pairs)
    ratio = statistics.median(pair[1].rate / pair[0].rate for pair in pairs)
    first = pairs[0][0]
    print(
        f"{level.name}: {one:.0f} edges/s with one process (bar {level.bar}), {ratio:.2f}x with two (bar 1.9;"
        f" {statistics.median(limits):.2f}x here for two that share nothing);"
        f" {first.states} states, {first.edges} edges, {first.text / 1000:.1f} kB of text a state,"
        f" {first.disk:.0f} bytes a state on disk",
        flush=True,
    )


def large(states: int, folder: Path) -> None:
    """Many states, with all findings; peak memory of this process and of its largest worker."""
    level, file = replace(tensors(), passes=f"{TENSORS},{MORE}"), folder / "large.sqlite"
    space = level.space(states)
    with Graph(file) as graph:
        with Pool(2, Limits(60.0)) as pool:
            graph.add_root(expand.root(level.start))
            explore(graph, space, pool)
        leads = findings.successors(graph)
        orders = findings.orders_represented(graph, ToDepth(space.plan.moves, 6), leads)
        findings.pass_findings(graph, leads, [len(graph)], {})
        findings.pair_findings(leads)
        findings.common_states(graph, [len(graph)])
        count, edges = graph.count()
    peak = (resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(
        f"{count} states, {edges} edges, {orders:.2e} orders to depth 6: peak memory {next(peak):.0f} MB (bar 1000),"
        f" {next(peak):.0f} MB in a worker; {file.stat().st_size / count:.0f} bytes a state on disk"
    )


def main() -> None:
    """Prints the figures against their bars."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--states", type=int, default=3000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--large", type=int, default=0, help="also explore so many states, and print the memory taken")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compared(tensors(), words.states, words.repeats, Path(folder))
        compared(outlined(), words.states // 4, words.repeats, Path(folder))
        if words.large:
            large(words.large, Path(folder))


if __name__ == "__main__":
    main()
