"""The pairs of passes whose order decides how fast the code of a pass graph can become."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lowering.findings import Successors, diamonds
from lowering.retime import Retimed

MATTERS = 1.1  # times as slow, from which on an order is said to decide


@dataclass(frozen=True)
class OrderFinding:
    """A state on which the order of two passes decides how fast it can become: the best ends after each order.

    It is the first such state for this pair, `done` passes from the root; where timing the ends again does not bear
    that out, the one on which the ratio is the largest. Both orders lead to states that are as far from the root as
    each other, so as many passes were tried after the one as after the other. `wins` and `losses` are the states on
    which this order and the other one is better by as much.
    """

    first: str
    second: str
    state: int
    done: int
    faster: int  # the end after first, second
    slower: int  # the end after second, first
    ratio: float  # slower / faster, of what is compared; each was timed in a run of its own
    wins: int = 1
    losses: int = 0
    retimed: Retimed | None = None  # the two ends timed again, in turn
    untimed: str = ""  # why they were not

    @property
    def sure(self) -> bool:
        """Whether the order still decides by as much where the ends are timed in turn."""
        return self.retimed is not None and self.retimed.low >= MATTERS


def order_findings(
    leads: Successors, depths: Mapping[int, int], times: Mapping[int, float], least: float = MATTERS
) -> list[tuple[OrderFinding, ...]]:
    """The pairs whose order decides by at least `least` how fast the code can become, that of the largest ratio first.

    Each on the first such state, and on the one of the largest ratio where that is another one.
    The best end after an order is the fastest measured one that the graph leads to from there; `times` may be seconds,
    or seconds in units of a baseline that was timed beside each.
    """
    best = best_ends(leads, times)
    found: dict[tuple[str, str], list[OrderFinding]] = defaultdict(list)
    for state in sorted(leads, key=lambda each: (depths[each], each)):
        there = leads[state]
        for pair in diamonds(state, there):
            one, other = after_both(leads, there, *pair), after_both(leads, there, *reversed(pair))
            if one is None or other is None or one not in best or other not in best or depths[one] != depths[other]:
                continue
            row = ordered(pair, state, depths[state], best[one], best[other], times)
            if row.ratio >= least:
                found[pair].append(row)
    rows = map(candidates, found.values())
    return sorted(rows, key=lambda each: -each[-1].ratio)


def candidates(rows: Sequence[OrderFinding]) -> tuple[OrderFinding, ...]:
    """The first of a pair's rows, and the one of the largest ratio where that is another one."""
    chosen = dict.fromkeys((rows[0], max(rows, key=lambda row: row.ratio)))
    return tuple(summed(row, rows) for row in chosen)


def summed(one: OrderFinding, rows: Sequence[OrderFinding]) -> OrderFinding:
    """One of a pair's rows, with on how many states it is as there and how many the other way round."""
    wins = sum(row.first == one.first for row in rows)
    return replace(one, wins=wins, losses=len(rows) - wins)


def after_both(leads: Successors, there: Mapping[str, int | None], first: str, second: str) -> int | None:
    """Where two passes lead in this order; None where that is not known or one fails."""
    middle = there.get(first)
    return None if middle is None else leads.get(middle, {}).get(second)


def ordered(
    pair: Sequence[str], state: int, done: int, one: int, other: int, times: Mapping[int, float]
) -> OrderFinding:
    """The finding of a pair whose orders have `one` and `other` as their best ends."""
    first, second = pair
    if times[one] > times[other]:
        first, second, one, other = second, first, other, one
    return OrderFinding(first, second, state, done, one, other, times[other] / times[one])


def best_ends(leads: Successors, times: Mapping[int, float]) -> dict[int, int]:
    """For every state the fastest measured end that it leads to."""
    before: dict[int, set[int]] = defaultdict(set)
    for state, there in leads.items():
        for target in there.values():
            if target is not None and target != state:
                before[target].add(state)
    best: dict[int, int] = {}
    for end in sorted(times, key=lambda state: times[state]):
        pending = [end]
        while pending:
            state = pending.pop()
            if state not in best:
                best[state] = end
                pending.extend(before[state])
    return best
