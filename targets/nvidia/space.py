"""The nvidia space: tensor cores where the problem has an instruction, multiply-adds of single threads elsewhere.

Both end in NVVM. The knob `cores` says which; the other knobs are those of `matrix.py` or of `simt.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lowering import dtypes
from lowering.core import Problem, Schedule, Target
from lowering.passes import pipeline
from lowering.targets import best, simt
from lowering.targets.nvidia import matrix, matrix_rule
from lowering.targets.space import Knob, Rung, together

Knobs = Mapping[str, Any]

CORES = Knob("cores", ("matrix", "vector"), "wgmma, or multiply-adds of single threads")
RESIDENT = Knob("resident", (0, 1, 2, 3, 4), "workgroups that an SM has registers for at once; 0: as it comes")
PATCH_ROWS = 4  # of the 4x8 lanes of a warp
# LLVM folds sums of indices into the addresses of workgroup memory, and knows what they are aligned to, in 64 bits only
INDEX_BITS = 64
# Of the largest tiles: a thread of 8x8 reads the fewest elements a multiply-add, and steps of 8 along K leave two
# workgroups an SM the registers for it
LARGEST = (128, 128)
BUSY = {"thread_m": 8, "thread_n": 8, "block_k": 8, "resident": 2}
WORD = 4  # bytes of a register
OWN = {"matrix": matrix.KNOBS, "vector": (*simt.KNOBS, RESIDENT)}
KNOBS: tuple[Knob, ...] = (CORES, *together(OWN["matrix"], OWN["vector"]))


def cores_of(knobs: Knobs, problem: Problem, target: Target) -> str:
    """The cores that knobs ask for, or that suit the problem."""
    asked = [name for name, own in OWN.items() if set(knobs) - {"cores"} - {knob.name for knob in own}]
    if "cores" in knobs:
        return str(knobs["cores"])
    if len(asked) == 1:  # a knob that only the other has
        return "vector" if asked[0] == "matrix" else "matrix"
    return "matrix" if matrix.possible(problem) is None and matrix_rule.pays(problem, target) else "vector"


def by_rule(knobs: Knobs, problem: Problem, target: Target) -> dict[str, Any]:
    """All knobs, those that are not given being the rule's."""
    cores, own = cores_of(knobs, problem, target), {key: value for key, value in knobs.items() if key != "cores"}
    if cores == "vector":
        return {"cores": cores, **vector_default(problem, target), **own}
    return {"cores": cores, **matrix_rule.default(own, problem, target)}


def vector_default(problem: Problem, target: Target) -> dict[str, Any]:
    """The rule of multiply-adds of single threads: that of all GPUs, with copies a step ahead and patches of lanes.

    Each where it is legal: few threads are no patch. Accumulators of 8 bytes leave no room for it.
    """
    c, plain = problem.contraction, {**simt.default(problem, target), "resident": 0}
    if c.layout == "other" or dtypes.lookup(c.accumulator).bytes > WORD:
        return plain
    ahead = {**plain, "stages": 2, "prefetch": True}
    if (plain["block_m"], plain["block_n"]) == LARGEST:
        ahead |= BUSY
    wanted = ({**ahead, "patch_m": PATCH_ROWS}, ahead)
    return next((each for each in wanted if vector_illegal(each, problem, target) is None), plain)


def vector_illegal(knobs: Knobs, problem: Problem, target: Target) -> str | None:
    """Why full knobs cannot work for multiply-adds of single threads; None where they can."""
    own = {key: value for key, value in knobs.items() if key not in ("cores", "resident")}
    reason = simt.illegal(own, problem, target)
    if reason is not None:
        return reason
    count, needed, file = simt.threads(own), simt.registers(own, problem), target.facts["registers_per_group_max"]
    groups = max(1, knobs["resident"])
    if groups * count * needed > int(file):
        return f"{groups} workgroups of {count} threads of {needed} registers take more than {file}, all of an SM's"
    return None


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
        reason = vector_illegal(by_rule(knobs, problem, target), problem, target)
        nowhere = matrix.possible(problem) if dtypes.is_small(problem.contraction.element) else None
        return f"{reason}; and {nowhere}" if reason and nowhere else reason
    return matrix.possible(problem) or matrix.illegal(by_rule(knobs, problem, target), problem, target)


def schedule(knobs: Knobs, problem: Problem, target: Target) -> Schedule:
    """The passes of these knobs; knobs that are not given are the default's."""
    chosen = full(knobs, problem, target)
    if chosen["cores"] == "matrix":
        return matrix.schedule(chosen, problem, target)
    convert = f"convert-gpu-to-nvvm{{index-bitwidth={INDEX_BITS} use-bare-ptr-memref-call-conv=true}}"
    own = {key: value for key, value in chosen.items() if key not in ("cores", "resident")}
    resident = (f"resident{{workgroups={chosen['resident']}}}",) if chosen["resident"] else ()
    last = (*simt.LAST[:-1], *resident, simt.LAST[-1])
    return simt.schedule(own, problem, target, (f"gpu.module({convert})",), last)
