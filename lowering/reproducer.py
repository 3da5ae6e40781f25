"""A culprit at its smallest: fewest passes before it, least sizes, the state before it and one command that shows it.

What is tried is the same thing each time: the suspect passes after some other passes on a problem of some sizes. It
shows the symptom if the state before them is right and what comes out is wrong, or if the last of them fails alike.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lowering import mlir
from lowering import problem as problems
from lowering.bisect import WRONG, Culprit, symptom_of
from lowering.core import Failure, Pass, Problem, Target, UserError
from lowering.passes.transform import Transform
from lowering.passes.upstream import Upstream
from lowering.reduce import Reduced, ddmin, least_sizes
from lowering.sizes import ties
from lowering.state_check import CHEAP, StateVerdict
from lowering.subject import INPUT, Bench, Lowering, Subject

PASSES_SECONDS = 120.0  # for making the schedule smaller, and as much again for the sizes
HANG_SECONDS = 10.0  # what counts as a hang there, where the culprit hangs
RIGHT, WRONG_STATE, LOG = "right.mlir", "wrong.mlir", "culprit.log"
INTERPRETER, MAIN = "transform-interpreter", "__transform_main"  # and where it begins


@dataclass(frozen=True)
class Case:
    """A culprit that shows itself: `suspects` after `passes` on a problem, with the states before and after them."""

    problem: Problem
    passes: tuple[Pass, ...]
    suspects: tuple[Pass, ...]
    right: str
    wrong: str = ""
    before: StateVerdict | None = None
    after: StateVerdict | None = None
    failure: Failure | None = None
    log: str = ""


@dataclass(frozen=True)
class Smallest:
    """A case and how it was made smaller; None where that was not tried."""

    case: Case
    passes: Reduced[Pass] | None = None
    sizes: Reduced[int] | None = None


@dataclass
class Suspicion:
    """The suspects of a culprit, tried after other passes and at other sizes."""

    bench: Bench
    subject: Subject
    culprit: Culprit
    cases: dict[tuple[Problem, tuple[Pass, ...]], Case | None] = field(default_factory=dict)

    @property
    def suspects(self) -> tuple[Pass, ...]:
        """The passes that are suspected."""
        return self.subject.passes[self.culprit.first - 1 : self.culprit.last]

    @property
    def of_codegen(self) -> bool:
        """Whether code generation is suspected too, or alone."""
        return self.culprit.last > len(self.subject.passes)

    def case(self, problem: Problem, passes: tuple[Pass, ...]) -> Case | None:
        """The case of a problem and the passes before the suspects; None where it does not show the symptom."""
        if (problem, passes) not in self.cases:
            steps = self.subject.steps if self.of_codegen else CHEAP
            tried = Subject(problem, (*passes, *self.suspects), steps)
            lowering = self.bench.lower(tried)
            wrong = self.culprit.symptom == WRONG
            found = self.wrong_case(tried, passes, lowering) if wrong else self.failed_case(tried, passes, lowering)
            self.cases[problem, passes] = found
        return self.cases[problem, passes]

    def failed_case(self, tried: Subject, passes: tuple[Pass, ...], lowering: Lowering) -> Case | None:
        """The case where the last step failed alike."""
        failure, step = lowering.failure, None if self.of_codegen else len(tried.passes)
        if failure is None or failure.step != step or symptom_of(failure) != self.culprit.symptom:
            return None
        return Case(tried.problem, passes, self.suspects, lowering.states[-1], failure=failure, log=lowering.log)

    def wrong_case(self, tried: Subject, passes: tuple[Pass, ...], lowering: Lowering) -> Case | None:
        """The case where a right state was made wrong."""
        if lowering.failed_pass is not None or (self.of_codegen and lowering.failure is not None):
            return None
        right, last = lowering.states[len(passes)], lowering.states[-1]
        if self.of_codegen:
            after = self.bench.binary(lowering, tried)
        else:
            after = self.bench.check(last, tried, self.culprit.steps)
        if after.word != "wrong":
            return None
        before = self.bench.check(right, tried, self.culprit.steps)
        if before.word != "right":
            return None
        return Case(tried.problem, passes, self.suspects, right, "" if right == last else last, before, after)

    def smallest(self, reduce: bool) -> Smallest | None:
        """The smallest case that was found in the time there is; None where the culprit does not show itself again."""
        problem, passes = self.subject.problem, self.subject.passes[: self.culprit.first - 1]
        if not reduce:
            whole = self.case(problem, passes)
            return whole and Smallest(whole)
        self.shorten_hangs()
        fewer = ddmin(passes, lambda kept: self.case(problem, kept) is not None, clock(PASSES_SECONDS))
        loops = groups(problem)
        sizes = [size for size, _ in loops]

        def shows(tried: tuple[int, ...]) -> bool:
            smaller = resized(problem, loops, tried)
            return smaller is not None and self.case(smaller, fewer.items) is not None

        least = least_sizes(sizes, shows, clock(PASSES_SECONDS))
        small = resized(problem, loops, least.items) or problem
        found = self.case(small, fewer.items)
        return found and Smallest(found, fewer, least)

    def shorten_hangs(self) -> None:
        """Gives each call less time, where each that shows the symptom takes all of it."""
        verdict = self.culprit.after
        if self.culprit.symptom.kind == "timeout" or (verdict is not None and verdict.reason.startswith("timeout")):
            worker = self.bench.worker
            worker.limits = replace(worker.limits, seconds=min(worker.limits.seconds, HANG_SECONDS))


def clock(seconds: float) -> Callable[[], bool]:
    """A function that tells whether so many seconds are over."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def groups(problem: Problem) -> list[tuple[int, tuple[int, ...]]]:
    """The sizes of a problem that can be chosen, each with the loops of the contraction that have it."""
    program = problems.program(problem.ir)
    return [(program.contract.sizes[min(loops)], tuple(sorted(loops))) for loops in ties(program)]


def resized(problem: Problem, loops: Sequence[tuple[int, tuple[int, ...]]], sizes: tuple[int, ...]) -> Problem | None:
    """The problem at other sizes; None where it cannot have them."""
    wanted = {loop: size for (_, each), size in zip(loops, sizes, strict=True) for loop in each}
    try:
        return problems.resize_loops(problem, wanted)
    except UserError:
        return None


# --- files and commands -----------------------------------------------------------------------------------------------


def write(case: Case, folder: Path) -> None:
    """Writes the input, the states around the suspects, the scripts among them, and the long text of a failure."""
    texts = {INPUT: case.problem.ir, RIGHT: case.right, WRONG_STATE: case.wrong, LOG: case.log}
    for name, text in {**texts, **scripts(case)}.items():
        if text:
            (folder / name).write_text(text)


def scripts(case: Case) -> dict[str, str]:
    """The transform scripts among the suspects, by the files that they are copied to."""
    used = [Path(step.script) for step in case.suspects if isinstance(step, Transform)]
    return {f"script-{i}.mlir": mlir.script_module(file.read_text()) for i, file in enumerate(used) if file.is_file()}


def commands(case: Case, subject: Subject, culprit: Culprit, folder: Path, target: Target) -> list[str]:
    """What shows the culprit again: the suspects on the state before them, then all from the input.

    By mlir-opt where upstream has all the suspects, and by `lower` itself.
    """
    schedule = Subject(case.problem, (*case.passes, *case.suspects), subject.steps).schedule
    words = [str(folder / INPUT), "--strict-semantics", "--target", target.name, "--schedule", schedule]
    again = ["bisect"] if culprit.symptom == WRONG else []
    if culprit.last > len(subject.passes):
        return [shlex.join(["lower", *again, *words])]
    state, loaded = shlex.quote(str(folder / RIGHT)), libraries(case)
    found = [f"lower opt {state} --pass-pipeline={quoted(map(str, (*loaded, *case.suspects)))}"]
    if (upstream := upstream_passes(case, folder)) is not None:
        found.insert(0, f"mlir-opt {state} --pass-pipeline={quoted((*map(str, loaded), *upstream))}")
    return [*found, shlex.join(["lower", *again, *words])] if again else found


def libraries(case: Case) -> list[Pass]:
    """The libraries that were loaded for a suspected interpreter of transform scripts: no state holds them."""
    if not any(is_upstream(step, INTERPRETER) for step in case.suspects):
        return []
    return [step for step in case.passes if is_upstream(step, mlir.PRELOAD)]


def is_upstream(step: Pass, name: str) -> bool:
    """Whether a pass is upstream's of this name."""
    return isinstance(step, Upstream) and step.of == name


def quoted(passes: Iterable[str]) -> str:
    """A pipeline as a word of the shell."""
    return shlex.quote(f"builtin.module({','.join(passes)})")


def upstream_passes(case: Case, folder: Path) -> list[str] | None:
    """The suspects as passes of upstream alone; None where one of them is ours. A script is read from its copy."""
    copies = iter(scripts(case).items())
    found: list[str] = []
    for step in case.suspects:
        if isinstance(step, Transform) and (copy := next(copies, None)) is not None:
            found += interpreted(folder / copy[0], copy[1])
        elif isinstance(step, Upstream):
            found.append(str(step))
        else:
            return None
    return found


def interpreted(file: Path, script: str) -> tuple[str, str]:
    """Upstream's passes that interpret a script from its first named sequence."""
    entry = re.search(r"transform\.named_sequence\s+(?:private\s+)?@(\w+)", script)
    name = entry[1] if entry else MAIN
    options = "" if name == MAIN else f"{{entry-point={name}}}"
    return f"{mlir.PRELOAD}{{transform-library-paths={file}}}", f"{INTERPRETER}{options}"
