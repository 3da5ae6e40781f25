"""`lower graph`: from the words of the command line to what is to be explored, and from the record to stdout.

A graph's folder is named by a digest of what decides it (problem, target, plan, versions, our own code), so
the same words find what an earlier call left there.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
import sqlite3
import sys
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any

from lowering import expand, frontend, graph_export, graph_record, graph_report, mlir, targets
from lowering.agent.default import Default
from lowering.codegen import TAKERS, host
from lowering.core import Pass, Problem, Schedule, Target, UserError
from lowering.explore import Space
from lowering.graph import Graph, identity
from lowering.graph_record import GraphRecord
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
class Request(frontend.ProblemWords):
    """The command's words, as typed; an empty one, or None, was left out."""

    passes: str
    depth: int | None
    around: str
    window: int | None
    at: int | None
    goal: str
    states: int | None
    prune_learned: bool
    check: bool
    build: int
    time: int
    processes: int | None
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
    make_folder(work.folder)
    print(announced(work), file=aside, flush=True)
    record = kept(work, tuple(request.export))
    if request.as_json:
        write(graph_record.as_json(record), "")
    else:
        print(graph_report.markdown(record) if request.markdown else graph_report.text(record))
    return graph_report.exit_code(record)


def make_folder(folder: Path) -> None:
    """Makes the graph's folder. Raises UserError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write '{folder.parent}': {error.strerror}; name another folder with --runs") from None


def kept(work: Work, exports: tuple[str, ...]) -> GraphRecord:
    """The record of the work, written with its report and exports.

    Where it ends early, says what is kept; raises UserError where the disk is full.
    """
    try:
        record = replace(run(work), exports=exports)
        written(work, record)
        return record
    except KeyboardInterrupt:
        print(f"what was found is kept in {work.folder}: the same command goes on from there", file=sys.stderr)
        raise
    except (sqlite3.OperationalError, OSError) as error:
        full = error.sqlite_errorcode & 255 in FULL if isinstance(error, sqlite3.Error) else error.errno == errno.ENOSPC
        if not full:
            raise
        raise UserError(
            f"{work.folder}: cannot be written ({error}); what was found is kept, and the same command goes on from "
            "there once there is room"
        ) from None


def check_words(request: Request) -> None:
    """Raises UserError for words that are missing, out of range, or exclude each other."""
    if not request.passes and not request.around:
        raise UserError(
            "say what to explore: --passes 'canonicalize,cse,...' --depth 6, or --around default --window 3"
        )
    if not request.around and (request.window is not None or request.at is not None):
        raise UserError("--window and --at are about a schedule: say which with --around default, or --around FILE")
    if request.around and request.depth is not None:
        raise UserError("--depth is for --passes alone: around a schedule, --window says how many steps may change")
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
    check_states(*passes, *instances, *steps)
    plan: ToDepth | Around
    if request.around:
        if (request.at or 0) > len(passes):
            raise UserError(f"--at {request.at}: the schedule has {len(passes)} passes, and a window begins at one")
        at = None if request.at is None else request.at - 1
        texts, inserted = tuple(map(str, passes)), (*map(str, instances), *asked)
        plan = Around(texts, request.window or 3, inserted, at, frozenset(asked))
    else:
        moves = (*map(str, instances), *asked)
        plan = ToDepth(moves, 6 if request.depth is None else request.depth, frozenset(asked))
    space = Space(
        problem,
        target,
        plan,
        frozenset(filter(None, request.goal.split(","))),
        request.states or 0,
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
        request.processes or 0, request.timeout,
    )  # fmt: skip
    check_disk(work)
    return work


def check_states(*steps: Pass) -> None:
    """Raises UserError for a pass that is no function of a state."""
    if any(mlir.PRELOAD in str(step) for step in steps):
        raise UserError(
            f"{mlir.PRELOAD} changes no state, so it is no edge of a graph: take transform{{script=FILE}}, which loads "
            "a script and runs it"
        )


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


FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def written(work: Work, record: GraphRecord) -> None:
    """Writes the record, the report and the exports."""
    graph_record.write(record, work.folder)
    (work.folder / "report.md").write_text(graph_report.markdown(record))
    for file in record.exports:
        with Graph(work.folder / GRAPH) as graph:
            graph_export.export(graph, record, Path(file))


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
    if fits < 1:
        raise UserError(f"{place}: the disk has {size(free)} free, less than one state takes; name another with --runs")
    advice = f"take --states {min(fits, 10**6)} to stop after so many"
    if isinstance(work.plan, ToDepth):
        plan = work.plan
        depth = bisect_right(range(plan.depth), fits, key=lambda depth: replace(plan, depth=depth).orders()) - 1
        advice = f"take --depth {max(0, depth)}, or {advice}"
    raise UserError(
        f"{work.plan.says()} are at most {graph_report.count(work.plan.orders())} orders: if no two of them met in one "
        f"state, they would take {size(needed)}, and the disk has {size(free)} free; {advice}"
    )


def announced(work: Work) -> str:
    """What is going to be done, with its bound, before it is."""
    many = "at least" if work.plan.asked else "at most"  # a bare name stands for as many instances as it names
    bound = f"{many} {graph_report.count(work.plan.orders())} orders, {size(largest(work))}"
    return f"graph     {work.plan.says()}: {bound} if no two of them met in one state\nfolder    {work.folder}"


def size(count: int) -> str:
    """Bytes with a unit."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}" if count < 10**18 else f"{Decimal(count) / factor:.1e} {unit}"
    return f"{count / 1000:.1f} kB"
