"""A graph of more than 5 000 states, every one of them checked: nothing is found where nothing was planted."""

from dataclasses import replace

import pytest
from pass_graphs import explored, space

from lowering import expand, problem
from lowering.graph import Graph
from lowering.miscompiles import check_all, replay, verdicts, witness_for
from lowering.pool import Pool
from lowering.search import sizes
from lowering.worker import Limits

PASSES = (
    "canonicalize,cse,loop-invariant-code-motion,sccp,linalg-generalize-named-ops,fold-memref-alias-ops,"
    "tile{tile-sizes=16,16},tile{tile-sizes=8,4},tile-reduction{tile-sizes=8},tile-reduction{tile-sizes=2},"
    "pad{tile-sizes=20,20,1},func.func(scf-for-loop-canonicalization),convert-linalg-to-loops,"
    "one-shot-bufferize{bufferize-function-boundaries=true}"
)


@pytest.mark.slow
def test_five_thousand_states_and_no_finding(tmp_path):
    what = replace(space(PASSES, 7, most=5200), problem=problem.from_shape(48, 32, 32, "f32"))
    explored(tmp_path / "states.sqlite", what, processes=2)
    with (
        Graph(tmp_path / "states.sqlite") as graph,
        Graph(tmp_path / "witness.sqlite") as witness,
        Pool(2, Limits(60.0)) as pool,
    ):
        assert len(graph) > 5000
        small = witness_for(graph, what.problem)
        witness.add_root(expand.root(small))
        walked = replay(graph, witness, small, what.target, pool)
        check_all(witness, small, what.target, pool)
        found = verdicts(graph, witness, sizes(small), walked)
    assert found.unlike == ()
    print(f"{len(graph)} states, on the witness {found.witness} {dict(found.states)}; not checkable: {found.why[:3]}")
    assert found.miscompiles == ()
    assert found.wrong == ()
    assert found.root == "right"
    assert found.states["right"] > 0.9 * sum(found.states.values())
