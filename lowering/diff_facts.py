"""Two records side by side: what they say of target, schedule, outcome, times and kernels."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from lowering import report
from lowering.passes.common.backend import BACKEND
from lowering.passes.pipeline import Scanner, leaves
from lowering.report import DRIFT, RESOURCES
from lowering.store import Record, TimingRecord

Row = tuple[str, str, str]  # a fact's name, and what it is in each run


def facts(a: Record, b: Record) -> Iterator[Row]:
    """Target, schedule, outcome and times; of knobs and tools what differs."""
    yield "target", f"{a.target} ({a.cpu})", f"{b.target} ({b.cpu})"
    yield "schedule", f"{a.proposer}, {passes(a)[0]} passes", f"{b.proposer}, {passes(b)[0]} passes"
    if a.knobs and b.knobs and a.knobs.keys() == b.knobs.keys():
        yield from differing(a.knobs, b.knobs)
    if passes(a)[1] != passes(b)[1]:
        yield "then", passes(a)[1], passes(b)[1]
    yield "outcome", a.outcome, b.outcome
    if a.failure or b.failure:
        yield "failure", failure(a), failure(b)
    if a.timing or b.timing:
        yield "timed on", device(a), device(b)
        yield from ((kind, time(a, kind), time(b, kind)) for kind in ("hot", "rotated"))
    yield from differing(a.toolchain, b.toolchain)


def passes(record: Record) -> tuple[int, str]:
    """The number of passes in a schedule, and the text of the steps behind them, which leave no states."""
    scanner = Scanner(record.schedule.strip())
    steps = [leaf for element in scanner.elements("") for leaf in leaves(element)]
    behind = [step.column for step in steps if step.name in {each.name for each in BACKEND}]
    return len(steps) - len(behind), scanner.text[min(behind) :] if behind else ""


def differing(a: dict[str, Any], b: dict[str, Any]) -> Iterator[Row]:
    """The entries that are not equal."""
    for name in (*a, *(name for name in b if name not in a)):
        if a.get(name) != b.get(name):
            yield name, str(a.get(name, "")), str(b.get(name, ""))


def failure(record: Record) -> str:
    """Why there is no more."""
    f = record.failure
    return f"{f.stage}: {f.kind}: {f.reason}" if f else ""


def device(record: Record) -> str:
    """Where a run was timed."""
    return f"{record.timing.device}, {record.word}" if record.timing else "not timed"


def time(record: Record, kind: str) -> str:
    """A median, hot or rotated past the last cache, with its rate and spread."""
    t = record.timing
    return "  ".join(report.timed(record, getattr(t, kind), getattr(t, f"{kind}_samples"))[:3]) if t else ""


def doubt(a: TimingRecord, b: TimingRecord) -> str:
    """What speaks against a ratio of two medians."""
    if any(t.drift is not None and abs(t.drift - 1) >= DRIFT for t in (a, b)):
        return ": the machine was not quiet, so trust it little"
    if min(len(t.hot_samples) for t in (a, b)) < 4:
        return ""
    (low, _, high), (bottom, _, top) = (statistics.quantiles(t.hot_samples, n=4) for t in (a, b))
    return ": the middle halves of their samples overlap" if low <= top and bottom <= high else ""


def figures(a: Record, b: Record) -> Iterator[Row]:
    """What the two binaries say of their kernels, where it differs."""
    mine, other = ({k.name: k for k in r.kernels} for r in (a, b))
    for name in sorted({*mine, *other} if mine and other else ()):
        x, y = mine.get(name), other.get(name)
        if x is None or y is None:
            yield name, "a kernel" if x else "none", "a kernel" if y else "none"
            continue
        for field, title in {"grid": "grid", "block": "block", **RESOURCES}.items():
            if getattr(x, field) != getattr(y, field):
                yield f"{name}: {title}", figure(getattr(x, field)), figure(getattr(y, field))


def figure(value: int | tuple[int, int, int] | None) -> str:
    """A number or a launch shape; empty where the format does not say."""
    return report.shape(value) if isinstance(value, tuple) else "" if value is None else str(value)
