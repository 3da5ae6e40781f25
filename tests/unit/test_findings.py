"""What is said of passes, on graphs small enough to count by hand."""

from collections import Counter

import pytest

from lowering.findings import (
    orders_represented,
    pair_findings,
    pass_findings,
    reachable,
    successors,
)
from lowering.graph import Fell, Graph, Reached, pack
from lowering.order_findings import order_findings
from lowering.plan import ToDepth


def state(name):
    return Reached(False, name.encode(), name.encode(), 1, pack(name), "x.y")


@pytest.fixture
def made(tmp_path):
    """1 -p-> 2 -q-> 4 -r-> 6, 1 -q-> 3 -p-> 5 -r-> 6; r does nothing on 1, fails on 2, and is active on 3 (to 5)."""
    graph = Graph(tmp_path / "g.sqlite")
    graph.add_root(state("1"))
    numbers = {"1": 1}
    for source, text, target in ("1p2", "1q3", "2q4", "3p5", "3r5", "4r6", "5r6"):
        numbers[target] = graph.record(numbers[source], text, state(target))
    graph.record(1, "r", Reached(True))
    graph.record(numbers["2"], "r", Fell("illegal", "no"))
    graph.record(numbers["2"], "p", Reached(True))
    with graph:
        yield graph, numbers


def test_passes(made):
    graph, numbers = made
    leads = successors(graph)
    rows = {
        row.text: row for row in pass_findings(graph, leads, [numbers["6"]], {numbers["6"]: 2.0, numbers["4"]: 3.0})
    }
    assert (rows["p"].tried, rows["p"].active, rows["p"].dormant, rows["p"].failed) == (3, 2, 1, 0)
    assert (rows["r"].tried, rows["r"].active, rows["r"].dormant, rows["r"].failed) == (5, 3, 1, 1)
    assert rows["r"].reasons == (("illegal: no", 1),)
    assert {text: row.dominates for text, row in rows.items()} == {"p": False, "q": True, "r": True}
    assert {text: row.without for text, row in rows.items()} == {"p": 2.0, "q": None, "r": 3.0}


def test_a_pass_dominates_where_no_way_avoids_it(made):
    graph, numbers = made
    leads = successors(graph)
    assert numbers["6"] in reachable(leads, "p")  # 1 -q-> 3 -r-> 5 -r-> 6
    assert numbers["6"] not in reachable(leads, "r")
    assert reachable(leads, "q") == {1, numbers["2"]}


def test_pairs(made):
    graph, _ = made
    rows = {(row.first, row.second): row for row in pair_findings(successors(graph))}
    assert (rows["p", "q"].together, rows["p", "q"].same) == (1, 0)  # on 1: 4 and 5
    assert rows["q", "r"].enables == (2, 2)  # r is dormant on 1 and fails on 2; it is active on 3 and 4
    assert rows["p", "r"].enables == (0, 1)  # r is dormant on 1 and fails on 2; on 3 it is active: no chance
    assert rows["p", "q"].disables == (0, 1)


def test_orders_that_meet_commute(tmp_path):
    with Graph(tmp_path / "g.sqlite") as graph:
        graph.add_root(state("1"))
        for source, text, target in ((1, "p", "2"), (1, "q", "3"), (2, "q", "4"), (3, "p", "4")):
            graph.record(source, text, state(target))
        (row,) = pair_findings(successors(graph))
        assert (row.together, row.same, row.fails) == (1, 1, 0)


def test_one_order_that_fails_is_no_commuting(tmp_path):
    with Graph(tmp_path / "g.sqlite") as graph:
        graph.add_root(state("1"))
        for source, text, target in ((1, "p", "2"), (1, "q", "3"), (3, "p", "4")):
            graph.record(source, text, state(target))
        graph.record(2, "q", Fell("illegal", "no"))
        (row,) = pair_findings(successors(graph))
        assert (row.together, row.same, row.fails) == (1, 0, 1)


def test_orders_are_the_ways_on_which_nothing_fails(made):
    graph, _ = made
    leads = successors(graph)
    ways = Counter()

    def walk(node, done):
        ways[len(done)] += 1
        if len(done) < 3:
            for text, target in leads.get(node, {}).items():
                if target is not None:
                    walk(target, (*done, text))

    walk(1, ())
    assert orders_represented(graph, ToDepth(("p", "q", "r"), 3), leads) == ways.total()


def test_the_order_that_decides(made):
    graph, numbers = made
    depths, times = graph.depths(), {numbers["6"]: 1.0}
    assert order_findings(successors(graph), depths, times) == []  # both orders of p and q lead on to 6
    seven = graph.record(numbers["4"], "s", state("7"))
    leads = {**successors(graph), numbers["4"]: {"s": seven}}
    ((found,),) = order_findings(leads, {**graph.depths(), numbers["5"]: 2}, {**times, seven: 3.0})
    assert (found.first, found.second, found.state, found.done) == ("q", "p", 1, 0)
    assert found.ratio == 3.0
    assert (found.faster, found.slower) == (numbers["6"], seven)


def test_orders_that_were_not_explored_as_far_are_not_compared(made):
    graph, numbers = made
    depths = graph.depths()
    times = {numbers["4"]: 3.0, numbers["5"]: 1.0}
    assert len(order_findings(successors(graph), {**depths, numbers["5"]: 2}, times)) == 1
    assert order_findings(successors(graph), {**depths, numbers["5"]: 1}, times) == []


def test_a_pass_that_names_its_instances_is_illegal_where_it_names_none(tmp_path):
    """It has no edge there, and is enabled by what leads to a state where it names one."""
    with Graph(tmp_path / "g.sqlite") as graph:
        graph.add_root(state("1"))
        graph.record(1, "p", state("2"))
        graph.record_instances(1, "asked", ())
        graph.record(2, "asked{n=4}", state("3"))
        graph.record_instances(2, "asked", ("asked{n=4}",))
        leads = successors(graph)
        assert leads[1] == {"p": 2, "asked{n=4}": None}
        rows = {(row.first, row.second): row for row in pair_findings(leads)}
        assert rows["asked{n=4}", "p"].enabled == (1, 1)


def test_the_states_on_which_an_order_wins_are_counted():
    leads = {1: {"p": 2, "q": 3}, 2: {"q": 4}, 3: {"p": 5}, 6: {"p": 7, "q": 8}, 7: {"q": 5}, 8: {"p": 4}}
    depths = {1: 0, 2: 1, 3: 1, 4: 2, 5: 2, 6: 1, 7: 2, 8: 2}
    ((row,),) = order_findings(leads, depths, {4: 1.0, 5: 2.0})
    assert (row.first, row.second, row.wins, row.losses) == ("p", "q", 1, 1)


def test_the_state_that_decides_most_is_a_candidate_too():
    """p before q is twice as fast on 1 and on 11, where the ends are 4 and 5; on 6 q before p is four times as fast."""
    leads = {1: {"p": 2, "q": 3}, 2: {"q": 4}, 3: {"p": 5}, 6: {"p": 7, "q": 8}, 7: {"q": 9}, 8: {"p": 10}}
    leads |= {11: {"p": 12, "q": 13}, 12: {"q": 4}, 13: {"p": 5}}
    depths = dict.fromkeys(range(1, 14), 2)
    ((first, most),) = order_findings(leads, depths, {4: 1.0, 5: 2.0, 9: 8.0, 10: 2.0})
    assert (first.state, first.first, first.ratio, first.wins, first.losses) == (1, "p", 2.0, 2, 1)
    assert (most.state, most.first, most.ratio, most.wins, most.losses) == (6, "q", 4.0, 1, 2)
