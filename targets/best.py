"""The knobs that a search found best for single problems, measured on a device: `<chip>.best.toml` beside the chip's.

A space takes them where a problem is the very one that was searched; its rule serves the others. A file is written by
the commands that stand in it. An entry's times are medians of one run, in microseconds: of these knobs, of what the
rule would have taken, and of the vendor's library.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from lowering.core import Problem, Target

FOLDER = Path(__file__).parent
HEAD = (
    "# The fastest knobs that a search found, by problem; times are measured medians in µs. Written by these commands."
)


@dataclass(frozen=True)
class Entry:
    """One problem's best: its name as `bf16 4096x4096x4096 nn`, its full knobs, and three times in microseconds."""

    problem: str
    knobs: dict[str, Any]
    us: float
    rule_us: float
    peer_us: float
    device: str = ""


def name_of(problem: Problem) -> str | None:
    """What a problem is called in a file; None where nothing is kept of its kind."""
    c = problem.contraction
    if c.layout == "other" or c.accumulates:
        return None
    batch = f"{c.batch}x" if c.batch else ""
    return f"{c.multiplied or c.element} {batch}{c.m}x{c.n}x{c.k} {c.layout}"


def found(problem: Problem, target: Target) -> Entry | None:
    """The entry of a problem; None where there is none. An epilogue changes nothing: the contraction decides."""
    name = name_of(problem)
    return entries(FOLDER / f"{target.name}.best.toml").get(name) if name else None


@cache
def entries(path: Path) -> dict[str, Entry]:
    """The entries of a file by their problem; empty where there is no such file."""
    if not path.is_file():
        return {}
    return {each["problem"]: Entry(**each) for each in tomllib.loads(path.read_text()).get("best", ())}


def write(path: Path, new: Sequence[Entry], device: str, command: Sequence[str]) -> None:
    """Puts entries into a file; those of the same problem are replaced."""
    old = entries(path)
    commands = tomllib.loads(path.read_text()).get("commands", []) if path.is_file() else []
    mine = " ".join(f'"{word}"' if " " in word else word for word in command)
    kept = {**old, **{each.problem: replace(each, device=device) for each in new}}
    lines = [HEAD, "commands = ["]
    lines += [f"    '{each}'," for each in dict.fromkeys((*commands, mine))] + ["]"]
    for each in kept.values():
        fields = asdict(each)
        knobs = ", ".join(f"{key} = {literal(value)}" for key, value in fields.pop("knobs").items())
        lines += ["", "[[best]]", *(f"{key} = {literal(value)}" for key, value in fields.items())]
        lines.append(f"knobs = {{ {knobs} }}")
    path.write_text("\n".join(lines) + "\n")


def literal(value: object) -> str:
    """A value as TOML has it."""
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)
