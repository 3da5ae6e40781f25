"""How long a tiled matrix product takes on a chip, *predicted* from the chip's numbers before anything is compiled.

In the style of Origami (ROCm, rocm-libraries, shared/origami): a step of the K loop takes as long as the slowest of
matrix cores, workgroup memory, L2, the last-level cache and device memory, plus what is not hidden by other workgroups
of the compute unit; steps, rounds of workgroups and fixed costs add up. The formulae are ours; the constants below say
what they were fitted on, and every other number is the chip's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from lowering.core import Target

VERSION = "tile-1"

# Fitted to hipBLASLt's six bf16 times on MI300X (facebookexperimental/triton#2891, through aten) from 1024^3 to 8192^3,
# by hand and together: none of those rows tests the model. What tests it are the orders of other people's kernels.
LAUNCH = 18e-6  # seconds from one kernel of a stream to the next
STEP = 150.0  # clocks of a step in which a workgroup neither multiplies nor loads: barriers, waits
OVERLAP = 4.0  # the exponent of `together`: 1 would be their sum, infinity the slowest
OTHER_POWER = 0.1  # share of the power at full matrix load that is not theirs
CACHE_SHARE = 0.65  # of the caches' peak bandwidths
# Not fitted
LATENCY = 900.0  # clocks of a load from device memory (chipsandcheese, MI300X: 700 to 900 through the caches)
START = 2 * LATENCY  # of a workgroup: its arguments, its first tile
HBM_SHARE = 0.75  # of the peak bandwidth that streams reach (Origami's 4 of 5.3 TB/s)
LANES = 64
ISSUE = 4.0  # clocks of a SIMD for an instruction of a wave of 64: it has 16 lanes (AMD CDNA3 white paper)
OTHERS = 25.0  # waits, scalars and the jump of a step: our kernels have 20 to 30
WIDE = 16  # bytes of a read of workgroup memory that the rate of 128 bytes a clock takes


@dataclass(frozen=True)
class Tiling:
    """A problem and how it is cut. Sizes in elements; `clocks` of one matrix instruction of `shape` on one SIMD."""

    m: int
    n: int
    k: int
    batch: int
    element_bytes: int
    output_bytes: int
    block: tuple[int, int, int]
    wave: tuple[int, int]
    shape: tuple[int, int, int]
    clocks: int
    registers: int
    shared_bytes: int
    element: str = "f16"
    prefetch: bool = True
    ahead: bool = True  # workgroup memory is read while something before it is multiplied
    conflicts: float = 1.0  # cycles of workgroup memory against those without bank conflicts
    read_bytes: int = WIDE  # of one read of workgroup memory by a lane
    rows: int = 1  # of tiles that are walked together
    chiplets: int = 1  # whether neighbouring tiles were brought to one chiplet
    parts: int = 1  # workgroups that share the steps of a tile, whose sums a second launch adds up
    stream: int = 0  # workgroups a compute unit that share all steps alike; 0: a tile, or a part of one, each
    persistent: int = 0  # workgroups a compute unit that make all tiles in turn; 0: as many as there are
    accumulator_bytes: int = 4

    @property
    def waves(self) -> int:
        """Waves of a workgroup."""
        return self.block[0] // self.wave[0] * (self.block[1] // self.wave[1])

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return ceil(self.m / self.block[0]), ceil(self.n / self.block[1])

    @property
    def tiles(self) -> int:
        """Tiles of C."""
        return self.grid[0] * self.grid[1] * self.batch

    @property
    def groups(self) -> int:
        """Tiles, and parts of them, that a workgroup each makes where none makes several."""
        return self.tiles * self.parts

    @property
    def flops(self) -> int:
        """Multiply-adds of the problem times two."""
        return 2 * self.m * self.n * self.k * self.batch


@dataclass(frozen=True)
class Prediction:
    """*Predicted* seconds; `terms` are seconds of the K loop were each resource alone, `bound` the one that decides."""

    seconds: float
    flops: int
    terms: Mapping[str, float]
    bound: str
    rounds: int
    full: float  # how full the last round leaves the compute units, over all rounds
    clock: float
    version: str = VERSION

    @property
    def rate(self) -> float:
        """*Predicted* floating-point operations a second."""
        return self.flops / self.seconds


def predict(t: Tiling, target: Target) -> Prediction:
    """The time of a launch. Raises KeyError where the chip's file lacks a number."""
    facts: Mapping[str, Any] = target.facts
    units, simds = int(facts["compute_units"]), int(facts["simds_per_compute_unit"])
    resident = min(fits(t, facts), ceil(t.groups / units), t.stream or t.persistent or t.groups)
    steps, rounds = ceil(ceil(t.k / t.block[2]) / t.parts), ceil(t.groups / units)
    # what each compute unit makes: whole tiles or parts, or its share of all steps to a step
    share = max(1.0, t.groups * steps / units) if t.stream else float(steps * rounds)
    multiply = matrix_clocks(t) / min(t.waves * resident, simds)
    shared = shared_clocks(t, facts)
    peak = float(facts["clock_peak"])
    moved = (t.block[0] + t.block[1]) * t.block[2] * t.element_bytes
    busy = min(t.groups, units)
    miss = unique_share(t, facts, busy * resident)
    wait = STEP + (0.0 if t.prefetch else LATENCY)
    alone = matrix_clocks(t) / min(t.waves, simds) + wait + (0.0 if t.ahead else shared)
    caches = {
        "L2": moved * busy / (CACHE_SHARE * float(facts["l2_bandwidth"])),
        "last-level cache": moved * miss * busy / (CACHE_SHARE * float(facts["last_level_cache_bandwidth"])),
    }
    instructions = issue_clocks(t) / simds
    issue = together(multiply, shared, instructions, alone / resident, max(caches.values()) * peak)
    # a power limit: the clock falls as the matrix cores get busy, which are not all that takes power
    sustained = float(facts.get(f"clock_sustained_{t.element}", facts.get("clock_sustained_f16", peak)))
    clock = min(peak, sustained / (OTHER_POWER + (1 - OTHER_POWER) * multiply / issue))
    terms = {
        "matrix cores": multiply / clock,
        "workgroup memory": shared / clock,
        **caches,
        "instruction issue": instructions / clock,
        "latency": alone / resident / clock,
    }
    total = {name: each * share for name, each in terms.items()}
    loop = issue / clock * share
    compulsory = (t.m * t.k + t.k * t.n) * t.element_bytes * t.batch + t.m * t.n * t.output_bytes * t.batch
    total["device memory"] = compulsory / (HBM_SHARE * float(facts["memory_bandwidth"]))
    bound = max(total, key=lambda name: total[name])
    stored = t.block[0] * t.block[1] * t.output_bytes * busy / (HBM_SHARE * float(facts["memory_bandwidth"]))
    starts = 1.0 if t.persistent or t.stream else rounds / resident
    fixed = LAUNCH + starts * START / peak + rounds / resident * stored + sums(t, units, facts)
    return Prediction(
        max(loop, total["device memory"]) + fixed, t.flops, total, bound, rounds, t.groups / (rounds * units), clock
    )  # fmt: skip


def sums(t: Tiling, units: int, facts: Mapping[str, Any]) -> float:
    """Seconds of a second launch that adds up parts, and of writing and reading them; 0 where there are none."""
    if t.parts == 1 and not t.stream:
        return 0.0
    kept = t.stream * units if t.stream else t.groups
    moved = 2 * kept * t.block[0] * t.block[1] * t.accumulator_bytes
    return LAUNCH + moved / (HBM_SHARE * float(facts["memory_bandwidth"]))


def together(*clocks: float) -> float:
    """How long resources take that overlap, but not perfectly: more than the slowest, less than their sum."""
    return sum(each**OVERLAP for each in clocks) ** (1 / OVERLAP)


def fits(t: Tiling, facts: Mapping[str, Any]) -> int:
    """Workgroups that a compute unit holds at once."""
    granule, simds = int(facts["register_granularity"]), int(facts["simds_per_compute_unit"])
    registers = -(-max(t.registers, 1) // granule) * granule
    waves = min(int(facts["waves_per_simd_max"]), int(facts["registers_per_simd"]) // registers) * simds
    by_memory = int(facts["shared_per_compute_unit"]) // max(t.shared_bytes, 1)
    return max(1, min(waves // t.waves, by_memory))


def matrix_clocks(t: Tiling) -> float:
    """Clocks of one SIMD for a workgroup's step."""
    m, n, k = t.shape
    return ceil(t.block[0] / m) * ceil(t.block[1] / n) * ceil(t.block[2] / k) * float(t.clocks)


def shared_clocks(t: Tiling, facts: Mapping[str, Any]) -> float:
    """Clocks of workgroup memory for a step: what every wave reads, and the tiles once as they are written."""
    read = t.waves * (t.wave[0] + t.wave[1]) * WIDE / min(t.read_bytes, WIDE)
    written = t.block[0] + t.block[1]
    return t.conflicts * (read + written) * t.block[2] * t.element_bytes / float(facts["shared_bytes_per_clock"])


def issue_clocks(t: Tiling) -> float:
    """Clocks of one SIMD to issue what is no matrix instruction, were all waves of a workgroup on it."""
    read = (t.wave[0] + t.wave[1]) * t.block[2] * t.element_bytes / (LANES * t.read_bytes)
    moved = (
        2 * (t.block[0] + t.block[1]) * t.block[2] * t.element_bytes / (LANES * t.waves * WIDE)
    )  # loaded, and stored
    return t.waves * (read + moved + OTHERS) * ISSUE


def unique_share(t: Tiling, facts: Mapping[str, Any], running: int) -> float:
    """What share of the operands that the workgroups of one chiplet ask for is not in its L2 already."""
    here = max(1, running // int(facts.get("chiplets", 1)))
    height, width = t.grid
    rows = min(t.rows, height)
    if t.chiplets == 1:  # workgroups go to chiplets in turn: one row of a group, or every so many columns
        rows = max(1, rows // int(facts.get("chiplets", 1)))
    columns = min(ceil(here / rows), width)
    rows = max(rows, ceil(here / columns))
    return min(1.0, (rows * t.block[0] + columns * t.block[1]) / (here * (t.block[0] + t.block[1])))
