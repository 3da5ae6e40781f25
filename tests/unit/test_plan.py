"""Plans: how many orders they have, which they are, and that the walk follows them."""

from itertools import product

import pytest

from lowering.plan import Around, ToDepth, arrangements


def sequences(plan, position=None, done=()):
    """Every sequence of moves that is one of the plan's orders."""
    position = plan.start if position is None else position
    if plan.counts(position):
        yield done
    for move, after in plan.follow(position):
        yield from sequences(plan, after, (*done, move))


def test_to_depth_is_all_sequences():
    plan = ToDepth(("a", "b", "c"), 3)
    found = list(sequences(plan))
    assert sorted(found) == sorted(s for n in range(4) for s in product("abc", repeat=n))
    assert plan.orders() == len(found) == 40


@pytest.mark.parametrize("most", [[], [1], [2], [2, 2], [1, 2, 3], [2, 2, 2]])
def test_arrangements_are_counted(most):
    names = "abc"[: len(most)]
    every = (s for n in range(sum(most) + 1) for s in product(names, repeat=n))
    assert arrangements(most) == sum(all(s.count(x) <= k for x, k in zip(names, most, strict=True)) for s in every)


def window(steps, begin, size):
    """By brute force: what a window may become, in the whole schedule."""
    inside = steps[begin : begin + size]
    for n in range(2 * len(inside) + 1):
        for s in product(sorted(set(inside)), repeat=n):
            if all(s.count(x) <= 2 * inside.count(x) for x in inside):
                yield (*steps[:begin], *s, *steps[begin + size :])


@pytest.mark.parametrize("steps", ["abcd", "abab", "a", "abc", "abcdef"])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_around_is_each_window_in_each_order(steps, size):
    steps = tuple(steps)
    plan = Around(steps, size)
    windows = range(max(1, len(steps) - size + 1))
    wanted = [s for begin in windows for s in window(steps, begin, size)]
    found = sorted(sequences(plan))
    assert found == sorted(set(wanted)), "an order that two windows allow is one order"
    assert plan.orders() == len(wanted) >= len(found)
    assert steps in found


def test_around_one_window_with_an_insertion():
    plan = Around(("a", "b", "c"), 1, inserted=("x",), at=1)
    found = set(sequences(plan))
    inside = ["", "b", "x", "bb", "bx", "xb", "bbx", "bxb", "xbb"]
    assert found == {("a", *each, "c") for each in inside}
    assert plan.orders() == len(inside)
    assert "step 2" in plan.says()
