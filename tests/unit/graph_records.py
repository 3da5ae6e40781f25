"""Records of pass graphs, made by hand."""

from dataclasses import replace

from lowering import problem
from lowering.graph_record import GraphRecord
from lowering.store import ProblemRecord


def record_of(binaries=(), **fields):
    """A record as an exploration leaves one, without its findings; `fields` are what is to be different."""
    about = problem.from_shape(8, 8, 8, "f32")
    sizes = {"m": 8, "n": 8, "k": 8, "batch": 0, "flops": 1024}
    types = {"layout": "nn", "element": "f32", "accumulator": "f32", "output": "f32"}
    told = ProblemRecord(name=about.name, digest="", accumulates=False, epilogue=[], notes=[], **sizes, **types)
    base = GraphRecord(
        name="graph-1",
        folder="runs/graph-1",
        command="lower graph",
        problem=told,
        target="x86_64",
        plan="4 passes to depth 3",
        bound="85",
        orders="40",
        states=1,
        edges={"active": 1},
        cut=False,
        pruned=0,
        seconds={},
        passes=(),
        pairs=(),
        conditions=(),
        ends=3,
        unbuilt=(),
        not_tried=0,
        unoffered=(),
        binaries=binaries,
        order=(),
        checks=None,
        toolchain={},
    )
    return replace(base, **fields)
