"""What every exported form of a pass graph says of a state and of an edge: of the graph and of its record together."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from xml.sax.saxutils import escape

from lowering.graph import Graph, State
from lowering.graph_record import BinaryRecord, GraphRecord
from lowering.miscompiles import Miscompile

# Of binaries: hues far apart, light enough for a number on them, and no red, which is kept for miscompiles.
COLOURS = ("#6a9bd1", "#f5a04c", "#6bbf59", "#c58fd0", "#f0d24f", "#67c5bd", "#bd9480", "#b5d334", "#9a8ee6", "#f2b8d5")
OTHER = "#8f9bab"  # binaries beyond them
RED = "#d62728"
INVALID = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")  # what XML cannot hold
OPTIONS = re.compile(r"\{[^{}]*\}")


@dataclass(frozen=True, slots=True)
class Node:
    """A state, with `depth`: the passes that first led to it. `failure`: why an end state gave no binary.

    `wrong`: why it is known to be wrong.
    """

    state: State
    depth: int
    dialects: tuple[str, ...]
    binary: BinaryRecord | None
    failure: str
    wrong: str


@dataclass(frozen=True, slots=True)
class Arc:
    """All active edges from a state to another, by their passes; those of them that are miscompiles."""

    source: int
    target: int
    passes: tuple[str, ...]
    miscompiles: tuple[Miscompile, ...]


class View:
    """A graph with its record. It keeps two numbers a state; nodes and arcs are read from the file one by one.

    `ranked`: the binaries, the fastest measured one first, and those without a time as in the record after them.
    """

    def __init__(self, graph: Graph, record: GraphRecord) -> None:
        self.graph, self.record = graph, record
        self.ranked = sorted(record.binaries, key=lambda each: (each.seconds is None, each.seconds or 0.0))
        self.colours = {each.digest: COLOURS[i] if i < len(COLOURS) else OTHER for i, each in enumerate(self.ranked)}
        self.binaries = {state: each for each in record.binaries for state in each.states}
        built = graph.rows("binaries")
        self.failures: dict[int, str] = {state: row["failure"] for state, row in built.items() if row["failure"]}
        found = record.checks.miscompiles if record.checks else ()
        self.miscompiles = {(each.source, each.text): each for each in found}
        wrong = record.checks.wrong if record.checks else ()
        self.wrong = {
            **dict.fromkeys(wrong, "on the witness"),
            **{m.target: m.reason for m in self.miscompiles.values()},
        }
        self.parents, self.depths = [0], [-1]
        for state in graph.states():
            self.parents.append(state.parent or 0)
            self.depths.append(self.depths[state.parent or 0] + 1)

    def nodes(self) -> Iterator[Node]:
        """All states, in the order in which they were found."""
        return map(self.node, self.graph.states())

    def node(self, state: State) -> Node:
        """What there is to say of a state."""
        number = state.id
        names, binary = dialects(state.ops), self.binaries.get(number)
        failure, wrong = self.failures.get(number, ""), self.wrong.get(number, "")
        return Node(state, self.depths[number], names, binary, failure, wrong)

    def arcs(self) -> Iterator[Arc]:
        """All arcs, by source."""
        return (arc for state in range(1, len(self.graph) + 1) for arc in self.arcs_of(state))

    def arcs_of(self, source: int) -> Iterator[Arc]:
        """The arcs out of a state."""
        between: dict[int, list[str]] = defaultdict(list)
        for edge in self.graph.edges_of(source).values():
            if edge.kind == "active" and edge.target is not None:
                between[edge.target].append(edge.text)
        for target, texts in between.items():
            found = (self.miscompiles.get((source, text)) for text in texts)
            yield Arc(source, target, tuple(texts), tuple(each for each in found if each is not None))

    def way(self, state: int) -> list[int]:
        """The states that first led to a state, from the root, and itself."""
        found: list[int] = []
        while state:
            found.append(state)
            state = self.parents[state]
        return found[::-1]

    def nearest(self, states: Iterable[int]) -> int:
        """The state that the fewest passes led to."""
        return min(states, key=lambda state: (self.depths[state], state))


def dialects(ops: str) -> tuple[str, ...]:
    """The dialects of a state's ops, without that of the module itself."""
    return tuple(sorted({op.split(".")[0] for op in ops.split()} - {"builtin"}))


def short(text: str) -> str:
    """A pass without its options: `func.func(tile{tile-sizes=4,4})` -> `func.func(tile)`."""
    while (less := OPTIONS.sub("", text)) != text:
        text = less
    return text


def valid(text: str) -> str:
    """A text without the characters that XML cannot hold."""
    return INVALID.sub("\N{REPLACEMENT CHARACTER}", text)


def xml(text: str) -> str:
    """A text as XML has it."""
    return escape(valid(text), {'"': "&quot;"})
