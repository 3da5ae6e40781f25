"""The stages of `lower graph`: explore, check, build, measure; and the record of them all.

Each stage takes up what an earlier call left in the folder.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lowering import expand, findings, search, store
from lowering import learned as conditions
from lowering import miscompiles as checks
from lowering.agent.default import Given
from lowering.agent.proposer import Proposal
from lowering.core import PassError, Problem, Target
from lowering.explore import Space, Walked, at_goal, explore
from lowering.graph import Graph
from lowering.graph_progress import Bar
from lowering.graph_record import BinaryRecord, GraphRecord
from lowering.passes import pipeline
from lowering.plan import Around, ToDepth
from lowering.pool import Pool
from lowering.state_check import available
from lowering.terminals import build_all, leaves
from lowering.toolchain import versions
from lowering.worker import Limits, Worker

MEMORY = 4 << 30  # bytes a worker may take
GRAPH, WITNESS = "states.sqlite", "witness.sqlite"


@dataclass(frozen=True)
class Work:
    """What is to be done. `steps`: those of code generation, as a schedule's text. `processes` 0: one a core.

    `build` and `time` are the most end states that are built, and the most binaries that are verified and timed.
    """

    space: Space
    plan: ToDepth | Around
    steps: str
    folder: Path
    runs: Path
    check: bool = True
    build: int = 500
    time: int = 12
    processes: int = 0
    timeout: float = 30.0

    @property
    def problem(self) -> Problem:
        """What is lowered."""
        return self.space.problem

    @property
    def target(self) -> Target:
        """What it is lowered to."""
        return self.space.target


def run(work: Work) -> GraphRecord:
    """Explores, checks, builds, measures; the record of it all."""
    seconds: dict[str, float] = {}
    count, limits = work.processes or os.cpu_count() or 1, Limits(work.timeout, MEMORY)
    work.folder.mkdir(parents=True, exist_ok=True)
    with Graph(work.folder / GRAPH) as graph:
        began = time.perf_counter()
        with Bar() as bar, Pool(count, limits) as pool:
            graph.add_root(expand.root(work.problem))
            walked = explore(graph, work.space, pool, bar.explored)
            seconds["explore"] = time.perf_counter() - began
            checked = check(work, graph, pool, bar) if work.check else None
            seconds["check"] = time.perf_counter() - began - seconds["explore"]
        began = time.perf_counter()
        with Bar() as bar, Pool(count, limits) as pool:  # processes that ran no state
            ends = end_states(graph, work, walked)
            wanted = ends[: work.build]
            bar.begin("building", len(wanted))
            complete = isinstance(work.plan, ToDepth)
            build_all(graph, wanted, work.problem, work.target, work.steps, complete, pool, bar.done)
            seconds["build"] = time.perf_counter() - began
        began = time.perf_counter()
        binaries = measured(work, graph, grouped(work, graph, wanted, frozenset(checked.wrong if checked else ())))
        seconds["measure"] = time.perf_counter() - began
        return recorded(work, graph, walked, checked, ends, binaries, seconds)


def check(work: Work, graph: Graph, pool: Pool, bar: Bar) -> checks.Verdicts:
    """Replays the graph on its witness problem and checks every state there."""
    small = checks.witness_for(graph, work.problem)
    with Graph(work.folder / WITNESS) as witness:
        witness.add_root(expand.root(small))
        bar.begin("replaying on the witness", 0)
        walked = checks.replay(graph, witness, small, work.target, pool, bar.explored)
        bar.begin("checking", len(witness))
        checks.check_all(witness, small, work.target, pool, bar.done)
        return checks.verdicts(graph, witness, search.sizes(small), walked)


def end_states(graph: Graph, work: Work, walked: Walked) -> tuple[int, ...]:
    """What is built: the ends of the schedules, the states at the goal, or those from which nothing leads on."""
    if isinstance(work.plan, Around):
        return walked.ends
    if work.space.goal:
        return tuple(state for state in range(1, len(graph) + 1) if at_goal(graph.ops(state), work.space.goal))
    return leaves(graph)


def grouped(work: Work, graph: Graph, ends: Sequence[int], wrong: frozenset[int]) -> list[BinaryRecord]:
    """The distinct binaries of the end states, the one that most states give first.

    `wrong` are the states that are wrong on the witness.
    """
    built = graph.rows("binaries")
    groups: dict[str, list[int]] = defaultdict(list)
    for state in ends:
        if built[state]["binary"]:
            groups[built[state]["binary"]].append(state)
    found: list[BinaryRecord] = []
    for name, states in groups.items():
        shortest = min(states, key=lambda state: (len(graph.path(state)), state))
        first = built[shortest]
        text = ",".join(filter(None, (*graph.path(shortest), first["tail"], work.steps)))
        outcome = "WRONG on the witness" if wrong & set(states) else ""
        found.append(BinaryRecord(name, tuple(states), text, first["figures"], bool(first["tail"]), outcome=outcome))
    return sorted(found, key=lambda each: (-len(each.states), each.states))


def measured(work: Work, graph: Graph, binaries: Sequence[BinaryRecord]) -> list[BinaryRecord]:
    """The binaries with what a run says of the first `time` of them, the fastest first.

    None runs where no device of the target is, and none that is known to be wrong.
    """
    known: dict[str, Any] = graph.meta("runs", {})
    if work.time == 0 or not can_run(work.target):
        return list(binaries)
    options = search.Options(runs=work.runs, limits=Limits(), command=command())
    wanted = [each.digest for each in binaries if not each.outcome][: work.time]
    done: list[BinaryRecord] = []
    with Bar() as bar, Worker(options.limits) as worker:
        bar.begin("verifying and timing binaries", len(wanted))
        for binary in binaries:
            if binary.digest in wanted and binary.digest not in known:
                schedule = pipeline.parse(binary.schedule)
                record = search.candidate(
                    worker, work.problem, work.target, Given.name, Proposal(schedule), options, lambda _: None
                )
                known[binary.digest] = told(record)
                graph.set_meta("runs", known)
                graph.commit(now=True)
            bar.done(sum(name in known for name in wanted))
            done.append(replace(binary, **known.get(binary.digest, {})))
    return sorted(done, key=lambda each: (each.seconds is None, each.seconds))


def can_run(target: Target) -> bool:
    """Whether a device of the target is here."""
    try:
        available(target)
    except PassError:
        return False
    return True


def told(record: store.Record) -> dict[str, Any]:
    """What of a run's record goes into a binary's."""
    found: dict[str, Any] = {"run": record.run, "outcome": record.outcome}
    if record.failure is not None and record.outcome == "failed":
        found["outcome"] = f"failed: {record.failure.stage}: {record.failure.reason}"
    if record.timing is not None:
        timing = record.timing
        found |= {"seconds": timing.hot, "baseline": timing.baseline_hot, "baseline_name": timing.baseline_name}
        found["device"] = timing.device
    return found


def command() -> str:
    """The command line as it was typed."""
    return shlex.join(["lower", *sys.argv[1:]])


def unoffered(graph: Graph, plan: ToDepth | Around) -> tuple[str, ...]:
    """The passes that were asked for their instances on every state and named none."""
    named = {move for move in plan.asked for state in graph.expanded() if graph.instances(state, move)}
    return tuple(sorted(plan.asked - named))


def is_good(binary: BinaryRecord) -> bool:
    """Whether nothing speaks against a binary: it was verified, or was not run."""
    return not binary.outcome or binary.outcome.startswith("verified")


def recorded(
    work: Work,
    graph: Graph,
    walked: Walked,
    checked: checks.Verdicts | None,
    ends: Sequence[int],
    binaries: Sequence[BinaryRecord],
    seconds: Mapping[str, float],
) -> GraphRecord:
    """The record, with what the graph says of its passes."""
    leads = findings.successors(graph)
    times = {state: each.seconds for each in binaries for state in each.states if each.seconds is not None}
    compared = {state: each.relative for each in binaries for state in each.states if each.relative is not None}
    good = [state for each in binaries for state in each.states if is_good(each)]
    built = graph.rows("binaries")
    return GraphRecord(
        name=work.folder.name,
        folder=str(work.folder),
        command=command(),
        problem=search.problem_record(work.problem, None),
        target=work.target.name,
        plan=work.plan.says(),
        bound=str(work.plan.orders()),
        orders=str(findings.orders_represented(graph, work.plan, leads)),
        states=len(graph),
        edges=Counter(edge.kind for edge in graph.edges()),
        cut=walked.cut,
        pruned=walked.progress.pruned,
        seconds=seconds,
        passes=tuple(findings.pass_findings(graph, leads, good, times)),
        unoffered=unoffered(graph, work.plan),
        pairs=tuple(findings.pair_findings(leads)),
        conditions=tuple(conditions.conditions(conditions.tally(graph))),
        ends=len(ends),
        unbuilt=tuple(Counter(built[s]["failure"] for s in ends if s in built and built[s]["failure"]).most_common()),
        not_tried=max(0, len(ends) - work.build),
        binaries=tuple(binaries),
        order=tuple(findings.order_findings(leads, graph.depths(), compared)),
        checks=checked,
        toolchain=versions(),
    )
