"""`lower bisect`: from the words of the command line to a culprit, its smallest case, a record and a report."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from lowering import bisect_record, bisect_report, frontend, reproducer, store, targets
from lowering.agent.default import Default
from lowering.bisect import Culprit, Examined, examine
from lowering.bisect_record import BisectRecord, Found, Least
from lowering.candidate import sizes
from lowering.core import Problem, Schedule, Target, UserError
from lowering.lower import split
from lowering.opt import write
from lowering.passes import pipeline
from lowering.reproducer import Smallest, Suspicion
from lowering.subject import INPUT, Bench, Subject
from lowering.toolchain import versions
from lowering.witness import witness_of
from lowering.worker import Limits, Worker

MEMORY = 2 << 30  # bytes a worker may take
MOST = 2**27  # multiply-adds of a problem whose states are run at full size


@dataclass(frozen=True)
class Request(frontend.ProblemWords):
    """The command's words, as typed; an empty one was left out."""

    schedule: str | None
    reduce: bool
    timeout: float
    runs: str
    as_json: bool


@dataclass(frozen=True)
class Work:
    """What the words come to: the whole problem with its schedule, and the witness of the two."""

    subject: Subject
    witness: Problem
    target: Target
    source: str


def main(request: Request) -> int:
    """The exit code of `lower bisect`: 0 where nothing is wrong, 1 where there is a culprit or nothing was checked."""
    if request.timeout <= 0:
        raise UserError(f"--timeout is a number of seconds above 0, found {request.timeout:g}")
    work = prepare(request)
    number, folder = store.create_run(Path(request.runs))
    with frontend.progress() as on_step, Worker(Limits(request.timeout, MEMORY)) as worker:
        record = run(work, Bench(worker, work.target, on_step), request.reduce, number, folder)
    report = bisect_report.text(record)
    (folder / bisect_record.FILE).write_text(bisect_record.as_json(record) + "\n")
    (folder / "report.md").write_text(bisect_report.markdown(record))
    if request.as_json:
        write(f"{bisect_record.as_json(record)}\n".encode(), "")
    else:
        print(report)
    return bisect_report.exit_code(record)


def prepare(request: Request) -> Work:
    """The work of a request. Raises UserError for a bad word."""
    if frontend.TORCH.fullmatch(request.source):
        raise UserError(
            f"'{request.source}' is a torch program, and this takes a module: `lower {request.source}` writes one a "
            "contraction, runs/N/00-input.mlir"
        )
    problem = frontend.problem(request)
    target = targets.load(request.target) if request.target else targets.this_machine()
    if request.schedule is None:
        schedule = Default().propose(problem, target, (), 1)[0].schedule
    else:
        schedule = pipeline.parse(frontend.schedule_text(request.schedule))
    passes, steps = split(schedule)
    subject = Subject(problem, passes, str(Schedule(steps)))
    return Work(subject, witness_of(problem, schedule), target, "default" if request.schedule is None else "given")


def run(work: Work, bench: Bench, reduce: bool, number: int, folder: Path) -> BisectRecord:
    """Finds the culprit, makes it smaller, writes the files; the record of it all."""
    examined, on, notes = examine_all(work, bench)
    subject, culprit = examined.subject, examined.culprit
    record = describe(work, examined, on, notes, number, folder)
    (folder / INPUT).write_text(subject.problem.ir)
    if culprit is not None and culprit.last > 0:
        smallest = Suspicion(bench, subject, culprit).smallest(reduce)
        if smallest is None:
            record = replace(record, notes=(*notes, "it did not show itself when it was tried again"))
        else:
            reproducer.write(smallest.case, folder)
            again = reproducer.commands(smallest.case, subject, culprit, folder, work.target)
            record = replace(record, least=least(smallest), again=tuple(again))
    names = {*(file.name for file in folder.iterdir()), bisect_record.FILE, "report.md"}
    return replace(record, files=tuple(sorted(names)))


def examine_all(work: Work, bench: Bench) -> tuple[Examined, str, tuple[str, ...]]:
    """What is found on the witness, or at full size where nothing is wrong there; on which, and what else was done."""
    whole = work.subject
    if work.witness.ir == whole.problem.ir:
        itself = examine(bench, whole)
        return itself, f"the problem itself, {sizes(whole.problem)}", later(itself)
    small = examine(bench, replace(whole, problem=work.witness))
    on = f"the witness {sizes(work.witness)}"
    if small.culprit is not None and not only_there(small, whole, bench):
        return small, on, later(small)
    large, note = full_size(whole, bench)
    if small.culprit is not None:
        itself = f"on {on} alone, {small.failure}"
        known = large or examine(bench, whole, every=False)
        return known, f"the problem itself, {sizes(whole.problem)}", (itself, *([note] if large is None else []))
    if large is None or large.culprit is None:
        return small, on, (note,)
    return large, f"the problem itself, {sizes(whole.problem)}", (f"nothing is wrong on {on}", *later(large))


def only_there(small: Examined, whole: Subject, bench: Bench) -> bool:
    """Whether what fails on the witness, where nothing is wrong before, does not fail at full size."""
    assert small.culprit is not None
    return small.culprit.failure is not None and bench.lower(whole).failure is None


def later(examined: Examined) -> tuple[str, ...]:
    """How the lowering ended, where it failed after a state was wrong already."""
    if examined.failure is None or examined.culprit is None or examined.culprit.failure is not None:
        return ()
    return (f"later, {examined.failure}",)


def full_size(subject: Subject, bench: Bench) -> tuple[Examined | None, str]:
    """What is found at full size, as far as that is tried; and what there is to say if it is nothing."""
    problem = subject.problem
    if problem.contraction.flops // 2 <= MOST:
        examined = examine(bench, subject, every=False)
        binary = examined.survey.binary
        said = "" if binary is None else f"the binary: {bisect_report.said(binary, 'the problem itself')}"
        return examined, f"at full size, {sizes(problem)}, {said}"
    lowering = bench.lower(subject)
    if lowering.failure is not None:
        return examine(bench, subject, every=False), ""
    return None, f"at full size, {sizes(problem)}, it was built and not run: more than 2^27 multiply-adds"


def describe(
    work: Work, examined: Examined, on: str, notes: tuple[str, ...], number: int, folder: Path
) -> BisectRecord:
    """The record, but for the smallest case."""
    subject, survey = work.subject, examined.survey
    c = subject.problem.contraction
    types = f"{c.element} in, {c.accumulator} accumulated, {c.output} out"
    return BisectRecord(
        run=number,
        folder=str(folder),
        command=shlex.join(["lower", *sys.argv[1:]]),
        problem=f"{subject.problem.name}: {sizes(subject.problem)}, layout {c.layout}, {types}",
        target=work.target.name,
        source=work.source,
        schedule=subject.schedule,
        passes=len(subject.passes),
        completed=examined.completed,
        on=on,
        states=survey.states,
        right=survey.right,
        wrong=survey.wrong,
        unchecked=survey.unchecked,
        why=survey.why,
        binary=survey.binary,
        notes=notes,
        culprit=found(examined.culprit, subject) if examined.culprit else None,
        toolchain=versions(),
    )


def found(culprit: Culprit, subject: Subject) -> Found:
    """A culprit as it is recorded."""
    suspects = tuple(map(str, subject.passes[max(culprit.first - 1, 0) : culprit.last]))
    base = Found(
        culprit.first, culprit.last, suspects, "wrong", culprit.steps, culprit.before, culprit.after,
        mends=culprit.mends,
    )  # fmt: skip
    if culprit.failure is None:
        return base
    f = culprit.failure
    return replace(base, does="fails", stage=f.stage, kind=f.kind, reason=f.reason, where=f.where)


def least(smallest: Smallest) -> Least:
    """The smallest case as it is recorded."""
    case, passes, tried = smallest.case, smallest.passes, smallest.sizes
    return Least(
        tuple(map(str, case.passes)),
        passes.least if passes else None,
        sizes(case.problem),
        tried.least if tried else None,
        case.after,
        case.failure.reason if case.failure else "",
    )
