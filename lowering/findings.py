"""What a pass graph says about its passes, in the terms of the literature on phase orders.

Orders represented, dormant passes, independence and enabling are those of Kulkarni, Whalley, Tyson and Davidson,
'Exhaustive Optimization Phase Order Space Exploration' (CGO 2006), where a node is an instance of a function and an
edge a phase. Here:

* two passes *commute* on a state where both are active if both orders end in one node;
* P *enables* Q where Q is dormant or fails on a state and is active after P; it *disables* Q where Q is active on a
  state and dormant or fails after P;
* a pass *dominates* if every way from the root to a good end goes through it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lowering.graph import Graph
from lowering.plan import Plan

Successors = Mapping[int, Mapping[str, int | None]]  # state -> pass -> state it leads to, None where it fails


@dataclass(frozen=True)
class PassFinding:
    """How a pass fared. `dominates`: no good end without it. `without`: seconds of the best binary without it."""

    text: str
    tried: int
    active: int
    dormant: int
    cosmetic: int
    failed: int
    reasons: tuple[tuple[str, int], ...] = ()  # the most frequent
    dominates: bool = False
    without: float | None = None


@dataclass(frozen=True)
class PairFinding:
    """Two passes, both active on `together` states: on `same` of them either order ends in one node.

    `fails`: one of the orders fails. `enables`, `disables`: (times first did so to second, chances it had), and the
    other way round.
    """

    first: str
    second: str
    together: int = 0
    same: int = 0
    fails: int = 0
    enables: tuple[int, int] = (0, 0)
    disables: tuple[int, int] = (0, 0)
    enabled: tuple[int, int] = (0, 0)
    disabled: tuple[int, int] = (0, 0)


def successors(graph: Graph) -> Successors:
    """Where every pass leads; one that changes nothing leads to the state itself.

    An instance that a pass named on some states and not on this one is illegal here, by what the pass says itself: it
    leads nowhere, as where it fails.
    """
    found: dict[int, dict[str, int | None]] = defaultdict(dict)
    for edge in graph.edges():
        found[edge.source][edge.text] = edge.target
    named: dict[str, set[str]] = defaultdict(set)
    for _, move, texts in graph.opened():
        named[move].update(texts)
    for state, move, _ in graph.opened():
        for text in named[move]:
            found[state].setdefault(text, None)
    return found


def orders_represented(graph: Graph, plan: Plan, leads: Successors) -> int:
    """How many sequences of passes the graph stands for: ways through the plan on which no pass fails."""
    level: dict[tuple[int, Any], int] = {(1, plan.start): 1}
    total = 0
    while level:
        total += sum(ways for (_, position), ways in level.items() if plan.counts(position))
        following: dict[tuple[int, Any], int] = defaultdict(int)
        for (state, position), ways in level.items():
            there = leads.get(state, {})
            for move, after in plan.follow(position):
                texts = graph.instances(state, move) or () if move in plan.asked else (move,)
                for text in texts:
                    target = there.get(text)
                    if target is not None:
                        following[target, after] += ways
        level = following
    return total


def pass_findings(
    graph: Graph, leads: Successors, good: Iterable[int], times: Mapping[int, float]
) -> list[PassFinding]:
    """One row a pass, by its name."""
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    reasons: dict[str, Counter[str]] = defaultdict(Counter)
    for edge in graph.edges():
        kinds[edge.text][edge.kind] += 1
        if edge.fell is not None:
            reasons[edge.text][f"{edge.fell.kind}: {edge.fell.reason}"] += 1
    good = frozenset(good)
    return [finding(text, kinds[text], reasons[text], reachable(leads, text), good, times) for text in sorted(kinds)]


def finding(
    text: str,
    kinds: Counter[str],
    reasons: Counter[str],
    without: set[int],
    good: frozenset[int],
    times: Mapping[int, float],
) -> PassFinding:
    """A pass's row; `without` are the states that are reached without it."""
    best = min((seconds for state, seconds in times.items() if state in without), default=None)
    return PassFinding(
        text,
        kinds.total(),
        kinds["active"],
        kinds["dormant"],
        kinds["cosmetic"],
        kinds["failed"],
        tuple(reasons.most_common(3)),
        bool(good) and not good & without,
        best,
    )


def reachable(leads: Successors, without: str = "", root: int = 1) -> set[int]:
    """The states that are reached from the root without the active edges of a pass."""
    seen, pending = {root}, [root]
    while pending:
        for text, target in leads.get(pending.pop(), {}).items():
            if target is not None and text != without and target not in seen:
                seen.add(target)
                pending.append(target)
    return seen


def pair_findings(leads: Successors) -> list[PairFinding]:
    """One row a pair of passes that met on some state, the ones whose order matters most often first."""
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for state, there in leads.items():
        for first, middle in there.items():
            if middle is None or middle == state:
                continue
            after = leads.get(middle)
            if after is not None:
                influence(counts, first, state, middle, there, after)
        for first, second in diamonds(state, there):
            meet(counts[first, second], leads, there, first, second)
    pairs = sorted({(min(pair), max(pair)) for pair in counts})
    rows = [pair_finding(a, b, counts[a, b], counts[b, a]) for a, b in pairs]
    return sorted(rows, key=lambda row: (row.same - row.together, row.first, row.second))


def influence(
    counts: Mapping[tuple[str, str], Counter[str]],
    first: str,
    state: int,
    middle: int,
    there: Mapping[str, int | None],
    after: Mapping[str, int | None],
) -> None:
    """What an active pass does to the others: which it enables and which it disables."""
    for second, target in there.items():
        if second == first or second not in after:
            continue
        before, now = target not in (None, state), after[second] not in (None, middle)
        count = counts[first, second]
        count["could disable" if before else "could enable"] += 1
        if before != now:
            count["disables" if before else "enables"] += 1


def diamonds(state: int, there: Mapping[str, int | None]) -> Iterator[tuple[str, str]]:
    """The pairs of passes that are both active on a state, each pair once, in the order of their texts."""
    active = sorted(text for text, target in there.items() if target not in (None, state))
    return ((first, second) for i, first in enumerate(active) for second in active[i + 1 :])


def meet(count: Counter[str], leads: Successors, there: Mapping[str, int | None], first: str, second: str) -> None:
    """Whether both orders of two passes end in one node, where both were tried."""
    one = leads.get(there[first] or 0, {}).get(second, 0)
    other = leads.get(there[second] or 0, {}).get(first, 0)
    if one == 0 or other == 0:
        return
    count["together"] += 1
    count["same"] += one == other and one is not None
    count["fails"] += one is None or other is None


def pair_finding(first: str, second: str, there: Counter[str], back: Counter[str]) -> PairFinding:
    """A row of counts in both directions."""

    def of(count: Counter[str], what: str) -> tuple[int, int]:
        return count[f"{what}s"], count[f"could {what}"]

    return PairFinding(
        first,
        second,
        there["together"],
        there["same"],
        there["fails"],
        of(there, "enable"),
        of(there, "disable"),
        of(back, "enable"),
        of(back, "disable"),
    )
