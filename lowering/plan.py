"""Which passes may follow which: what an exploration walks beside the states.

A plan is an automaton over *moves*. A move is a pass instance, or the bare name of a pass of ours whose `choices` name
its instances on each state. `follow` gives the moves that are possible at a position and the position after each.

    ToDepth   any of the moves, at most `depth` of them
    Around    a schedule in which any `window` consecutive steps may be permuted, dropped and repeated once, and
              moves of one's own inserted between them; what stands before and after the window stays
    Along     the active edges of a graph: the same passes on another problem, its witness
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import comb
from typing import Any, Protocol

from lowering.graph import Graph

Position = Any  # hashable
Place = tuple[Any, ...]


class Plan(Protocol):
    """What an exploration asks of a plan."""

    @property
    def start(self) -> Position:
        """The position of the state to start from."""
        ...

    @property
    def asked(self) -> frozenset[str]:
        """The moves that are bare names, whose instances are asked for on each state; all others are instances."""
        ...

    def follow(self, position: Position) -> Iterable[tuple[str, Position]]:
        """The moves that are possible, each once, and where each leads."""
        ...

    def ends(self, position: Position) -> bool:
        """Whether a state at this position is one that the plan leads to, if it has such positions."""
        ...

    def counts(self, position: Position) -> bool:
        """Whether a sequence of moves that ends at this position is one of the plan's orders."""
        ...

    def visit(self, position: Position) -> Any:
        """What of a position is to be told apart from a visit of the same state that was earlier."""
        ...


@dataclass(frozen=True)
class ToDepth:
    """Any of the moves at each of at most `depth` steps. A position is the number of steps done."""

    moves: tuple[str, ...]
    depth: int
    asked: frozenset[str] = frozenset()

    @property
    def start(self) -> Position:
        return 0

    def follow(self, position: Position) -> Iterator[tuple[str, Position]]:
        if position < self.depth:
            yield from ((move, position + 1) for move in self.moves)

    def ends(self, position: Position) -> bool:
        return False  # a state is one that the plan leads to if nothing active leads on

    def counts(self, position: Position) -> bool:
        return True

    def visit(self, position: Position) -> Any:
        return None  # breadth first: the first visit of a state had the most steps left

    def orders(self) -> int:
        """How many orders of moves there are, the empty one included; instances of one move are not counted apart."""
        many = len(self.moves)
        return self.depth + 1 if many == 1 else (many ** (self.depth + 1) - 1) // (many - 1)

    def says(self) -> str:
        """The plan in words."""
        return f"{len(self.moves)} passes to depth {self.depth}"


@dataclass(frozen=True)
class Around:
    """A schedule with one window of changed order. A position is the set of places at which the moves so far may stand:

    ("before", i)        the first i steps are done, as they stand
    ("window", i, used)  the window begins at step i, and `used[j]` of the j-th different move in it are done
    ("after", i)         as in the schedule from step i on

    As a set, two windows that allow the same order are walked, and counted, as one.
    """

    steps: tuple[str, ...]
    window: int
    inserted: tuple[str, ...] = ()
    at: int | None = None  # the one window that is wanted, by its first step; None: each
    asked: frozenset[str] = frozenset()  # of the inserted moves

    @property
    def start(self) -> Position:
        return frozenset({("before", 0)})

    @property
    def moves(self) -> tuple[str, ...]:
        """All moves, each once."""
        return tuple(dict.fromkeys((*self.steps, *self.inserted)))

    @cached_property
    def windows(self) -> tuple[int, ...]:
        """Where windows begin."""
        last = max(0, len(self.steps) - self.window)
        return tuple(range(last + 1)) if self.at is None else (min(self.at, last),)

    @cached_property
    def pools(self) -> dict[int, tuple[tuple[str, int], ...]]:
        """The different moves of each window, and how often each may be done: twice as often as it stands there."""
        return {i: self.pool(i) for i in self.windows}

    def pool(self, begin: int) -> tuple[tuple[str, int], ...]:
        """The moves of the window that begins at a step."""
        often = Counter(self.steps[begin : begin + self.window])
        most = {move: 2 * count for move, count in often.items()}
        return tuple({**dict.fromkeys(self.inserted, 1), **most}.items())

    @cached_property
    def followed(self) -> dict[Position, tuple[tuple[str, Position], ...]]:
        """What `follow` gave before."""
        return {}

    def follow(self, position: Position) -> Iterable[tuple[str, Position]]:
        if position not in self.followed:
            places: dict[str, set[Place]] = {}
            for place in sorted(position):
                for move, after in self.next_places(place):
                    places.setdefault(move, set()).add(after)
            self.followed[position] = tuple((move, frozenset(after)) for move, after in places.items())
        return self.followed[position]

    def next_places(self, place: Place) -> Iterator[tuple[str, Place]]:
        """The moves that are possible at one place, and where each leads."""
        kind, begin, *rest = place
        if kind == "after":
            yield from self.one(begin, "after")
            return
        if kind == "before":
            if begin < self.windows[-1]:
                yield from self.one(begin, "before")
            if begin in self.pools:
                yield from self.inside(begin, (0,) * len(self.pools[begin]))
            return
        yield from self.inside(begin, rest[0])

    def one(self, index: int, kind: str) -> Iterator[tuple[str, Place]]:
        """The schedule's own next step."""
        if index < len(self.steps):
            yield self.steps[index], (kind, index + 1)

    def inside(self, begin: int, used: tuple[int, ...]) -> Iterator[tuple[str, Place]]:
        """One more move of the window, or the first step after it."""
        for j, (move, most) in enumerate(self.pools[begin]):
            if used[j] < most:
                yield move, ("window", begin, (*used[:j], used[j] + 1, *used[j + 1 :]))
        yield from self.one(begin + self.window, "after")

    def ends(self, position: Position) -> bool:
        return any(map(self.is_end, position))

    def is_end(self, place: Place) -> bool:
        """Whether nothing of the schedule is missing at a place."""
        kind, begin, *_ = place
        if kind == "after":
            return begin >= len(self.steps)
        return begin in self.pools and begin + self.window >= len(self.steps)

    def counts(self, position: Position) -> bool:
        return self.ends(position)

    def visit(self, position: Position) -> Any:
        return position

    def orders(self) -> int:
        """At most how many orders of moves there are: one that two windows allow is counted in both.

        Instances of one move are not counted apart.
        """
        return sum(arrangements([most for _, most in pool]) for pool in self.pools.values())

    def says(self) -> str:
        """The plan in words."""
        windows = f"{len(self.windows)} windows" if self.at is None else f"the window at step {self.windows[0] + 1}"
        added = f", with {', '.join(self.inserted)} inserted at most once" if self.inserted else ""
        return (
            f"{windows} of {self.window} in {len(self.steps)} steps, each dropped, repeated once, in any order{added}"
        )


@dataclass(frozen=True)
class Along:
    """The active edges of a graph. A position is one of its states."""

    graph: Graph
    asked: frozenset[str] = frozenset()

    @property
    def start(self) -> Position:
        return 1

    def follow(self, position: Position) -> Iterator[tuple[str, Position]]:
        for edge in self.graph.edges_of(position).values():
            if edge.kind == "active":
                yield edge.text, edge.target

    def ends(self, position: Position) -> bool:
        return False

    def counts(self, position: Position) -> bool:
        return True

    def visit(self, position: Position) -> Any:
        return position


def arrangements(most: Sequence[int]) -> int:
    """In how many orders things can be laid out, the i-th of them 0 to `most[i]` times."""
    by_length = [1]
    for each in most:
        longer = [0] * (len(by_length) + each)
        for length, ways in enumerate(by_length):
            for extra in range(each + 1):
                longer[length + extra] += ways * comb(length + extra, extra)
        by_length = longer
    return sum(by_length)
