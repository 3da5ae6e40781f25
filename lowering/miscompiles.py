"""Every state of a pass graph checked: the same passes on the witness problem, and one check a distinct state there.

The witness graph is an exploration of its own, whose plan is the full-size graph's active edges (`plan.Along`). Its
states are completed and run (state_check.py). An edge from a state that is right to one that is wrong is a miscompile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace

from lowering.core import Problem, Schedule, Target
from lowering.explore import Pair, Progress, Space, Walked, explore
from lowering.graph import Graph
from lowering.passes import pipeline
from lowering.plan import Along
from lowering.pool import Pool
from lowering.state_check import StateJob, StateVerdict, ask
from lowering.witness import witness_of
from lowering.worker import Worker


@dataclass(frozen=True)
class Miscompile:
    """A pass that made a right state wrong. `source` and `target` are full-size states; `path` leads to the source.

    `before` is what is known of the source: 'right', or why it is not checkable.
    """

    text: str
    source: int
    target: int
    path: tuple[str, ...]
    before: str
    reason: str


@dataclass(frozen=True)
class Verdicts:
    """What the checks came to. `states`: distinct witness states by verdict; `why`: reasons that some are unchecked.

    `unlike`: passes that worked at full size and fail on the witness, with how often. `wrong`: the full-size states
    whose state on the witness is wrong.
    """

    witness: str
    states: Mapping[str, int]
    why: tuple[tuple[str, int], ...]
    unlike: tuple[tuple[str, int], ...]
    miscompiles: tuple[Miscompile, ...]
    wrong: tuple[int, ...] = ()
    root: str = "right"  # the verdict of the problem itself, completed as it stands


def witness_for(graph: Graph, problem: Problem) -> Problem:
    """The witness that keeps what every pass of a graph distinguishes."""
    texts = dict.fromkeys(edge.text for edge in graph.edges())
    return witness_of(problem, Schedule(tuple(step for text in texts for step in pipeline.parse(text))))


def replay(
    graph: Graph,
    witness: Graph,
    problem: Problem,
    target: Target,
    pool: Pool,
    watch: Callable[[Progress], None] = lambda _: None,
) -> Walked:
    """Takes the witness problem along every active edge of a graph."""
    return explore(witness, Space(problem, target, Along(graph)), pool, watch)


def check_all(
    witness: Graph, problem: Problem, target: Target, pool: Pool, watch: Callable[[int], None] = lambda _: None
) -> None:
    """Checks the states of a witness graph that were not checked yet. `watch` is told how many are done."""
    done = witness.rows("verdicts")
    states = [state for state in range(1, len(witness) + 1) if state not in done]
    jobs = ((state, StateJob(witness.text(state), problem, target)) for state in states)
    for number, ((state, _), verdict) in enumerate(pool.map(lambda worker, job: judged(worker, job[1]), jobs), start=1):
        witness.put("verdicts", state, asdict(verdict))
        witness.commit()
        watch(number)


def judged(worker: Worker, job: StateJob) -> StateVerdict:
    """The verdict of a state; none for one that takes too long: an order of passes may make a program merely slow."""
    found = ask(worker, job)
    if found.cause != "time-out":
        return found
    return replace(found, word="not checkable", reason="too slow to be checked in the time-out, or without an end")


def verdicts(graph: Graph, witness: Graph, sizes: str, walked: Walked) -> Verdicts:
    """What the checks of a witness graph say of the graph that it was taken along."""
    found = {state: StateVerdict(**row) for state, row in witness.rows("verdicts").items()}
    unlike = Counter(edge.text for edge in witness.edges() if edge.kind == "failed")
    why = Counter(verdict.reason for verdict in found.values() if verdict.word == "not checkable")
    return Verdicts(
        sizes,
        Counter(verdict.word for verdict in found.values()),
        tuple(why.most_common()),
        tuple(unlike.most_common()),
        tuple(miscompiles(graph, witness, found, walked.visits)),
        tuple(sorted({state for small, state in walked.visits if found[small].word == "wrong"})),
        found[1].word if found[1].word == "right" else f"{found[1].word}: {found[1].reason}",
    )


def miscompiles(
    graph: Graph, witness: Graph, found: Mapping[int, StateVerdict], visits: frozenset[Pair]
) -> Iterator[Miscompile]:
    """The edges into wrong states from states that are not wrong, each full-size edge once, in the graph's order."""
    wrong = {state for state, verdict in found.items() if verdict.word == "wrong"}
    seen: set[tuple[int, str]] = set()
    for small, source in sorted(visits, key=lambda pair: (pair[1], pair[0])) if wrong else ():
        if small in wrong:
            continue
        small_edges = witness.edges_of(small)
        for text, edge in graph.edges_of(source).items():
            there = small_edges.get(text)
            if edge.kind != "active" or there is None or there.target not in wrong or (source, text) in seen:
                continue
            assert edge.target is not None
            assert there.target is not None
            seen.add((source, text))
            verdict = found[small]
            before = verdict.word if verdict.word == "right" else verdict.reason
            yield Miscompile(text, source, edge.target, graph.path(source), before, found[there.target].reason)
