"""Where in a text something went wrong: the line and a caret under the column, as compilers show it."""

from __future__ import annotations

import re

PLACE = re.compile(r"^(?P<file>.*):(?P<line>\d+):(?P<column>\d+)$")


def caret(text: str, where: str, width: int = 100) -> str:
    """The line of `text` that `where` (file:line:column, from 1) names, and a caret below; empty where there is none.

    A line longer than `width` is cut to a window around the column.
    """
    place, lines = PLACE.match(where), text.splitlines()
    if place is None or not 1 <= int(place["line"]) <= len(lines):
        return ""
    line, column = lines[int(place["line"]) - 1].expandtabs(1), int(place["column"]) - 1
    start = max(0, column - width // 2) if len(line) > width else 0
    return f"  {line[start : start + width]}\n  {' ' * (column - start)}^"


def located(file: str, text: str, where: str, message: str) -> str:
    """`file:line:column: message` with the line and a caret, or `file: message` where no place is known."""
    place = PLACE.match(where)
    if place is None or place["file"] not in ("-", file):
        return f"{file}: {message}" + (f" (at {where})" if where else "")
    shown = caret(text, where)
    return f"{file}:{place['line']}:{place['column']}: {message}" + (f"\n{shown}" if shown else "")
