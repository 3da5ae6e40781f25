"""The default schedules, as text: a change of a rule, a pass's default or an order shows as a diff of these files."""

from dataclasses import replace
from pathlib import Path

import pytest

from lowering import problem, targets
from lowering.agent.default import Default

PROBLEMS = (
    (1024, 1024, 1024, "f16", "nn", 0),
    (4096, 4096, 4096, "f32", "nn", 0),
    (1000, 333, 77, "bf16", "nt", 0),
    (7, 5, 3, "i8", "tt", 0),
    (65, 130, 70, "f32", "tn", 3),
)


def chip(name):
    """A target that is the same on every machine: x86-64 is otherwise whatever CPU runs the test."""
    target = targets.load(name)
    return replace(target, cpu="znver3", features="+avx,+avx2,+fma,+f16c") if target.cpu == "host" else target


@pytest.mark.parametrize("name", targets.names())
def test_default_schedules(name, golden):
    lines = []
    for m, n, k, dtype, layout, batch in PROBLEMS:
        payload = problem.from_shape(m, n, k, dtype, layout, batch=batch)
        (proposal,) = Default().propose(payload, chip(name), (), 1)
        lines += [f"{payload.name} {proposal.knobs}", *(f"  {step}" for step in proposal.schedule)]
    golden(Path(__file__).with_name(f"{name}.txt"), "\n".join(lines) + "\n")
