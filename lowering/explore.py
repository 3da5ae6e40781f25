"""Walks a plan over the pass graph, level by level, and has the workers try what is not known yet.

A level is all (state, position) pairs after as many passes. What the graph knows already is not tried again, so an
exploration that was interrupted goes on when it is started again, and ends in the same graph: results are recorded in
the order of the level, whoever worked them out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from lowering.core import Problem, Target
from lowering.expand import Expanded, Job, Task, expand
from lowering.graph import Fell, Graph, Reached
from lowering.learned import Learner
from lowering.plan import Plan, Position
from lowering.pool import Pool
from lowering.worker import Casualty, Worker

BATCH = 32  # passes a job: a few tens of milliseconds, so that handing it over costs little
CASUALTIES = frozenset({"timeout", "crash", "memory"})
Pair = tuple[int, Position]


@dataclass(frozen=True)
class Space:
    """What is explored: the plan over a problem, where it stops, and whether failures are learned from.

    `goal`: dialects; a state that has no op of any other is not taken further. `most`: states, 0 for no limit.
    """

    problem: Problem
    target: Target
    plan: Plan
    goal: frozenset[str] = frozenset()
    most: int = 0
    prune: bool = False


@dataclass
class Progress:
    """Where an exploration is: `tried` and `left` are passes of this level."""

    level: int = 0
    states: int = 0
    edges: int = 0
    merges: int = 0  # edges of this run to a state that was known
    pruned: int = 0
    tried: int = 0
    left: int = 0
    grew: list[int] = field(default_factory=list[int])  # passes tried in each level


@dataclass(frozen=True)
class Walked:
    """What came of an exploration: the states that the plan leads to, and whether it was cut short by `most`.

    `visits` are the states, each with what the plan tells apart of the positions it was met at.
    """

    ends: tuple[int, ...]
    visits: frozenset[Pair]
    cut: bool
    progress: Progress


def explore(graph: Graph, space: Space, pool: Pool, watch: Callable[[Progress], None] = lambda _: None) -> Walked:
    """Explores until the plan has nothing more to try. The graph holds its root already."""
    return Exploration(graph, space, pool, watch).run()


class Exploration:
    """One walk. `known` are the states that the graph has edges of."""

    def __init__(self, graph: Graph, space: Space, pool: Pool, watch: Callable[[Progress], None]) -> None:
        self.graph, self.space, self.pool, self.watch = graph, space, pool, watch
        self.progress = Progress(states=len(graph), edges=graph.count()[1])
        self.known = graph.expanded()
        self.learner = Learner(graph) if space.prune else None
        self.news: list[Reached] = []  # the states recorded in this run
        self.told: dict[Worker, int] = {}  # how many of them a worker was told of
        self.fallen: set[str] = set()  # passes that took their process down in this run
        self.cut = bool(graph.meta("cut", False))  # then nothing more is tried

    def run(self) -> Walked:
        """All levels."""
        plan = self.space.plan
        level: list[Pair] = [(1, plan.start)]
        seen = {(1, plan.visit(plan.start))}
        ends: dict[int, None] = {}
        while level:
            ends.update((state, None) for state, position in level if plan.ends(position))
            self.progress.level += 1
            level = self.step([pair for pair in level if not self.at_goal(pair[0])], seen)
        self.graph.commit(now=True)
        return Walked(tuple(ends), frozenset(seen), self.cut, self.progress)

    def at_goal(self, state: int) -> bool:
        """Whether a state has reached the goal's dialects."""
        return bool(self.space.goal) and at_goal(self.graph.ops(state), self.space.goal)

    def step(self, level: list[Pair], seen: set[tuple[int, Position]]) -> list[Pair]:
        """The next level."""
        plan = self.space.plan
        if self.learner is not None:
            self.learner.learn(self.progress.level)
        targets = self.try_all(list(self.tasks(level)))
        found: list[Pair] = []
        for state, position in level:
            mine: dict[str, Sequence[int]] | None = None
            for move, after in plan.follow(position):
                if mine is None:
                    mine = targets.get(state) or self.stored(state)
                for target in mine.get(move, ()):
                    key = (target, plan.visit(after))
                    if key not in seen:
                        seen.add(key)
                        found.append((target, after))
        return found

    def tasks(self, level: Iterable[Pair]) -> Iterator[Task]:
        """What is to be tried in a level: each state once, without what is known."""
        if self.cut:
            return
        wanted: dict[int, dict[str, None]] = {}
        for state, position in level:
            wanted.setdefault(state, {}).update((move, None) for move, _ in self.space.plan.follow(position))
        for state, moves in wanted.items():
            missing = self.missing(state, moves) if state in self.known else list(moves)
            if self.learner is not None:
                kept = [move for move in missing if self.learner.may_work(move, state)]
                self.progress.pruned += len(missing) - len(kept)
                missing = kept
            if missing:
                opened = tuple(move for move in missing if move in self.space.plan.asked)
                instances = tuple(move for move in missing if move not in self.space.plan.asked)
                yield Task(state, b"", instances, opened)

    def missing(self, state: int, moves: Iterable[str]) -> list[str]:
        """The moves that the graph does not know of a state; of one that named its instances, those not tried yet."""
        edges, missing = self.graph.edges_of(state), dict[str, None]()
        for move in moves:
            texts = self.graph.instances(state, move) if move in self.space.plan.asked else (move,)
            missing.update({move: None} if texts is None else dict.fromkeys(t for t in texts if t not in edges))
        return list(missing)

    def stored(self, state: int) -> dict[str, Sequence[int]]:
        """Where each move leads from a state that was explored before."""
        edges = self.graph.edges_of(state)
        found: dict[str, Sequence[int]] = {
            text: (edge.target,) for text, edge in edges.items() if edge.target is not None
        }
        for move in self.space.plan.asked:
            texts = self.graph.instances(state, move) or ()
            found[move] = [target for text in texts if text in edges and (target := edges[text].target) is not None]
        return found

    def try_all(self, tasks: Sequence[Task]) -> dict[int, dict[str, Sequence[int]]]:
        """Has the workers do the tasks and records what they find: where each move leads from each state."""
        self.progress.tried, self.progress.left = 0, sum(width(task) for task in tasks)
        self.progress.grew.append(self.progress.left)
        targets: dict[int, dict[str, Sequence[int]]] = {}
        apart: set[int] = set()  # states whose passes came one by one: the graph knows where they lead
        for job, result in self.pool.map(self.attempt, self.jobs(tasks), lambda result: result.left):
            for task, found in zip(job.tasks, result.found, strict=False):  # nothing was found where the job fell
                leads = self.record(found)
                if job.again:
                    apart.add(task.state)
                elif task.state not in self.known:
                    targets[task.state] = leads
                self.progress.tried = min(self.progress.tried + width(task), self.progress.left)
                if self.cut:
                    break
            self.progress.states = len(self.graph)
            self.graph.commit()
            self.watch(self.progress)
            if self.cut:
                break
        self.known.update(targets, apart)
        return targets

    def jobs(self, tasks: Iterable[Task]) -> Iterator[Job]:
        """The tasks with their states' text, some together; one with a pass that fell before in jobs of its own."""
        job = Job(self.graph.name, self.space.problem, self.space.target, ())
        batch: list[Task] = []
        for task in tasks:
            whole = replace(task, packed=self.graph.packed(task.state))
            falls = not self.fallen.isdisjoint((*task.instances, *task.opened))
            if batch and falls:
                yield replace(job, tasks=tuple(batch))
                batch = []
            if falls:
                yield from apart(replace(job, tasks=(whole,)))
                continue
            batch.append(whole)
            if sum(map(width, batch)) >= BATCH:
                yield replace(job, tasks=tuple(batch))
                batch = []
        if batch:
            yield replace(job, tasks=tuple(batch))

    def attempt(self, worker: Worker, job: Job) -> Attempt:
        """What a worker makes of a job, told of the states that others found since its last one. Runs in a thread."""
        known = len(self.news)
        news = tuple(self.news[self.told.get(worker, 0) : known])
        self.told[worker] = known
        return attempt(worker, replace(job, news=news))

    def record(self, found: Expanded) -> dict[str, Sequence[int]]:
        """Stores a state's edges: where each move leads. The first state too many ends the exploration for good."""
        before = len(self.graph)
        targets: dict[str, Sequence[int]] = {}
        for text, result in found.edges:
            if 0 < self.space.most <= len(self.graph) and isinstance(result, Reached) and not self.graph.has(result):
                self.cut = True
                self.graph.set_meta("cut", True)
                return targets
            target = self.graph.record(found.state, text, result)
            if isinstance(result, Reached) and result.packed is not None:
                self.news.append(result.without_text())
            if isinstance(result, Fell) and result.kind in CASUALTIES:
                self.fallen.add(text)
            if self.learner is not None:
                self.learner.see(text, found.state, isinstance(result, Reached))
            if target is not None:
                targets[text] = (target,)
                self.progress.merges += target != found.state
        for move, texts in found.opened:
            self.graph.record_instances(found.state, move, texts)
            targets[move] = [targets[text][0] for text in texts if text in targets]
        self.progress.edges += len(found.edges)
        self.progress.merges -= len(self.graph) - before
        return targets


def width(task: Task) -> int:
    """How much work a task is: passes to try, four for one that names its own instances."""
    return len(task.instances) + 4 * len(task.opened)


def at_goal(ops: str, goal: frozenset[str]) -> bool:
    """Whether all of a state's ops are of the goal's dialects."""
    return all(op.split(".")[0] in goal for op in ops.split() if op != "builtin.module")


# --- what the workers are given --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attempt:
    """What a worker made of a job, and the jobs that are left of it where something took its process down."""

    found: Sequence[Expanded] = ()
    left: tuple[Job, ...] = ()


def attempt(worker: Worker, job: Job) -> Attempt:
    """What a worker makes of a job. Where it falls, each pass gets a job of its own, so that one edge takes the blame.

    A pass that falls in a job of its own has failed there; one that only named its instances leaves them to be tried.
    """
    result = worker.call(expand, job, each_step=True)
    if isinstance(result, Casualty):
        return Attempt((blamed(job, result),)) if is_alone(job) else Attempt(left=tuple(apart(job)))
    if not (job.again and job.tasks[0].opened):
        return Attempt(result)
    ((_, texts),) = result[0].opened
    return Attempt(result, tuple(alone(job, job.tasks[0], text) for text in texts))


def is_alone(job: Job) -> bool:
    """Whether a job is one pass on one state, and sends all it finds."""
    return job.again and sum(len(task.instances) + len(task.opened) for task in job.tasks) == 1


def apart(job: Job) -> Iterator[Job]:
    """A job as one job a pass."""
    for task in job.tasks:
        yield from (alone(job, task, text) for text in task.instances)
        yield from (alone(job, task, move, opened=True) for move in task.opened)


def alone(job: Job, task: Task, move: str, opened: bool = False) -> Job:
    """A job of one pass on one state; `opened`: it is only asked for its instances."""
    task = replace(task, instances=() if opened else (move,), opened=(move,) if opened else ())
    return replace(job, tasks=(task,), again=True)


def blamed(job: Job, casualty: Casualty) -> Expanded:
    """The edge of a pass that did not come back."""
    kind = "compiler bug" if casualty.kind == "exception" else casualty.kind
    (task,) = job.tasks
    (move,) = (*task.instances, *task.opened)
    return Expanded(task.state, ((move, Fell(kind, casualty.reason)),), tuple((name, (name,)) for name in task.opened))
