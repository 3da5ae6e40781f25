"""`lower graph`: from the words of the command line to what is to be explored, and from the record to stdout.

A graph's folder is named by a digest of what decides it (problem, target, plan, versions, our own code), so
the same words find what an earlier call left there.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

from lowering import expand, frontend, graph_export, graph_record, graph_report, mlir, targets
from lowering.agent.default import Default
from lowering.codegen import TAKERS, host
from lowering.core import Pass, Problem, Schedule, Target, UserError
from lowering.explore import Space
from lowering.graph import Graph, identity
from lowering.graph_run import GRAPH, Work, run
from lowering.lower import split
from lowering.opt import write
from lowering.passes import pipeline
from lowering.passes.transform import Transform
from lowering.plan import Around, ToDepth
from lowering.targets.families import FAMILIES
from lowering.toolchain import versions

STATE_ROW = 300  # bytes of a state's row beside its text, and of an edge's row: as measured
EDGE_ROW = 24


@dataclass(frozen=True)
class Request:
    """The command's words, as typed; an empty one was left out, and -1 stands for a number that was."""

    source: str
    target: str
    shape: str
    dtype: str
    out_dtype: str
    layout: str
    strict_semantics: bool
    passes: str
    depth: int
    around: str
    window: int
    at: int
    goal: str
    states: int
    prune_learned: bool
    check: bool
    build: int
    time: int
    processes: int
    timeout: float
    runs: str
    export: list[str]
    as_json: bool
    markdown: bool
    fresh: bool


def main(request: Request) -> int:
    """The exit code of `lower graph`: see graph_report.exit_code."""
    check_words(request)
    work = prepare(request)
    aside = sys.stderr if request.as_json or request.markdown else sys.stdout
    print(announced(work), file=aside, flush=True)
    record = run(work)
    graph_record.write(record, work.folder)
    (work.folder / "report.md").write_text(graph_report.markdown(record))
    for file in request.export:
        with Graph(work.folder / GRAPH) as graph:
            graph_export.export(graph, record, Path(file))
    if request.as_json:
        write(graph_record.as_json(record), "")
    else:
        print(graph_report.markdown(record) if request.markdown else graph_report.text(record))
    return graph_report.exit_code(record)


def check_words(request: Request) -> None:
    """Raises UserError for words that are missing, out of range, or exclude each other."""
    if not request.passes and not request.around:
        raise UserError(
            "say what to explore: --passes 'canonicalize,cse,...' --depth 6, or --around default --window 3"
        )
    if not request.around and (request.window >= 0 or request.at >= 0):
        raise UserError("--window and --at are about a schedule: say which with --around default, or --around FILE")
    if request.around and request.depth >= 0:
        raise UserError("--depth is for --passes alone: around a schedule, --window says how many steps may change")
    for name, least in (("depth", 0), ("window", 1), ("at", 1), ("states", 0), ("build", 0), ("time", 0)):
        value = getattr(request, name)
        if value != -1 and value < least:
            raise UserError(f"--{name} is a number of at least {least}, found {value}")
    if request.processes < 0 or request.timeout <= 0:
        raise UserError("--processes is a number of at least 1, and --timeout of seconds above 0")
    for name in filter(None, request.goal.split(",")):
        check_dialect(name)
    for file in request.export:
        graph_export.check_name(file)


def check_dialect(name: str) -> None:
    """Raises UserError for a name that no dialect of MLIR has."""
    try:
        mlir.context().get_dialect_descriptor(name)
    except ValueError:
        known = (*TAKERS, "llvm", "nvvm", "rocdl")
        raise UserError(f"--goal: there is no dialect '{name}'{pipeline.nearest(name, known)}") from None


def prepare(request: Request) -> Work:
    """The work of a request. Raises UserError for its bad words, and for a plan that the disk could not hold."""
    problem = frontend.problem(request)
    target = targets.load(request.target) if request.target else targets.this_machine()
    instances, asked = pipeline.parse_moves(frontend.schedule_text(request.passes)) if request.passes else ((), ())
    base = schedule(request.around, problem, target)
    passes, steps = split(base)
    plan: ToDepth | Around
    if request.around:
        if request.at > len(passes):
            raise UserError(f"--at {request.at}: the schedule has {len(passes)} passes, and a window begins at one")
        at = request.at - 1 if request.at > 0 else None
        texts, inserted = tuple(map(str, passes)), (*map(str, instances), *asked)
        plan = Around(texts, request.window if request.window > 0 else 3, inserted, at, frozenset(asked))
    else:
        moves = (*map(str, instances), *asked)
        plan = ToDepth(moves, request.depth if request.depth >= 0 else 6, frozenset(asked))
    space = Space(
        problem,
        target,
        plan,
        frozenset(filter(None, request.goal.split(","))),
        max(request.states, 0),
        request.prune_learned,
    )
    scripts = [step for step in (*passes, *instances) if isinstance(step, Transform)]
    decides = parts(space, plan, str(Schedule(steps)), request.timeout, scripts)
    folder = Path(request.runs) / f"graph-{identity(decides)}"
    if request.fresh and folder.is_dir():
        Graph(folder / GRAPH).close()  # refuses where another one is at work on it
        shutil.rmtree(folder)
    work = Work(
        space, plan, str(Schedule(steps)), folder, Path(request.runs), request.check, request.build, request.time,
        request.processes, request.timeout,
    )  # fmt: skip
    check_disk(work)
    return work


def schedule(around: str, problem: Problem, target: Target) -> Schedule:
    """The schedule that is explored around; `default`, or none: the target's default for this problem."""
    if around not in ("", "default"):
        return pipeline.parse(frontend.schedule_text(around))
    return Default().propose(problem, target, (), 1)[0].schedule


def parts(space: Space, plan: ToDepth | Around, steps: str, timeout: float, scripts: Sequence[Pass]) -> dict[str, Any]:
    """All that decides a graph, its binaries and their times."""
    read = [Path(str(getattr(step, "script"))) for step in scripts]  # noqa: B009  (a Transform's field)
    return {
        "problem": mlir.digest(space.problem.ir),
        "target": (repr(replace(space.target, facts={})), repr(sorted(space.target.facts.items()))),
        "machine": (*host(), *devices(space.target)),
        "plan": (type(plan).__name__, {f.name: plain(getattr(plan, f.name)) for f in fields(plan)}, steps, timeout),
        "limits": (sorted(space.goal), space.most, space.prune),
        "scripts": [hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "" for file in read],
        "versions": versions(),
        "code": code_digest(),
    }


def plain(value: Any) -> Any:
    """A plan's field in one order: that of a set changes from process to process."""
    return sorted(value) if isinstance(value, frozenset) else value


def devices(target: Target) -> tuple[str, ...]:
    """What can run a target's binaries here."""
    return tuple(each.name for each in FAMILIES[target.family].executors if each.unavailable() is None)


def code_digest() -> str:
    """SHA-256 of our own source: with another text of a pass, or of what explores, a graph may be another graph."""
    folders = [Path(str(resources.files(f"lowering{part}"))) for part in ("", ".passes", ".targets")]
    files = sorted({file for folder in folders for file in folder.rglob("*.py")})
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def largest(work: Work) -> int:
    """Bytes on disk if no two orders met in one state, or as many as --states lets in; as large as the first state."""
    packed = len(expand.root(work.problem).packed or b"")
    orders = work.plan.orders()
    states = min(orders, work.space.most) if work.space.most else orders
    return states * (packed + STATE_ROW + EDGE_ROW * len(work.plan.moves))


def check_disk(work: Work) -> None:
    """Raises UserError where the plan's bound is beyond what the disk holds, with what would fit."""
    place = next(folder for folder in (work.folder, *work.folder.parents) if folder.is_dir())
    free, needed = shutil.disk_usage(place).free, largest(work)
    if needed <= free:
        return
    fits = free * work.plan.orders() // needed
    advice = f"take --states {max(1, min(fits, 10**6))} to stop after so many"
    if isinstance(work.plan, ToDepth):
        depth = max((d for d in range(work.plan.depth) if replace(work.plan, depth=d).orders() <= fits), default=0)
        advice = f"take --depth {depth}, or {advice}"
    raise UserError(
        f"{work.plan.says()} are at most {number(work.plan.orders())} orders: if no two of them met in one state, "
        f"they would take {size(needed)}, and the disk has {size(free)} free; {advice}"
    )


def announced(work: Work) -> str:
    """What is going to be done, with its bound, before it is."""
    many = "at least" if work.plan.asked else "at most"  # a bare name stands for as many instances as it names
    bound = f"{many} {number(work.plan.orders())} orders, {size(largest(work))} if no two of them met in one state"
    return f"graph     {work.plan.says()}: {bound}\nfolder    {work.folder}"


def number(value: int) -> str:
    """A count, in powers of ten where it is long."""
    return f"{value:,}" if value < 10**9 else f"{value:.2e}"


def size(count: int) -> str:
    """Bytes with a unit."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}" if count < 10**18 else f"{count / factor:.1e} {unit}"
    return f"{count / 1000:.1f} kB"
