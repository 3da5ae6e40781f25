"""The pass graph: states are nodes, pass instances are edges, and orders that reach one state share it.

A node is a class of states of one normal form (normal.py), known by the number in which it was found; the text it keeps
is that of the first of them, so the passes on the way there (`path`) give exactly this text. An edge is one pass
instance tried on that text, and of one kind:

    active    it leads to another node
    dormant   it left the text as it was
    cosmetic  it changed only what the normal form forgets
    failed    it raised, or took its process down; the reason is one line

A pass and its inverse lead back, so the nodes alone may form a cycle; what is acyclic is the exploration, whose levels
count the passes done.

All of it is one SQLite file, written while it is explored: states compressed and keyed by digest, about 100 bytes of
memory a state. What was committed survives a `kill -9`; `commit` runs at least once a second. Nodes are numbered in
the order in which their edges are recorded, which the exploration keeps the same however many processes work for it.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from lowering.core import UserError

Kind = Literal["active", "dormant", "cosmetic", "failed"]
KINDS: tuple[Kind, ...] = ("active", "dormant", "cosmetic", "failed")
ACTIVE, DORMANT, COSMETIC, FAILED = range(4)
COMMIT_SECONDS = 0.5

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS words (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS states (
    id INTEGER PRIMARY KEY, normal BLOB NOT NULL UNIQUE, digest BLOB NOT NULL, bytes INTEGER NOT NULL,
    text BLOB NOT NULL, ops INTEGER NOT NULL, parent INTEGER, via INTEGER);
CREATE TABLE IF NOT EXISTS edges (
    source INTEGER, pass INTEGER, kind INTEGER NOT NULL, target INTEGER, class TEXT, reason INTEGER,
    PRIMARY KEY (source, pass)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS opened (
    source INTEGER, move INTEGER, instances TEXT NOT NULL, PRIMARY KEY (source, move)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS verdicts (state INTEGER PRIMARY KEY, verdict TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS binaries (state INTEGER PRIMARY KEY, built TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Reached:
    """A state that a pass led to, as the worker hands it over; `packed` is None where the same worker sent it before.

    `same`: its text is that of the source. `mark`: the worker's own short name of the module.
    """

    same: bool
    digest: bytes = b""
    normal: bytes = b""
    size: int = 0
    packed: bytes | None = None
    ops: str = ""  # names of its ops, sorted, with blanks between
    mark: bytes = b""

    def without_text(self) -> Reached:
        """What is enough of a state that the graph holds."""
        return Reached(False, self.digest, self.normal, self.size, mark=self.mark)


@dataclass(frozen=True, slots=True)
class Fell:
    """A pass that failed on a state: its class, and one line."""

    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class State:
    """A node without its text; `parent` and `via` are the first edge that led to it."""

    id: int
    digest: str
    normal: str
    bytes: int
    ops: str
    parent: int | None
    via: str


@dataclass(frozen=True, slots=True)
class Edge:
    """One pass instance tried on one state; `target` is the source where nothing changed and None where it failed."""

    source: int
    text: str
    kind: Kind
    target: int | None
    fell: Fell | None = None


def pack(text: str) -> bytes:
    """A state's text as it is stored."""
    return zlib.compress(text.encode(), 1)


def unpack(packed: bytes) -> str:
    """The text of a stored state."""
    return zlib.decompress(packed).decode()


class Graph:
    """A pass graph in a file. A context manager; one process may have it open at a time."""

    def __init__(self, file: Path) -> None:
        self.file, self.name = file, file.stem
        try:
            self.db = sqlite3.connect(file, timeout=0.5, isolation_level=None)
            self.db.execute("PRAGMA journal_mode=WAL")
            self.db.execute("PRAGMA synchronous=NORMAL")
            self.db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self.db.executescript(SCHEMA)
            self.db.execute("BEGIN")
        except sqlite3.Error as error:
            hint = "; another `lower graph` is at work on it" if "locked" in str(error) else ""
            raise UserError(f"cannot open '{file}': {error}{hint}") from None
        self.committed = time.monotonic()
        self.word_ids: dict[str, int] = {text: i for i, text in self.db.execute("SELECT id, text FROM words")}
        self.words: dict[int, str] = {i: text for text, i in self.word_ids.items()}
        self.ids: dict[bytes, int] = {}
        self.state_ops: list[int] = [0]  # by the state's number
        for number, normal, ops in self.db.execute("SELECT id, normal, ops FROM states ORDER BY id"):
            self.ids[normal] = number
            self.state_ops.append(ops)

    def __enter__(self) -> Graph:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Commits and closes."""
        if self.db.in_transaction:
            self.db.execute("COMMIT")
        self.db.close()

    def commit(self, now: bool = False) -> None:
        """Makes what was recorded last, if the last time was half a second ago."""
        if now or time.monotonic() - self.committed > COMMIT_SECONDS:
            if self.db.in_transaction:  # none after a full disk, or a signal between the next two lines
                self.db.execute("COMMIT")
            self.db.execute("BEGIN")
            self.committed = time.monotonic()

    # --- recording ---------------------------------------------------------------------------------------------------

    def word(self, text: str) -> int:
        """The number of a text that stands in many rows: a pass, a reason, a list of ops."""
        found = self.word_ids.get(text)
        if found is None:
            found = self.word_ids[text] = len(self.word_ids) + 1
            self.words[found] = text
            self.db.execute("INSERT INTO words VALUES (?, ?)", (found, text))
        return found

    def has(self, state: Reached) -> bool:
        """Whether a state is a node already."""
        return state.same or state.normal in self.ids

    def add_root(self, root: Reached) -> int:
        """The number of the state to start from, 1."""
        return self.ids.get(root.normal) or self.add_state(root, None, None)

    def add_state(self, state: Reached, parent: int | None, via: int | None) -> int:
        """Stores a new node."""
        assert state.packed is not None, "a state that no worker sent the text of"
        number, ops = len(self.ids) + 1, self.word(state.ops)
        self.ids[state.normal] = number
        self.state_ops.append(ops)
        row = (number, state.normal, state.digest, state.size, state.packed, ops, parent, via)
        self.db.execute("INSERT INTO states VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        return number

    def record(self, source: int, text: str, found: Reached | Fell) -> int | None:
        """Stores what a pass did to a state, and the state it led to where that is new: its number, if there is one."""
        via, target = self.word(text), None
        if isinstance(found, Fell):
            row = (source, via, FAILED, None, found.kind, self.word(found.reason))
        else:
            target = source if found.same else self.ids.get(found.normal) or self.add_state(found, source, via)
            kind = ACTIVE if target != source else DORMANT if found.same else COSMETIC
            row = (source, via, kind, target, None, None)
        self.db.execute("INSERT OR REPLACE INTO edges VALUES (?, ?, ?, ?, ?, ?)", row)
        return target

    def record_instances(self, source: int, move: str, instances: Iterable[str]) -> None:
        """Stores which instances a pass's `choices` named on a state."""
        row = (source, self.word(move), json.dumps(list(instances)))
        self.db.execute("INSERT OR REPLACE INTO opened VALUES (?, ?, ?)", row)

    def put(self, table: Literal["verdicts", "binaries"], state: int, value: Mapping[str, Any]) -> None:
        """Stores what became of a state: its verdict, or what was built of it."""
        self.db.execute(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", (state, json.dumps(value)))

    def set_meta(self, name: str, value: Any) -> None:
        """Stores a value of the whole graph."""
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, json.dumps(value)))

    # --- reading -----------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.ids)

    def meta(self, name: str, default: Any = None) -> Any:
        """A value of the whole graph."""
        row = self.db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return default if row is None else json.loads(row[0])

    def rows(self, table: Literal["verdicts", "binaries"]) -> dict[int, Any]:
        """What became of states, by their number."""
        return {state: json.loads(value) for state, value in self.db.execute(f"SELECT * FROM {table} ORDER BY state")}

    def ops(self, state: int) -> str:
        """The names of a state's ops, sorted, with blanks between."""
        return self.words[self.state_ops[state]]

    def expanded(self) -> set[int]:
        """The states that have edges."""
        return {source for (source,) in self.db.execute("SELECT DISTINCT source FROM edges")}

    def outcomes(self) -> Iterator[tuple[str, str, bool, int]]:
        """How often each pass worked and failed: (pass, ops of the state, failed, count)."""
        query = "SELECT pass, ops, kind = 3, count(*) FROM edges JOIN states ON source = id GROUP BY 1, 2, 3"
        for step, ops, failed, count in self.db.execute(query):
            yield self.words[step], self.words[ops], bool(failed), count

    def packed(self, state: int) -> bytes:
        """A state's stored text."""
        return self.db.execute("SELECT text FROM states WHERE id = ?", (state,)).fetchone()[0]

    def text(self, state: int) -> str:
        """A state's text."""
        return unpack(self.packed(state))

    def state(self, state: int) -> State:
        """A node by its number."""
        return self.as_state(self.db.execute(f"{STATE_ROW} WHERE id = ?", (state,)).fetchone())

    def states(self) -> Iterator[State]:
        """All nodes in the order in which they were found."""
        return map(self.as_state, self.db.execute(f"{STATE_ROW} ORDER BY id"))

    def as_state(self, row: Any) -> State:
        """A node of a row."""
        number, digest, normal, size, ops, parent, via = row
        return State(number, digest.hex(), normal.hex(), size, self.words[ops], parent, self.words.get(via, ""))

    def edges_of(self, source: int) -> dict[str, Edge]:
        """The edges out of a state by their pass."""
        rows = self.db.execute(f"{EDGE_ROW} WHERE source = ?", (source,))
        return {edge.text: edge for edge in map(self.as_edge, rows)}

    def edges(self) -> Iterator[Edge]:
        """All edges, by source."""
        return map(self.as_edge, self.db.execute(f"{EDGE_ROW} ORDER BY source, pass"))

    def as_edge(self, row: Any) -> Edge:
        """An edge of a row."""
        source, step, kind, target, name, reason = row
        fell = Fell(name, self.words[reason]) if kind == FAILED else None
        return Edge(source, self.words[step], KINDS[kind], target, fell)

    def instances(self, source: int, move: str) -> list[str] | None:
        """The instances that a pass's `choices` named on a state; None where it was not asked."""
        row = self.db.execute(
            "SELECT instances FROM opened WHERE source = ? AND move = ?", (source, self.word_ids.get(move))
        ).fetchone()
        return None if row is None else json.loads(row[0])

    def opened(self) -> Iterator[tuple[int, str, list[str]]]:
        """What passes named on the states where they were asked: (state, name, instances)."""
        for state, move, texts in self.db.execute("SELECT * FROM opened ORDER BY source, move"):
            yield state, self.words[move], json.loads(texts)

    def count(self) -> tuple[int, int]:
        """States, and edges."""
        return len(self.ids), self.db.execute("SELECT count(*) FROM edges").fetchone()[0]

    def path(self, state: int) -> tuple[str, ...]:
        """The passes that first led to a state, from the root: on the problem's text they give just this one."""
        found: list[str] = []
        while True:
            parent, via = self.db.execute("SELECT parent, via FROM states WHERE id = ?", (state,)).fetchone()
            if parent is None:
                return tuple(reversed(found))
            found.append(self.words[via])
            state = parent

    def depths(self) -> dict[int, int]:
        """How many passes first led to each state."""
        found: dict[int, int] = {}
        for state, parent in self.db.execute("SELECT id, parent FROM states ORDER BY id"):
            found[state] = 0 if parent is None else found[parent] + 1
        return found


STATE_ROW = "SELECT id, digest, normal, bytes, ops, parent, via FROM states"
EDGE_ROW = "SELECT source, pass, kind, target, class, reason FROM edges"


def identity(parts: Mapping[str, Any]) -> str:
    """A short name of what a graph is about, for its folder: the same command finds it again."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
