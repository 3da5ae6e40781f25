"""Any order of the optional passes on matrix cores gives a kernel that is verified, or a failure with a reason."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lowering import problem, targets, verify
from lowering.bounds import arithmetic_of
from lowering.core import Failure
from lowering.lower import lower
from lowering.passes import pipeline
from lowering.targets.amdgpu import space
from lowering.targets.amdgpu.emulated import Emulated

CHIP = targets.load("gfx942")
OF = problem.from_shape(64, 72, 256, "f16", layout="nt")
TILE = {"block_m": 32, "block_n": 32, "block_k": 32, "wave_m": 32, "wave_n": 16, "run": 1}
BARE = {"swizzle": False, "prefetch": False, "fences": False, "buffers": False, "raster_m": 1, "chiplets": 1}
OPTIONAL = (
    "swizzle{rows=1,2}", "swizzle{buffer=1 rows=2,4}", "double-buffer", "fill-ahead", "prefetch", "ping-pong",
    "pipeline-fragments", "fence-products", "interleave-products", "buffer-accesses", "persist{workgroups=4}",
    "split-k{parts=2}", "stream-k{workgroups=7}", "rasterise{rows=2}", "lower-contraction", "lower-transfers",
)  # fmt: skip
SETTINGS = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
# often in the order that makes most of them possible
STEPS = st.lists(st.sampled_from(OPTIONAL), max_size=7) | st.lists(
    st.integers(0, len(OPTIONAL) - 3), unique=True, max_size=7
).map(lambda numbers: [OPTIONAL[n] for n in sorted(numbers)])


@st.composite
def schedules(draw):
    """The bare schedule with passes behind map-lanes."""
    knobs = {**TILE, **BARE, "direct": draw(st.booleans()), "shuffle": draw(st.booleans())}
    if space.illegal(knobs, OF, CHIP) is not None:
        knobs["shuffle"] = False
    steps = [str(step) for step in space.schedule(knobs, OF, CHIP).passes]
    at = next(n for n, step in enumerate(steps) if step.startswith("map-lanes")) + 1
    return ",".join([*steps[:at], *draw(STEPS), *steps[at:]])


def judge(text):
    """Raises where a schedule is wrong, or fails without a reason."""
    outcome = lower(OF, pipeline.parse(text), CHIP).outcome
    if isinstance(outcome, Failure):
        assert outcome.reason
        assert outcome.kind in ("illegal", "resources"), outcome
        return
    with Emulated().load(outcome) as program:
        checks = verify.verify_full(OF, program, arithmetic_of(CHIP))
    assert not [str(check) for check in checks if not check.ok]


@settings(max_examples=25, **SETTINGS)
@given(schedules())
def test_any_order_is_right_or_refused(text):
    judge(text)


@pytest.mark.slow
@settings(max_examples=600, **SETTINGS)
@given(schedules())
def test_many_orders_are_right_or_refused(text):
    judge(text)
