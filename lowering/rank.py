"""`lower rank` and `lower explain`: schedules by their *predicted* time, and why an instance is what it is.

Nothing is compiled and nothing is run: a prediction orders what is worth building, and is no measurement.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lowering import frontend, targets
from lowering.core import Problem, Target, UserError
from lowering.targets.families import FAMILIES
from lowering.targets.space import chosen


@dataclass(frozen=True)
class Request(frontend.ProblemWords):
    """The words of either command, as typed. `knobs`: `name=value` each, or several with spaces or commas between."""

    knobs: list[str]
    as_json: bool = False
    top: int = 10


def rank(request: Request) -> int:
    """Prints the best schedules. Raises UserError for a target without a model."""
    problem, target = subject(request)
    space = FAMILIES[target.family].space
    if not hasattr(space, "ranked"):
        raise UserError(f"there is no model for {target.name}; targets that have one: {', '.join(modelled())}")
    given = chosen(request.knobs, space.KNOBS)
    found = space.ranked(given, problem, target)
    if not found:
        raise UserError(space.illegal(given, problem, target) or "no schedule of these knobs is legal")
    best = found[: request.top]
    if request.as_json:
        rows = [{"knobs": knobs, "predicted": asdict(prediction)} for knobs, prediction in best]
        print(json.dumps({"problem": problem.name, "target": target.name, "legal": len(found), "best": rows}, indent=1))
        return 0
    for line in table(problem, target, found, best):
        print(line)
    return 0


def modelled() -> list[str]:
    """The targets whose schedules can be ranked."""
    return [name for name in targets.names() if hasattr(FAMILIES[targets.load(name).family].space, "ranked")]


def table(
    problem: Problem, target: Target, found: Sequence[Any], best: Sequence[tuple[Mapping[str, Any], Any]]
) -> Iterator[str]:
    """The best schedules with the terms that decide."""
    version = best[0][1].version
    yield f"problem   {problem.name}"
    yield f"ranked    {len(found)} legal schedules for {target.name} by *predicted* time (model {version}; nothing ran)"
    varied = [name for name in best[0][0] if len({row[0][name] for row in found}) > 1]
    heads = ["", *varied, "predicted", "TFLOP/s", "decided by", "then by", "rounds", "clock"]
    rows = [heads]
    for number, (knobs, p) in enumerate(best, start=1):
        terms = sorted(p.terms, key=lambda name: -p.terms[name])
        mark = "default" if number == 1 else str(number)
        second = f"{terms[1]} {p.terms[terms[1]] / p.terms[terms[0]]:.0%}"
        times = [f"{p.seconds * 1e6:.1f} µs", f"{p.rate / 1e12:.0f}", terms[0], second]
        fill = [f"{p.rounds} ({p.full:.0%} full)", f"{p.clock / 1e9:.2f} GHz"]
        rows.append([mark, *(str(knobs[name]) for name in varied), *times, *fill])
    widths = [max(len(row[n]) for row in rows) for n in range(len(heads))]
    for row in rows:
        yield "          " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    fixed = {name: value for name, value in best[0][0].items() if name not in varied}
    if len(found) > 1 and found[0][1].seconds > found[1][1].seconds:
        yield "default   what `lower` takes: not always the first by time (`lower explain` says how it is chosen)"
    yield "the same  " + " ".join(f"{name}={value}" for name, value in fixed.items())


def explain(request: Request) -> int:
    """Prints why an instance is illegal, or where each of its knobs comes from; 1 for an illegal one."""
    problem, target = subject(request)
    space = FAMILIES[target.family].space
    given = chosen(request.knobs, space.KNOBS)
    reason = space.illegal(given, problem, target)
    if reason is not None:
        print(f"illegal   {reason}")
        return 1
    full = space.full(given, problem, target)
    remarks = space.remarks(full, problem, target) if hasattr(space, "remarks") else {}
    docs = {knob.name: knob.doc for knob in space.KNOBS}
    print(f"legal     for {problem.name} on {target.name}")
    width = max(len(f"{name}={value}") for name, value in full.items())
    for name, value in full.items():
        where = "given" if name in given else "the default's"
        where += f", and {remarks[name]}" if name in remarks else ""
        print(f"          {f'{name}={value}'.ljust(width)}  {where}: {docs[name]}")
    if hasattr(space, "why"):
        for line in space.why(full, given, problem, target):
            print(line)
    return 0


def subject(request: Request) -> tuple[Problem, Target]:
    """The problem and the target that are named."""
    target = targets.load(request.target or modelled()[0])
    return frontend.problem(request), target
