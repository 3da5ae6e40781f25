"""The amdgpu space: matrix cores where the problem has an instruction, multiply-adds of single threads elsewhere.

Both end in ROCDL alike. The knob `cores` says which; the other knobs are those of `matrix.py` or of `simt.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lowering.core import Problem, Schedule, Target, UserError
from lowering.passes import pipeline
from lowering.targets import simt
from lowering.targets.amdgpu import matrix, matrix_tiles
from lowering.targets.space import Knob, Rung, together
from lowering.targets.tile_model import Prediction

Knobs = Mapping[str, Any]

CORES = Knob("cores", ("matrix", "vector"), "matrix instructions, or multiply-adds of single threads")
OWN = {"matrix": matrix.KNOBS, "vector": simt.KNOBS}
KNOBS: tuple[Knob, ...] = (CORES, *together(OWN["matrix"], OWN["vector"]))


def cores_of(knobs: Knobs, problem: Problem) -> str:
    """The cores that knobs ask for, or that suit the problem."""
    asked = [name for name, own in OWN.items() if set(knobs) - {"cores"} - {knob.name for knob in own}]
    if "cores" in knobs:
        return str(knobs["cores"])
    if len(asked) == 1:  # a knob that only the other has
        return "vector" if asked[0] == "matrix" else "matrix"
    return "vector" if matrix.possible(problem) else "matrix"


def full(knobs: Knobs, problem: Problem, target: Target) -> dict[str, Any]:
    """All knobs, those that are not given being the default's."""
    cores, own = cores_of(knobs, problem), {key: value for key, value in knobs.items() if key != "cores"}
    if cores == "vector":
        return {"cores": cores, **simt.default(problem, target), **own}
    return {"cores": cores, **matrix_tiles.default(own, problem, target)}


def default(problem: Problem, target: Target) -> dict[str, Any]:
    """What is taken where nothing is asked for."""
    return full({}, problem, target)


def ladder(full_knobs: Knobs) -> tuple[Rung, ...]:
    """The steps from a naive schedule to one with these knobs."""
    return simt.LADDER if full_knobs["cores"] == "vector" else (*simt.LADDER, *matrix.LADDER)


def illegal(knobs: Knobs, problem: Problem, target: Target) -> str | None:
    """Why these knobs cannot work for this problem on this target; None where they can."""
    cores = cores_of(knobs, problem)
    if cores not in OWN:
        return f"cores is matrix or vector, found '{cores}'"
    names = [knob.name for knob in OWN[cores]]
    unknown = sorted(set(knobs) - {"cores", *names})
    if unknown:
        return f"there is no knob '{unknown[0]}' for {cores} cores{pipeline.nearest(unknown[0], names)}"
    if cores == "vector":
        return simt.illegal({key: value for key, value in knobs.items() if key != "cores"}, problem, target)
    return matrix.possible(problem) or matrix.illegal(full(knobs, problem, target), problem, target)


def ranked(knobs: Knobs, problem: Problem, target: Target) -> list[tuple[dict[str, Any], Prediction]]:
    """The legal schedules on matrix cores with these knobs: the default first, the others by *predicted* time.

    Raises UserError where the cores are others.
    """
    own = {key: value for key, value in knobs.items() if key != "cores"}
    if cores_of(knobs, problem) != "matrix":
        raise UserError(
            f"{matrix.possible(problem) or 'cores=vector was asked for'}, and only schedules on matrix cores "
            "have a model"
        )
    found = [{"cores": "matrix", **each} for each in matrix_tiles.legal(own, problem, target)]
    rows = matrix_tiles.ordered(found, problem, target) if found else []
    others = [{"cores": "matrix", **each} for each in matrix_tiles.split(own, problem, target)]
    rest = [*rows[1:], *((each, matrix_tiles.prediction(each, problem, target)) for each in others)]
    return [*rows[:1], *sorted(rest, key=lambda row: (row[1].seconds, -row[0]["run"]))]


def predicted(full_knobs: Knobs, problem: Problem, target: Target) -> Prediction | None:
    """What the model says of full knobs; None of those that it has no say on."""
    return matrix_tiles.prediction(full_knobs, problem, target) if full_knobs["cores"] == "matrix" else None


def remarks(full_knobs: Knobs, problem: Problem, target: Target) -> dict[str, str]:
    """What there is to say of knobs that do nothing for this problem, or more than it has room for."""
    if full_knobs["cores"] != "matrix":
        return {}
    idle, spare = matrix.idle(full_knobs, problem, target), matrix.spare(full_knobs, problem, target)
    nothing = {name: f"does nothing here ({words})" for name, words in idle.items()}
    return nothing | {name: f"leaves workgroups idle ({words})" for name, words in spare.items()}


def why(full_knobs: Knobs, given: Knobs, problem: Problem, target: Target) -> Iterator[str]:
    """What the knobs come to, and how the default's were chosen."""
    if full_knobs["cores"] != "matrix":
        return
    shape = matrix.Shape.of(full_knobs, problem)
    yield (
        f"comes to   {shape.waves} waves a workgroup, {shape.lds_bytes} bytes of workgroup memory (of "
        f"{target.facts['shared_static_max']}), some {shape.registers} vector registers (of "
        f"{target.facts['architectural_registers_per_lane']})"
    )
    p = matrix_tiles.prediction(full_knobs, problem, target)
    yield f"predicted  {p.seconds * 1e6:.1f} µs, {p.rate / 1e12:.0f} TFLOP/s (model {p.version}); decided by {p.bound}"
    yield (
        "default    tiles: of the legal ones predicted to take the least time, within 5 %, those that read least "
        "(`lower rank`); block_k: a line of memory; run: a store of 16 bytes"
    )


def schedule(knobs: Knobs, problem: Problem, target: Target) -> Schedule:
    """The passes of these knobs; knobs that are not given are the default's."""
    bits = simt.index_bits(problem)
    convert = f"convert-gpu-to-rocdl{{chipset={target.cpu} index-bitwidth={bits} use-bare-ptr-memref-call-conv=true}}"
    math = f"convert-math-to-rocdl{{chipset={target.cpu}}}"
    chosen = full(knobs, problem, target)
    last = (math, f"gpu.module({convert})")
    if chosen["cores"] == "matrix":
        return matrix.schedule(chosen, problem, last, target)
    return simt.schedule({key: value for key, value in chosen.items() if key != "cores"}, problem, target, last)
