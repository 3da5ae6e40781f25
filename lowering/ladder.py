"""The steps from a naive schedule to the default one, each a change of the schedule's text, and why each is made.

A family's space declares its ladder as the knobs of a schedule that lacks a step (`Rung`). It is gone down from the
problem's own full knobs, so that a rung's schedule is legal, or says why it is not, for any problem.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lowering.core import Problem, Schedule, Target
from lowering.diff import name, paired, same_text
from lowering.passes import pipeline
from lowering.passes.table import PASSES
from lowering.targets.families import FAMILIES

Knobs = Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    """One rung of a problem's ladder: full knobs, their schedule, and what changed since the rung below it.

    `why`: what the passes that were added do, or else the knobs that differ. `skipped`: why it is not built; then it
    has no schedule.
    """

    name: str
    knobs: Knobs
    schedule: Schedule | None = None
    changes: tuple[str, ...] = ()
    why: tuple[str, ...] = ()
    skipped: str = ""


def ladder(problem: Problem, target: Target, given: Knobs) -> list[Step]:
    """The rungs, the lowest first; the highest is the default with the knobs that are given."""
    space = FAMILIES[target.family].space
    found: list[Step] = []
    below: Step | None = None  # the last one that is built
    for each, knobs in descent(problem, target, given):
        reason = space.illegal(knobs, problem, target)
        schedule = None if reason else space.schedule(knobs, problem, target)
        if below is not None and schedule == below.schedule:
            reason = "it changes nothing here"
        if reason is not None:
            found.append(Step(each, knobs, skipped=reason))
            continue
        assert schedule is not None
        found.append(Step(each, knobs, schedule, *told(below, schedule, knobs, space.KNOBS)))
        below = found[-1]
    return found


def descent(problem: Problem, target: Target, given: Knobs) -> list[tuple[str, dict[str, Any]]]:
    """Names and full knobs of all rungs, the lowest first."""
    space = FAMILIES[target.family].space
    knobs = space.full(given, problem, target)
    found: list[tuple[str, dict[str, Any]]] = []
    for rung in reversed(space.ladder(knobs)):
        found.append((rung.name, knobs))
        knobs = space.full(rung.below(knobs), problem, target)
    return found[::-1]


def told(below: Step | None, schedule: Schedule, knobs: Knobs, docs: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What changed since the rung below, and why that is done."""
    if below is None or below.schedule is None:
        return (), ()
    changed = changes(below.schedule, schedule)
    had = {name(unnested(str(each))) for each in below.schedule}
    added = [new for old, new in changed if old is None and new is not None and name(unnested(new)) not in had]
    why = [f"{each}: {sentence(each)}" for each in dict.fromkeys(name(unnested(text)) for text in added)]
    if not why:
        was = {knob.name: below.knobs.get(knob.name) for knob in docs if knob.name in knobs}
        why = [
            f"{knob.name} {was[knob.name]} -> {knobs[knob.name]}: {knob.doc}"
            for knob in docs
            if knob.name in knobs and knobs[knob.name] != was[knob.name]
        ]
    return tuple(map(shown, changed)), tuple(why)


def changes(before: Schedule, after: Schedule) -> list[tuple[str | None, str | None]]:
    """The passes in which two schedules differ, as (before, after): only in one, or with other options."""
    texts = [str(each) for each in before], [str(each) for each in after]
    return [(old, new) for old, new in paired(*texts, same_text) if old != new]


def shown(change: tuple[str | None, str | None]) -> str:
    """A change as a line: '+ pass', '- pass', or 'pass -> pass'."""
    old, new = change
    return f"+ {new}" if old is None else f"- {old}" if new is None else f"{old} -> {new}"


def unnested(text: str) -> str:
    """A pass's text without what it is anchored on."""
    return re.sub(r"^(?:[\w.]+\()+", "", text).rstrip(")")


def sentence(pass_name: str) -> str:
    """What a pass is for: the first sentence of its file, or upstream's summary."""
    if pass_name not in PASSES:
        return pipeline.upstream_names().get(pass_name, "")
    text = (inspect.getdoc(inspect.getmodule(PASSES[pass_name])) or "").removeprefix(f"{pass_name}: ")
    first = " ".join(text.split("\n\n")[0].split()).split(". ")[0].rstrip(".")
    return f"{first[:1].upper()}{first[1:]}."
