"""The record of a bisection: all that its report says, and `bisect.json`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import TypeAdapter

from lowering.state_check import StateVerdict

FILE = "bisect.json"


@dataclass(frozen=True)
class Found:
    """A culprit: the steps `first` to `last` (0: the input; one more than there are passes: code generation).

    `does`: it makes a right state wrong, or it fails: then with a stage, a class, a reason and a place. `steps` are the
    steps of code generation that the states `before` and `after` it were checked with. `mends`: the steps of a range
    without which, each left out alone, the binary is right.
    """

    first: int
    last: int
    suspects: tuple[str, ...]
    does: Literal["wrong", "fails"]
    steps: str = ""
    before: StateVerdict | None = None
    after: StateVerdict | None = None
    stage: str = ""
    kind: str = ""
    reason: str = ""
    where: str = ""
    mends: tuple[int, ...] = ()


@dataclass(frozen=True)
class Least:
    """The smallest case that shows a culprit. `passes` stand before the suspects, `sizes` are BxMxNxK.

    `fewest` and `least`: that no pass can be left out, and no size be smaller alone, was established; None: not tried.
    """

    passes: tuple[str, ...]
    fewest: bool | None
    sizes: str
    least: bool | None
    after: StateVerdict | None
    reason: str = ""  # of the failure


@dataclass(frozen=True)
class BisectRecord:
    """One bisection's whole story. `on` is the problem in words that `states` (so many) are of.

    `right`, `wrong` and `unchecked` count those that were checked; `why` some could not be. `binary` is what the whole
    schedule gives there; where that stops before the end it was `completed` by the standard tail. `notes` say what was
    done at other sizes.
    """

    run: int
    folder: str
    command: str
    problem: str
    target: str
    source: str
    schedule: str
    passes: int
    on: str
    states: int
    right: int
    wrong: int
    unchecked: int
    why: tuple[str, ...]
    binary: StateVerdict | None
    notes: tuple[str, ...] = ()
    culprit: Found | None = None
    least: Least | None = None
    again: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    toolchain: dict[str, str] | None = None
    completed: bool = False


def as_json(record: BisectRecord) -> str:
    """The record as it is stored."""
    return TypeAdapter(BisectRecord).dump_json(record, indent=1).decode()


def read(text: str) -> BisectRecord:
    """A stored record."""
    return TypeAdapter(BisectRecord).validate_json(text)
