"""The pass graph: what is merged, which kind an edge is, and that a node's path gives its text."""

from collections import Counter

import pytest
from pass_graphs import PROBLEM, explored, rows

from lowering import mlir
from lowering.core import UserError
from lowering.graph import Fell, Graph, Reached, pack
from lowering.passes import pipeline


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    file = tmp_path_factory.mktemp("graph") / "states.sqlite"
    explored(file)
    return file


def state(text, ops="a.b"):
    """A state whose normal form is the text without blanks."""
    normal = text.replace(" ", "").encode()
    return Reached(False, text.encode(), normal, len(text), pack(text), ops)


def test_kinds_of_edges(tmp_path):
    with Graph(tmp_path / "g.sqlite") as graph:
        assert graph.add_root(state("a b")) == 1
        assert graph.record(1, "to c", state("c")) == 2
        assert graph.record(1, "again", state("c ")) == 2
        assert graph.record(1, "spaced", state("ab")) == 1
        assert graph.record(1, "nothing", Reached(True)) == 1
        assert graph.record(1, "fails", Fell("illegal", "no")) is None
        kinds = {text: edge.kind for text, edge in graph.edges_of(1).items()}
        assert kinds == {
            "to c": "active", "again": "active", "spaced": "cosmetic", "nothing": "dormant", "fails": "failed"
        }  # fmt: skip
        assert graph.edges_of(1)["fails"].fell == Fell("illegal", "no")
        assert graph.text(2) == "c"
        assert graph.path(2) == ("to c",)
        assert graph.count() == (2, 5)


def test_a_graph_is_read_back(tmp_path):
    file = tmp_path / "g.sqlite"
    with Graph(file) as graph:
        graph.add_root(state("a"))
        graph.record(1, "p", state("b", "x.y"))
        graph.put("verdicts", 2, {"word": "right"})
    with Graph(file) as graph:
        assert graph.record(2, "q", state("a")) == 1
        assert graph.ops(2) == "x.y"
        assert graph.rows("verdicts") == {2: {"word": "right"}}
        assert graph.expanded() == {1, 2}


def test_one_process_at_a_time(tmp_path):
    with Graph(tmp_path / "g.sqlite"), pytest.raises(UserError, match="another `lower graph`"):
        Graph(tmp_path / "g.sqlite")


def test_the_path_of_a_node_gives_its_text(file):
    with Graph(file) as graph:
        for node in graph.states():
            module = mlir.parse(PROBLEM.ir)
            for text in graph.path(node.id):
                for step in pipeline.parse(text):
                    step.apply(module)
            assert mlir.text(module) == graph.text(node.id), graph.path(node.id)
            assert mlir.digest(mlir.text(module)) == node.digest


def test_orders_meet_and_no_pass_is_tried_twice(file):
    states, edges = rows(file)
    kinds = Counter(edge.kind for edge in edges)
    assert kinds["active"] > len(states) - 1  # more than a tree has
    assert min(kinds["dormant"], kinds["cosmetic"], kinds["failed"]) > 0
    assert len({(edge.source, edge.text) for edge in edges}) == len(edges)


def test_states_that_differ_only_where_a_pass_put_its_constants_are_one(file):
    """sccp puts constants into another order than the parser: the normal form forgets it."""
    _, edges = rows(file)
    assert any(edge.text == "sccp" and edge.kind == "cosmetic" for edge in edges)


def test_a_signal_between_two_transactions_loses_nothing(tmp_path):
    with Graph(tmp_path / "g.sqlite") as graph:
        graph.add_root(state("a"))
        graph.db.execute("COMMIT")  # where a signal can arrive: no transaction is open
        graph.commit(now=True)
        graph.record(1, "to b", state("b"))
    with Graph(tmp_path / "g.sqlite") as graph:
        assert len(graph) == 2
