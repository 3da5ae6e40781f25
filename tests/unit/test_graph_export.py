"""The exported forms of a pass graph, read back: a real graph, with a pass text that needs every escape."""

import json
import re
from itertools import pairwise
from math import hypot
from xml.etree import ElementTree

import networkx as nx
import pytest
from graph_records import record_of

from lowering import expand, problem, targets
from lowering.core import UserError
from lowering.explore import Space, explore
from lowering.graph import Graph, Reached
from lowering.graph_export import FORMS, check_name, export
from lowering.graph_layout import layout
from lowering.graph_record import BinaryRecord
from lowering.graph_svg import as_svg
from lowering.graph_view import View, xml
from lowering.miscompiles import Miscompile, Verdicts
from lowering.plan import ToDepth
from lowering.pool import Pool
from lowering.terminals import leaves
from lowering.worker import Limits

PASSES = ("tile{tile-sizes=4,4}", "tile{tile-sizes=8,2}", "tile-reduction{tile-sizes=2}", "test-fail")
ODD = 'odd{a="<b> & \\\\ \\"c\\"" n=1}'
FAST, OTHER = "fa" * 32, "0b" * 32
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def explored(tmp_path_factory):
    """A graph with its record: two binaries of which one was measured, an end state that gave none, a miscompile."""
    file = tmp_path_factory.mktemp("graph") / "states.sqlite"
    about = problem.from_shape(8, 8, 8, "f32")
    with Graph(file) as graph, Pool(1, Limits(30, 4 << 30)) as pool:
        graph.add_root(expand.root(about))
        explore(graph, Space(about, targets.this_machine(), ToDepth(PASSES, 3)), pool)
        ends = leaves(graph)
        graph.record(1, ODD, Reached(same=False, normal=bytes.fromhex(graph.state(2).normal)))
        graph.put("binaries", ends[2], {"binary": "", "failure": "illegal: a < b"})
        fast = BinaryRecord(FAST, (ends[1],), "", {}, outcome="verified", seconds=0.0015, device="x86_64")
        other = BinaryRecord(OTHER, (ends[0],), "", {})
        fault = Miscompile(ODD, 1, 2, (), "right", "integers: 1 is < 2")
        yield graph, record_of((other, fast), states=len(graph), checks=Verdicts("8x8x8", {}, (), (), (fault,)))


def exported(explored, file):
    """The text of a form."""
    export(*explored, file)
    return file.read_text()


def test_json_has_every_state_edge_and_failure(explored, tmp_path):
    graph, record = explored
    found = json.loads(exported(explored, tmp_path / "g.json"))
    assert (len(found["states"]), len(found["edges"])) == graph.count()
    assert found["record"]["name"] == record.name
    named = {(source, found["passes"][i], kind, target) for source, i, kind, target in found["edges"]}
    assert named == {(edge.source, edge.text, edge.kind, edge.target) for edge in graph.edges()}
    failed = [edge for edge in graph.edges() if edge.fell is not None]
    assert failed
    assert len(failed) == len(found["failures"])
    source, step, *why = found["failures"][0]
    edge = graph.edges_of(source)[found["passes"][step]]
    assert why == [edge.fell.kind, edge.fell.reason]


def test_json_states_lead_back_to_the_root(explored, tmp_path):
    graph, record = explored
    found = json.loads(exported(explored, tmp_path / "g.json"))
    states = {row["id"]: row for row in found["states"]}
    for number, row in states.items():
        steps = []
        while "parent" in row:
            steps.insert(0, found["passes"][row["via"]])
            row = states[row["parent"]]
        assert tuple(steps) == graph.path(number)
        assert states[number]["depth"] == len(steps)
        assert states[number]["digest"] == graph.state(number).digest
    other, fast = (states[each.states[0]] for each in record.binaries)
    assert (fast["binary"], fast["seconds"], fast["outcome"]) == (FAST, 0.0015, "verified")
    assert other["binary"] == OTHER
    assert "seconds" not in other
    assert states[2]["wrong"] == "integers: 1 is < 2"
    assert "linalg" in states[1]["dialects"]


def arrows(graph):
    """The pairs of states that an active pass leads between."""
    return {(edge.source, edge.target) for edge in graph.edges() if edge.kind == "active"}


def test_graphml_is_read_back(explored, tmp_path):
    graph, record = explored
    exported(explored, tmp_path / "g.graphml")
    found = nx.read_graphml(tmp_path / "g.graphml", node_type=int)
    assert set(found.nodes) == set(range(1, len(graph) + 1))
    assert set(found.edges) == arrows(graph)
    assert found.edges[1, 2]["kind"] == "miscompile"
    assert {kind for *_, kind in found.edges.data("kind")} == {"active", "miscompile"}
    for source, target, passes in found.edges.data("passes"):
        edges = graph.edges_of(source).values()
        assert set(passes.split("\n")) == {edge.text for edge in edges if edge.target == target}
    (fast,) = record.binaries[1].states
    row = found.nodes[fast]
    assert (row["binary"], row["seconds"], row["end"]) == (FAST, 0.0015, True)
    assert (row["digest"], row["depth"]) == (graph.state(fast).digest, len(graph.path(fast)))
    assert [state for state, end in found.nodes.data("end") if end] == sorted(leaves(graph)[:3])


def test_dot_is_a_list_of_quoted_statements(explored, tmp_path):
    graph, record = explored
    lines = exported(explored, tmp_path / "g.dot").splitlines()
    text = r'"(?:[^"\\]|\\.)*"'
    row = rf"\[\w+={text}(?:, \w+={text})*\]"
    nodes, edges = {}, {}
    for line in lines[4:-1]:
        found = re.fullmatch(rf"  (\d+)(?: -> (\d+))? ({row})", line)
        assert found, line
        key, place = (int(found[1]), int(found[2] or 0)), edges if found[2] else nodes
        assert key not in place
        place[key] = found[3]
    assert {number for number, _ in nodes} == set(range(1, len(graph) + 1))
    assert set(edges) == arrows(graph)
    assert [key for key, attributes in edges.items() if "color=" in attributes] == [(1, 2)]
    (shown,) = re.findall(rf"tooltip=({text})", edges[1, 2])
    assert ODD in re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], shown[1:-1]).splitlines()
    fills = {re.findall(r'fillcolor="(.*?)"', nodes[each.states[0], 0])[0] for each in record.binaries}
    assert len(fills) == 2
    assert sum("fillcolor" in attributes for attributes in nodes.values()) == 2


def test_dot_shows_what_tells_states_apart(explored):
    text = "".join(FORMS[".dot"](View(*explored)))
    assert 'label="1", ' in text  # the root's dialects are those of all states
    assert re.search(r'label="\d+\\n(?:scf|linalg|\w+ scf)', text)


def picture(explored, most=1500):
    """The drawn circles by the states' numbers, the drawn edges by their ends, and all text."""
    root = ElementTree.fromstring("".join(as_svg(View(*explored), most)))
    circles = {int(each.get("id")[1:]): each for each in root.iter(f"{SVG}circle") if each.get("id")}
    paths = [each for each in root.iter(f"{SVG}path") if each.get("data-from")]
    edges = {(int(each.get("data-from")), int(each.get("data-to"))): each for each in paths}
    assert len(edges) == len(paths)
    return circles, edges, ["".join(each.itertext()) for each in root.iter(f"{SVG}text")]


def title(element):
    return element.find(f"{SVG}title").text


def test_svg_draws_all_of_a_small_graph(explored):
    graph, _ = explored
    circles, edges, words = picture(explored)
    assert set(circles) == set(range(1, len(graph) + 1))
    assert set(edges) == arrows(graph)
    assert ODD in title(edges[1, 2]).splitlines()
    assert "integers: 1 is < 2" in title(edges[1, 2])
    assert [pair for pair, each in edges.items() if each.get("class") == "miscompile"] == [(1, 2)]
    assert not [line for line in words if "left out" in line]
    for number, circle in circles.items():
        said = title(circle)
        assert said.startswith(f"state {number}, {graph.state(number).digest[:12]}")
        assert re.findall(r"^\d+\. (.*)$", said, re.M) == list(graph.path(number))
        failed = [edge for edge in graph.edges_of(number).values() if edge.kind == "failed"]
        assert ("failed here" in said) == bool(failed)
    assert any("no binary: illegal: a < b" in title(circle) for circle in circles.values())


def test_svg_emphasises_the_way_to_the_fastest(explored):
    graph, record = explored
    _, edges, words = picture(explored)
    (fast,) = record.binaries[1].states
    way = [(a, b) for (a, b), each in edges.items() if each.get("class") in ("way", "miscompile")]
    assert {b for _, b in way} - {2} == set(View(*explored).way(fast)) - {1, 2}
    assert set(graph.path(fast)) <= set(words)
    assert "a way to the fastest measured binary" in words


def test_svg_says_measured_of_nothing_else(explored):
    _, record = explored
    *_, words = picture(explored)
    assert "measured 1.5 ms, 1 end state" in words
    assert "not run, 1 end state" in words
    circles, *_ = picture(explored)
    colours = [circles[each.states[0]].get("style") for each in record.binaries]
    assert None not in colours
    assert len(set(colours)) == 2


@pytest.mark.parametrize("most", [1, 2, 5, 7])
def test_svg_leaves_out_what_tells_least(explored, most):
    graph, record = explored
    circles, edges, words = picture(explored, most)
    assert len(circles) == most
    assert {state for pair in edges for state in pair} <= set(circles)
    assert any(f"{most} states are drawn, {len(graph) - most} are left out" in line for line in words)
    (fast,) = record.binaries[1].states
    way = View(*explored).way(fast)
    assert set(way) <= set(circles) or len(way) > most


@pytest.mark.parametrize("widths", [(1, 4, 9), (1, 30, 40), (1, 70, 1400), (1,) * 40])
def test_no_two_states_stand_in_one_place(widths):
    depths = dict(enumerate((depth for depth, width in enumerate(widths) for _ in range(width)), start=1))
    found = layout(depths, ())
    assert len(set(found.at.values())) == len(depths)
    assert [band.count for band in found.bands] == list(widths)
    for state, (x, y) in found.at.items():
        band = found.bands[depths[state]]
        assert band.top < y < band.bottom <= found.height
        assert 0 < x < found.width
    apart = 2 * found.scale.radius
    assert all(hypot(a[0] - b[0], a[1] - b[1]) >= apart for a, b in pairwise(sorted(found.at.values())))


@pytest.mark.parametrize("name", ["graph", "graph.png", "graph.SVG", ".svg/graph"])
def test_a_name_of_no_form(name):
    with pytest.raises(UserError, match=r"has to end in \.json, \.graphml, \.dot, \.svg"):
        check_name(name)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"no folder '.*/no'"):
        check_name(str(tmp_path / "no" / "g.svg"))
    check_name(str(tmp_path / "g.svg"))
    check_name("g.json")


def test_a_file_that_cannot_be_written(explored, tmp_path):
    (tmp_path / "g.json").mkdir()
    with pytest.raises(UserError, match=r"cannot write '.*g\.json'"):
        export(*explored, tmp_path / "g.json")
    assert [each.name for each in tmp_path.iterdir()] == ["g.json"]


def test_characters_that_xml_cannot_hold():
    kept = ElementTree.fromstring("<a>" + xml("<\x1b[0m\x00&\tµ") + "</a>")
    assert kept.text == "<�[0m�&\tµ"
