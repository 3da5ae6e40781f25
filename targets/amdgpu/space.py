"""The amdgpu space: the schedule that GPUs share, and how it ends in ROCDL."""

from __future__ import annotations

from lowering.core import Problem, Schedule, Target
from lowering.targets import simt

KNOBS, illegal, default = simt.KNOBS, simt.illegal, simt.default


def schedule(knobs: simt.Knobs, problem: Problem, target: Target) -> Schedule:
    """The passes of these knobs; knobs that are not given are the default's."""
    bits = simt.index_bits(problem)
    convert = f"convert-gpu-to-rocdl{{chipset={target.cpu} index-bitwidth={bits} use-bare-ptr-memref-call-conv=true}}"
    math = f"convert-math-to-rocdl{{chipset={target.cpu}}}"
    return simt.schedule(knobs, problem, target, (math, f"gpu.module({convert})"))
