"""Is it right? A built kernel against float64, with guards against everything that looks right and is not.

Each check runs the kernel in real memory first and computes what is expected only afterwards, so the answer is
nowhere to be found while the kernel runs. On the witness problem, for two seeds:

* integer inputs whose sums are exact: equality, bit for bit (but for the sign of zero);
* normal random inputs: every element between limits derived from K and the types (`bounds.py`);
* NaN, infinities and subnormals: their positions in the output are exactly those of the reference;
* one changed input element: the output changes where the reference says so.

Every run has guard bands around each buffer, a poisoned output and inputs that must be unchanged after it; every
input set runs twice, with different poisons, and both outputs must be the same bits. At full size: integers once,
random once; above 2^31 multiply-adds every element of the integers and a sample of the random (`freivalds.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from lowering import bounds, checks, freivalds, inputs, memory, reference
from lowering.bounds import Arithmetic
from lowering.checks import Check
from lowering.core import Binary, Problem
from lowering.intervals import Array, Interval
from lowering.targets.executor import Executor, Program

__all__ = ["Check", "Verdict", "not_executed", "verdict", "verify", "verify_full", "verify_witness"]

WHOLE = 2**31  # multiply-adds up to which every element is compared with float64
SEEDS = (0, 1)
AGAIN = 0.5  # seconds: a full-size run longer than this is not repeated for its bits

Make = Callable[[Problem, int], tuple[Array, ...]]
WITNESS: tuple[tuple[str, Make], ...] = (
    ("integers", inputs.integers),
    ("random", inputs.normals),
    ("special values", inputs.specials),
)
FULL = WITNESS[:2]


@dataclass(frozen=True)
class Verdict:
    """All checks and their sum in words: 'verified (...)', 'not executed: <why>' or 'WRONG: <what>'.

    Where nothing ran, `ok` is False and so is `wrong`.
    """

    ok: bool
    words: str
    checks: tuple[Check, ...] = ()
    max_error: float | None = None
    bound: float | None = None

    @property
    def wrong(self) -> bool:
        """Whether a check failed."""
        return not all(check.ok for check in self.checks)


def verify(
    problem: Problem,
    binary: Binary,
    executor: Executor,
    witness: tuple[Problem, Binary] | None = None,
    arithmetic: Arithmetic | None = None,
) -> Verdict:
    """The whole protocol: the witness with every check, then full size. Without a witness every check at full size."""
    reason = executor.unavailable()
    if reason is not None:
        return not_executed(reason)
    small, built = witness or (problem, binary)
    with executor.load(built) as program:
        first = verify_witness(small, program, arithmetic)
    if witness is None:
        return verdict((), tuple(replace(check, scope="full") for check in first))
    if not all(check.ok for check in first):
        return verdict(first)
    with executor.load(binary) as program:
        return verdict(first, verify_full(problem, program, arithmetic))


def verdict(
    witness: Sequence[Check], full: Sequence[Check] | None = None, partial: str = "", skipped: str = ""
) -> Verdict:
    """The verdict of the checks that were made; it claims a scope only where there are checks of it.

    `partial` says what of the full size ran, e.g. '64 of 256 workgroups', `skipped` why nothing of it did. What the
    checks note comes after the scope: 'sampled', 'random: no bound'. The figures are the largest error and its bound.
    """
    made = (*witness, *(full or ()))
    failed = next((check for check in made if not check.ok), None)
    if failed is not None:
        return Verdict(False, f"WRONG: {failed.name}: {failed.detail}", made, failed.figure, failed.bound)
    if not made:
        return not_executed("nothing was checked")
    only = f"witness only: {skipped}" if skipped else "witness only"
    scope = only if not full else "witness+full" if witness else "full"
    if partial:
        scope = f"witness, {partial}" if witness else partial
    words = ", ".join((scope, *dict.fromkeys(check.note for check in made if check.note)))
    worst = max(made, key=lambda check: -1.0 if check.figure is None else check.figure)
    return Verdict(True, f"verified ({words})", made, worst.figure, worst.bound)


def not_executed(why: str) -> Verdict:
    """The verdict where nothing ran."""
    return Verdict(False, f"not executed: {why}")


def verify_witness(
    problem: Problem,
    program: Program,
    arithmetic: Arithmetic | None = None,
    seeds: Sequence[int] = SEEDS,
    sets: Iterable[InputSet] | None = None,
) -> tuple[Check, ...]:
    """Every check, for every seed. Stops at the first input set with a failure: one wrong answer is enough.

    `sets` are `input_sets` that were made before, for one who checks many programs of one problem.
    """
    slots = memory.place(problem, program)
    found: list[Check] = []
    for each in sets or input_sets(problem, arithmetic, seeds):
        found += trial(problem, program, slots, each)
        if not all(check.ok for check in found):
            break
    return tuple(found)


def verify_full(
    problem: Problem, program: Program, arithmetic: Arithmetic | None = None, seed: int = 0
) -> tuple[Check, ...]:
    """Integers once, random numbers once; every element up to 2^31 multiply-adds, beyond that as `freivalds.py` says.

    A kernel that runs in less than half a second runs again on the random numbers, and must give the same bits.
    """
    slots = memory.place(problem, program)
    found: list[Check] = []
    for name, make in FULL:
        each = input_set(problem, f"{name}, seed {seed}", make(problem, seed), arithmetic)
        began = time.perf_counter()
        runs = [memory.execute(program, slots, each.values, memory.POISONS[0])]
        if name == "random" and time.perf_counter() - began < AGAIN:
            runs.append(memory.execute(program, slots, each.values, memory.POISONS[1]))
            found.append(checks.repeatable(runs, each.label))
        found += checks.hygiene(runs, each.label)
        if problem.contraction.flops // 2 > WHOLE:
            found += freivalds.checks(problem, each.values, runs[0], each.label, arithmetic, seed)
        else:
            found += compared(problem, runs[:1], each)
        if not all(check.ok for check in found):
            break
    return tuple(replace(check, scope="full") for check in found)


@dataclass(frozen=True)
class Expected:
    """What a right kernel gives: limits and reference of each output; not `sure` where no bound can be claimed."""

    limits: tuple[Interval, ...]
    exact: tuple[Array, ...]
    sure: bool


@dataclass(frozen=True)
class InputSet:
    """Inputs, the poison of each run on them, and what is expected, which is computed when it is asked for."""

    label: str
    values: tuple[Array, ...]
    poisons: tuple[int, ...]
    expected: Callable[[], Expected]


def input_sets(problem: Problem, arithmetic: Arithmetic | None, seeds: Sequence[int]) -> Iterator[InputSet]:
    """All that a witness is tried on: for each seed the sets of `WITNESS`, then one changed element of each input."""
    for seed in seeds:
        for name, make in WITNESS:
            yield input_set(problem, f"{name}, seed {seed}", make(problem, seed), arithmetic)
        base = inputs.normals(problem, seed)
        for number, argument in enumerate(inputs.inputs_of(problem)):
            label, values = f"{argument.name} changed, seed {seed}", inputs.perturbed(base, number, seed)
            yield input_set(problem, label, values, arithmetic, memory.POISONS[:1])


def input_set(
    problem: Problem,
    label: str,
    values: tuple[Array, ...],
    arithmetic: Arithmetic | None,
    poisons: tuple[int, ...] = memory.POISONS,
) -> InputSet:
    """Inputs with what is expected of them."""

    def expected() -> Expected:
        limits = bounds.limits(problem, values, arithmetic)
        return Expected(limits, tuple(reference.evaluate(problem, values)), bounds.bounded(problem, arithmetic))

    return InputSet(label, values, poisons, expected)


def trial(problem: Problem, program: Program, slots: Sequence[memory.Slot], each: InputSet) -> list[Check]:
    """One input set: a run with each poison, then all that is expected of them."""
    runs = [memory.execute(program, slots, each.values, poison) for poison in each.poisons]
    found = [*checks.hygiene(runs, each.label), *compared(problem, runs, each)]
    return found if len(runs) == 1 else [*found, checks.repeatable(runs, each.label)]


def compared(problem: Problem, runs: Sequence[memory.Run], each: InputSet) -> list[Check]:
    """The outputs of some runs against the limits of the reference."""
    known = each.expected()
    outputs = problem.arguments[len(each.values) :]
    return checks.within(outputs, runs, known.limits, known.exact, each.label, known.sure)
