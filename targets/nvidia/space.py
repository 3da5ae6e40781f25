"""The nvidia space: the schedule that GPUs share, and how it ends in NVVM."""

from __future__ import annotations

from lowering.core import Problem, Schedule, Target
from lowering.targets import simt

KNOBS, illegal, default, full = simt.KNOBS, simt.illegal, simt.default, simt.full


def schedule(knobs: simt.Knobs, problem: Problem, target: Target) -> Schedule:
    """The passes of these knobs; knobs that are not given are the default's."""
    convert = f"convert-gpu-to-nvvm{{index-bitwidth={simt.index_bits(problem)} use-bare-ptr-memref-call-conv=true}}"
    return simt.schedule(knobs, problem, target, (f"gpu.module({convert})",))
