"""What a search space is made of: named knobs with finite ranges."""

from __future__ import annotations

from dataclasses import dataclass

Value = int | bool | str


@dataclass(frozen=True)
class Knob:
    """One choice: its name, every value it can take, cheapest or most usual first, and what it does."""

    name: str
    values: tuple[Value, ...]
    doc: str
