"""What was changed in a schedule, in words: graphs small enough to walk by hand."""

import pytest

from lowering.graph import Graph, Reached, pack
from lowering.schedule_edit import Base, base, walked

STEPS = ("a", "b{n=1}", "c", "d", "b{n=2}", "c")


def state(name):
    return Reached(False, name.encode(), name.encode(), 1, pack(name), "x.y")


@pytest.fixture
def graph(tmp_path):
    """1 -a-> 2 -b-> 3 -c-> 4, where c does nothing on 2 and 4; 1 -c-> 5 -a-> 6 -b-> 4."""
    with Graph(tmp_path / "g.sqlite") as graph:
        graph.add_root(state("1"))
        for source, text, target in ("1a2", "2b3", "3c4", "1c5", "5a6", "6b4"):
            graph.record(int(source), text, state(target))
        for source in (2, 4):
            graph.record(source, "c", Reached(True))
        yield graph


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (STEPS, []),
        (("b{n=1}", "c", "d", "b{n=2}", "c"), ["without a"]),
        (("a", "b{n=1}", "d", "b{n=2}", "c"), ["without c (step 3)"]),
        (("a", "c", "d", "b{n=2}", "c"), ["without b{n=1}"]),
        (("b{n=1}", "a", *STEPS[2:]), ["b{n=1} before a"]),
        (("a", "b{n=1}", "d", "c", "b{n=2}", "c"), ["d before c"]),
        (("a", "a", *STEPS[1:]), ["a twice"]),
        (("a", "b{n=1}", "a", *STEPS[2:]), ["a again after b{n=1}"]),
        (("e{k=4}", *STEPS), ["with e first"]),
        ((*STEPS[:4], "e{k=4}", *STEPS[4:]), ["with e after d"]),
    ],
)
def test_edits(tmp_path, path, words):
    with Graph(tmp_path / "g.sqlite") as graph:
        graph.add_root(state("1"))
        assert Base(STEPS, 3, (1,)).edits(graph, path) == words


def test_a_step_far_away_is_not_the_one_that_was_moved(tmp_path):
    with Graph(tmp_path / "g.sqlite") as graph:
        graph.add_root(state("1"))
        steps, path = ("a", "b", "c", "d", "e"), ("e", "a", "b", "c", "d")
        assert Base(steps, 4, (1,)).edits(graph, path) == ["e before a"]
        assert Base(steps, 2, (1,)).edits(graph, path) == ["e again first", "without e"]


def test_a_step_that_does_nothing_there_was_not_left_out(graph):
    assert base(graph, ("a", "c", "b"), 2).edits(graph, ("a", "b")) == []  # c does nothing on 2
    assert base(graph, ("a", "b", "c"), 2).edits(graph, ("a", "b")) == ["without c"]  # it does something on 3


def test_the_end_is_known_where_every_step_is(graph):
    assert base(graph, ("a", "b", "c", "c"), 2).end == 4
    assert base(graph, ("a", "d"), 2).end == 0
    assert walked(graph, ("a", "d", "b")) == [1, 2]


def test_the_way_to_a_state_goes_along_the_given_steps(graph):
    seven = graph.record(4, "d", state("7"))
    graph.record(2, "d", state("8"))
    given = base(graph, ("c", "a", "b"), 2)
    assert graph.path(4) == ("a", "b", "c")
    assert given.way(graph, seven) == ("c", "a", "b", "d")
    assert given.edits(graph, given.way(graph, seven)) == ["with d after b"]
    assert given.way(graph, 8) == ("a", "d")
