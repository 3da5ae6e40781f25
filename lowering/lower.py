"""Problem + Schedule + Target -> Binary or Failure, each state of the lowering written to the run's folder.

The states are `00-input.mlir`, `01-<pass>.mlir`, ...: file NN is what pass number NN left behind, so a lowering can be
taken up again from any of them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lowering import codegen, mlir
from lowering.core import Argument, Binary, Failure, Pass, PassError, Problem, Schedule, Target
from lowering.passes.common.backend import BACKEND
from lowering.passes.upstream import Upstream


@dataclass(frozen=True)
class Stage:
    """One step of a lowering: seconds taken, the state's digest and size (where it was printed), and its file."""

    index: int
    text: str
    seconds: float
    digest: str = ""
    bytes: int = 0
    file: str = ""


@dataclass(frozen=True)
class Lowered:
    """What a schedule came to, with the stages on the way and the seconds of LLVM and of the linker or ptxas."""

    outcome: Binary | Failure
    stages: tuple[Stage, ...]
    codegen_seconds: float = 0.0
    link_seconds: float = 0.0


def slug(step: Pass) -> str:
    """A pass's name as part of a file name."""
    return step.of if isinstance(step, Upstream) else step.name


def split(schedule: Schedule) -> tuple[tuple[Pass, ...], tuple[Pass, ...]]:
    """The passes over MLIR, and the steps after them (llvm, codegen, ptxas) that code generation reads."""
    steps = tuple(p for p in schedule if isinstance(p, BACKEND))
    return tuple(p for p in schedule if not isinstance(p, BACKEND)), steps


def lower(
    problem: Problem,
    schedule: Schedule,
    target: Target,
    folder: Path | None = None,
    texts: Sequence[str] = (),
    start: tuple[int, str] | None = None,
    at: Callable[[str], None] = lambda _: None,
) -> Lowered:
    """Takes a problem through a schedule to a binary.

    `start` is (number of passes already applied, state text) to go on from a stored state. `texts` names what is kept
    beside the image ('llvm', 'asm', 'ptx'). `at` is told each step before it runs. Never raises for a bad candidate.
    """
    with mlir.own_context(str(schedule)):
        return through(problem, schedule, target, folder, texts, start or (0, problem.ir), at)


def through(
    problem: Problem,
    schedule: Schedule,
    target: Target,
    folder: Path | None,
    texts: Sequence[str],
    start: tuple[int, str],
    at: Callable[[str], None],
) -> Lowered:
    """What `lower` does, in the context that is in use."""
    done, state = start
    passes, steps = split(schedule)
    stages: list[Stage] = []
    module = mlir.parse(state, problem.name)
    for index, step in enumerate(passes[:done], start=1):
        if mlir.PRELOAD in str(step):  # no state holds what it loaded
            at(f"{index}: {step}")
            try:
                step.apply(module)
            except PassError as error:
                return Lowered(failure(error, index, step, folder, "00-input.mlir"), ())
    if done and folder is not None:
        (folder / "00-input.mlir").write_text(problem.ir)
    label, name = (f"from {done:02d}", "from") if done else ("input", "input")
    stages.append(record(module, done, label, 0.0, folder, name))
    for index, step in enumerate(passes[done:], start=done + 1):
        at(f"{index}: {step}")
        began = time.perf_counter()
        try:
            step.apply(module)
            check_entry(module, problem.arguments)
        except PassError as error:
            return Lowered(failure(error, index, step, folder, stages[0].file), tuple(stages))
        stages.append(record(module, index, str(step), time.perf_counter() - began, folder, slug(step)))
    return build(module, problem, target, steps, texts, folder, tuple(stages), at)


def build(
    module: Any,
    problem: Problem,
    target: Target,
    steps: Sequence[Pass],
    texts: Sequence[str],
    folder: Path | None,
    stages: tuple[Stage, ...],
    at: Callable[[str], None],
) -> Lowered:
    """The last state to a binary, LLVM and the linker (or ptxas) timed apart."""
    at("codegen")
    began = halfway = time.perf_counter()
    try:
        code = codegen.generate(module, len(problem.arguments), target, steps, texts)
        halfway = time.perf_counter()
        binary = codegen.finish(code, problem.arguments, target, steps)
    except PassError as error:
        return Lowered(build_failure(error, folder, stages[0].file), stages, time.perf_counter() - began)
    return Lowered(binary, stages, halfway - began, time.perf_counter() - halfway)


def record(module: Any, index: int, text: str, seconds: float, folder: Path | None, name: str) -> Stage:
    """The stage of a state; printed, digested and written only where there is a folder."""
    if folder is None:
        return Stage(index, text, seconds)
    printed = mlir.text(module)
    file = f"{index:02d}-{name}.mlir"
    (folder / file).write_text(printed)
    return Stage(index, text, seconds, mlir.digest(printed), len(printed), file)


def check_entry(module: Any, arguments: tuple[Argument, ...]) -> None:
    """The entry point stays: no pass changes number, order or types of the arguments of `@main`. Raises PassError."""
    entry = next((op for op in module.operation.regions[0].blocks[0] if named_main(op)), None)
    if entry is None:
        raise PassError("the pass removed the public function @main")
    if entry.operation.name != "func.func":
        return  # llvm.func: the arguments are expanded by then, and the launch plan or the C wrapper is checked instead
    types = [str(t).split(",")[0].removesuffix(">") for t in entry.type.inputs]
    wanted = [f"memref<{''.join(f'{n}x' for n in a.shape)}{a.dtype}" for a in arguments]
    if types != wanted:
        change = f"expected {', '.join(wanted)}, found {', '.join(types)}"
        raise PassError(f"the pass changed the arguments of @main: {change}")


def named_main(op: Any) -> bool:
    """Whether an op is the function `@main`."""
    attributes = op.operation.attributes
    return "sym_name" in attributes and attributes["sym_name"].value == "main"


def failure(error: PassError, index: int, step: Pass, folder: Path | None, first: str) -> Failure:
    """A pass's error as a value, its long text in a file."""
    log = None
    if folder is not None and error.log:
        log = folder / f"{index:02d}-{slug(step)}.log"
        log.write_text(error.log)
    return Failure("lower", error.kind, error.reason, index, str(step), located(error.where, first), log)


def located(where: str, first: str) -> str:
    """A place in the first state's file: ops keep the locations of the text that was parsed."""
    return re.sub(r"^-(?=:\d)", first, mlir.place(where))


def build_failure(error: PassError, folder: Path | None, first: str) -> Failure:
    """A code generation error as a value."""
    log = None
    if folder is not None and error.log:
        log = folder / "codegen.log"
        log.write_text(error.log)
    base = Failure("codegen", error.kind, error.reason, None, "", located(error.where, first), log)
    return replace(base, stage=getattr(error, "stage", "codegen"))
