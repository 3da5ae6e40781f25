"""The smallest that still fails: on pure functions, where the answer is known."""

from collections import Counter
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from lowering.reduce import ddmin, least_sizes

ITEMS = tuple("abcdefghijkl")
sets = st.sets(st.sampled_from(ITEMS)).map(frozenset)


def needs(*wanted):
    """Fails where all of these are there."""
    return lambda items: set(wanted) <= set(items)


def test_nothing_at_all_is_tried_first():
    found = ddmin(ITEMS, lambda items: True)
    assert (found.items, found.least, found.tests) == ((), True, 1)


def test_what_is_needed_is_left_in_its_order():
    found = ddmin(ITEMS, needs("k", "b", "f"))
    assert (found.items, found.least) == (("b", "f", "k"), True)


def test_equal_items_are_told_apart():
    assert ddmin("xxaxx", lambda items: Counter(items)["x"] >= 3).items == ("x", "x", "x")


def test_one_item_that_is_needed_stays():
    assert ddmin("a", needs("a")).items == ("a",)


def test_it_takes_few_tests_where_little_is_needed():
    assert ddmin(range(64), needs(17)).tests <= 20


@given(st.lists(st.sets(st.sampled_from(ITEMS), min_size=1), min_size=1, max_size=4), sets)
def test_the_result_fails_and_is_1_minimal(alternatives, unwanted):
    """Fails where one of the sets is there whole, and an even number of the unwanted is missing: not monotone."""

    def fails(items):
        return any(each <= set(items) for each in alternatives) and len(unwanted - set(items)) % 2 == 0

    found = ddmin(ITEMS, fails)
    assert found.least
    assert fails(found.items)
    assert list(found.items) == sorted(found.items)
    assert not any(fails(found.items[:i] + found.items[i + 1 :]) for i in range(len(found.items)))


@given(sets.filter(bool), st.integers(0, 30))
def test_out_of_time_gives_what_fails_so_far(wanted, most):
    tests = count(1)
    found = ddmin(ITEMS, needs(*wanted), lambda: next(tests) > most)
    assert wanted <= set(found.items)
    assert found.tests <= most
    assert not found.least or set(found.items) == wanted


def test_each_size_is_as_small_as_it_can_be():
    found = least_sizes((100, 50, 20), lambda sizes: sizes[0] * sizes[1] >= 60 and sizes[2] % 4 == 0)
    assert (found.items, found.least) == ((2, 30, 4), True)


@given(st.tuples(*[st.integers(1, 12)] * 3), st.sets(st.tuples(*[st.integers(1, 12)] * 3)))
def test_no_size_of_the_result_can_be_smaller_alone(sizes, failing):
    failing = failing | {sizes}
    found = least_sizes(sizes, failing.__contains__)
    assert found.least
    assert found.items in failing
    for axis in range(3):
        shorter = ((*found.items[:axis], size, *found.items[axis + 1 :]) for size in range(1, found.items[axis]))
        assert not failing.intersection(shorter)


def test_sizes_out_of_time_are_not_called_the_least():
    tests = count(1)
    found = least_sizes((9, 9), lambda sizes: sizes[0] >= 4, lambda: next(tests) > 6)
    assert (found.items, found.least) == ((4, 1), False)
