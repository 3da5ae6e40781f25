"""`lower ladder`: from the words of the command line to the rungs of a problem, built, verified, timed and reported."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lowering import frontend, ladder_record, ladder_report, report, search, store, targets
from lowering.agent.proposer import Proposal
from lowering.agent.rungs import Rungs
from lowering.candidate import sizes
from lowering.core import Problem, Target, UserError
from lowering.ladder import Step, ladder
from lowering.ladder_record import LadderRecord, RungRecord
from lowering.opt import write
from lowering.targets.families import FAMILIES
from lowering.targets.space import Values, chosen
from lowering.targets.tile_model import Prediction
from lowering.toolchain import versions
from lowering.worker import Limits


@dataclass(frozen=True)
class Request(frontend.ProblemWords):
    """The command's words, as typed; an empty one was left out."""

    knobs: list[str] = field(default_factory=list[str])
    rungs: str = ""
    verify: str = "auto"
    executor: str = ""
    time: bool = True
    timeout: float = 300.0
    seed: int = 0
    runs: str = "runs"
    as_json: bool = False


def main(request: Request) -> int:
    """The exit code of `lower ladder`: 1 where a rung failed. Raises UserError for a bad word."""
    problem, target, knobs = prepare(request)
    steps = wanted(request.rungs, ladder(problem, target, knobs))
    number, folder = store.create_run(Path(request.runs))
    options = search.Options(
        runs=folder / "run",
        checks=request.verify,
        executor=request.executor,
        timed=request.time,
        texts=("llvm", "asm"),
        seed=request.seed,
        limits=Limits(seconds=request.timeout),
        command=shlex.join(["lower", *sys.argv[1:]]),
    )
    with frontend.progress() as on_step:
        rungs = climbed(steps, problem, target, options, on_step)
    record = describe(problem, target, rungs, options.command, number, folder)
    (folder / ladder_record.FILE).write_text(ladder_record.as_json(record) + "\n")
    (folder / "report.md").write_text(ladder_report.markdown(record))
    if request.as_json:
        write(f"{ladder_record.as_json(record)}\n".encode(), "")
    else:
        print(ladder_report.text(record))
    return ladder_report.exit_code(record)


def prepare(request: Request) -> tuple[Problem, Target, Values]:
    """The problem, the target and the given knobs of the highest rung. Raises UserError for a bad word."""
    frontend.one_of("--verify", request.verify, frontend.CHECKS)
    if request.timeout <= 0:
        raise UserError(f"--timeout is a number of seconds above 0, found {request.timeout:g}")
    if request.seed < 0:
        raise UserError(f"--seed is a number of at least 0, found {request.seed}")
    if frontend.TORCH.fullmatch(request.source):
        raise UserError(
            f"'{request.source}' is a torch program, and this takes a module: `lower {request.source}` writes one a "
            "contraction, runs/N/00-input.mlir"
        )
    target = targets.load(request.target) if request.target else targets.this_machine()
    family = FAMILIES[target.family]
    frontend.one_of("--executor", request.executor, [each.name for each in family.executors])
    problem, knobs = frontend.problem(request), chosen(request.knobs, family.space.KNOBS)
    reason = family.space.illegal(knobs, problem, target)
    if reason is not None:
        what = f"--knobs {' '.join(request.knobs)}" if knobs else "there is no default schedule"
        raise UserError(f"{what}: {reason} ({problem.name} on {target.name})")
    return problem, target, knobs


def wanted(words: str, steps: list[Step]) -> list[Step]:
    """The rungs, those that `--rungs` does not name being skipped. Raises UserError for words that name none."""
    if not words:
        return steps
    first, dash, last = words.partition("-")
    low, high = (int(text) if text.isdigit() else 0 for text in (first, last if dash else first))
    if not 1 <= low <= high <= len(steps):
        raise UserError(f"--rungs is a number or two, as 4 or 2-{len(steps)}, of {len(steps)} rungs; found '{words}'")
    return [
        each if low <= number <= high else replace(each, schedule=None, skipped=each.skipped or f"--rungs {words}")
        for number, each in enumerate(steps, start=1)
    ]


def climbed(
    steps: Sequence[Step], problem: Problem, target: Target, options: search.Options, on_step: Callable[[str], None]
) -> tuple[RungRecord, ...]:
    """The rungs with what became of each, the lowest first: every one is a run of the one loop."""
    proposals = tuple(Proposal(each.schedule, dict(each.knobs)) for each in steps if each.schedule is not None)
    names = iter([each.name for each in steps if each.schedule is not None])

    def told(record: store.Record) -> None:
        (Path(record.folder) / "report.md").write_text(report.markdown(record))
        print(f"{next(names)}: {short(record)}", file=sys.stderr, flush=True)

    whole = replace(options, budget=len(proposals))
    records = search.run(problem, target, Rungs(proposals), whole, on_step, told)
    done, space = iter(records), FAMILIES[target.family].space
    found: list[RungRecord] = []
    for each in steps:
        if each.schedule is None:
            found.append(ladder_record.skipped(each))
            continue
        found.append(ladder_record.built(each, next(done), predicted(space, each, problem, target)))
    return tuple(found)


def short(record: store.Record) -> str:
    """What came of a run in a line, and how long that took."""
    rate = f", {record.problem.flops / record.timing.hot / 1e12:.3g} TFLOP/s" if record.timing else ""
    failed = f": {record.failure.reason}" if record.failure else ""
    spent = ", ".join(f"{name} {report.duration(seconds)}" for name, seconds in record.seconds.items())
    return f"{record.outcome.split(':')[0]}{failed}{rate} ({spent})"


def predicted(space: Any, step: Step, problem: Problem, target: Target) -> Prediction | None:
    """What the family's model says of a rung; None where it has none."""
    return space.predicted(step.knobs, problem, target) if hasattr(space, "predicted") else None


def describe(
    problem: Problem, target: Target, rungs: tuple[RungRecord, ...], command: str, number: int, folder: Path
) -> LadderRecord:
    """The record of it all."""
    c = problem.contraction
    return LadderRecord(
        run=number,
        folder=str(folder),
        command=command,
        problem=f"{problem.name}: {sizes(problem)} (MxNxK), layout {c.layout}, {c.element} in, {c.output} out",
        target=target.name,
        flops=c.flops,
        integer=c.accumulator.startswith("i"),
        rungs=rungs,
        toolchain=versions(),
    )
