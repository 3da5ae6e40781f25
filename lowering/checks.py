"""One check each: outputs against limits, guard bands, unchanged inputs, two runs with the same bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import ml_dtypes
import numpy as np

from lowering.core import Argument
from lowering.intervals import Array, Interval
from lowering.memory import Run, unwritten


@dataclass(frozen=True)
class Check:
    """One thing that was checked. `figure` is an error and `bound` what it may be there, where the error is largest.

    `note` is what a verdict has to say of it although it is ok, e.g. 'sampled'.
    """

    name: str
    ok: bool
    detail: str = ""
    figure: float | None = None
    bound: float | None = None
    scope: Literal["witness", "full"] = "witness"
    note: str = ""


NO_BOUND = "random: no bound"  # the note of a check that claims no more than that finite results are finite


def hygiene(runs: Sequence[Run], label: str) -> list[Check]:
    """What every run must leave alone: the guard bands around all buffers, and the inputs; what an emulator found."""
    broken = sorted({name for run in runs for name in run.broken_guards})
    changed = sorted({name for run in runs for name in run.changed_inputs})
    reported = [run.findings for run in runs if run.findings is not None]
    findings = list(dict.fromkeys(each for found in reported for each in found))
    return [
        *([Check(f"faults and races, {label}", not findings, findings[0] if findings else "")] if reported else []),
        Check(f"guard bands, {label}", not broken, f"wrote outside of {', '.join(broken)}" if broken else ""),
        Check(f"inputs unchanged, {label}", not changed, f"changed its input {', '.join(changed)}" if changed else ""),
    ]


def repeatable(runs: Sequence[Run], label: str) -> Check:
    """Two runs on the same inputs, with different poison in the output, give the same bits."""
    differ = [bits(a) != bits(b) for a, b in zip(runs[0].outputs, runs[1].outputs, strict=True)]
    return Check(
        f"two runs agree, {label}", not any(differ), "two runs on the same inputs differ" if any(differ) else ""
    )


def bits(values: Array) -> bytes:
    """The bytes of an output; all NaNs count as one, since which payload survives is not defined."""
    if values.dtype.kind in "iub":
        return values.tobytes()
    nan = np.isnan(values)
    return np.where(nan, np.zeros((), values.dtype), values).tobytes() + (nan.tobytes() if nan.any() else b"")


def within(
    outputs: Sequence[Argument],
    runs: Sequence[Run],
    expected: Sequence[Interval],
    reference: Sequence[Array],
    label: str,
    bounded: bool = True,
    origins: Sequence[tuple[int, ...]] = (),
) -> list[Check]:
    """Every element of every output, in every run, against its limits. One check an output: the first failing run's.

    `bounded` is False where nothing can be claimed of a sum that rounds; `origins` say where in the outputs these parts
    of them begin, for the words.
    """
    found: list[Check] = []
    for number, argument in enumerate(outputs):
        name = label if len(outputs) == 1 else f"{argument.name}, {label}"
        origin = origins[number] if origins else (0,) * len(argument.shape)
        limits, exact = expected[number], reference[number]
        results = [compare(run.outputs[number], limits, exact, name, run.poison, bounded, origin) for run in runs]
        found.append(next((check for check in results if not check.ok), results[0]))
    return found


def compare(
    output: Array,
    limits: Interval,
    reference: Array,
    name: str,
    poison: int,
    bounded: bool = True,
    origin: tuple[int, ...] = (),
) -> Check:
    """One output against its limits: NaN exactly where the reference has NaN, everything else between the limits."""
    values = output.astype(np.float64)
    with np.errstate(invalid="ignore"):
        right = values >= limits.low
        right &= values <= limits.high
    if not right.all():
        right |= np.isnan(values) & may_be_nan(limits)
    if not bounded:
        right &= finite_where(limits, values, reference, output.dtype)
    if right.all():
        span = 2.0 ** (8 * output.itemsize) - 1 if output.dtype.kind == "i" else np.inf
        detail, figure, bound = agreement(values, limits, reference, bounded, span)
        return Check(name, True, detail, figure, bound, note=NO_BOUND if detail == UNBOUNDED else "")
    wrong = ~right
    place = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
    start = origin or (0,) * wrong.ndim
    detail = (
        f"{int(wrong.sum())} of {wrong.size} elements are wrong{region(wrong, start)}{never(output, wrong, poison)}"
    )
    detail += f"; first at [{', '.join(str(int(i) + o) for i, o in zip(place, start, strict=True))}]: "
    detail += sample(values[place], limits.low[place], limits.high[place])
    error = np.where(wrong, np.nan_to_num(distance(values, reference), nan=np.inf), 0.0)
    most = np.unravel_index(int(np.argmax(error)), error.shape)
    return Check(name, False, detail, float(error[most]), allowed(limits, reference, most))


def may_be_nan(limits: Interval) -> Array:
    """Where NaN is right: where it is certain, or where nothing is.

    The latter is an epilogue like -inf * (1 + erf(-inf)): NaN, or -inf where the erf is not exactly -1.
    """
    return np.isnan(limits.low) | anything(limits)


def anything(limits: Interval) -> Array:
    """Where the limits say nothing."""
    return (limits.low == -np.inf) & (limits.high == np.inf)


def finite_where(limits: Interval, values: Array, reference: Array, dtype: np.dtype[Any]) -> Array:
    """Where a value for which there is no bound is finite, as far as its reference is and fits the type."""
    if dtype.kind in "iub":
        return np.ones(values.shape, bool)
    fits = np.abs(reference) <= float(ml_dtypes.finfo(dtype).max)  # False for NaN
    unsure = (limits.low < limits.high) & (np.isinf(limits.low) | np.isinf(limits.high))
    return np.isfinite(values) | ~fits | ~unsure


def distance(values: Array, reference: Array) -> Array:
    """How far an output is from the reference."""
    with np.errstate(invalid="ignore", over="ignore"):
        found = values - reference
        return np.abs(found, out=found)


def allowed(limits: Interval, reference: Array, place: tuple[Any, ...]) -> float:
    """How far one element may be from the reference."""
    with np.errstate(invalid="ignore", over="ignore"):
        found = max(limits.high[place] - reference[place], reference[place] - limits.low[place])
    return float(np.nan_to_num(found))


UNBOUNDED = "no bound can be claimed: K is too large for this accumulator"


def agreement(
    values: Array, limits: Interval, reference: Array, bounded: bool = True, span: float = np.inf
) -> tuple[str, float, float]:
    """Words, the largest error, and the bound at that element, of an output that is right.

    Elements whose limits are as wide as `span` may be anything: they give no figure, their reference means nothing.
    """
    if limits.low is limits.high or not np.any(limits.low < limits.high):
        return "bit for bit", 0.0, 0.0
    if not bounded:
        return UNBOUNDED, 0.0, 0.0
    error = distance(values, reference)
    if span < np.inf:
        error[limits.high - limits.low >= span] = np.nan
    place = np.unravel_index(int(np.argmax(error)), error.shape)
    if not np.isfinite(error[place]):  # NaN and infinities are where they belong: the finite elements count
        place = np.unravel_index(int(np.argmax(np.where(np.isfinite(error), error, 0.0))), error.shape)
    return "every element within its bound", float(error[place]), allowed(limits, reference, place)


def region(wrong: Array, origin: Sequence[int] = ()) -> str:
    """Where the wrong elements are, where that is a block of the last two dimensions smaller than the whole."""
    names = ("columns", "rows", "batches", *(f"dimension {i}" for i in range(4, wrong.ndim + 1)))
    parts: list[str] = []
    for back, name in zip(range(wrong.ndim), names, strict=False):
        axis = wrong.ndim - 1 - back
        lines = np.nonzero(wrong.any(axis=tuple(i for i in range(wrong.ndim) if i != axis)))[0]
        low, high = int(lines[0]), int(lines[-1])
        start = origin[axis] if origin else 0
        if start or (low, high) != (0, wrong.shape[axis] - 1):
            first, final = start + low, start + high
            parts.append(f"{name} {first} to {final}" if low != high else f"{name.removesuffix('s')} {first}")
    return f", all in {' and '.join(reversed(parts))}" if parts else ""


def never(output: Array, wrong: Array, poison: int) -> str:
    """Says so where wrong elements were not written at all."""
    left = int((unwritten(output, poison) & wrong).sum())
    return f", {left} of them never written" if left else ""


def sample(got: float, low: float, high: float) -> str:
    """One wrong element in words."""
    if low == high or np.isnan(low):
        return f"got {got:g}, expected {low:g}"
    return f"got {got:.9g}, expected {low:.9g} to {high:.9g}"
