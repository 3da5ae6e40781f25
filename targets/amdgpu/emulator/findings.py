"""What a kernel did wrong, or suspiciously: with the instruction, wave, lane and address."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from lowering.targets.amdgpu.emulator.decode import Instruction
from lowering.targets.amdgpu.emulator.text import text
from lowering.targets.amdgpu.emulator.waves import LANES, Waves

Array = np.ndarray[Any, Any]
OnFault = Literal["error", "warn", "zero"]
Kind = Literal["out of bounds", "misaligned", "race", "unwritten LDS"]
MOST = 32  # different findings that are kept


class EmulationError(Exception):
    """The kernel cannot go on: a fault, an instruction without semantics, or no end in sight."""


class Endless(EmulationError):
    """A kernel that did not end within its instructions."""


@dataclass(frozen=True)
class Finding:
    """One finding; the same one at another lane, or again, is not a new one."""

    kind: Kind
    address: int  # of the instruction
    instruction: str
    workgroup: int
    wave: int
    lane: int
    detail: str

    def __str__(self) -> str:
        place = f"workgroup {self.workgroup}, wave {self.wave}, lane {self.lane}"
        return f"{self.kind}: {self.detail}; at {self.address:#x} `{self.instruction}`, {place}"


@dataclass(frozen=True)
class Unwritten:
    """Elements of an output that nobody wrote."""

    argument: int
    count: int
    of: int
    first: tuple[int, ...]

    def __str__(self) -> str:
        place = ", ".join(map(str, self.first))
        return f"unwritten output: {self.count} of {self.of} elements of argument {self.argument}, first [{place}]"


@dataclass
class Findings:
    """All findings of a launch. With `zero` faults are counted and not listed."""

    on_fault: OnFault = "error"
    found: dict[tuple[str, int], Finding] = field(default_factory=dict[tuple[str, int], Finding])
    groups: Array = field(default_factory=lambda: np.zeros(1, np.int64))  # numbers of the batch's workgroups
    faults: int = 0  # accesses of lanes that were out of bounds or misaligned

    def add(
        self,
        kind: Kind,
        one: Instruction,
        w: Waves,
        bad: Array,
        lanes: Array,
        detail: Callable[[int], str],
        most: int = MOST,
    ) -> None:
        """Adds the lanes `bad` of those in `lanes` (places in the flattened batch). `detail(i)`: of lane i of these."""
        number = int(np.flatnonzero(bad)[0])
        place = int(lanes[number])
        wave, lane = divmod(place, LANES)
        key = (kind, one.address)
        if key in self.found or len(self.found) >= most:
            return
        group = int(self.groups[w.group[wave]])
        self.found[key] = Finding(kind, one.address, text(one), group, int(w.number[wave]), lane, detail(number))

    def fault(
        self, kind: Kind, one: Instruction, w: Waves, bad: Array, lanes: Array, detail: Callable[[int], str]
    ) -> None:
        """Adds a fault. Raises EmulationError unless faults are to be lived with."""
        self.faults += int(bad.sum())
        if self.on_fault != "zero":
            self.add(kind, one, w, bad, lanes, detail, MOST + (self.on_fault == "error"))
        if self.on_fault == "error":
            raise EmulationError(str(self.found[kind, one.address]))
