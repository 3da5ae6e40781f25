"""Where each planted miscompile of `lowering.passes.faults` is put into a default schedule, and the problems for it.

At each of these places the state before is right, the state after and the last one that a CPU runs are wrong, and the
schedule with the fault in it still lowers to a binary: test_faults.py sees to that. Those of a GPU's schedule stand
before `map-blocks`, where a state still runs on a CPU.
"""

from __future__ import annotations

from lowering.core import Problem, Schedule
from lowering.lower import slug
from lowering.passes import pipeline
from lowering.passes.faults.fault import Miscompile
from lowering.passes.table import FAULTS
from lowering.problem import from_shape
from lowering.targets import load
from lowering.targets.families import FAMILIES

MISCOMPILES = tuple(cls.name for cls in FAULTS if issubclass(cls, Miscompile))
CHIPS = ("x86_64", "gfx942")
RAGGED = from_shape(100, 83, 77, "f32")
EVEN = from_shape(128, 64, 64, "f32")

# The pass that a fault comes after, for each of three places.
CPU = ("tile-k", "vectorize-rows", "convert-vector-to-llvm")
GPU = ("tile", "fold-padding-reads", "fold-padding-writes")
VECTORS = ("vectorize", "empty-tensor-to-alloc-tensor", "fold-padding-writes")
GPU_ONLY = {fault: VECTORS for fault in ("test-drop-store", "test-hoist-past-write", "test-narrow-accumulator")}


def default(problem: Problem, chip: str) -> Schedule:
    """The default schedule of a problem on a chip, in multiply-adds of threads where there is a choice."""
    target = load(chip)
    space = FAMILIES[target.family].space
    knobs = {"cores": "vector"} if "cores" in {knob.name for knob in space.KNOBS} else {}
    return space.schedule(knobs, problem, target)


def positions(schedule: Schedule, fault: str) -> tuple[int, int, int]:
    """How many passes of a default schedule stand before the fault: its index, from 0, in `planted`."""
    names = [slug(step) for step in schedule]
    first, second, third = CPU if "tile-k" in names else GPU_ONLY.get(fault, GPU)
    return names.index(first) + 1, names.index(second) + 1, names.index(third) + 1


def planted(schedule: Schedule, fault: str, at: int) -> Schedule:
    """The schedule with the fault after its first `at` passes."""
    return Schedule((*schedule.passes[:at], *pipeline.parse(fault), *schedule.passes[at:]))
