"""What is bisected, and where: a schedule over a problem, lowered in a worker state by state, each state checked there.

Whatever a pass or a state does to the worker, the states before it come back, with what happened as a value.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from lowering import search
from lowering.agent.proposer import Proposal
from lowering.core import Failure, Pass, Problem, Schedule, Target
from lowering.lower import Lowered, lower
from lowering.passes import pipeline
from lowering.state_check import StateJob, StateVerdict, ask
from lowering.worker import Casualty, Worker

FIRST = "00-input.mlir"  # what lower.py calls the state that it starts from
INPUT = "input.mlir"  # what it is called in a reproducer


@dataclass(frozen=True)
class Subject:
    """What is bisected: a problem and the passes over it, with the steps of code generation as a schedule's text."""

    problem: Problem
    passes: tuple[Pass, ...]
    steps: str

    @property
    def schedule(self) -> str:
        """The text of the whole schedule."""
        return ",".join(filter(None, (str(Schedule(self.passes)), self.steps)))


@dataclass(frozen=True)
class LowerJob:
    """A subject that is to be lowered in a worker, its states written to a folder."""

    subject: Subject
    target: Target
    folder: Path


def lowered(job: LowerJob, at: Callable[[str], None]) -> Lowered:
    """Takes a job to a binary or a failure; for the worker."""
    return lower(job.subject.problem, pipeline.parse(job.subject.schedule), job.target, job.folder, at=at)


@dataclass(frozen=True)
class Lowering:
    """The states of a subject, the input first, and why there are no more; `log` is the long text of that."""

    states: tuple[str, ...]
    failure: Failure | None
    log: str = ""

    @property
    def failed_pass(self) -> int | None:
        """The number of the pass that failed, if one did."""
        return self.failure.step if self.failure else None


@dataclass
class Bench:
    """Where subjects are lowered and states checked: a worker, a target, and who is told the steps."""

    worker: Worker
    target: Target
    on_step: Callable[[str], None] = lambda _: None
    known: dict[StateJob, StateVerdict] = field(default_factory=dict)

    def lower(self, subject: Subject) -> Lowering:
        """The states of a subject, as far as it goes; whatever happens to the worker."""
        with tempfile.TemporaryDirectory(prefix="lower-bisect-") as scratch:
            folder = Path(scratch)
            found = self.worker.call(lowered, LowerJob(subject, self.target, folder), self.on_step)
            if isinstance(found, Casualty):
                failure = search.fallen(found, Proposal(Schedule(subject.passes)), folder).failure
            else:
                failure = found.outcome if isinstance(found.outcome, Failure) else None
            return Lowering(states_in(folder), *without_log(failure))

    def check(self, state: str, subject: Subject, steps: str, last: bool = False) -> StateVerdict:
        """The verdict of a state; asked for once."""
        job = StateJob(state, subject.problem, self.target, steps, last=last)
        if job not in self.known:
            self.known[job] = ask(self.worker, job)
        return self.known[job]


def states_in(folder: Path) -> tuple[str, ...]:
    """The states that a lowering left in a folder, in order."""
    files = sorted(folder.glob("[0-9]*-*.mlir"), key=lambda file: int(file.name.split("-")[0]))
    return tuple(file.read_text() for file in files)


def without_log(failure: Failure | None) -> tuple[Failure | None, str]:
    """A failure and its long text, which goes with the folder; places in the input by the name that it will have."""
    if failure is None:
        return None, ""
    log = failure.log.read_text() if failure.log else ""
    return replace(failure, log=None, where=failure.where.replace(FIRST, INPUT)), log
