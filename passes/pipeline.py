"""Schedule text, both ways: `parse(str(schedule)) == schedule`.

The text is MLIR's pass pipeline syntax: a comma list of `name{option=value ...}`, with an anchor around a pass that
needs one, as in `gpu.module(convert-gpu-to-rocdl{chipset=gfx942})`. A leading `builtin.module(...)` is dropped.
Names of ours come from the table; every other name must be registered upstream.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cache
from importlib import resources
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from lowering.core import Pass, Schedule, UserError, kebab
from lowering.passes.common.backend import BACKEND
from lowering.passes.table import PASSES
from lowering.passes.upstream import Upstream, manager_text


@dataclass(frozen=True)
class Element:
    """One parsed element of a pipeline: a pass with options, or an anchor with children."""

    name: str
    column: int
    options: tuple[tuple[str, str, int], ...] = ()  # name, value, column
    children: tuple[Element, ...] | None = None


class Scanner:
    """A cursor over schedule text. Every complaint has a column and a caret."""

    CLOSE = {"{": "}", "(": ")", "[": "]", "<": ">"}  # noqa: RUF012

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def fail(self, message: str, column: int | None = None) -> UserError:
        at = self.at if column is None else column
        start, stop = max(0, at - 60), min(len(self.text), at + 40)
        shown = self.text[start:stop].replace("\n", " ")
        return UserError(f"schedule, column {at + 1}: {message}\n  {shown}\n  {' ' * (at - start)}^")

    def skip(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def peek(self) -> str:
        self.skip()
        return self.text[self.at] if self.at < len(self.text) else ""

    def take(self, wanted: str) -> bool:
        if self.peek() != wanted:
            return False
        self.at += 1
        return True

    def word(self) -> str:
        self.skip()
        start = self.at
        while self.at < len(self.text) and (self.text[self.at].isalnum() or self.text[self.at] in "._-"):
            self.at += 1
        if start == self.at:
            found = repr(self.text[self.at]) if self.at < len(self.text) else "the end"
            raise self.fail(f"expected the name of a pass, found {found}")
        return self.text[start : self.at]

    def elements(self, close: str) -> tuple[Element, ...]:
        found: list[Element] = []
        if self.peek() == close:
            return ()
        while True:
            found.append(self.element())
            if not self.take(","):
                return tuple(found)
            if self.peek() == close:
                raise self.fail("expected a pass after ','")

    def element(self) -> Element:
        self.skip()
        column = self.at
        name = self.word()
        if self.take("("):
            children = self.elements(")")
            if not self.take(")"):
                raise self.fail(f"expected ',' or ')' to close '{name}('")
            return Element(name, column, (), children)
        return Element(name, column, self.options() if self.take("{") else ())

    def options(self) -> tuple[tuple[str, str, int], ...]:
        found: list[tuple[str, str, int]] = []
        while not self.take("}"):
            if not self.peek():
                raise self.fail("expected '}' to close the options")
            column = self.at
            name = self.word()
            found.append((name, self.value() if self.take("=") else "true", column))
        return tuple(found)

    def value(self) -> str:
        """Up to a blank or the closing brace, with nested brackets and quotes kept together."""
        start, closers = self.at, [""]
        while self.at < len(self.text):
            char = self.text[self.at]
            if char in "\"'":
                end = self.text.find(char, self.at + 1)
                if end < 0:
                    raise self.fail("expected a closing quote")
                self.at = end
            elif char in self.CLOSE and char != "<":
                closers.append(self.CLOSE[char])
            elif char == closers[-1]:
                closers.pop()
            elif len(closers) == 1 and (char.isspace() or char == "}"):
                break
            self.at += 1
        return self.text[start : self.at]


def parse(text: str) -> Schedule:
    """The schedule of a text. Raises UserError with the column, what was expected and the nearest names."""
    scanner = Scanner(text.strip())
    elements = scan(scanner)
    return Schedule(tuple(ordered(passes(elements, (), scanner), elements, scanner)))


def scan(scanner: Scanner) -> tuple[Element, ...]:
    """The elements of a whole text, without a `builtin.module(...)` around them."""
    elements = scanner.elements("")
    if scanner.peek():
        raise scanner.fail(f"expected ',' or the end, found {scanner.peek()!r}")
    if len(elements) == 1 and elements[0].name == "builtin.module" and elements[0].children is not None:
        return elements[0].children
    return elements


def parse_moves(text: str) -> tuple[tuple[Pass, ...], tuple[str, ...]]:
    """What of a list of passes are instances, and the bare names of ours whose `choices` are to name the instances.

    Raises UserError as `parse` does, and for a step of code generation.
    """
    scanner = Scanner(text.strip())
    instances: list[Pass] = []
    asked: list[str] = []
    for element in scan(scanner):
        if is_asked(element):
            asked.append(element.name)
            continue
        for step in passes([element], (), scanner):
            if isinstance(step, BACKEND):
                raise scanner.fail(f"'{step.name}' is a step of code generation, and no pass over MLIR", element.column)
            instances.append(step)
    return tuple(dict.fromkeys(instances)), tuple(dict.fromkeys(asked))


def is_asked(element: Element) -> bool:
    """Whether an element is the bare name of a pass of ours that says by itself where it applies, and how."""
    if element.options or element.children is not None or element.name not in PASSES:
        return False
    return "choices" in vars(PASSES[element.name]) and not issubclass(PASSES[element.name], BACKEND)


def ordered(steps: Iterable[Pass], elements: Sequence[Element], scanner: Scanner) -> Iterable[Pass]:
    """The steps, where those of code generation stand last. Raises UserError at the first one that does not."""
    columns = [leaf.column for element in elements for leaf in leaves(element)]
    backend: tuple[Pass, int] | None = None
    for step, column in zip(steps, columns, strict=True):
        if isinstance(step, BACKEND):
            backend = backend or (step, column)
        elif backend is not None:
            found, at = backend
            raise scanner.fail(f"'{found.name}' is a step of code generation: it stands after every pass", at)
        yield step


def leaves(element: Element) -> Iterable[Element]:
    """The elements below one that are passes, in order."""
    if element.children is None:
        yield element
    for child in element.children or ():
        yield from leaves(child)


def passes(elements: Iterable[Element], anchors: tuple[str, ...], scanner: Scanner) -> Iterable[Pass]:
    """The passes of parsed elements, each with its anchors."""
    for element in elements:
        if element.children is not None:
            yield from passes(element.children, (*anchors, element.name), scanner)
        elif element.name in PASSES:
            if anchors:
                raise scanner.fail(f"'{element.name}' works on the whole module: it takes no anchor", element.column)
            yield own(PASSES[element.name], element, scanner)
        else:
            yield upstream(element, anchors, scanner)


def own(cls: type[Pass], element: Element, scanner: Scanner) -> Pass:
    """A pass of ours from its options, converted to the types of its fields."""
    hints, known = get_type_hints(cls), {kebab(f.name): f for f in fields(cls)}
    values: dict[str, Any] = {}
    for name, text, column in element.options:
        if name not in known:
            raise scanner.fail(f"'{cls.name}' has no option '{name}'{nearest(name, known)}", column)
        try:
            values[known[name].name] = convert(text, hints[known[name].name])
        except ValueError as error:
            raise scanner.fail(f"option '{name}' of '{cls.name}': {error}", column) from None
    for field in known.values():
        if field.default is MISSING and field.default_factory is MISSING and field.name not in values:
            raise scanner.fail(f"'{cls.name}' needs the option '{kebab(field.name)}'", element.column)
    try:
        return cls(**values)
    except ValueError as error:
        raise scanner.fail(f"'{cls.name}': {error}", element.column) from None


def convert(text: str, hint: Any) -> Any:
    """An option's text as the type of its field: bool, int, float, str, a Literal, or a tuple of these."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1]
    if get_origin(hint) is tuple:
        return tuple(convert(part, get_args(hint)[0]) for part in text.split(",") if part)
    if hint is bool:
        if text.lower() not in ("true", "false", "1", "0"):
            raise ValueError(f"expected true or false, found '{text}'")
        return text.lower() in ("true", "1")
    if hint in (int, float):
        try:
            return hint(text)
        except ValueError:
            raise ValueError(f"expected {'an integer' if hint is int else 'a number'}, found '{text}'") from None
    if get_origin(hint) is UnionType:
        return convert(text, next(h for h in get_args(hint) if h is not type(None)))
    if get_args(hint) and text not in get_args(hint):
        raise ValueError(f"expected one of {', '.join(map(str, get_args(hint)))}, found '{text}'")
    return text


def upstream(element: Element, anchors: tuple[str, ...], scanner: Scanner) -> Pass:
    """An upstream pass in its canonical form: MLIR's own reading of the options, sorted, without the defaults."""
    typed = tuple(sorted((name, value) for name, value, _ in element.options))
    plain = Upstream(element.name, (), anchors)
    try:
        defaults = printed_options(str(plain), element.name)
        given = printed_options(str(Upstream(element.name, typed, anchors)), element.name)
    except ValueError as error:
        raise scanner.fail(explain(str(error), element, anchors), element.column) from None
    if defaults is None or given is None:
        return Upstream(element.name, typed, anchors)
    chosen = tuple(sorted(pair for pair in given.items() if defaults.get(pair[0]) != pair[1]))
    canonical = Upstream(element.name, chosen, anchors)
    try:
        same = printed_options(str(canonical), element.name) == given
    except ValueError:
        same = False
    return canonical if same else Upstream(element.name, typed, anchors)


def printed_options(pipeline: str, name: str) -> dict[str, str] | None:
    """All options of the one pass in a pipeline, as MLIR prints them; None for a pipeline, which expands."""
    element = Scanner(manager_text(pipeline)).element()
    while element.children is not None:
        if len(element.children) != 1:
            return None
        element = element.children[0]
    return {name: value for name, value, _ in element.options} if element.name == name else None


def explain(message: str, element: Element, anchors: tuple[str, ...]) -> str:
    """MLIR's complaint about an upstream pass, as one sentence with the nearest names."""
    if "does not refer to a registered pass" in message:
        return f"there is no pass '{element.name}'{nearest(element.name, (*PASSES, *upstream_names()))}"
    if "no such option" in message:
        unknown = message.split("no such option")[1].split()[0]
        try:
            known = printed_options(str(Upstream(element.name, (), anchors)), element.name) or {}
        except ValueError:
            known = {}
        return f"'{element.name}' has no option '{unknown}'{nearest(unknown, known)}"
    restricted = re.search(r"restricted to '([\w.]+)'", message)
    if restricted:
        return f"'{element.name}' works on a {restricted[1]}: write {restricted[1]}({element.name})"
    lines = [line.split("error: ")[-1].strip() for line in message.splitlines() if line.strip()]
    return f"'{element.name}': {lines[0] if lines else 'MLIR does not accept it'}"


def nearest(name: str, known: Iterable[str]) -> str:
    """A suggestion to append to an error: the nearest known names, or all of a short list."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; it has {', '.join(sorted(names))}" if 0 < len(names) <= 12 else ""


@cache
def upstream_names() -> dict[str, str]:
    """Names and summaries of the upstream passes (`scripts/upstream_passes.py` writes the file)."""
    file = resources.files("lowering.passes") / "upstream.tsv"
    lines = file.read_text().splitlines() if file.is_file() else []
    return dict(line.split("\t", 1) for line in lines if "\t" in line)
