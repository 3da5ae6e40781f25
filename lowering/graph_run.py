"""The stages of `lower graph`: explore, check, build, measure; and the record of them all.

Each stage takes up what an earlier call left in the folder.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lowering import expand, findings, search
from lowering import learned as conditions
from lowering import miscompiles as checks
from lowering.core import Problem, Target
from lowering.explore import Space, Walked, at_goal, explore
from lowering.graph import Graph
from lowering.graph_measure import command, measured, retimed, unexecuted
from lowering.graph_progress import Bar
from lowering.graph_record import BinaryRecord, GraphRecord
from lowering.order_findings import OrderFinding, order_findings
from lowering.plan import Around, ToDepth
from lowering.pool import Pool
from lowering.schedule_edit import AS_GIVEN, Base, base
from lowering.terminals import build_all, leaves
from lowering.toolchain import versions
from lowering.worker import Limits

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
    count, limits = work.processes or os.cpu_count() or 1, Limits(work.timeout, MEMORY)
    work.folder.mkdir(parents=True, exist_ok=True)
    checked: checks.Verdicts | None = None
    with Graph(work.folder / GRAPH) as graph:
        with Bar() as bar, Pool(count, limits) as pool:
            with spent(graph, "explore"):
                graph.add_root(expand.root(work.problem))
                walked = explore(graph, work.space, pool, bar.explored)
            if work.check:
                with spent(graph, "check"):
                    checked = check(work, graph, pool, bar)
        given = base(graph, work.plan.steps, work.plan.window) if isinstance(work.plan, Around) else None
        ends = end_states(graph, work, walked, given)
        wanted = ends[: work.build]
        with spent(graph, "build"), Bar() as bar, Pool(count, limits) as pool:  # processes that ran no state
            bar.begin("building", len(wanted))
            build_all(graph, wanted, work.problem, work.target, work.steps, given is None, pool, bar.done)
        binaries = grouped(work, graph, wanted, frozenset(checked.wrong if checked else ()), given)
        with spent(graph, "measure"):
            binaries = measured(graph, work.problem, work.target, binaries, work.time, work.runs)
        leads = findings.successors(graph)
        compared = {state: each.relative for each in binaries for state in each.states if each.relative is not None}
        order = order_findings(leads, graph.depths(), compared)
        with spent(graph, "measure"):
            order = retimed(graph, work.problem, work.target, order, binaries)
        return recorded(work, graph, walked, checked, ends, binaries, leads, order)


@contextmanager
def spent(graph: Graph, stage: str) -> Generator[None]:
    """Adds the seconds of a stage to those of earlier calls, however it ends."""
    began = time.perf_counter()

    def book() -> None:
        before = graph.meta("seconds", {})
        graph.set_meta("seconds", {**before, stage: before.get(stage, 0.0) + time.perf_counter() - began})
        graph.commit(now=True)

    try:
        yield
    except BaseException:
        with suppress(sqlite3.Error):  # what went wrong first is what is said
            book()
        raise
    book()


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


def end_states(graph: Graph, work: Work, walked: Walked, given: Base | None) -> tuple[int, ...]:
    """What is built: the ends of the schedules, that of the given one first; without one, the states at the goal, or
    those from which nothing leads on.
    """
    if given is not None:
        return tuple(sorted(walked.ends, key=lambda state: state != given.end))
    if work.space.goal:
        return tuple(state for state in range(1, len(graph) + 1) if at_goal(graph.ops(state), work.space.goal))
    return leaves(graph)


def grouped(
    work: Work, graph: Graph, ends: Sequence[int], wrong: frozenset[int], given: Base | None
) -> list[BinaryRecord]:
    """The distinct binaries of the end states: that of the given schedule first, then those that most states give.

    `wrong` are the states that are wrong on the witness.
    """
    built = graph.rows("binaries")
    groups: dict[str, list[int]] = defaultdict(list)
    for state in ends:
        if built[state]["binary"]:
            groups[built[state]["binary"]].append(state)
    found: list[BinaryRecord] = []
    for name, states in groups.items():
        change, passes, state = nearest(graph, states, given)
        first = built[state]
        text = ",".join(filter(None, (*passes, first["tail"], work.steps)))
        outcome = "WRONG on the witness" if wrong & set(states) else ""
        found.append(
            BinaryRecord(
                name, tuple(states), text, first["figures"], bool(first["tail"]), outcome=outcome, change=change
            )
        )
    return sorted(found, key=lambda each: (each.change != AS_GIVEN, -len(each.states), each.states))


def nearest(graph: Graph, states: Sequence[int], given: Base | None) -> tuple[str, tuple[str, ...], int]:
    """Of states of one binary the one whose passes differ the least from the given schedule, or are the fewest: what
    was changed, the passes, and the state.
    """
    if given is not None and given.end in states:
        return AS_GIVEN, given.steps, given.end
    paths = {state: given.way(graph, state) if given else graph.path(state) for state in states}
    edits = {state: given.edits(graph, path) if given else [] for state, path in paths.items()}
    state = min(states, key=lambda state: (len(edits[state]), len(paths[state]), state))
    return ", ".join(edits[state]), paths[state], state


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
    leads: findings.Successors,
    order: Sequence[OrderFinding],
) -> GraphRecord:
    """The record, with what the graph says of its passes."""
    times = {state: each.seconds for each in binaries for state in each.states if each.seconds is not None}
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
        seconds=graph.meta("seconds", {}),
        passes=tuple(findings.pass_findings(graph, leads, good, times)),
        unoffered=unoffered(graph, work.plan),
        pairs=tuple(findings.pair_findings(leads)),
        conditions=tuple(conditions.conditions(conditions.tally(graph))),
        ends=len(ends),
        unbuilt=tuple(Counter(built[s]["failure"] for s in ends if s in built and built[s]["failure"]).most_common()),
        not_tried=max(0, len(ends) - work.build),
        binaries=tuple(binaries),
        order=tuple(order),
        checks=checked,
        toolchain=versions(),
        unexecuted=unexecuted(work.target, work.time),
    )
