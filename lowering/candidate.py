"""One candidate from schedule to measurement: lower, build, verify on the witness, verify at full size, time.

Runs inside the worker, because every step of it may crash. Nothing is timed before it is verified.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

from lowering import partial, timing, verify
from lowering.bounds import Arithmetic, arithmetic_of
from lowering.core import Binary, Failure, PassError, Problem, Target
from lowering.dtypes import lookup
from lowering.given import Values, verify_given
from lowering.lower import Stage, lower
from lowering.passes import pipeline
from lowering.targets.executor import Counting, DeviceError, Executor, Program
from lowering.targets.families import FAMILIES

LARGEST = 3 << 30  # bytes of buffers up to which the full size is run unasked: a quarter of what a worker may take
SUFFIX = {"obj": "o", "llvm": "ll", "asm": "s"}  # where a file's suffix is not the format's name


def sizes(problem: Problem) -> str:
    """MxNxK, with the batch in front where there is one."""
    c = problem.contraction
    return "x".join(str(n) for n in ((c.batch,) if c.batch else ()) + (c.m, c.n, c.k))


@dataclass(frozen=True)
class Job:
    """What the worker is asked to do; picklable. `checks` is how far verification goes."""

    problem: Problem
    witness: Problem | None
    target: Target
    schedule: str
    folder: Path
    texts: tuple[str, ...] = ("llvm", "asm")
    start: tuple[int, str] | None = None
    checks: str = "auto"  # auto | full | witness | none
    executor: str = ""  # its name; the first that is available where none is given
    timed: bool = True
    seed: int = 0
    values: Values | None = None  # of the user's own program, for one more check at full size


@dataclass(frozen=True)
class Outcome:
    """What came of a job. `words` is a verdict in the design's words; `failure` says why there is no more."""

    words: str
    stages: tuple[Stage, ...] = ()
    binary: Binary | None = None
    failure: Failure | None = None
    checks: tuple[verify.Check, ...] = ()
    timing: timing.Timing | None = None
    word: str = "none"  # measured | emulated
    counted: tuple[str, ...] = ()  # what an emulated run executed, in words
    predicted: tuple[str, ...] = ()  # what that bounds its time by on a device
    seconds: dict[str, float] = field(default_factory=dict)

    def check_rows(self) -> list[dict[str, Any]]:
        """The checks as rows of a record."""
        return [asdict(check) for check in self.checks]

    def timing_row(self) -> dict[str, Any] | None:
        """The timing as a row of a record; its checks are among the others."""
        if self.timing is None:
            return None
        return {key: value for key, value in asdict(self.timing).items() if key != "checks"}


def evaluate(job: Job, at: Callable[[str], None]) -> Outcome:
    """Takes a job as far as it goes. `at` is told every step before it runs."""
    clock = Clock()
    schedule = pipeline.parse(job.schedule)
    lowered = lower(job.problem, schedule, job.target, job.folder, job.texts, job.start, at)
    clock.lap("lower")
    built_in = {"codegen": lowered.codegen_seconds, "link": lowered.link_seconds}
    seconds = {"lower": clock.seconds["lower"] - sum(built_in.values()), **built_in}
    if isinstance(lowered.outcome, Failure):
        return Outcome("failed", lowered.stages, failure=lowered.outcome, seconds=seconds)
    write_files(lowered.outcome, job.folder)
    built = Outcome("", lowered.stages, lowered.outcome, seconds=seconds)
    if job.checks == "none":
        return replace(built, words="not verified: --verify none")
    reasons: list[str] = []
    for executor in FAMILIES[job.target.family].executors:
        if job.executor not in ("", executor.name):
            continue
        reason = executor.unavailable()
        if reason is None:
            return executed(job, built, executor, at)
        reasons.append(reason)
    return replace(built, words=f"built, not executed: {'; '.join(reasons)}")


def executed(job: Job, built: Outcome, executor: Executor, at: Callable[[str], None]) -> Outcome:
    """Verifies a built candidate on the witness, then at full size; times it only where both are right."""
    clock, arithmetic = Clock(), arithmetic_of(job.target)
    assert built.binary is not None
    try:
        small = checked_witness(job, executor, arithmetic, at)
        if isinstance(small, Failure):
            return replace(built, words="failed", failure=small)
        whole: tuple[verify.Check, ...] | None = None
        words = ""
        counted: tuple[str, ...] = ()
        predicted: tuple[str, ...] = ()
        skipped = too_large(job, built.binary, executor)
        if not skipped and (job.checks in ("auto", "full") or job.witness is None) and all(c.ok for c in small):
            at("verify: full size")
            with executor.load(built.binary) as program:
                whole, words = checked_full(job, program, arithmetic)
                if isinstance(program, Counting):
                    counted, predicted = program.counted, program.predicted
        verdict = verify.verdict(small, whole, words, skipped)
        clock.lap("verify")
        done = replace(built, words=verdict.words, word=executor.word, checks=verdict.checks)
        done = replace(done, counted=counted, predicted=predicted)
        done = replace(done, seconds={**built.seconds, "verify": clock.seconds["verify"]})
        if verdict.wrong:
            return replace(done, failure=Failure("verify", "wrong", verdict.words.removeprefix("WRONG: ")))
        if not verdict.ok or not job.timed or executor.word != "measured" or whole is None:
            return done
        at("time")
        with executor.load(built.binary) as program:
            measured = timing.measure(job.problem, program, job.target, job.seed)
        clock.lap("time")
        return timed(replace(done, seconds={**done.seconds, "time": clock.seconds["time"]}), measured)
    except PassError as error:  # the reference has no rule for an op of the payload
        return replace(built, words="failed", failure=Failure("verify", "unsupported", error.reason, where=error.where))
    except DeviceError as error:
        return replace(built, words="failed", failure=Failure("load", error.kind, error.reason))


def too_large(job: Job, binary: Binary, executor: Executor) -> str:
    """Why the full size is not run unasked; empty where it is.

    Its buffers may not fit, of which up to four copies are held to compare; or it may take too long in an emulator that
    cannot take a sample of it.
    """
    if job.checks != "auto" or job.witness is None:
        return ""
    launches, work = len(binary.launches), job.problem.contraction.flops // 2
    if executor.word == "emulated" and launches > 1 and work > partial.MOST:
        return f"{launches} launches, of which no sample can be taken, would take long to emulate"
    nbytes = sum(prod(each.shape) * lookup(each.dtype).bytes for each in job.problem.arguments)
    if nbytes <= LARGEST:
        return ""
    return f"the full size has {nbytes / 1e9:.1f} GB of buffers, more than {LARGEST / 1e9:.1f}"


def checked_witness(
    job: Job, executor: Executor, arithmetic: Arithmetic, at: Callable[[str], None]
) -> tuple[verify.Check, ...] | Failure:
    """Every check on the witness, taken through the same schedule; none where the job has no witness."""
    if job.witness is None:
        return ()
    at("verify: witness")
    lowered = lower(job.witness, pipeline.parse(job.schedule), job.target)
    if isinstance(lowered.outcome, Failure):
        return replace(lowered.outcome, reason=f"on the witness problem {sizes(job.witness)}: {lowered.outcome.reason}")
    with executor.load(lowered.outcome) as program:
        return verify.verify_witness(job.witness, program, arithmetic)


def checked_full(job: Job, program: Program, arithmetic: Arithmetic) -> tuple[tuple[verify.Check, ...], str]:
    """The checks at full size: without a witness all of them, up to the size where each element is compared.

    Where a run of all would take long, those of some workgroups; the words say of how many.
    """
    if job.checks == "auto" and job.witness is not None and partial.suits(job.problem, program):
        found, words = partial.verify_some(job.problem, program, arithmetic, job.seed)
        return found, words + (", not on the program's own values" if job.values is not None else "")
    found: tuple[verify.Check, ...] = ()
    if job.witness is None and job.problem.contraction.flops // 2 <= verify.WHOLE:
        found = tuple(replace(c, scope="full") for c in verify.verify_witness(job.problem, program, arithmetic))
    if all(check.ok for check in found):
        found += verify.verify_full(job.problem, program, arithmetic, job.seed)
    if job.values is not None and all(check.ok for check in found):
        found += verify_given(job.problem, program, job.values, arithmetic)
    return found, ""


def timed(done: Outcome, measured: timing.Timing) -> Outcome:
    """A verified outcome with its timing; a time that cannot be believed makes it wrong, and is not shown as one."""
    done = replace(done, checks=(*done.checks, *measured.checks))
    if measured.ok:
        return replace(done, timing=measured)
    verdict = verify.verdict(done.checks)
    return replace(done, words=verdict.words, failure=Failure("time", "wrong", verdict.words.removeprefix("WRONG: ")))


class Clock:
    """Seconds between laps, by name."""

    def __init__(self) -> None:
        self.last, self.seconds = time.perf_counter(), dict[str, float]()

    def lap(self, name: str) -> None:
        """Books the time since the last lap under `name`."""
        now = time.perf_counter()
        self.seconds[name], self.last = now - self.last, now


def write_files(binary: Binary, folder: Path) -> None:
    """The image and the texts beside it: kernel.ll, kernel.s, kernel.ptx, kernel.o|hsaco|cubin."""
    (folder / f"kernel.{SUFFIX.get(binary.format, binary.format)}").write_bytes(binary.image)
    for name, text in binary.texts.items():
        (folder / f"kernel.{SUFFIX.get(name, name)}").write_text(text)
