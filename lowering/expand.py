"""Passes tried on states, inside the worker: the edges of the pass graph.

A state comes as text and is parsed once for all its passes; each pass gets a clone. Every pass runs on the same parsed
text whatever was explored before, so an edge does not depend on the order of visits.
"""

from __future__ import annotations

import hashlib
import io
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

MEMO = 200_000  # texts whose normal form a worker remembers: 32 bytes each


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

    `again`: an earlier answer was lost, so the texts of all states are to be sent.
    """

    graph: str
    problem: Problem
    target: Target
    tasks: tuple[Task, ...]
    again: bool = False


@dataclass(frozen=True, slots=True)
class Expanded:
    """What came of a task: an edge an instance, and which instances each asked pass named."""

    state: int
    edges: tuple[tuple[str, Reached | Fell], ...]
    opened: tuple[tuple[str, tuple[str, ...]], ...] = ()


def expand(job: Job, at: Callable[[str], None]) -> list[Expanded]:
    """Tries all that a job asks for."""
    if job.again:
        SENT.pop(job.graph, None)
    return [expand_state(job, task) for task in job.tasks]


def expand_state(job: Job, task: Task) -> Expanded:
    """Tries one state's passes."""
    text = unpack(task.packed)
    module = mlir.parse(text)
    before, first = fingerprint(module), hashlib.sha256(text.encode()).digest()
    opened = tuple((name, tuple(choices(name, module, job))) for name in task.opened)
    wanted = dict.fromkeys((*task.instances, *(text for _, texts in opened for text in texts)))
    edges = tuple((text, tried(text, module, before, first, job)) for text in wanted)
    return Expanded(task.state, edges, opened)


def named(job: Job, at: Callable[[str], None]) -> tuple[str, ...]:
    """Only the instances that the one pass of a job's one task names."""
    (task,) = job.tasks
    return tuple(choices(task.opened[0], mlir.parse(unpack(task.packed)), job))


def choices(name: str, module: Any, job: Job) -> Iterator[str]:
    """The texts of a pass's legal instances on a state."""
    return map(str, PASSES[name].choices(module, job.problem, job.target))


@lru_cache(maxsize=4096)
def instance(text: str) -> Pass:
    """The pass of a text."""
    (step,) = pipeline.parse(text).passes
    return step


def tried(text: str, module: Any, before: bytes, first: bytes, job: Job) -> Reached | Fell:
    """What a pass does to a copy of a module whose fingerprint and digest are given."""
    copy, step = mlir.clone(module), instance(text)
    try:
        step.apply(copy)
        if fingerprint(copy) == before:
            return Reached(same=True)
        if not isinstance(step, Upstream):
            mlir.verify(copy)  # a pass manager has done so
        return reached(copy, first, job.graph, job.problem)
    except PassError as error:
        return Fell(error.kind, error.reason, mlir.place(error.where))


def reached(module: Any, first: bytes, graph: str, problem: Problem) -> Reached:
    """The state of a module; `first` is the digest of the text that it is compared with."""
    text = printed(module)
    digest = hashlib.sha256(text.encode()).digest()
    if digest == first:
        return Reached(same=True)
    sent = SENT.setdefault(graph, {})
    if digest in sent:
        return Reached(False, digest, sent[digest], len(text))
    check_entry(module, problem.arguments)
    if len(sent) >= MEMO:
        sent.clear()
    made = described(module, text, digest)
    sent[digest] = made.normal
    return made


def described(module: Any, text: str, digest: bytes) -> Reached:
    """A state with all that the graph keeps of it."""
    normal = bytes.fromhex(normal_digest(module, text))
    return Reached(False, digest, normal, len(text), pack(text), " ".join(sorted(op_counts(text))))


def root(problem: Problem) -> Reached:
    """The state that a graph starts from: the problem as it was read."""
    module = mlir.parse(problem.ir)
    text = mlir.text(module)
    return described(module, text, hashlib.sha256(text.encode()).digest())


SENT: dict[str, dict[bytes, bytes]] = {}  # graph -> digest of a text that this process has sent -> of its normal form


def printed(module: Any) -> str:
    """`mlir.text`, of a module that its pass manager has just verified: printing need not do it again."""
    return module.operation.get_asm(assume_verified=True)


def fingerprint(module: Any) -> bytes:
    """A module's bytecode: where it is the same the text is too, and it takes a fifth of the time of printing."""
    file = io.BytesIO()
    module.operation.write_bytecode(file)
    return file.getvalue()
