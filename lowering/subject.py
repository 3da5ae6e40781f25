"""What is bisected, and where: a schedule over a problem, lowered in a worker state by state, each state checked there.

Whatever a pass or a state does to the worker, the states before it come back, with what happened as a value. A schedule
for a CPU that stops before the end is completed by the standard tail (completion.py), which adds no state.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from lowering import completion, mlir, search
from lowering.agent.proposer import Proposal
from lowering.core import Failure, Pass, PassError, Problem, Schedule, Target
from lowering.lower import Lowered, build, lower
from lowering.passes import pipeline
from lowering.state_check import StateJob, StateVerdict, ask
from lowering.targets.families import FAMILIES
from lowering.terminals import is_lowered
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


def lowered(job: LowerJob, at: Callable[[str], None]) -> tuple[Failure | None, bool]:
    """Why a job comes to no binary, and whether the standard tail was needed for it; for the worker."""
    schedule = pipeline.parse(job.subject.schedule)
    found = lower(job.subject.problem, schedule, job.target, job.folder, at=at)
    if not isinstance(found.outcome, Failure):
        return None, False
    if found.outcome.stage != "codegen" or FAMILIES[job.target.family].device:
        return found.outcome, False
    return completed(job, found, found.outcome, at)


def completed(
    job: LowerJob, found: Lowered, failure: Failure, at: Callable[[str], None]
) -> tuple[Failure | None, bool]:
    """What comes of a last state once the standard tail has completed it, where it is not lowered to the end."""
    module = mlir.parse((job.folder / found.stages[-1].file).read_text())
    if is_lowered(module):
        return failure, False
    at("codegen: the standard tail")
    try:
        completion.complete_to_cpu(module)
    except PassError as error:
        reason = error.reason.removeprefix("not checkable on the CPU: ")
        return replace(failure, reason=f"{failure.reason}; {reason}"), False
    steps = pipeline.parse(job.subject.steps).passes
    built = build(module, job.subject.problem, job.target, steps, (), job.folder, found.stages[-1:], at)
    return (built.outcome if isinstance(built.outcome, Failure) else None), True


@dataclass(frozen=True)
class Lowering:
    """The states of a subject, the input first, and why there are no more; `log` is the long text of that.

    `completed`: the last state is not lowered to the end, and what was built of it went through the standard tail.
    """

    states: tuple[str, ...]
    failure: Failure | None
    log: str = ""
    completed: bool = False

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
                found = search.fallen(found, Proposal(Schedule(subject.passes)), folder).failure, False
            failure, by_tail = found
            return Lowering(states_in(folder), *without_log(failure), by_tail)

    def check(self, state: str, subject: Subject, steps: str, last: bool = False) -> StateVerdict:
        """The verdict of a state; asked for once."""
        job = StateJob(state, subject.problem, self.target, steps, last=last)
        if job not in self.known:
            self.known[job] = ask(self.worker, job)
        return self.known[job]

    def binary(self, lowering: Lowering, subject: Subject) -> StateVerdict:
        """The verdict of what the whole schedule gives."""
        return self.check(lowering.states[-1], subject, subject.steps, last=not lowering.completed)


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
