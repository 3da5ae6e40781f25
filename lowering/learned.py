"""Conditions learned from failures: a pass that failed often, and only ever where an op is missing, needs that op.

A learned condition is a guess from what was seen, so it is reported, and applied only where that is asked for: then a
graph depends on what was seen before.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from lowering.graph import Graph

ENOUGH = 8  # failures in states that lack an op, before it is called a condition

Tally = dict[str, tuple[Counter[str], Counter[str]]]  # pass -> how often it worked and failed, by the state's ops


@dataclass(frozen=True)
class Condition:
    """A pass worked only in states with an op or dialect, and failed `failures` times in states without it."""

    text: str
    needs: str  # an op, or a dialect
    failures: int
    worked: int


def features(ops: str) -> frozenset[str]:
    """The ops of a state, and their dialects."""
    names = ops.split()
    return frozenset((*names, *(name.split(".")[0] for name in names)))


def tally(graph: Graph) -> Tally:
    """How often every pass worked and failed in the states of each set of ops."""
    found: Tally = defaultdict(lambda: (Counter[str](), Counter[str]()))
    for text, ops, failed, count in graph.outcomes():
        found[text][failed][ops] += count
    return found


def conditions(seen: Tally) -> list[Condition]:
    """One condition a pass: the feature whose absence explains the most failures; a dialect before its ops."""
    found = (condition(text, *counts) for text, counts in seen.items())
    return sorted((each for each in found if each is not None), key=lambda each: (-each.failures, each.text))


def condition(text: str, worked: Mapping[str, int], failed: Mapping[str, int]) -> Condition | None:
    """What a pass needs, or None where its failures do not show it."""
    if not worked or sum(failed.values()) < ENOUGH:
        return None
    always = frozenset.intersection(*map(features, worked))
    lacking = {name: sum(n for ops, n in failed.items() if name not in features(ops)) for name in always}
    name = min(lacking, key=lambda each: (-lacking[each], "." in each, each), default=None)
    if name is None or lacking[name] < ENOUGH:
        return None
    return Condition(text, name, lacking[name], sum(worked.values()))


class Learner:
    """Learns while a graph is explored. What it says changes only in `learn`, between levels."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.seen = graph, tally(graph)
        self.needs: dict[str, str] = {}

    def see(self, text: str, state: int, worked: bool) -> None:
        """One more edge."""
        self.seen[text][not worked][self.graph.ops(state)] += 1

    def learn(self, level: int) -> None:
        """Takes what was seen as conditions from now on; on a level that was begun before, what was taken then."""
        name = f"conditions of level {level}"
        needs = self.graph.meta(name)
        if needs is None:
            needs = {each.text: each.needs for each in conditions(self.seen)}
            self.graph.set_meta(name, needs)
        self.needs = needs

    def may_work(self, text: str, state: int) -> bool:
        """Whether a state has what the pass needs."""
        return text not in self.needs or self.needs[text] in features(self.graph.ops(state))
