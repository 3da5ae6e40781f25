"""What a search space is made of: named knobs with finite ranges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lowering.core import UserError
from lowering.passes import pipeline

Value = int | bool | str
Values = Mapping[str, Value]


@dataclass(frozen=True)
class Knob:
    """One choice: its name, every value it can take, cheapest or most usual first, and what it does."""

    name: str
    values: tuple[Value, ...]
    doc: str


def together(first: Sequence[Knob], second: Sequence[Knob]) -> tuple[Knob, ...]:
    """The knobs of two spaces; one that both have takes the values of both, and is described by the first."""
    values = {knob.name: knob.values for knob in second}
    shared = {
        knob.name: (*knob.values, *(v for v in values.get(knob.name, ()) if v not in knob.values)) for knob in first
    }
    return (
        *(Knob(knob.name, shared[knob.name], knob.doc) for knob in first),
        *(knob for knob in second if knob.name not in shared),
    )


@dataclass(frozen=True)
class Rung:
    """One step of a ladder, by the knobs of a schedule that does not have it yet; it gives them the default's values.

    `without`: what they are. `most`: what they are at most, of sizes that a small problem's default has smaller.
    `instead`: that schedule is of another kind, and has no other knobs of this one.
    """

    name: str
    without: Values = field(default_factory=dict[str, Value])
    most: Mapping[str, int] = field(default_factory=dict[str, int])
    instead: bool = False

    def below(self, knobs: Values) -> dict[str, Value]:
        """Full knobs without this step; not full where the schedule is of another kind."""
        if self.instead:
            return dict(self.without)
        smaller = {name: min(int(knobs[name]), most) for name, most in self.most.items()}
        return {**knobs, **self.without, **smaller}


def chosen(words: Sequence[str], knobs: Sequence[Knob]) -> dict[str, Value]:
    """The knobs of `name=value` words, with spaces or commas between.

    Raises UserError for one that there is not, that is given twice, or a value of another type.
    """
    known, found = {knob.name: knob for knob in knobs}, dict[str, Value]()
    for word in (part for each in words for part in each.replace(",", " ").split()):
        name, sign, text = word.partition("=")
        if name not in known:
            raise UserError(
                f"there is no knob '{name}'{pipeline.nearest(name, list(known))} (the knobs are {', '.join(known)})"
            )
        if not sign:
            raise UserError(f"knob '{name}' wants a value: {name}={known[name].values[0]}")
        if name in found:
            raise UserError(f"knob '{name}' is given twice: {found[name]} and {text}")
        first = known[name].values[0]
        if isinstance(first, bool):
            values = {"true": True, "1": True, "false": False, "0": False}
            if text.lower() not in values:
                raise UserError(f"{name} is true or false, found '{text}'")
            found[name] = values[text.lower()]
        elif isinstance(first, int):
            if not text.isdigit():
                raise UserError(f"{name} is a number, as {', '.join(map(str, known[name].values))}; found '{text}'")
            number = found[name] = int(text)
            least = min(value for value in known[name].values if isinstance(value, int))
            if number < least:
                raise UserError(f"{name} is at least {least}, found '{text}'")
        else:
            found[name] = text
    return found
