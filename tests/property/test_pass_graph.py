"""What the pass graph rests on: passes are deterministic, and every way to a node is one program."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pass_graphs import PASSES, PROBLEM, explored, space

from lowering import codegen, completion, mlir, targets
from lowering.core import PassError
from lowering.expand import instance
from lowering.graph import Graph
from lowering.normal import of_text
from lowering.passes import pipeline

FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """A graph with tiling, bufferization and loops in it."""
    file = tmp_path_factory.mktemp("property") / "states.sqlite"
    explored(file, space(f"{PASSES},loop-invariant-code-motion,convert-scf-to-cf", 4))
    with Graph(file) as graph:
        yield graph


def image(module):
    """The object of a state completed to the CPU, without LLVM's optimisation, or why there is none."""
    try:
        completion.complete_to_cpu(module)
        steps = pipeline.parse("llvm{opt=0},codegen{opt=0}").passes
        return codegen.build(module, PROBLEM.arguments, targets.this_machine(), steps).image
    except PassError as error:
        return error.reason


@FEW
@given(data=st.data())
def test_applying_a_pass_is_deterministic_over_20_runs(graph, data):
    state = data.draw(st.integers(1, len(graph)))
    edges = sorted(text for text, edge in graph.edges_of(state).items() if edge.target is not None)
    if not edges:
        return
    text, step = graph.text(state), instance(data.draw(st.sampled_from(edges)))
    base, found = mlir.parse(text), set()
    for turn in range(20):
        module = mlir.clone(base) if turn % 2 else mlir.parse(text)
        step.apply(module)
        found.add(mlir.text(module))
    assert len(found) == 1


@FEW
@given(data=st.data())
def test_all_paths_to_one_node_give_one_binary(graph, data):
    """A random way through the graph, taken with live modules from the root, ends in the node's own binary."""
    state, module, taken = 1, mlir.parse(PROBLEM.ir), []
    for _ in range(data.draw(st.integers(1, 4))):
        edges = sorted(text for text, edge in graph.edges_of(state).items() if edge.target is not None)
        if not edges:
            break
        taken.append(data.draw(st.sampled_from(edges)))
        instance(taken[-1]).apply(module)
        state = graph.edges_of(state)[taken[-1]].target
    assert of_text(mlir.text(module)) == of_text(graph.text(state)), taken
    assert image(module) == image(mlir.parse(graph.text(state))), taken


@FEW
@given(data=st.data())
def test_the_normal_form_is_a_text_of_the_same_program(graph, data):
    """It parses, its normal form is itself, and it builds to the binary of the text that it was made of."""
    text = graph.text(data.draw(st.integers(1, len(graph))))
    normal = of_text(text)
    assert of_text(mlir.text(mlir.parse(normal))) == of_text(normal) == normal
    assert image(mlir.parse(normal)) == image(mlir.parse(text))
