"""What a measured time says: rates, shares of the chip's roofs, how full its compute units can be, and what binds.

The binding resource is one word for people and for a search. It is *derived* from the shares and the launch, not read
from counters: `arithmetic` or `memory` where the run came to a good part of that roof, `parallelism` where workgroups
leave compute units empty, `launch` where a run is hardly longer than a launch, and else `latency`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lowering import roofline
from lowering.core import Kernel, Launch, Problem, Target

GOOD = 0.6  # of a roof, from which on it is what binds
SHORT = 6e-6  # seconds: two to three times what an empty launch takes between events


@dataclass(frozen=True)
class Occupancy:
    """How many workgroups of a kernel a compute unit holds at once, their waves, and which resource ends that."""

    groups: int
    waves: int
    limited_by: str


@dataclass(frozen=True)
class Feedback:
    """Rates of a measured run: arithmetic of the hot time, bytes of the time with buffers past the last cache."""

    flops: float  # FLOP/s
    bandwidth: float  # bytes/s: every argument moved once
    of_peak: float | None  # shares of what the chip's file states; None where it states nothing
    of_bandwidth: float | None
    binding: str
    occupancy: Occupancy | None = None


def feedback(
    problem: Problem, target: Target, kernels: Sequence[Kernel], launches: Sequence[Launch], hot: float, rotated: float
) -> Feedback:
    """The feedback of a run of `hot` and `rotated` seconds."""
    peak, stated = roofline.peak(problem, target, 1), float(target.facts.get("memory_bandwidth", 0.0))
    bandwidth = sum(roofline.nbytes(each) for each in problem.arguments) / rotated
    of_peak = problem.contraction.flops / hot / peak if peak else None
    of_bandwidth = bandwidth / stated if stated else None
    main = max(launches, key=lambda each: (each.shared_bytes, threads(each)), default=None)
    kernel = next((each for each in kernels if main is not None and each.name == main.kernel), None)
    full = occupancy(kernel, main, target.facts) if kernel is not None and main is not None else None
    word = binding(of_peak or 0.0, of_bandwidth or 0.0, hot, launches, int(target.facts.get("compute_units", 0)))
    return Feedback(problem.contraction.flops / hot, bandwidth, of_peak, of_bandwidth, word, full)


def binding(of_peak: float, of_bandwidth: float, hot: float, launches: Sequence[Launch], units: int) -> str:
    """The one word."""
    if max(of_peak, of_bandwidth) >= GOOD:
        return "arithmetic" if of_peak >= of_bandwidth else "memory"
    if launches and max(groups(each) for each in launches) < units:
        return "parallelism"
    return "launch" if launches and hot < SHORT else "latency"


def threads(launch: Launch) -> int:
    """Threads of a workgroup."""
    x, y, z = launch.block
    return x * y * z


def groups(launch: Launch) -> int:
    """Workgroups of a launch."""
    x, y, z = launch.grid
    return x * y * z


def occupancy(kernel: Kernel, launch: Launch, facts: Any) -> Occupancy | None:
    """How full a compute unit can be, by the chip's limits and granularities; None where its file has none.

    The arithmetic is the CUDA occupancy calculator's: warps get their registers whole, workgroups memory in blocks.
    """
    needed = ("threads_per_compute_unit_max", "registers_per_compute_unit", "shared_per_compute_unit", "wave_size")
    if kernel.registers is None or any(name not in facts for name in needed):
        return None
    size, step = int(facts["wave_size"]), int(facts.get("register_granularity", 1))
    waves = -(-threads(launch) // size)
    registers = waves * size * -(-kernel.registers // step) * step
    block = int(facts.get("shared_granularity", 1))
    memory = (kernel.shared_bytes or 0) + launch.shared_bytes + int(facts.get("shared_reserved", 0))
    limits = {
        "registers": int(facts["registers_per_compute_unit"]) // max(1, registers),
        "workgroup memory": int(facts["shared_per_compute_unit"]) // max(1, -(-memory // block) * block),
        "threads": int(facts["threads_per_compute_unit_max"]) // (waves * size),
        "workgroups": int(facts.get("groups_per_compute_unit_max", 1 << 30)),
    }
    least = min(limits.values())
    return Occupancy(least, least * waves, " and ".join(name for name, count in limits.items() if count == least))
