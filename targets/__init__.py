"""The chips: one TOML a chip, every number with its source; `load` reads it into a `Target`.

A file holds `family`, `triple`, `cpu` ("host": this machine's), `features`, `about`, a table `[facts]` with entries
`name = { value = .., unit = "..", source = ".." }`, and `[[matrix]]` rows, one a matrix instruction. `Target.facts`
maps each name to its bare value, and `matrix` to the tuple of rows.
"""

from __future__ import annotations

import difflib
from functools import cache
from pathlib import Path
from typing import Any

from lowering.core import Target, UserError

FOLDER = Path(__file__).parent
HEAD = frozenset({"family", "triple", "cpu", "features", "about"})
FACT = frozenset({"value", "unit", "source"})
MATRIX = frozenset({"name", "m", "n", "k", "element", "accumulator", "cycles", "source"})


@cache
def names() -> tuple[str, ...]:
    """The known chips, sorted."""
    return tuple(sorted(f.name.removesuffix(".toml") for f in FOLDER.iterdir() if is_chip(f.name)))


def is_chip(file: str) -> bool:
    """Whether a file describes a chip: a TOML whose name has no dot."""
    return file.endswith(".toml") and "." not in file.removesuffix(".toml")


@cache
def load(name: str) -> Target:
    """The chip of a name. Raises UserError with the nearest names where there is none."""
    if name not in names():
        close = difflib.get_close_matches(name, names(), n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]}?" if close else "."
        raise UserError(f"there is no target '{name}'{hint} Known targets: {', '.join(names())}")
    entry = description(name)
    facts: dict[str, Any] = {key: plain(fact["value"]) for key, fact in entry.get("facts", {}).items()}
    facts["matrix"] = tuple(entry.get("matrix", ()))
    return Target(name, entry["family"], entry["triple"], entry["cpu"], entry["features"], facts)


def this_machine() -> Target:
    """The chip of this machine, which runs everything that needs no device: the one whose `cpu` is "host"."""
    return next(chip for chip in map(load, names()) if chip.cpu == "host")


def chips(family: str) -> tuple[Target, ...]:
    """The known chips of a family."""
    return tuple(chip for chip in map(load, names()) if chip.family == family)


@cache
def description(name: str) -> dict[str, Any]:
    """A chip's file as it stands, sources included. Raises ValueError where it breaks the form."""
    import tomllib  # here: the emulator starts without it

    entry = tomllib.loads((FOLDER / f"{name}.toml").read_text())
    problems = tuple(complaints(entry))
    if problems:
        raise ValueError(f"targets/{name}.toml: {'; '.join(problems)}")
    return entry


def complaints(entry: dict[str, Any]) -> list[str]:
    """What is wrong with a chip's file."""
    found = [f"'{key}' is missing" for key in sorted(HEAD - entry.keys())]
    found += [f"'{key}' is unknown" for key in sorted(entry.keys() - HEAD - {"facts", "matrix"})]
    for key, fact in entry.get("facts", {}).items():
        if not isinstance(fact, dict) or fact.keys() != FACT or not fact["source"]:
            found.append(f"fact '{key}' needs a value, a unit and a source")
    for row in entry.get("matrix", ()):
        if row.keys() != MATRIX or not row["source"]:
            found.append(f"matrix row '{row.get('name', '?')}' needs {', '.join(sorted(MATRIX))}")
    return found


def plain(value: Any) -> Any:
    """A TOML value, lists as tuples."""
    return tuple(plain(v) for v in value) if isinstance(value, list) else value
