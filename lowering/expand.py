"""Passes tried on states, inside the worker: the edges of the pass graph.

A state comes as text and is parsed once for all its passes; each pass gets a clone. Every pass runs on the same parsed
text whatever was explored before, so an edge does not depend on the order of visits.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lowering import mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.graph import Fell, Reached, pack, unpack
from lowering.lower import check_entry
from lowering.normal import normal_digest
from lowering.op_counts import op_counts
from lowering.passes import pipeline
from lowering.passes.table import PASSES
from lowering.passes.upstream import Upstream

MOST = 100_000  # states that a worker remembers: about 300 bytes each


@dataclass(frozen=True, slots=True)
class Task:
    """One state and what is to be tried on it: instances by their text, `opened` the passes asked for `choices`."""

    state: int
    packed: bytes
    instances: tuple[str, ...]
    opened: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """Some tasks of one problem; picklable. `graph` names the graph whose states they are.

    `again`: an earlier answer was lost, so the texts of all states are to be sent, and a pass that is asked for its
    instances only names them. `news`: states that the graph holds by now, without their texts, so that no second
    worker prints and describes them.
    """

    graph: str
    problem: Problem
    target: Target
    tasks: tuple[Task, ...]
    again: bool = False
    news: tuple[Reached, ...] = ()


@dataclass(frozen=True, slots=True)
class Expanded:
    """What came of a task: an edge an instance, and which instances each asked pass named."""

    state: int
    edges: tuple[tuple[str, Reached | Fell], ...]
    opened: tuple[tuple[str, tuple[str, ...]], ...] = ()


class Pulse:
    """Says what is being tried at most once a second: a pass a millisecond would drown whoever listens."""

    def __init__(self, at: Callable[[str], None]) -> None:
        self.at, self.last = at, time.monotonic()

    def __call__(self, text: str) -> None:
        now = time.monotonic()
        if now - self.last > 1:
            self.last = now
            self.at(text)


def expand(job: Job, at: Callable[[str], None]) -> list[Expanded]:
    """Tries all that a job asks for."""
    if job.again:
        MEMORIES.pop(job.graph, None)
    memory = MEMORIES.setdefault(job.graph, Memory())
    for state in job.news:
        memory.put(state)
    pulse = Pulse(at)
    return [expand_state(job, task, pulse) for task in job.tasks]


def expand_state(job: Job, task: Task, pulse: Pulse) -> Expanded:
    """Tries one state's passes."""
    memory = MEMORIES[job.graph]
    text = unpack(task.packed)
    module = mlir.parse(text)
    opened = tuple((name, tuple(choices(name, module, job))) for name in task.opened)
    named = () if job.again else (text for _, texts in opened for text in texts)
    mlir.run(module, "strip-debuginfo")  # a pass that moves an op changes its location, which is no part of a state
    source = Source(module, fingerprint(module), hashlib.sha256(text.encode()).digest())
    edges: list[tuple[str, Reached | Fell]] = []
    for wanted in dict.fromkeys((*task.instances, *named)):
        pulse(wanted)
        edges.append((wanted, tried(wanted, source, memory, job.problem)))
    return Expanded(task.state, tuple(edges), opened)


def choices(name: str, module: Any, job: Job) -> Iterator[str]:
    """The texts of a pass's legal instances on a state."""
    return map(str, PASSES[name].choices(module, job.problem, job.target))


@lru_cache(maxsize=4096)
def instance(text: str) -> Pass:
    """The pass of a text."""
    (step,) = pipeline.parse(text).passes
    return step


@dataclass(frozen=True)
class Source:
    """A live state, its fingerprint and the digest of its text."""

    module: Any
    mark: bytes
    digest: bytes


class Memory:
    """What a process knows of a graph: texts that it sent, and states that need not be printed again."""

    def __init__(self) -> None:
        self.sent: dict[bytes, bytes] = {}  # digest of a text -> that of its normal form
        self.marks: dict[bytes, Reached] = {}  # fingerprint -> the state, without its text

    def put(self, state: Reached) -> None:
        """Keeps a state that the graph holds, or is being sent."""
        if len(self.marks) >= MOST:
            self.sent.clear()
            self.marks.clear()
        self.sent[state.digest] = state.normal
        self.marks[state.mark] = state.without_text()


MEMORIES: dict[str, Memory] = {}


def tried(text: str, source: Source, memory: Memory, problem: Problem) -> Reached | Fell:
    """What a pass does to a copy of a state."""
    copy, step = mlir.clone(source.module), instance(text)
    try:
        step.apply(copy)
        mark = fingerprint(copy)
        if mark == source.mark:
            return Reached(same=True)
        found = memory.marks.get(mark) or reached(copy, step, mark, memory, problem)
        return Reached(same=True) if found.digest == source.digest else found
    except PassError as error:
        return Fell(error.kind, error.reason)


def reached(module: Any, step: Pass, mark: bytes, memory: Memory, problem: Problem) -> Reached:
    """A state whose fingerprint was not seen before. Raises PassError where it is no valid state."""
    if not isinstance(step, Upstream):
        mlir.verify(module)  # a pass manager has done so
    text = module.operation.get_asm(assume_verified=True)
    digest = hashlib.sha256(text.encode()).digest()
    normal = memory.sent.get(digest)
    if normal is not None:
        return Reached(False, digest, normal, len(text), mark=mark)
    check_entry(module, problem.arguments)
    found = described(module, text, digest, mark)
    memory.put(found)
    return found


def described(module: Any, text: str, digest: bytes, mark: bytes) -> Reached:
    """A state with all that the graph keeps of it."""
    normal = bytes.fromhex(normal_digest(module, text))
    return Reached(False, digest, normal, len(text), pack(text), " ".join(sorted(op_counts(text))), mark)


def root(problem: Problem) -> Reached:
    """The state that a graph starts from: the problem as it was read."""
    module = mlir.parse(problem.ir)
    text = mlir.text(module)
    return described(module, text, hashlib.sha256(text.encode()).digest(), b"")


def fingerprint(module: Any) -> bytes:
    """The digest of a module's bytecode: where it is the same the text is too, and it takes a fifth of the time."""
    file = io.BytesIO()
    module.operation.write_bytecode(file)
    return hashlib.sha256(file.getbuffer()).digest()
