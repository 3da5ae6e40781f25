"""What a pass graph found of its passes, as tables; a line above each says how to read it."""

from __future__ import annotations

from collections.abc import Sequence

from lowering.findings import PairFinding, PassFinding
from lowering.learned import Condition
from lowering.report import Section, duration


def passes(found: Sequence[PassFinding], unoffered: Sequence[str]) -> Section:
    """One row a pass."""
    columns = ("pass", "tried", "active", "dormant", "cosmetic", "failed", "best without it", "most frequent failure")
    lines = (f"legal on no state, by what they say themselves: {', '.join(unoffered)}",) if unoffered else ()
    return Section("passes", lines, columns, tuple(map(pass_row, found)))


def pass_row(each: PassFinding) -> tuple[str, ...]:
    """How a pass fared."""
    without = duration(each.without) if each.without is not None else "no good end" if each.dominates else ""
    reason = each.reasons[0][0] if each.reasons else ""
    shares = (share(n, each.tried) for n in (each.active, each.dormant, each.cosmetic, each.failed))
    return each.text, str(each.tried), *shares, without, reason


def share(n: int, total: int) -> str:
    """A count as a share."""
    return f"{100 * n / total:.0f} %" if n else ""


def pairs(found: Sequence[PairFinding]) -> Section:
    """How many pairs commute wherever they met, and those that do not always."""
    met = [each for each in found if each.together]
    rows = tuple(
        (e.first, e.second, str(e.together), str(e.together - e.same), str(e.fails or ""))
        for e in met
        if e.same < e.together
    )
    lines = [f"{len(met) - len(rows)} of {len(met)} pairs that met commute wherever they did"]
    if rows:
        lines.append("the others: on how many states both do something, and on how many of these their order matters")
    columns = ("pass", "and pass", "states", "order matters", "since one order fails")
    return Section("pairs", tuple(lines), columns, rows)


def influence(found: Sequence[PairFinding]) -> Section:
    """Which pass enables or disables which, the surest first."""
    rows: list[tuple[float, int, tuple[str, ...]]] = []
    for e in found:
        for one, other, what, (times, chances) in (
            (e.first, e.second, "enables", e.enables),
            (e.first, e.second, "disables", e.disables),
            (e.second, e.first, "enables", e.enabled),
            (e.second, e.first, "disables", e.disabled),
        ):
            if times:
                rows.append((times / chances, times, (one, what, other, f"in {times} of {chances}")))
    rows.sort(key=lambda row: (-row[0], -row[1], row[2]))
    lines = (
        "how to read it: 'A enables B in 12 of 14' means that of 14 states where B failed or did nothing, it did",
        "something after A in 12; 'disables in 3 of 5', that of 5 where it did something, it did not after A in 3",
    )
    columns = ("pass A", "", "pass B", "states")
    return Section("influence", lines if rows else (), columns, tuple(row for *_, row in rows))


def conditions(found: Sequence[Condition]) -> Section:
    """What passes need, as learned from failures."""
    rows = tuple((c.text, c.needs, f"all {c.failures} times", f"{c.worked} times") for c in found)
    line = "a guess from what was seen: without an op of this name or dialect the pass failed, and with one it worked"
    return Section("needs", (line,) if rows else (), ("pass", "needs", "failed without", "worked with"), rows)
