"""Errors that point into the user's text: file:line:col, the message, the line itself and a caret."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowering import mlir
from lowering.core import PassError, UserError


@dataclass(frozen=True)
class Source:
    """A text and what to call it in messages (a path, or '-' for standard input)."""

    text: str
    name: str

    def parse(self) -> Any:
        """The module of this text. Raises UserError that points at the first mistake."""
        try:
            return mlir.parse(self.text, self.name)
        except PassError as error:
            raise self.error(known_mistake(error.reason), error.where) from None

    def error(self, message: str, where: Any = "", notes: tuple[str, ...] = ()) -> UserError:
        """A UserError at a place: an MLIR location, or its text `file:line:col`."""
        place = place_text(where, self.name)
        line, column = line_and_column(place)
        lines = [f"{place or self.name}: {message}"]
        source = self.text.splitlines()
        if place.startswith(f"{self.name}:") and 0 < line <= len(source):
            shown = source[line - 1].expandtabs(1)
            start = max(0, column - 80)  # a line that holds a weight can be megabytes long
            lines += [f"  {shown[start : start + 120]}", f"  {' ' * (column - 1 - start)}^"]
        return UserError("\n".join([*lines, *notes]))

    def line(self, where: Any) -> int:
        """The line of a location; 0 where it has none."""
        return line_and_column(place_text(where, self.name))[0]


def read_text(file: Path | None, wanted: str = "an MLIR module (bytecode is not read)") -> str:
    """The text of a file, or of standard input for None. Raises UserError where it cannot be read, or is no text."""
    name = str(file) if file else "<stdin>"
    try:
        text = file.read_text() if file else sys.stdin.read()
    except OSError as error:
        raise UserError(f"cannot read '{name}': {error.strerror}") from None
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise UserError(f"'{name}' is no text: expected {wanted}")
    return text


def place_text(where: Any, name: str) -> str:
    """An MLIR location as `file:line:col`; empty where it has none."""
    found = re.findall(r'"([^"\n]*)":(\d+):(\d+)', str(where))
    if found:
        file, line, column = found[0]
        return f"{name if file == '-' else file}:{line}:{column}"
    return where if isinstance(where, str) else ""


def line_and_column(place: str) -> tuple[int, int]:
    """The numbers at the end of `file:line:col`; zeros where there are none."""
    found = re.search(r":(\d+):(\d+)$", place)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def known_mistake(message: str) -> str:
    """The parser's message, shortened and with the remedy where the mistake is a common one."""
    message = message.split("Available dialects")[0].strip()
    if message == "expected non-function type":
        return "expected a type such as f32, f16, bf16 or i8"
    transposed = re.search(r"'linalg\.((?:batch_)?matmul)_transpose_([ab])' is unknown", message)
    if transposed:
        op, letter = transposed[1], transposed[2]
        loops, maps = ("(b,m,n,k)", "b,") if op.startswith("batch") else ("(m,n,k)", "")
        a, b = (f"({maps}k,m)", f"({maps}k,n)") if letter == "a" else (f"({maps}m,k)", f"({maps}n,k)")
        wanted = ", ".join(f"affine_map<{loops}->{each}>" for each in (a, b, f"({maps}m,n)"))
        return f"{message}: upstream removed it; write linalg.{op} indexing_maps = [{wanted}]"
    return message
