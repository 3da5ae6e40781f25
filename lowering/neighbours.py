"""The schedules around one: steps left out, or two that stand side by side exchanged.

The options of code generation, which a schedule ends with, stay where they are. A step is named by its number, from 1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import combinations, pairwise

from lowering.core import Schedule
from lowering.lower import split


def left_out(schedule: Schedule) -> Iterator[tuple[int, Schedule]]:
    """Each step's number, and the schedule without it."""
    for number in range(1, len(split(schedule)[0]) + 1):
        yield number, without(schedule, {number})


def exchanged(schedule: Schedule) -> Iterator[tuple[int, Schedule]]:
    """Each step's number but the last one's, and the schedule with it behind the step that follows it."""
    passes, last = split(schedule)
    for at, pair in enumerate(pairwise(passes)):
        yield at + 1, Schedule((*passes[:at], *pair[::-1], *passes[at + 2 :], *last))


def several_left_out(schedule: Schedule, numbers: Sequence[int]) -> Iterator[tuple[tuple[int, ...], Schedule]]:
    """Two or more of some steps, all combinations, and the schedule without them."""
    for count in range(2, len(numbers) + 1):
        for chosen in combinations(numbers, count):
            yield chosen, without(schedule, chosen)


def without(schedule: Schedule, numbers: Collection[int]) -> Schedule:
    """The schedule without some steps."""
    passes, last = split(schedule)
    return Schedule((*(step for number, step in enumerate(passes, start=1) if number not in numbers), *last))
