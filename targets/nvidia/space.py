"""The nvidia space: tensor cores where the problem has an instruction, multiply-adds of single threads elsewhere.

Both end in NVVM. The knob `cores` says which; the other knobs are those of `matrix.py` or of `simt.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lowering.core import Problem, Schedule, Target
from lowering.dtypes import is_small
from lowering.passes import pipeline
from lowering.targets import best, simt
from lowering.targets.nvidia import matrix
from lowering.targets.space import Knob, Rung

Knobs = Mapping[str, Any]

CORES = Knob("cores", ("matrix", "vector"), "wgmma, or multiply-adds of single threads")
OWN = {"matrix": matrix.KNOBS, "vector": simt.KNOBS}
KNOBS: tuple[Knob, ...] = (
    CORES,
    *matrix.KNOBS,
    *(knob for knob in simt.KNOBS if knob.name not in {each.name for each in matrix.KNOBS}),
)


def cores_of(knobs: Knobs, problem: Problem, target: Target) -> str:
    """The cores that knobs ask for, or that suit the problem."""
    asked = [name for name, own in OWN.items() if set(knobs) - {"cores"} - {knob.name for knob in own}]
    if "cores" in knobs:
        return str(knobs["cores"])
    if len(asked) == 1:  # a knob that only the other has
        return "vector" if asked[0] == "matrix" else "matrix"
    return "matrix" if matrix.possible(problem) is None and matrix.pays(problem, target) else "vector"


def by_rule(knobs: Knobs, problem: Problem, target: Target) -> dict[str, Any]:
    """All knobs, those that are not given being the rule's."""
    cores, own = cores_of(knobs, problem, target), {key: value for key, value in knobs.items() if key != "cores"}
    if cores == "vector":
        return {"cores": cores, **simt.default(problem, target), **own}
    return {"cores": cores, **matrix.default(own, problem, target)}


def full(knobs: Knobs, problem: Problem, target: Target) -> dict[str, Any]:
    """All knobs, those that are not given being what a search found for this problem, else the rule's."""
    entry = best.found(problem, target)
    known = {**entry.knobs, **knobs} if entry is not None else knobs
    return by_rule(knobs if illegal_by_rule(known, problem, target) else known, problem, target)


def default(problem: Problem, target: Target) -> dict[str, Any]:
    """What is taken where nothing is asked for."""
    return full({}, problem, target)


def ladder(full_knobs: Knobs) -> tuple[Rung, ...]:
    """The steps from a naive schedule to one with these knobs."""
    return simt.LADDER if full_knobs["cores"] == "vector" else (*simt.LADDER, *matrix.LADDER)


def illegal(knobs: Knobs, problem: Problem, target: Target) -> str | None:
    """Why these knobs cannot work for this problem on this target; None where they can."""
    entry, reason = best.found(problem, target), illegal_by_rule(knobs, problem, target)
    if reason is None or entry is None:
        return reason
    return reason if illegal_by_rule({**entry.knobs, **knobs}, problem, target) else None


def illegal_by_rule(knobs: Knobs, problem: Problem, target: Target) -> str | None:
    """The same of knobs that the rule completes."""
    cores = cores_of(knobs, problem, target)
    if cores not in OWN:
        return f"cores is matrix or vector, found '{cores}'"
    names = [knob.name for knob in OWN[cores]]
    unknown = sorted(set(knobs) - {"cores", *names})
    if unknown:
        return f"there is no knob '{unknown[0]}' for {cores} cores{pipeline.nearest(unknown[0], names)}"
    if cores == "vector":
        reason = simt.illegal({key: value for key, value in knobs.items() if key != "cores"}, problem, target)
        nowhere = matrix.possible(problem) if is_small(problem.contraction.element) else None
        return f"{reason}; and {nowhere}" if reason and nowhere else reason
    return matrix.possible(problem) or matrix.illegal(by_rule(knobs, problem, target), problem, target)


def schedule(knobs: Knobs, problem: Problem, target: Target) -> Schedule:
    """The passes of these knobs; knobs that are not given are the default's."""
    chosen = full(knobs, problem, target)
    if chosen["cores"] == "matrix":
        return matrix.schedule(chosen, problem, target)
    convert = f"convert-gpu-to-nvvm{{index-bitwidth={simt.index_bits(problem)} use-bare-ptr-memref-call-conv=true}}"
    own = {key: value for key, value in chosen.items() if key != "cores"}
    return simt.schedule(own, problem, target, (f"gpu.module({convert})",))
