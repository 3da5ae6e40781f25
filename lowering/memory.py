"""A program's buffers, laid out so that what a kernel must not do can be seen: guard bands, poison, untouched inputs.

Each argument lies between two guard bands. Before every run the outputs and all guards are filled with the poison,
and the inputs are written afresh. The two poisons differ, so a result that comes from an element nobody wrote cannot
agree twice: 0xFF is NaN in every float type but the FNUZ ones (there -240) and -1 in integers; 0x7F is 3.4e38 in f32
and bf16, NaN in f16, and 2139062143 in i32. A kernel that reads past the end of an input meets the same values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lowering.core import Argument, Problem
from lowering.dtypes import lookup
from lowering.intervals import Array
from lowering.targets.executor import Program

GUARD = 4096  # bytes on each side: a page, and a multiple of the 256 that a device pointer is aligned to
POISONS = (0xFF, 0x7F)

Start = Callable[[Sequence[int]], None]


@dataclass(frozen=True)
class Slot:
    """One argument's place: the allocation's address and what lies in it."""

    argument: Argument
    base: int
    nbytes: int

    @property
    def pointer(self) -> int:
        """Where the argument itself begins."""
        return self.base + GUARD


@dataclass(frozen=True)
class Run:
    """What one run left behind: outputs in their own types, guards and inputs that it damaged, and the poison used."""

    outputs: tuple[Array, ...]
    broken_guards: tuple[str, ...]
    changed_inputs: tuple[str, ...]
    poison: int
    findings: tuple[str, ...] | None = (
        None  # what the executor found beside the results; None where it can find nothing
    )


def place(problem: Problem, program: Program) -> tuple[Slot, ...]:
    """Allocates every argument of the problem, guards included."""
    return tuple(slot(argument, program) for argument in problem.arguments)


def slot(argument: Argument, program: Program) -> Slot:
    """One argument's allocation."""
    nbytes = int(np.prod(argument.shape)) * lookup(argument.dtype).bytes
    return Slot(argument, program.allocate(GUARD + nbytes + GUARD), nbytes)


def image(values: bytes, poison: int) -> bytes:
    """The bytes of a whole allocation."""
    band = bytes([poison]) * GUARD
    return b"".join((band, values, band))


def execute(
    program: Program, slots: Sequence[Slot], inputs: Sequence[Array], poison: int, start: Start | None = None
) -> Run:
    """Fills all memory, runs the program once, and reads everything back. `start` runs it in another way."""
    written: list[bytes] = []
    for number, each in enumerate(slots):
        values = inputs[number].tobytes() if number < len(inputs) else bytes([poison]) * each.nbytes
        written.append(image(values, poison))
        program.write(each.base, written[-1])
    (start or program.run)([each.pointer for each in slots])
    found = [program.read(each.base, len(bytes_)) for each, bytes_ in zip(slots, written, strict=True)]
    band = bytes([poison]) * GUARD
    broken = [s.argument.name for s, now in zip(slots, found, strict=True) if not intact(now, band)]
    count = len(inputs)
    changed = [
        each.argument.name
        for each, now, before in zip(slots[:count], found[:count], written[:count], strict=True)
        if memoryview(now)[GUARD:-GUARD] != memoryview(before)[GUARD:-GUARD]
    ]
    outputs = tuple(as_array(now, each) for now, each in zip(found[count:], slots[count:], strict=True))
    return Run(outputs, tuple(broken), tuple(changed), poison, program.findings)


def intact(now: bytes, band: bytes) -> bool:
    """Whether both guard bands of an allocation still hold the poison."""
    return now[:GUARD] == band and now[-GUARD:] == band


def as_array(found: bytes, each: Slot) -> Array:
    """The argument inside an allocation's bytes."""
    kind = lookup(each.argument.dtype).numpy
    return np.frombuffer(found, kind, int(np.prod(each.argument.shape)), GUARD).reshape(each.argument.shape)


def unwritten(output: Array, poison: int) -> Array:
    """Which elements still hold the poison, byte for byte."""
    raw = np.ascontiguousarray(output).view(np.uint8).reshape(*output.shape, output.dtype.itemsize)
    return (raw == poison).all(axis=-1)
