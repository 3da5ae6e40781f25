"""The smallest that still fails: delta debugging of a list, and the least sizes, one dimension after the other.

Source: A. Zeller, R. Hildebrandt, Simplifying and isolating failure-inducing input, IEEE Transactions on Software
Engineering 28(2), 2002: `ddmin`. Its result is 1-minimal: without any one of its items it does not fail any more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Reduced(Generic[T]):
    """What still fails. `least`: that nothing smaller does was established, and not given up for lack of time."""

    items: tuple[T, ...]
    least: bool
    tests: int


class Tests(Generic[T]):
    """Asks `fails` of each configuration once, and remembers the smallest that did."""

    def __init__(self, fails: Callable[[tuple[T, ...]], bool], spent: Callable[[], bool]) -> None:
        self.fails, self.spent = fails, spent
        self.known: dict[tuple[T, ...], bool] = {}

    def __call__(self, items: tuple[T, ...]) -> bool:
        """Whether a configuration fails. Raises TimeoutError where there is no time left to find out."""
        if items not in self.known:
            if self.spent():
                raise TimeoutError
            self.known[items] = self.fails(items)
        return self.known[items]


def never() -> bool:
    """No limit on time."""
    return False


def ddmin(items: Sequence[T], fails: Callable[[tuple[T, ...]], bool], spent: Callable[[], bool] = never) -> Reduced[T]:
    """A 1-minimal subsequence of items that fails; the whole is known to. `spent` says when to stop with what there is.

    Nothing at all is tried first: what fails whatever came before it is the common case.
    """
    numbered, tests = tuple(enumerate(items)), Tests[tuple[int, T]](lambda kept: fails(plain(kept)), spent)
    try:
        if not numbered or tests(()):
            return Reduced((), True, len(tests.known))
        parts = 2
        while len(numbered) > 1:
            some, others = pieces(numbered, parts)
            if (found := next(filter(tests, some), None)) is not None:
                numbered, parts = found, 2
            elif (found := next(filter(tests, others), None)) is not None:
                numbered, parts = found, max(parts - 1, 2)
            elif parts < len(numbered):
                parts = min(2 * parts, len(numbered))
            else:
                break
    except TimeoutError:
        return Reduced(plain(numbered), False, len(tests.known))
    return Reduced(plain(numbered), True, len(tests.known))


def plain(numbered: Sequence[tuple[int, T]]) -> tuple[T, ...]:
    """Items without the numbers that tell equal ones apart."""
    return tuple(item for _, item in numbered)


def pieces(items: tuple[T, ...], parts: int) -> tuple[list[tuple[T, ...]], list[tuple[T, ...]]]:
    """The items in so many parts, and what is left without each part; of two parts that is the other one."""
    cuts = [len(items) * i // parts for i in range(parts + 1)]
    spans = list(pairwise(cuts))
    without = [items[:low] + items[high:] for low, high in spans] if parts > 2 else []
    return [items[low:high] for low, high in spans], without


def least_sizes(
    sizes: Sequence[int], fails: Callable[[tuple[int, ...]], bool], spent: Callable[[], bool] = never
) -> Reduced[int]:
    """Sizes that fail, none of which can be smaller while the others stay; the given ones are known to fail.

    Each in turn is tried from 1 upwards, until a whole round changes nothing: failing need not be monotone in a size.
    Ones alone are tried first.
    """
    current, tests = tuple(sizes), Tests(fails, spent)
    ones, before = (1,) * len(current), tuple[int, ...]()
    try:
        current = ones if tests(ones) else current
        while current != before:
            before = current
            for axis in range(len(current)):
                tried = ((*current[:axis], size, *current[axis + 1 :]) for size in range(1, current[axis]))
                current = next(filter(tests, tried), current)
    except TimeoutError:
        return Reduced(current, False, len(tests.known))
    return Reduced(current, True, len(tests.known))
