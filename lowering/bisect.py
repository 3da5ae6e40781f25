"""Which step of a schedule breaks it: the first that fails, or the first after which a state is wrong.

A schedule is lowered once. A pass that fails, crashes, hangs or eats memory is the one that was running. The states
are checked (state_check.py), and the first wrong one is found by halving: one state is right, a later one is wrong, and
a state between them takes the place of the one or the other until they are neighbours. States that cannot be checked
are passed over; where only such states are left between the two, the culprit is a range, and each step of it is left
out once: without the culprit the binary is right.

The steps of a schedule are numbered from 1; the one after its last pass is code generation, 0 is the input itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from lowering.core import Failure
from lowering.state_check import CHEAP, StateVerdict
from lowering.subject import Bench, Lowering, Subject


@dataclass(frozen=True)
class Symptom:
    """What is told apart when a case is made smaller: a wrong result, or a stage, class and reason without numbers."""

    stage: str
    kind: str
    reason: str = ""


WRONG = Symptom("verify", "wrong")


def symptom_of(failure: Failure) -> Symptom:
    """What a failure has in common with the same failure at another size."""
    return Symptom(failure.stage, failure.kind, re.sub(r"\d+", "N", failure.reason))


@dataclass(frozen=True)
class Culprit:
    """The bad step is among `first` to `last`; of one step the two are the same.

    `before` and `after` are what is known of the states around it, checked with `steps`; or `failure` says what it did.
    `mends`: the steps of a range without which, each left out alone, the binary is right.
    """

    first: int
    last: int
    symptom: Symptom
    steps: str = CHEAP
    before: StateVerdict | None = None
    after: StateVerdict | None = None
    failure: Failure | None = None
    log: str = ""
    mends: tuple[int, ...] = ()


@dataclass(frozen=True)
class Survey:
    """How many states a subject has, and what came of those that were checked; `why` some could not be."""

    states: int
    right: int = 0
    wrong: int = 0
    unchecked: int = 0
    why: tuple[str, ...] = ()
    binary: StateVerdict | None = None  # of the whole schedule, steps of code generation included


@dataclass(frozen=True)
class Examined:
    """A subject with its culprit, if it has one, what was checked, and how the lowering ended if it failed.

    `completed`: the schedule stops before the end, and the standard tail completed it.
    """

    subject: Subject
    culprit: Culprit | None
    survey: Survey
    failure: Failure | None = None
    completed: bool = False


@dataclass
class States:
    """The states of a subject, checked with some steps of code generation when they are asked for."""

    bench: Bench
    subject: Subject
    texts: tuple[str, ...]
    steps: str
    found: dict[int, StateVerdict] = field(default_factory=dict)

    def __call__(self, number: int) -> StateVerdict:
        """The verdict of a state."""
        if number not in self.found:
            self.bench.on_step(f"checking state {number} of {len(self.texts) - 1}")
            self.found[number] = self.bench.check(self.texts[number], self.subject, self.steps)
        return self.found[number]

    def survey(self, binary: StateVerdict | None) -> Survey:
        """What was checked."""
        words = [verdict.word for verdict in self.found.values()]
        why = dict.fromkeys(v.reason for _, v in sorted(self.found.items()) if v.word == "not checkable")
        right, wrong, unchecked = (words.count(word) for word in ("right", "wrong", "not checkable"))
        return Survey(len(self.texts), right, wrong, unchecked, tuple(why), binary)


def examine(bench: Bench, subject: Subject, every: bool = True) -> Examined:
    """Lowers a subject and finds its culprit; where there is none, checks `every` state and not the last alone."""
    lowering = bench.lower(subject)
    states = States(bench, subject, lowering.states, CHEAP)
    if lowering.failure is not None:  # a state before it may be wrong already
        culprit = wrong_step(states, len(states.texts)) or failed_step(lowering, subject)
        return Examined(subject, culprit, states.survey(None), lowering.failure, lowering.completed)
    binary = bench.binary(lowering, subject)
    culprit = wrong_step(states, len(states.texts))
    if culprit is None and binary.word == "wrong":  # is it what LLVM makes of the states?
        states = States(bench, subject, lowering.states, subject.steps)
        culprit = wrong_step(states, len(states.texts)) or after_last(states, binary)
    if culprit is None and every:
        culprit = wrong_between(states)
    if culprit is not None:
        culprit = replace(culprit, steps=states.steps, mends=tuple(mending(bench, subject, culprit)))
    return Examined(subject, culprit, states.survey(binary), completed=lowering.completed)


def mending(bench: Bench, subject: Subject, culprit: Culprit) -> Iterator[int]:
    """The steps of a range whose states cannot be checked, without which the binary is right."""
    last = min(culprit.last, len(subject.passes))
    for number in range(culprit.first, last + 1) if culprit.first < culprit.last else ():
        bench.on_step(f"leaving out step {number}")
        tried = replace(subject, passes=(*subject.passes[: number - 1], *subject.passes[number:]))
        lowering = bench.lower(tried)
        if lowering.failure is None and bench.binary(lowering, tried).word == "right":
            yield number


def failed_step(lowering: Lowering, subject: Subject) -> Culprit | None:
    """The step that failed, if one did."""
    if lowering.failure is None:
        return None
    number = lowering.failed_pass or len(subject.passes) + 1
    return Culprit(number, number, symptom_of(lowering.failure), failure=lowering.failure, log=lowering.log)


def wrong_between(states: States) -> Culprit | None:
    """The culprit where the last state is right and one before it is not; all of them are checked."""
    wrong = [number for number in range(len(states.texts)) if states(number).word == "wrong"]
    return wrong_step(states, wrong[0] + 1) if wrong else None


def after_last(states: States, binary: StateVerdict) -> Culprit:
    """The culprit where the binary is wrong and no state is: what follows the last state that can be checked."""
    last = checkable(states, reversed(range(len(states.texts))))
    before = None if last is None else states(last)
    return Culprit((last or 0) + 1, len(states.texts), WRONG, before=before, after=binary)


Check = Callable[[int], StateVerdict]


def wrong_step(check: Check, count: int) -> Culprit | None:
    """The first step after which a state is wrong; None where the last state that can be checked is right."""
    low, high = checkable(check, range(count)), checkable(check, reversed(range(count)))
    if low is None or high is None or check(high).word == "right":
        return None
    if check(low).word == "wrong":
        return Culprit(min(low, 1), low, WRONG, after=check(low))
    low, high = halved(check, low, high)
    return Culprit(low + 1, high, WRONG, before=check(low), after=check(high))


def checkable(check: Check, order: Iterable[int]) -> int | None:
    """The first state in an order that can be checked."""
    return next((number for number in order if check(number).word != "not checkable"), None)


def halved(check: Check, low: int, high: int) -> tuple[int, int]:
    """From a right state and a wrong one after it to a pair of such with no checkable state between them."""
    while (middle := checkable(check, outward(low, high))) is not None:
        low, high = (middle, high) if check(middle).word == "right" else (low, middle)
    return low, high


def outward(low: int, high: int) -> Iterator[int]:
    """The numbers between two, the middle first."""
    middle = (low + high) // 2
    return iter(sorted(range(low + 1, high), key=lambda number: abs(number - middle)))
