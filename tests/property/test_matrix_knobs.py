"""Any knobs that the space of matrix cores calls legal give a kernel that is verified, or a failure with a reason."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lowering import problem, targets, verify
from lowering.bounds import arithmetic_of
from lowering.core import Failure
from lowering.lower import lower
from lowering.targets.amdgpu import matrix, space
from lowering.targets.amdgpu.emulated import Emulated

CHIP = targets.load("gfx942")
SETTINGS = {"deadline": None, "suppress_health_check": [HealthCheck.filter_too_much, HealthCheck.too_slow]}


@st.composite
def cases(draw):
    """A small problem and legal knobs: tiles, and some of the others."""
    element = draw(st.sampled_from(("f16", "bf16", "i8", "f8E4M3FNUZ", "f32", "tf32", "f64")))
    sizes = [draw(st.integers(1, 150) | st.sampled_from((64, 128))) for _ in "mnk"]
    layout, batch = draw(st.sampled_from(("nn", "nt", "tn", "tt"))), draw(st.sampled_from((0, 0, 2)))
    of = problem.from_shape(*sizes, element, layout=layout, batch=batch)
    knobs = {"block_k": draw(st.sampled_from((16, 32, 64, 128)))}
    for side in "mn":
        knobs[f"wave_{side}"] = draw(st.sampled_from((16, 32, 64)))
        knobs[f"block_{side}"] = knobs[f"wave_{side}"] * draw(st.sampled_from((1, 2, 4)))
    for knob in matrix.KNOBS:
        if knob.name not in knobs and draw(st.integers(0, 2)) == 0:
            knobs[knob.name] = draw(st.sampled_from(knob.values))
    return of, knobs


def judge(of, knobs):
    """Raises where a legal schedule is wrong, or fails without a reason."""
    outcome = lower(of, space.schedule(knobs, of, CHIP), CHIP).outcome
    if isinstance(outcome, Failure):
        assert outcome.kind in ("illegal", "resources"), outcome
        assert outcome.reason
        return
    with Emulated().load(outcome) as program:
        checks = verify.verify_full(of, program, arithmetic_of(CHIP))
    assert not [str(check) for check in checks if not check.ok]


@settings(max_examples=12, **SETTINGS)
@given(cases().filter(lambda case: space.illegal(case[1], case[0], CHIP) is None))
def test_legal_knobs_are_right_or_refused(case):
    judge(*case)


@pytest.mark.slow
@settings(max_examples=400, **SETTINGS)
@given(cases().filter(lambda case: space.illegal(case[1], case[0], CHIP) is None))
def test_many_legal_knobs_are_right_or_refused(case):
    judge(*case)
