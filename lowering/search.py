"""THE loop: propose -> lower, build, verify, time -> record -> propose again.

`lower` is this loop with budget 1 and the proposer `default`: there is one code path.
"""

from __future__ import annotations

import hashlib
import shlex
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lowering import store, toolchain
from lowering.agent.proposer import Proposal, Proposer
from lowering.candidate import SUFFIX, Job, Outcome, evaluate, sizes
from lowering.core import (
    Binary,
    Buffer,
    Failure,
    KernelArgument,
    Launch,
    Problem,
    Scalar,
    Target,
    TensorMap,
    Workspace,
)
from lowering.feedback import feedback
from lowering.given import Values
from lowering.lower import Stage, split
from lowering.mlir import digest
from lowering.witness import witness_of
from lowering.worker import Casualty, Limits, Worker


@dataclass(frozen=True)
class Options:
    """What the loop is told besides the problem: how many candidates, how far to check, whether to time, and limits."""

    runs: Path = Path("runs")
    budget: int = 1
    checks: str = "auto"  # auto | full | witness | none
    executor: str = ""  # its name; the first that is available where none is given
    timed: bool = True
    texts: tuple[str, ...] = ("llvm", "asm")
    seed: int = 0
    limits: Limits = field(default_factory=Limits)
    start: tuple[int, str] | None = None  # passes already applied, state text
    edited: bool = False  # the state of `start` is not the run's own, so there is no witness
    command: str = ""
    values: Values | None = None  # of the user's own program, for one more check


def run(
    problem: Problem,
    target: Target,
    proposer: Proposer,
    options: Options,
    on_step: Callable[[str], None] = lambda _: None,
    on_record: Callable[[store.Record], None] = lambda _: None,
) -> list[store.Record]:
    """Runs the loop until the budget is spent or the proposer has nothing more to say; every candidate is recorded.

    `on_step` is told each step before it is done, `on_record` each candidate's record when it is written.
    """
    records: list[store.Record] = []
    with Worker(options.limits) as worker:
        while len(records) < options.budget:
            proposals = proposer.propose(problem, target, records, options.budget - len(records))
            if not proposals:
                break
            for proposal in proposals:
                records.append(candidate(worker, problem, target, proposer.name, proposal, options, on_step))
                on_record(records[-1])
    return records


def candidate(
    worker: Worker,
    problem: Problem,
    target: Target,
    proposer: str,
    proposal: Proposal,
    options: Options,
    on_step: Callable[[str], None],
) -> store.Record:
    """Evaluates one proposal in the worker and writes its record."""
    number, folder = store.create_run(options.runs)
    small = None if options.edited else witness_of(problem, proposal.schedule)
    job = Job(
        problem, small, target, str(proposal.schedule), folder.resolve(), options.texts, options.start,
        options.checks, options.executor, options.timed, options.seed, options.values,
    )  # fmt: skip
    began = time.perf_counter()
    result = worker.call(evaluate, job, on_step)
    outcome = result if isinstance(result, Outcome) else fallen(result, proposal, folder)
    if outcome.failure is not None and outcome.failure.kind == "crash":
        worker.close()  # a device's fault takes the context of its process along: the next candidate gets a new one
    outcome = replace(outcome, seconds={**outcome.seconds, "total": time.perf_counter() - began})
    record = to_record(number, folder, problem, small, target, proposer, proposal, options, outcome)
    store.write_record(record, folder)
    return record


def fallen(casualty: Casualty, proposal: Proposal, folder: Path) -> Outcome:
    """A candidate that took its worker down: the failure names the pass that was running."""
    log = folder / "worker.log" if casualty.log else None
    if log is not None:
        log.write_text(casualty.log)
    head, _, text = casualty.at.partition(": ")
    step = int(head) if head.isdigit() else None
    kind = {"timeout": "timeout", "memory": "memory"}.get(casualty.kind, "crash")
    stage = "lower" if step is not None else {"codegen": "codegen", "load": "load", "time": "time"}.get(head, "verify")
    at = text if step is not None else casualty.at
    return Outcome("failed", stages_of(folder), failure=Failure(stage, kind, casualty.reason, step, at, log=log))  # type: ignore[arg-type]


def stages_of(folder: Path) -> tuple[Stage, ...]:
    """The stages of a run whose worker did not live to tell them: what it wrote."""
    found: list[Stage] = []
    for file in sorted(folder.glob("[0-9]*-*.mlir")):
        index, _, name = file.stem.partition("-")
        text = file.read_text()
        found.append(Stage(int(index), name, 0.0, digest(text), len(text), file.name))
    return tuple(found)


def to_record(
    number: int,
    folder: Path,
    problem: Problem,
    small: Problem | None,
    target: Target,
    proposer: str,
    proposal: Proposal,
    options: Options,
    outcome: Outcome,
) -> store.Record:
    """The record of one candidate."""
    binary = outcome.binary
    return store.Record(
        run=number,
        folder=str(folder),
        command=options.command,
        problem=problem_record(problem, small),
        target=target.name,
        cpu=target.cpu,
        proposer=proposer,
        knobs=proposal.knobs,
        schedule=str(proposal.schedule),
        stages=[store.StageRecord(**asdict(stage)) for stage in outcome.stages],
        seconds=outcome.seconds,
        format=binary.format if binary else "",
        image=f"kernel.{SUFFIX.get(binary.format, binary.format)}" if binary else "",
        image_digest=hashlib.sha256(binary.image).hexdigest() if binary else "",
        files=sorted(p.name for p in folder.iterdir()),
        kernels=kernel_records(binary) if binary else [],
        launches=[launch_record(launch) for launch in binary.launches] if binary else [],
        outcome=outcome.words,
        word=outcome.word,  # type: ignore[arg-type]
        counted=list(outcome.counted),
        predicted=list(outcome.predicted),
        checks=[store.CheckRecord(**c) for c in outcome.check_rows()],
        timing=store.TimingRecord(**row) if (row := outcome.timing_row()) else None,
        feedback=feedback_record(problem, target, outcome),
        failure=failure_record(outcome.failure, outcome, folder, proposal, options) if outcome.failure else None,
        toolchain=toolchain.versions(),
        seed=options.seed,
    )


def problem_record(problem: Problem, small: Problem | None) -> store.ProblemRecord:
    """The problem's part of a record."""
    c = problem.contraction
    return store.ProblemRecord(
        name=problem.name,
        digest=digest(problem.ir),
        **{name: getattr(c, name) for name in store.ProblemRecord.model_fields if hasattr(c, name)},
        epilogue=list(problem.epilogue),
        notes=list(problem.notes),
        witness=sizes(small) if small else "",
    )


def feedback_record(problem: Problem, target: Target, outcome: Outcome) -> store.FeedbackRecord | None:
    """What a measured time says; None where there is none."""
    if outcome.timing is None or outcome.binary is None:
        return None
    binary, timing = outcome.binary, outcome.timing
    found = feedback(problem, target, binary.kernels, binary.launches, timing.hot, timing.rotated)
    return store.FeedbackRecord.model_validate(asdict(found))


def kernel_records(binary: Binary) -> list[store.KernelRecord]:
    """Each kernel's resources with the shape of its (first) launch."""
    launches = {launch.kernel: launch for launch in reversed(binary.launches)}
    return [
        store.KernelRecord.model_validate(
            {
                **asdict(kernel),
                "notes": list(kernel.notes),
                "grid": launches[kernel.name].grid if kernel.name in launches else None,
                "block": launches[kernel.name].block if kernel.name in launches else None,
            }
        )
        for kernel in binary.kernels
    ]


def launch_record(launch: Launch) -> store.LaunchRecord:
    """How a kernel is launched, its parameters in words."""
    return store.LaunchRecord(
        kernel=launch.kernel,
        grid=launch.grid,
        block=launch.block,
        cluster=launch.cluster,
        shared_bytes=launch.shared_bytes,
        arguments=[parameter(argument) for argument in launch.args],
    )


def parameter(argument: KernelArgument) -> str:
    """A kernel's parameter in words."""
    match argument:
        case Buffer(index, offset):
            return f"buffer {index} + {offset} bytes"
        case Scalar(bits, value):
            return f"i{bits} = {value}"
        case Workspace(index, size, zeroed):
            return f"workspace {index} of {size} bytes{', zeroed' if zeroed else ''}"
        case TensorMap(buffer, _, dims):
            kind = "workspace" if isinstance(buffer, Workspace) else "buffer"
            return f"tensor map of {kind} {buffer.index}, {'x'.join(map(str, dims))}"


def failure_record(
    failure: Failure, outcome: Outcome, folder: Path, proposal: Proposal, options: Options
) -> store.FailureRecord:
    """A failure with the one command that shows it again."""
    fields: dict[str, Any] = {**asdict(failure), "log": str(failure.log) if failure.log else ""}
    return store.FailureRecord(**fields, reproduce=reproduce(failure, outcome, folder, proposal, options))


def reproduce(failure: Failure, outcome: Outcome, folder: Path, proposal: Proposal, options: Options) -> str:
    """The command that repeats a failure: the pass on the last good state, or the rest of the run from there."""
    states = [stage.file for stage in outcome.stages if stage.file]
    if not states:
        return ""
    last = str(folder / states[-1])
    if failure.stage == "lower" and failure.step is not None:
        text = str(split(proposal.schedule)[0][failure.step - 1])
        return f"lower opt {shlex.quote(last)} --pass-pipeline='builtin.module({text})'"
    words = ["lower", "--from", last]
    words += ["--verify", options.checks] if options.checks != "auto" else []
    words += ["--executor", options.executor] if options.executor else []
    words += ["--seed", str(options.seed)] if options.seed else []
    words += ["--timeout", f"{options.limits.seconds:g}"] if options.limits != Limits() else []
    return shlex.join(words if options.timed else [*words, "--no-time"])
