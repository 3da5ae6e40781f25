"""`parse(str(schedule)) == schedule`, for every pass of ours with random options and a spread of upstream ones."""

from dataclasses import fields
from types import UnionType
from typing import Literal, get_args, get_origin, get_type_hints

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lowering.core import Schedule
from lowering.passes.common.backend import BACKEND
from lowering.passes.pipeline import parse
from lowering.passes.table import TABLE

UPSTREAM = st.sampled_from(
    [
        "canonicalize",
        "canonicalize{max-iterations=3 top-down=false}",
        "func.func(cse)",
        "func.func(convert-vector-to-scf{full-unroll=true})",
        "gpu.module(convert-gpu-to-nvvm{use-bare-ptr-memref-call-conv=true})",
        "one-shot-bufferize{bufferize-function-boundaries=true function-boundary-type-conversion=identity-layout-map}",
        "buffer-deallocation-pipeline",
    ]
).map(lambda text: parse(text).passes[0])


def values(hint):
    """Values of an option's type; text is what a file name or an MLIR attribute may hold."""
    if get_origin(hint) is tuple:
        return st.lists(values(get_args(hint)[0]), min_size=1, max_size=4).map(tuple)
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))
    if get_origin(hint) is UnionType:
        return values(get_args(hint)[0])
    return {
        bool: st.booleans(),
        int: st.integers(1, 1 << 16),
        float: st.floats(0, 1e6),
        str: st.text("abcdefghijklmnopqrstuvwxyz0123456789_-./ ", min_size=1, max_size=12),
    }[hint]


@st.composite
def passes(draw):
    cls = draw(st.sampled_from(TABLE))
    hints = get_type_hints(cls)
    for _ in range(20):
        try:
            return cls(**{f.name: draw(values(hints[f.name])) for f in fields(cls)})
        except ValueError:  # the pass refuses this combination of options
            continue
    return draw(UPSTREAM)


def ordered(steps):
    """A schedule of these steps: those of code generation stand last."""
    return Schedule(tuple(sorted(steps, key=lambda step: isinstance(step, BACKEND))))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(passes(), UPSTREAM), max_size=8).map(ordered))
def test_parse_inverts_str(schedule):
    assert parse(str(schedule)) == schedule
