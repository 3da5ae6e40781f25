"""A graph with a planted miscompile: the check names the edge, and nothing where there is none."""

import pytest
from pass_graphs import PROBLEM, explored, space

from lowering import expand, targets
from lowering.graph import Graph
from lowering.miscompiles import check_all, judged, replay, verdicts, witness_for
from lowering.pool import Pool
from lowering.search import sizes
from lowering.state_check import StateJob
from lowering.worker import Limits

GOOD = "canonicalize,cse,tile{tile-sizes=16,16},tile-reduction{tile-sizes=8}"


def checked(folder, passes, depth, target=None):
    """The verdicts on a graph of some passes."""
    what = space(passes, depth)
    target = target or what.target
    explored(folder / "states.sqlite", what)
    with (
        Graph(folder / "states.sqlite") as graph,
        Graph(folder / "witness.sqlite") as witness,
        Pool(1, Limits(60.0)) as pool,
    ):
        small = witness_for(graph, PROBLEM)
        witness.add_root(expand.root(small))
        walked = replay(graph, witness, small, target, pool)
        check_all(witness, small, target, pool)
        return verdicts(graph, witness, sizes(small), walked)


def test_a_sound_graph_has_no_finding(tmp_path):
    found = checked(tmp_path, GOOD, 3)
    assert found.root == "right"
    assert found.miscompiles == ()
    assert found.unlike == ()
    assert found.wrong == ()
    assert dict(found.states) == {"right": sum(found.states.values())}
    assert sum(found.states.values()) >= 4


@pytest.mark.parametrize("fault", ["test-drop-store", "test-narrow-accumulator"])
def test_the_edge_of_a_planted_miscompile_is_named(tmp_path, fault):
    found = checked(tmp_path, f"{GOOD},{fault}", 2)
    assert {each.text for each in found.miscompiles} == {fault}
    assert {each.before for each in found.miscompiles} == {"right"}
    assert any(each.source == 1 and each.path == () for each in found.miscompiles)
    assert any(each.path for each in found.miscompiles)
    assert all("expected" in each.reason for each in found.miscompiles)
    assert {each.target for each in found.miscompiles} <= set(found.wrong)
    assert 1 not in found.wrong
    assert found.states["wrong"] >= len({each.target for each in found.miscompiles}) > 1


def test_states_that_need_a_device_are_not_called_right(tmp_path):
    passes = (
        "tile{mapping=block tile-sizes=16,16},one-shot-bufferize{bufferize-function-boundaries=true "
        "function-boundary-type-conversion=identity-layout-map},map-blocks"
    )
    found = checked(tmp_path, passes, 3, targets.load("gfx942"))
    assert found.states["right"] >= 3
    assert found.states["not checkable"] >= 1
    assert any("gpu." in why for why, _ in found.why), found.why
    assert found.miscompiles == ()


def test_a_state_that_takes_too_long_is_not_called_wrong():
    """An order of passes can make a program slow; here it has no end, which looks the same."""
    kinds = [f"memref<{'x'.join(map(str, each.shape))}x{each.dtype}>" for each in PROBLEM.arguments]
    arguments = ", ".join(f"%a{i}: {kind}" for i, kind in enumerate(kinds))
    text = f"""
    func.func @main({arguments}) {{
      %yes = arith.constant true
      %at = arith.constant 0 : index
      %one = arith.constant 1.0 : f32
      scf.while : () -> () {{
        scf.condition(%yes)
      }} do {{
        memref.store %one, %a2[%at, %at] : {kinds[2]}
        scf.yield
      }}
      return
    }}"""
    with Pool(1, Limits(4.0)) as pool:
        ((_, verdict),) = pool.map(judged, [StateJob(text, PROBLEM, targets.this_machine())])
    assert verdict.word == "not checkable"
    assert "too slow" in verdict.reason
