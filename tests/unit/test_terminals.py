"""End states are built and told apart by their assembly; all ways to a node give one binary."""

import hashlib

import pytest
from pass_graphs import PROBLEM, explored, space

from lowering import codegen, completion, mlir, targets
from lowering.expand import instance
from lowering.graph import Graph
from lowering.normal import normal_digest
from lowering.passes import pipeline
from lowering.pool import Pool
from lowering.targets.linked import BuildError
from lowering.terminals import build_all, leaves
from lowering.worker import Limits

STEPS = "llvm{opt=1},codegen{opt=1}"
UNOPTIMISED = "llvm{opt=0},codegen{opt=0}"  # LLVM's optimisation would drop and reorder what tells objects apart
PASSES = "canonicalize,sccp,cse,tile{tile-sizes=16,16},tile-reduction{tile-sizes=8},linalg-generalize-named-ops"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    file = tmp_path_factory.mktemp("terminals") / "states.sqlite"
    explored(file, space(PASSES, 4))
    return file


TABLES = """
#half = affine_map<(d0) -> (d0 floordiv 2)>
module {
  func.func @main(%a: memref<48x32xf32>, %b: memref<32x32xf32>, %out: memref<48x32xf32>) {
    %c0 = arith.constant 0 : index
    %c2 = arith.constant 2 : index
    %x = arith.constant dense<[1.0, 2.0, 3.0]> : tensor<3xf32>
    %y = arith.constant dense<[4.0, 5.0, 6.0]> : tensor<3xf32>
    %read = memref.load %a[%c2, %c0] : memref<48x32xf32>
    %wide = arith.fptoui %read : f32 to i64
    %at = arith.index_cast %wide : i64 to index
    %half = affine.apply #half(%at)
    %left = tensor.extract %x[%at] : tensor<3xf32>
    %right = tensor.extract %y[%half] : tensor<3xf32>
    %sum = arith.addf %left, %right : f32
    memref.store %sum, %out[%c0, %c2] : memref<48x32xf32>
    return
  }
}
"""
ZERO, TWO = "    %c0 = arith.constant 0 : index\n", "    %c2 = arith.constant 2 : index\n"
X = "    %x = arith.constant dense<[1.0, 2.0, 3.0]> : tensor<3xf32>\n"
Y = "    %y = arith.constant dense<[4.0, 5.0, 6.0]> : tensor<3xf32>\n"
DEAD = '  memref.global "private" constant @dead : memref<3xf32> = dense<7.0>\n'


def image(module):
    """The object of a state completed to the CPU, without LLVM's optimisation, or why there is none."""
    completion.complete_to_cpu(module)
    steps = pipeline.parse(UNOPTIMISED).passes
    try:
        return codegen.build(module, PROBLEM.arguments, targets.this_machine(), steps).image
    except BuildError as error:
        return error.reason


def test_leaves_have_nothing_active_behind_them(file):
    with Graph(file) as graph:
        ends = leaves(graph)
        assert ends
        for state in range(1, len(graph) + 1):
            active = any(edge.kind == "active" for edge in graph.edges_of(state).values())
            assert active == (state not in ends)


def test_what_is_built_is_the_binary_of_the_path_and_the_tail(file):
    with Graph(file) as graph, Pool(1, Limits(60.0)) as pool:
        ends = range(1, len(graph) + 1)
        build_all(graph, ends, PROBLEM, targets.this_machine(), STEPS, True, pool)
        built = graph.rows("binaries")
        assert set(built) == set(ends)
        assert all(row["binary"] and not row["failure"] for row in built.values())
        assert 1 < len({row["binary"] for row in built.values()}) < len(ends)
        by_image = {}
        for state in ends:  # the same objects are the same binary, and the other way round
            module = mlir.parse(PROBLEM.ir)
            for step in pipeline.parse(",".join((*graph.path(state), built[state]["tail"]))):
                step.apply(module)
            steps = pipeline.parse(STEPS).passes
            made = codegen.build(module, PROBLEM.arguments, targets.this_machine(), steps).image
            by_image.setdefault(made, set()).add(built[state]["binary"])
        assert all(len(names) == 1 for names in by_image.values())


def test_a_state_that_cannot_be_built_says_why(tmp_path):
    file = tmp_path / "states.sqlite"
    explored(file, space("canonicalize", 1))
    with Graph(file) as graph, Pool(1, Limits(60.0)) as pool:
        build_all(graph, [1], PROBLEM, targets.load("gfx942"), STEPS, True, pool)
        row = graph.rows("binaries")[1]
    assert row["binary"] == ""
    assert "gpu.module" in row["failure"]


def test_the_end_of_a_whole_schedule_is_built_as_it_stands(tmp_path):
    file = tmp_path / "states.sqlite"
    explored(file, space("canonicalize", 1))
    with Graph(file) as graph, Pool(1, Limits(60.0)) as pool:
        build_all(graph, [1], PROBLEM, targets.this_machine(), STEPS, False, pool)
        row = graph.rows("binaries")[1]
    assert (row["binary"], row["tail"]) == ("", "")
    assert "left unlowered" in row["failure"]


@pytest.mark.parametrize(
    ("old", "new", "merged"),
    [
        (ZERO + TWO, TWO + ZERO, True),
        (TWO + X + Y, X + Y + TWO, True),
        ("#half(", "affine_map<(d0) -> (d0 floordiv 2)>(", True),
        ("%sum", "%another_name", True),
        (X + Y, Y + X, False),  # two globals, in another order
        ("module {\n", "module {\n" + DEAD, False),
        ("module {\n", "module {\n  func.func private @nobody(f32)\n", False),  # its wrapper calls what is nowhere
    ],
)
def test_the_normal_form_merges_what_is_one_object_and_keeps_apart_what_is_not(old, new, merged):
    assert old in TABLES
    one, other = mlir.parse(TABLES), mlir.parse(TABLES.replace(old, new))
    assert (normal_digest(one) == normal_digest(other)) == merged
    assert (image(one) == image(other)) == merged


def test_all_ways_to_a_node_give_one_binary(file):
    """Also where the text differs from the node's own in what the normal form forgets."""
    unlike = 0
    with Graph(file) as graph:
        own: dict[int, bytes] = {}
        digests = {state.id: state.digest for state in graph.states()}
        for edge in [e for e in graph.edges() if e.kind in ("active", "cosmetic")]:
            module = mlir.parse(graph.text(edge.source))
            instance(edge.text).apply(module)
            if hashlib.sha256(mlir.text(module).encode()).hexdigest() == digests[edge.target]:
                continue
            unlike += 1
            if edge.target not in own:
                own[edge.target] = image(mlir.parse(graph.text(edge.target)))
            assert image(module) == own[edge.target], (graph.path(edge.source), edge.text)
    assert unlike >= 10
