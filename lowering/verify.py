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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lowering import bounds, checks, freivalds, inputs, memory, reference
from lowering.bounds import Arithmetic
from lowering.checks import Check
from lowering.core import Binary, Problem
from lowering.intervals import Array
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


def verdict(witness: Sequence[Check], full: Sequence[Check] | None = None, partial: str = "") -> Verdict:
    """The verdict of the checks that were made; it claims a scope only where there are checks of it.

    `partial` says what of the witness ran, e.g. '64 of 256 workgroups'. What the checks note comes after the scope:
    'sampled', 'random: no bound'. The figures are the largest error and its bound.
    """
    made = (*witness, *(full or ()))
    failed = next((check for check in made if not check.ok), None)
    if failed is not None:
        return Verdict(False, f"WRONG: {failed.name}: {failed.detail}", made, failed.figure, failed.bound)
    if not made:
        return not_executed("nothing was checked")
    scope = "witness only" if not full else "witness+full" if witness else "full"
    if partial and not full:
        scope = f"witness, {partial}"
    words = ", ".join((scope, *dict.fromkeys(check.note for check in made if check.note)))
    worst = max(made, key=lambda check: -1.0 if check.figure is None else check.figure)
    return Verdict(True, f"verified ({words})", made, worst.figure, worst.bound)


def not_executed(why: str) -> Verdict:
    """The verdict where nothing ran."""
    return Verdict(False, f"not executed: {why}")


def verify_witness(
    problem: Problem, program: Program, arithmetic: Arithmetic | None = None, seeds: Sequence[int] = SEEDS
) -> tuple[Check, ...]:
    """Every check, for every seed. Stops at the first input set with a failure: one wrong answer is enough."""
    slots = memory.place(problem, program)
    found: list[Check] = []
    for seed in seeds:
        for name, make in WITNESS:
            found += trial(problem, program, slots, make(problem, seed), f"{name}, seed {seed}", arithmetic)
            if not all(check.ok for check in found):
                return tuple(found)
        found += perturbations(problem, program, slots, seed, arithmetic)
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
        label, values = f"{name}, seed {seed}", make(problem, seed)
        began = time.perf_counter()
        runs = [memory.execute(program, slots, values, memory.POISONS[0])]
        if name == "random" and time.perf_counter() - began < AGAIN:
            runs.append(memory.execute(program, slots, values, memory.POISONS[1]))
            found.append(checks.repeatable(runs, label))
        found += checks.hygiene(runs, label)
        if problem.contraction.flops // 2 > WHOLE:
            found += freivalds.checks(problem, values, runs[0], label, arithmetic, seed)
        else:
            found += compared(problem, runs[:1], values, label, arithmetic)
        if not all(check.ok for check in found):
            break
    return tuple(replace(check, scope="full") for check in found)


def trial(
    problem: Problem,
    program: Program,
    slots: Sequence[memory.Slot],
    values: Sequence[Array],
    label: str,
    arithmetic: Arithmetic | None,
) -> list[Check]:
    """One input set: two runs with different poisons, then all that is expected of them."""
    runs = [memory.execute(program, slots, values, poison) for poison in memory.POISONS]
    return [
        *checks.hygiene(runs, label),
        *compared(problem, runs, values, label, arithmetic),
        checks.repeatable(runs, label),
    ]


def compared(
    problem: Problem,
    runs: Sequence[memory.Run],
    values: Sequence[Array],
    label: str,
    arithmetic: Arithmetic | None,
) -> list[Check]:
    """The outputs of some runs against the limits of the reference, which is computed only now."""
    expected = bounds.limits(problem, values, arithmetic)
    exact = reference.evaluate(problem, values)
    sure = bounds.bounded(problem, arithmetic)
    return checks.within(problem.arguments[len(values) :], runs, expected, exact, label, sure)


def perturbations(
    problem: Problem,
    program: Program,
    slots: Sequence[memory.Slot],
    seed: int,
    arithmetic: Arithmetic | None,
) -> list[Check]:
    """One element of each input changed: the output follows, to where the limits now are."""
    base = inputs.normals(problem, seed)
    found: list[Check] = []
    for number, argument in enumerate(inputs.inputs_of(problem)):
        label = f"{argument.name} changed, seed {seed}"
        values = inputs.perturbed(base, number, seed)
        run = memory.execute(program, slots, values, memory.POISONS[0])
        found += [*checks.hygiene([run], label), *compared(problem, [run], values, label, arithmetic)]
    return found
