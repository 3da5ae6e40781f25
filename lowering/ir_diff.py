"""Two printed states -> a line diff in which names and indentation are no change.

MLIR numbers values, blocks and maps anew each time it prints, so a pass that removes one op renames all that follow,
and a loop put around a body indents it. So lines are aligned without their names first, and then gone through with a
renaming old -> new: a line is unchanged where it says the same under the renaming. An operand that has become another
value is a change.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from difflib import Match, SequenceMatcher
from typing import NamedTuple

CONTEXT = 3  # unchanged lines shown around a change
PAIRS = 250_000  # of equal lines, above which frequent ones are no anchors: seconds less, and a somewhat longer diff
STRING = r'"(?:[^"\\]|\\.)*"'  # stays as it is: inline assembly has names of its own
NAME = re.compile(rf"{STRING}|[%^][\w$.-]+|#[A-Za-z_]\w*(?![\w.])")  # a value, a block, an alias, not `#gpu.thread`
DEFINED = re.compile(r"[%#][\w$.-]+(?=(?:, %[\w$.-]+)*(?::| =|\) in |\) =))|^\^\w+")
FUNCTION = re.compile(r"(?:func|llvm|gpu)\.func ")
COMMENT = re.compile(r"\s+// (?:no |\d+ )?pred.*")  # which blocks come before one


class Row(NamedTuple):
    """A line of a diff: ' ', '-' or '+', the line, and its number in both texts."""

    mark: str
    line: str
    old: int
    new: int


def ir_diff(before: str, after: str) -> list[str]:
    """The changed lines, marked '-' and '+', with context marked ' '; `@@ -line +line @@` stands before each part.

    A removed line has its names of before, every other line those of after.
    """
    rows = list(settled(compared(before.splitlines(), after.splitlines())))
    changes = [at for at, row in enumerate(rows) if row.mark != " "]
    near = {at for change in changes for at in range(change - CONTEXT, change + CONTEXT + 1)}
    shown: list[str] = []
    for at, row in enumerate(rows):
        if at in near:
            shown += [] if at and at - 1 in near else [f"@@ -{row.old} +{row.new} @@"]
            shown.append(row.mark + row.line)
    return shown


def compared(before: list[str], after: list[str]) -> Iterator[Row]:
    """All lines of both texts in order, a pair that says the same under the renaming as one."""
    names, old, new = Renaming(), 0, 0
    was, now = ([COMMENT.sub("", line.strip()) for line in lines] for lines in (before, after))
    for i, j, size in matching([nameless(line) for line in was], [nameless(line) for line in now]):
        for at in range(old, i):
            names.removed(was[at])
            yield Row("-", before[at], at + 1, new + 1)
        for at in range(new, j):
            names.added(now[at])
            yield Row("+", after[at], i + 1, at + 1)
        for old, new in zip(range(i, i + size), range(j, j + size), strict=True):
            same = names.same(was[old], now[new])
            yield from () if same else (Row("-", before[old], old + 1, new + 1),)
            yield Row(" " if same else "+", after[new], old + 1, new + 1)
        old, new = i + size, j + size


def matching(before: list[str], after: list[str]) -> list[Match]:
    """The stretches of equal lines, as (first line before, first line after, number)."""
    there = Counter(after)
    many = sum(there[line] for line in before) > PAIRS
    return SequenceMatcher(None, before, after, autojunk=many).get_matching_blocks()


def settled(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows with the removed lines of each change in front of the added ones."""
    added: list[Row] = []
    for row in rows:
        if row.mark == "+":
            added.append(row)
            continue
        if row.mark == " ":
            yield from added
            added = []
        yield row
    yield from added


def nameless(line: str) -> str:
    """A line with a mark where a name stood."""
    return NAME.sub(lambda found: found[0] if found[0][0] == '"' else "\0", line)


class Renaming:
    """What each name of before is called after, as far as the lines gone through tell, and the reverse."""

    def __init__(self) -> None:
        self.after, self.before = dict[str, str](), dict[str, str]()

    def same(self, old: str, new: str) -> bool:
        """Whether two lines that are equal without names mean the same. What they define corresponds from here on.

        So do names met for the first time: blocks are named before they are defined, and what uses a definition that
        was replaced uses the new one.
        """
        if FUNCTION.match(old):
            self.after = {name: now for name, now in self.after.items() if name[0] == "#"}
            self.before = {name: was for name, was in self.before.items() if name[0] == "#"}
        defined = set(DEFINED.findall(old))
        same = True
        for was, now in zip(NAME.findall(old), NAME.findall(new), strict=True):
            if was[0] == '"':
                continue
            if was in defined or (was not in self.after and now not in self.before):
                self.after[was], self.before[now] = now, was
            same = same and self.after.get(was) == now
        return same

    def removed(self, line: str) -> None:
        """What a line that is gone defined has no counterpart yet, whatever had the name before it."""
        for name in DEFINED.findall(line):
            self.after.pop(name, None)

    def added(self, line: str) -> None:
        """What a new line defines is nobody's counterpart yet."""
        for name in DEFINED.findall(line):
            self.before.pop(name, None)
