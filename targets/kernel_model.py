"""What bounds a compiled kernel, *predicted* from what an emulator counted of it: each resource alone.

A bound is how long the launch takes were one resource all that it needed. The largest is what the kernel cannot beat on
this chip; how far it stays behind is not said here. Counts of a sample of workgroups stand for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from lowering.core import Target
from lowering.targets.tile_model import HBM_SHARE, ISSUE, LATENCY

VERSION = "kernel-1"


@dataclass(frozen=True)
class Counts:
    """Totals over the workgroups that ran: clocks, instructions of waves, lines of memory, and bytes of the buffers."""

    workgroups: int
    of_workgroups: int
    waves: int  # of a workgroup
    occupancy: int  # waves a SIMD
    matrix_clocks: int  # of one SIMD
    issued: int  # instructions that are no matrix instructions
    shared_clocks: int
    line_bytes: int  # of the lines that loads and stores touch
    loads: int  # of device memory, instructions of waves
    barriers: int  # instructions of waves
    buffer_bytes: int


@dataclass(frozen=True)
class Bounds:
    """*Predicted* seconds of each resource alone."""

    seconds: Mapping[str, float]
    version: str = VERSION

    @property
    def binding(self) -> str:
        """The resource that takes longest."""
        return max(self.seconds, key=lambda name: self.seconds[name])

    def __str__(self) -> str:
        ordered = sorted(self.seconds.items(), key=lambda item: -item[1])
        times = ", ".join(f"{name} {seconds * 1e6:.1f}" for name, seconds in ordered)
        return f"bounds in µs at the peak clock (model {self.version}; nothing was timed): {times}"


def bounds(counts: Counts, target: Target) -> Bounds:
    """The bounds of a launch. Raises KeyError where the chip's file lacks a number."""
    facts: Mapping[str, Any] = target.facts
    units, simds = int(facts["compute_units"]), int(facts["simds_per_compute_unit"])
    clock, share = float(facts["clock_peak"]), counts.of_workgroups / counts.workgroups
    # the unit that has most workgroups is the last to end
    rounds = ceil(counts.of_workgroups / units) / counts.workgroups
    spread = min(simds, counts.waves * max(1, counts.occupancy * simds // counts.waves))
    lines = counts.line_bytes * share
    resident = max(1, min(counts.occupancy * simds // counts.waves, ceil(counts.of_workgroups / units)))
    return Bounds(
        {
            "matrix cores": counts.matrix_clocks * rounds / spread / clock,
            "instruction issue": counts.issued * ISSUE * rounds / spread / clock,
            "workgroup memory": counts.shared_clocks * rounds / clock,
            "L2": lines / float(facts["l2_bandwidth"]),
            "device memory": counts.buffer_bytes / (HBM_SHARE * float(facts["memory_bandwidth"])),
            "latency": turns(counts) * rounds * counts.workgroups * LATENCY / clock / resident,
        }
    )


def turns(counts: Counts) -> float:
    """How often a wave waits for device memory: once between two pairs of barriers, or for each load without any."""
    a_wave = counts.workgroups * counts.waves
    return counts.barriers / 2 / a_wave if counts.barriers else counts.loads / a_wave
