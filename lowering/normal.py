"""The normal form of a state: what is left when differences without a meaning are forgotten.

Forgotten, and nothing else:

* where in its block a constant stands: constants are moved to the start of their block, in the order of their text. A
  constant has no operands and no effect, so every place before its uses is the same program. Two constants of one text
  keep their order, and a constant stays in its block. A tensor stays where it is: bufferization makes a global of it,
  and globals stand in the object in the order of their tensors.
* attribute and type aliases (`#map`, `!type`): they are names for text, which is put in their place.
* names of SSA values: they are numbered in the order of their first use, function by function; one name stays one name.
* the comments that name a block's predecessors.

All else is kept, so two states of one normal form are the same program, and build to the same binary. The pass graph
merges its nodes by it. A private symbol that nothing refers to is kept too: passes rewrite it and can fail on it, and
without LLVM's optimisation it is in the object.

It is made from the printed text, since text is what a state is known by; walking and printing a module once more takes
ten times as long. What looks like a region (a line that ends in `{`) is left in order where the braces do not match.
"""

from __future__ import annotations

import hashlib
import re
from itertools import pairwise
from typing import Any

from lowering import mlir

CONSTANT = re.compile(
    r" *%[\w$.-]+ = "
    r"(?:arith\.constant(?!.* : tensor<)|index\.constant|llvm\.mlir\.constant|complex\.constant|ub\.poison)\b"
)
ALIAS = re.compile(r"([#!][\w$.-]+) = (.*)")
FUNCTION = re.compile(r"^ *(?:func\.func|llvm\.func|gpu\.func)\b", re.MULTILINE)
STRING = r'"(?:[^"\\]|\\.)*"'  # stays as it is: inline assembly has names of its own
RESULT = re.compile(r"%[\w$.-]+")
RESULTS = r"^ *%[\w$.-]+(?::\d+)?(?:, %[\w$.-]+(?::\d+)?)* ="
NAME = re.compile(rf"{STRING}|{RESULTS}|%[\w$.-]+", re.MULTILINE)
SIGIL = re.compile(rf"{STRING}|[#!][A-Za-z_$][\w$.-]*")
INNER_BLOCK = re.compile(
    r"^ {6,}\^bb[1-9]", re.MULTILINE
)  # a function's own are at its column, 2, or 4 in a gpu.module


def normal_text(module: Any, printed: str = "") -> str:
    """The normal form's text. `printed` is the module's own text where it is known. The module is left as it was."""
    return of_text(printed or mlir.text(module))


def normal_digest(module: Any, printed: str = "") -> str:
    """SHA-256 of the normal form."""
    return hashlib.sha256(normal_text(module, printed).encode()).hexdigest()


def of_text(text: str) -> str:
    """The normal form of a printed text."""
    return renamed("\n".join(sorted_constants(expanded(text.splitlines()))))


def expanded(lines: list[str]) -> list[str]:
    """The lines with every alias replaced by what it stands for, and without the aliases' own lines."""
    aliases: dict[str, str] = {}

    def meant(found: re.Match[str]) -> str:
        return aliases.get(found[0], found[0])

    kept: list[str] = []
    for line in lines:
        alias = ALIAS.match(line)
        if alias:
            aliases[alias[1]] = SIGIL.sub(meant, alias[2])
        else:
            kept.append(SIGIL.sub(meant, line) if aliases and ("#" in line or "!" in line) else line)
    return kept


def sorted_constants(lines: list[str]) -> list[str]:
    """The lines with each block's constants at its start, in the order of their text."""
    stack: list[Block] = [Block()]
    for line in lines:
        bare = line.lstrip()
        if bare.startswith("}"):
            if len(stack) == 1:
                return lines  # no region of ours: leave the text as it is
            closed = stack.pop()
            stack[-1].rest += closed.flush()
        if bare.startswith("^"):
            stack[-1].begin(line.split("  // ")[0])
        elif CONSTANT.match(line):
            stack[-1].constants.append(line)
        else:
            stack[-1].rest.append(line)
        if line.endswith("{"):
            stack.append(Block())
    return stack[0].flush() if len(stack) == 1 else lines


class Block:
    """The lines of a region: its finished blocks, then the constants and all else of the one that is open."""

    __slots__ = ("constants", "done", "rest")

    def __init__(self) -> None:
        self.done: list[str] = []
        self.constants: list[str] = []
        self.rest: list[str] = []

    def begin(self, label: str) -> None:
        """Finishes the open block and opens another one under its label."""
        self.done = [*self.flush(), label]
        self.constants, self.rest = [], []

    def flush(self) -> list[str]:
        """All lines, the open block's constants in order."""
        constants = sorted(self.constants, key=after_name) if len(self.constants) > 1 else self.constants
        return [*self.done, *constants, *self.rest]


def after_name(line: str) -> str:
    """A constant's text without its name."""
    return line.split("=", 1)[1]


def renamed(text: str) -> str:
    """The text with SSA names numbered in the order of their appearance; each function has names of its own."""
    names = Names()
    starts = [0, *(found.start() for found in FUNCTION.finditer(text)), len(text)]
    return "".join(names.function(text[start:stop]) for start, stop in pairwise(starts))


class Names:
    """Numbers for the SSA names of one function after the other.

    MLIR uses a name again in a region beside the one that it was defined in, so a definition always gets a number of
    its own, but where its name was used before (in a block that stands before the one that defines it).
    """

    def __init__(self) -> None:
        self.count = 0
        self.numbers: dict[str, str] = {}
        self.defined: set[str] = set()

    def function(self, text: str) -> str:
        """The text of a function, and of what follows it up to the next, with numbers for names."""
        self.numbers, self.defined = {}, set()
        if INNER_BLOCK.search(text):
            return text  # blocks inside an op's region may stand before what they use: names stay what they are
        return NAME.sub(self.replace, text)

    def replace(self, found: re.Match[str]) -> str:
        """What stands for a string, the results before a line's `=`, or a name."""
        token = found[0]
        if token[0] == '"':
            return token
        return RESULT.sub(self.define, token) if token[-1] == "=" else self.use(token)

    def use(self, name: str) -> str:
        """The number of a name."""
        return self.numbers.get(name) or self.fresh(name)

    def define(self, found: re.Match[str]) -> str:
        """The number of a result."""
        name = found[0]
        forward = name in self.numbers and name not in self.defined
        self.defined.add(name)
        return self.numbers[name] if forward else self.fresh(name)

    def fresh(self, name: str) -> str:
        """A new number for a name."""
        new = self.numbers[name] = f"%{self.count}"
        self.count += 1
        return new
