"""What was changed in a schedule, in a few words: 'without cse', 'tile-k before pack', 'canonicalize twice'.

The changed schedule is a way through a pass graph, which has only the passes that did something. So a step of the given
schedule that is not on the way counts as left out only if it would have done something there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from lowering.graph import Graph
from lowering.graph_view import short

AS_GIVEN = "as given"


@dataclass(frozen=True)
class Base:
    """The schedule that others are compared with, and the states on its way, as far as the graph has its edges.

    `reach`: by how many places a step may have been moved; one that stands farther away is another one.
    """

    steps: tuple[str, ...]
    reach: int
    states: tuple[int, ...]

    @property
    def end(self) -> int:
        """The state that it leads to, 0 where that is not known."""
        return self.states[-1] if len(self.states) == len(self.steps) + 1 else 0

    def way(self, graph: Graph, state: int) -> tuple[str, ...]:
        """Passes that lead to a state: the given steps as far as its first way shares a state with them."""
        path = graph.path(state)
        states = walked(graph, path)
        apart = max(place for place, each in enumerate(states) if each in self.states)
        return (*self.steps[: self.states.index(states[apart])], *path[apart:])

    def edits(self, graph: Graph, path: Sequence[str]) -> list[str]:
        """What makes `path`, which begins at the root, of these steps: a few words each."""
        states = walked(graph, path)
        moves = SequenceMatcher(None, self.steps, path, autojunk=False).get_opcodes()
        changed = [spans for kind, *spans in moves if kind != "equal"]
        gone = {old: states[begin : end + 1] for first, last, begin, end in changed for old in range(first, last)}
        found: list[str] = []
        for near, _, begin, end in changed:
            for place in range(begin, end):
                same = [old for old in gone if self.steps[old] == path[place] and abs(old - near) <= self.reach]
                old = min(same, key=lambda old: (abs(old - near), old), default=None)
                gone.pop(-1 if old is None else old, None)
                found.append(self.added(path, place, None if old is None else old >= near))
        left_out = [old for old, at in gone.items() if not idle(graph, at, self.steps[old])]
        return found + [f"without {self.named(old)}" for old in left_out]

    def added(self, path: Sequence[str], place: int, earlier: bool | None) -> str:
        """A step of `path` that does not stand there in these: moved there, to an earlier place or not, or added."""
        name = self.short(path[place])
        before = path[place - 1] if place else ""
        after = path[place + 1] if place + 1 < len(path) else ""
        if earlier and after:
            return f"{name} before {self.short(after)}"
        behind = f"after {self.short(before)}" if before else "first"
        if earlier is not None:
            return f"{name} {behind}"
        if path[place] not in self.steps:
            return f"with {name} {behind}"
        return f"{name} twice" if path[place] in (before, after) else f"{name} again {behind}"

    def named(self, place: int) -> str:
        """A step, with its number from 1 where it stands there more than once."""
        many = self.steps.count(self.steps[place]) > 1
        return self.short(self.steps[place]) + (f" (step {place + 1})" if many else "")

    def short(self, text: str) -> str:
        """A step without its options, where no other one of the steps has this name."""
        return text if Counter(map(short, {*self.steps, text}))[short(text)] > 1 else short(text)


def base(graph: Graph, steps: tuple[str, ...], reach: int) -> Base:
    """A schedule as the graph knows it."""
    return Base(steps, reach, tuple(walked(graph, steps)))


def walked(graph: Graph, path: Iterable[str]) -> list[int]:
    """The states on a way from the root, as far as the graph has its edges."""
    states = [1]
    for text in path:
        edge = graph.edges_of(states[-1]).get(text)
        if edge is None or edge.target is None:
            break
        states.append(edge.target)
    return states


def idle(graph: Graph, states: Iterable[int], text: str) -> bool:
    """Whether a pass is known to do nothing on one of some states."""
    edges = ((state, graph.edges_of(state).get(text)) for state in states)
    return any(edge is not None and edge.target == state for state, edge in edges)
