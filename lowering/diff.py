"""Two runs -> where their schedules part, and what each pass did there.

Made from the records and the states' files alone. Steps are aligned so that as many states as can be fall together;
runs of different problems have no state in common, so there it is the passes' texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import TypeVar

from lowering.ir_diff import ir_diff, nameless
from lowering.op_counts import count_changes
from lowering.run_states import Run, State, by_text, edited, load, normal, read, with_keys

WIDE = 160  # characters of a diff's line, where not all of it is wanted
NOTHING = "changed nothing"
ORDER = f"{NOTHING} but the order of constants"
ECHO = "changed the same lines as"  # names apart


@dataclass(frozen=True)
class Change:
    """What a pass did to the state in the file `before`: a word that says all, or op counts and a diff.

    `left_out` lines of the diff are not in `lines`.
    """

    before: str
    word: str = ""
    counts: dict[str, int] = field(default_factory=dict[str, int])
    lines: tuple[str, ...] = ()
    left_out: int = 0


@dataclass(frozen=True)
class Step:
    """A line of the alignment: in both runs, or only in one, and then with what it changed there."""

    a: State | None
    b: State | None
    change: Change | None = None

    @property
    def mark(self) -> str:
        """As in a diff: ' ' both, '-' only the first run, '+' only the second."""
        return "+" if self.a is None else "-" if self.b is None else " "


@dataclass(frozen=True)
class Part:
    """Where the runs are apart: after which step, by which steps, and at which they meet again."""

    after: Step | None
    a: tuple[State, ...]
    b: tuple[State, ...]
    meet: Step | None


@dataclass(frozen=True)
class Diff:
    """Two runs, aligned."""

    a: Run
    b: Run
    same_problem: bool
    notes: tuple[str, ...]
    steps: tuple[Step, ...]
    parts: tuple[Part, ...]


def diff(first: Path, second: Path, lines: int = 0) -> Diff:
    """Compares the runs of two folders, with the first `lines` lines of each pass's diff, or all of them for 0.

    Raises UserError where a record or a file that is needed cannot be read.
    """
    a, b = load(first), load(second)
    same = a.record.problem.digest == b.record.problem.digest
    a, b = with_keys(a, b) if same else (by_text(a), by_text(b))
    start = begun(a, b), begun(b, a)
    steps = echoes([replace(step, change=change(step, a, b)) for step in aligned(*start)])
    steps = tuple(replace(step, change=shortened(step.change, lines)) for step in steps)
    return Diff(a, b, same, tuple(notes(a, b, start, steps)), steps, tuple(parts(steps)))


def begun(run: Run, other: Run) -> Run:
    """A run from the state on that the other one starts with: a run of `--from` has no states before it."""
    first = other.states[0]
    same = [s.index for s in run.states if s.key == first.key]
    start = min(same, key=lambda index: abs(index - first.index), default=first.index)
    return replace(run, states=tuple(s for s in run.states if s.index >= start))


# --- alignment --------------------------------------------------------------------------------------------------------

Item = TypeVar("Item")


def paired(
    a: Sequence[Item], b: Sequence[Item], score: Callable[[Item, Item], int]
) -> Iterator[tuple[Item | None, Item | None]]:
    """All of both in order, those alone with a None, such that the scores of the pairs add up to the most."""
    best = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in reversed(range(len(a))):
        for j in reversed(range(len(b))):
            here = score(a[i], b[j])
            best[i][j] = max(best[i + 1][j], best[i][j + 1], here and here + best[i + 1][j + 1])
    i = j = 0
    while i < len(a) or j < len(b):
        if i < len(a) and best[i][j] == best[i + 1][j]:
            yield a[i], None
            i += 1
        elif j < len(b) and best[i][j] == best[i][j + 1]:
            yield None, b[j]
            j += 1
        else:
            yield a[i], b[j]
            i, j = i + 1, j + 1


def same_state(a: State, b: State) -> int:
    """Two states of one key; of several such pairings, that of equal passes."""
    return (2 + (a.text == b.text)) if a.key == b.key else 0


def same_pass(a: State, b: State) -> int:
    """Two states of equal passes, or at least of one pass with other options."""
    return same_text(a.text, b.text)


def same_text(a: str, b: str) -> int:
    """Two passes' texts that are equal, or at least name one pass."""
    return 2 if a == b else int(name(a) == name(b))


def name(text: str) -> str:
    """A pass's name, without options."""
    return re.split(r"[{ ]", text, maxsplit=1)[0]


def aligned(a: Run, b: Run) -> Iterator[Step]:
    """All steps of both runs. Where they are apart, the same pass of both stands side by side."""
    pairs = paired(a.states, b.states, same_state)
    for common, group in groupby(pairs, lambda pair: None not in pair):
        if common:
            yield from (Step(x, y) for x, y in group)
            continue
        apart = list(group)
        only = [x for x, _ in apart if x], [y for _, y in apart if y]
        for x, y in paired(*only, same_pass):
            yield from (Step(x, None),) if x else ()
            yield from (Step(None, y),) if y else ()


def parts(steps: Sequence[Step]) -> Iterator[Part]:
    """The stretches of steps that are only in one run."""
    groups = [(common, tuple(group)) for common, group in groupby(steps, lambda step: step.mark == " ")]
    for at, (common, group) in enumerate(groups):
        if common:
            continue
        after = groups[at - 1][1][-1] if at else None
        meet = groups[at + 1][1][0] if at + 1 < len(groups) else None
        yield Part(after, tuple(s.a for s in group if s.a), tuple(s.b for s in group if s.b), meet)


# --- what a pass did --------------------------------------------------------------------------------------------------


def change(step: Step, a: Run, b: Run) -> Change | None:
    """What a step of one run did to the state before it; a state that a run starts with stands beside the other's."""
    run, other, state = (a, b, step.a) if step.b is None else (b, a, step.b)
    if step.mark == " " or state is None:
        return None
    at = run.states.index(state)
    beside = [(other, s) for s in other.states if s.index == state.index and s.file]
    owner, before = (run, run.states[at - 1]) if at else next(iter(beside), (run, None))
    if before is None:
        return None
    file = str(owner.folder / before.file)
    if state.failure:
        return Change(file, f"failed: {state.failure}")
    if before.digest == state.digest:
        return Change(file, NOTHING)
    old, new = read(owner, before), read(run, state)
    counts = count_changes(old, new)
    if old == new or (not counts and normal(owner, before) == normal(run, state)):
        return Change(file, NOTHING if old == new else ORDER)
    return Change(file, "", counts, tuple(ir_diff(old, new)))


def echoes(steps: Sequence[Step]) -> Iterator[Step]:
    """The steps, where the second of two that stand side by side only says so if it changed the same lines."""
    for last, step in zip((None, *steps), steps, strict=False):
        one, two = last and last.change, step.change
        if last and last.a and step.b and one and two and two.lines and essence(one) == essence(two):
            step = replace(step, change=replace(two, word=f"{ECHO} {last.a.file}", lines=()))
        yield step


def essence(change: Change) -> list[str]:
    """What was removed and added, without the names of values."""
    return [line[0] + nameless(line[1:].strip()) for line in change.lines if line[0] in "+-"]


def shortened(change: Change | None, most: int) -> Change | None:
    """A change with the first lines of its diff, each as wide as is shown; whole for 0."""
    if change is None or not most:
        return change
    kept = tuple(line if len(line) <= WIDE else f"{line[: WIDE - 1]}…" for line in change.lines[:most])
    return replace(change, lines=kept, left_out=len(change.lines) - len(kept))


def notes(a: Run, b: Run, start: tuple[Run, Run], steps: Sequence[Step]) -> Iterator[str]:
    """What a reader must know: where a run goes on from another's state, and files that are no longer the run's."""
    for run, rest, other in ((a, start[0], b), (b, start[1], a)):
        if len(rest.states) < len(run.states):
            first = other.folder / other.states[0].file
            yield f"{other.folder} starts with {first}; what {run.folder} did before that is left out"
    for run, states in ((a, [s.a for s in steps if s.b is None]), (b, [s.b for s in steps if s.a is None])):
        yield from edited(run, {s.index for s in states if s})
