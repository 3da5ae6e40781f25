"""Small pass graphs for tests, explored for real."""

from lowering import expand, problem, targets
from lowering.explore import Space, explore
from lowering.graph import Graph
from lowering.passes import pipeline
from lowering.plan import ToDepth
from lowering.pool import Pool
from lowering.worker import Limits

PASSES = (
    "canonicalize,cse,sccp,tile{tile-sizes=16,16},tile-reduction{tile-sizes=8},"
    "one-shot-bufferize{bufferize-function-boundaries=true},convert-linalg-to-loops"
)
PROBLEM = problem.from_shape(48, 32, 32, "f32")


def space(passes=PASSES, depth=3, **more):
    """The space of a list of passes on the small problem, for this machine."""
    instances, asked = pipeline.parse_moves(passes)
    plan = ToDepth((*map(str, instances), *asked), depth, frozenset(asked))
    return Space(PROBLEM, targets.this_machine(), plan, **more)


def explored(file, what=None, processes=1, seconds=30.0, memory=4 << 30, watch=lambda _: None):
    """Explores into a file: what came of it."""
    what = what or space()
    with Graph(file) as graph, Pool(processes, Limits(seconds, memory)) as pool:
        graph.add_root(expand.root(what.problem))
        return explore(graph, what, pool, watch)


def rows(file):
    """All that a graph's file holds of states and edges."""
    with Graph(file) as graph:
        return list(graph.states()), list(graph.edges())
