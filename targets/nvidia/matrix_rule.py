"""The written rule behind the default schedule on tensor cores: which tile, how many parts of K, transposed or not.

Every legal tile is given the clocks that it may take, out of a few constants; each says what it was measured on. It is
no model of the chip: of what it cannot tell apart it takes the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

from lowering import dtypes
from lowering.core import Problem, Target
from lowering.passes.nvidia.promote_tma import ROW_BYTES
from lowering.passes.nvidia.wgmma import MOST_COLUMNS, ROWS, step_of_columns
from lowering.targets.nvidia.matrix import (
    along_of,
    cluster_tiles,
    columns_of,
    illegal,
    memory,
    ragged,
    result_bytes,
    row_bytes,
    steps,
    tiles,
    unstaged,
    work,
)

Knobs = Mapping[str, Any]

# Clocks that a step of 128 bytes of K takes, by the tile, with the schedule of the default: rounds of bf16 4096^3 on an
# H100, in units of which 128x256 takes 1024, what its wgmma take
TILES = {
    (128, 256): 1024, (256, 192): 1516, (192, 192): 1137, (128, 192): 772, (128, 128): 593, (64, 128): 439,
    (128, 64): 535, (64, 64): 360,
}  # fmt: skip
# Clocks of a row whose copy straddles sectors, with one workgroup an SM: six tiles of bf16 4000x4104x4104 on an H100
STRADDLING = 5.3
ENDING = 0.1  # clocks of an element of C, to write it while nothing multiplies: bf16 4096^3 beside 4096x4096x1024
# Clocks of a second launch, elements of parts that are written and added a clock, bytes of A and B that all SMs read a
# clock: ten products of few tiles on an H100, with a cold L2
SECOND, PART, READ = 2200, 250, 1800
ALONE = 2  # times its share of that an SM reads where few others read: 16x4096x4096 by 64 workgroups, on an H100
ALIKE = 1.02  # of the least time, within which the clocks above say little
SPARE = 0.1  # of the tiles that clusters may make beyond C
SECTOR = 32  # bytes that caches read at a time
MOST_STAGES = 8  # more were no faster
LEAST = 4  # steps of a part: fewer are not worth one
FEW = 32  # rows of C
VECTOR_RATE = 41e12  # FLOP/s of bf16 4096^3 on vector cores, measured on an H100
COPIES = 8e-6  # seconds that two launches and their gaps take, small copies included


def pays(problem: Problem, target: Target) -> bool:
    """Whether tensor cores are worth what their operands' copies cost, where rows cannot be read as they lie."""
    c, nbytes = problem.contraction, dtypes.lookup(problem.contraction.element).bytes
    if ragged(problem) is None:
        return True
    moved = 2 * nbytes * c.k * (c.m + c.n) * max(c.batch, 1)  # read and written
    return c.flops / VECTOR_RATE > COPIES + moved / float(target.facts["memory_bandwidth"])


def default(knobs: Knobs, problem: Problem, target: Target) -> dict[str, Any]:
    """Full knobs by the written rule, with those that are given.

    The tile that takes the least time in rounds of all SMs (the first of those that are about as fast), into how many
    parts K is cut where tiles leave SMs idle, and whether two workgroups share what they copy; warpgroups side by side
    along M, each with all of the block's columns.
    """
    c = problem.contraction
    step = int(knobs.get("block_k", ROW_BYTES // dtypes.lookup(c.element).bytes))
    units = int(target.facts["compute_units"])

    def parts(m: int, n: int) -> list[int]:
        """What gives every SM one, or a half of that, or a quarter: none with no fewer steps than fewer have."""
        depth = -(-c.k // step)
        most = 1 if knobs.get("blocks") else max(1, min(units // tiles(m, n, problem), depth // LEAST))
        return [-(-depth // -(-depth // (most >> half))) for half in reversed(range(most.bit_length()))]

    ways = [
        {**tile, "split_k": each}
        for tile in shapes(knobs, problem, units)
        for each in parts(tile["block_m"], tile["block_n"])
    ]
    found = [completed({"cluster": size, **way, **knobs}, problem, target) for way, size in product(ways, (1, 2))]
    able = [each for each in found if not illegal(each, problem, target) and not spare(each, knobs, problem)]
    if not able:
        return found[0]
    times = [clocks(each, problem, target) for each in able]
    return next(each for each, time in zip(able, times, strict=True) if time <= ALIKE * min(times))


def shapes(knobs: Knobs, problem: Problem, units: int) -> list[dict[str, Any]]:
    """Tiles to choose from: for few rows of C, those whose rows run along N, with twice the depth.

    These read no rows that are not there, and so more copies are under way: for at most 32 rows, and for more where a
    workgroup a tile is enough for most SMs (measured at 1 to 128 rows of N = K = 4096 and 8192, on an H100).
    """
    c = problem.contraction
    few = c.m <= FEW or (c.m <= MOST_COLUMNS // 2 and 4 * tiles(c.m, ROWS, problem) >= 3 * units)
    if few and knobs.get("swap", True) and not knobs.get("blocks"):
        width = ROW_BYTES // dtypes.lookup(c.element).bytes
        rows = max(step_of_columns(c.element) if c.layout[0] == "n" else width, 1 << (c.m - 1).bit_length())
        return [
            {"block_m": int(knobs.get("block_m", rows)), "block_n": ROWS, "block_k": 2 * width, "swap": True, **knobs}
        ]
    fitting = [(m, n) for m, n in TILES if m < 2 * max(c.m, 64) and n < 2 * max(c.n, 64)]
    pairs = dict.fromkeys((int(knobs.get("block_m", m)), int(knobs.get("block_n", n))) for m, n in fitting)
    return [{"block_m": m, "block_n": n} for m, n in pairs]


def spare(knobs: Knobs, given: Knobs, problem: Problem) -> bool:
    """Whether a cluster that nobody asked for makes too many tiles beyond C."""
    made = cluster_tiles(knobs, problem) * knobs["cluster"]
    return "cluster" not in given and made > (1 + SPARE) * tiles(knobs["block_m"], knobs["block_n"], problem)


def completed(knobs: Knobs, problem: Problem, target: Target) -> dict[str, Any]:
    """Full knobs of a tile: with those that are given, and as many places of copies as there is room for."""
    nbytes = dtypes.lookup(problem.contraction.element).bytes
    flat = problem.contraction.k * nbytes <= ROW_BYTES  # K is one step, and it is C that takes the time
    found = {
        "block_k": ROW_BYTES // nbytes,
        "wave_m": wave_rows(knobs),
        "wave_n": knobs["block_n"],
        "raster_m": 4 if flat else 16,
        "specialised": True,
        "apart": False,
        "copier_registers": 40,
        "flight": 0,
        "hilbert": False,
        "persistent": 1,
        "swap": False,
        "align": ROW_BYTES if ragged(problem) else 0,
        **knobs,
    }
    by_threads = found["split_k"] > 1 or found["swap"] or unstaged(found["wave_n"], problem)
    widest = min(1 if flat else 2, found["wave_n"] // columns_of(result_bytes(problem)))
    room = int(target.facts["shared_dynamic_max"]) - int(target.facts["shared_reserved"])
    full = [
        {"blocks": blocks, "stages": stages, **found}
        for blocks in ((0,) if by_threads else range(widest, 0, -1))
        for stages in range(min(MOST_STAGES, steps(found, problem, target)), 0, -1)
    ]
    fitting = [each for each in full if memory(each, nbytes) <= room]
    return max(fitting, key=lambda each: each["stages"], default=full[0])


def wave_rows(knobs: Knobs) -> int:
    """Rows of C of a warpgroup: 64, two times as many of a high tile, all where they run along the columns of wgmma."""
    if knobs.get("swap"):
        return int(knobs["block_m"])
    return ROWS if knobs["block_m"] <= 3 * ROWS else 2 * ROWS


def clocks(knobs: Knobs, problem: Problem, target: Target) -> float:
    """How long full knobs may take, in SM clocks: rounds of tiles, steps of each; or all of A and B read once."""
    c = problem.contraction
    m, n, nbytes = knobs["block_m"], knobs["block_n"], dtypes.lookup(problem.contraction.element).bytes
    depth = knobs["block_k"] * nbytes / ROW_BYTES
    alone = TILES[m, n] if (m, n) in TILES else m * n / 32
    step = max(alone, STRADDLING * straddling_rows(knobs, problem)) * depth
    each = -(-c.k // (knobs["block_k"] * knobs["split_k"])) * step + ENDING * m * n
    units = int(target.facts["compute_units"]) // knobs["cluster"]
    made = -(-work(knobs, problem) // units) * each
    short = int(target.facts["compute_units"]) / (ALONE * work(knobs, problem))
    read = (c.m + c.n) * c.k * max(c.batch, 1) * nbytes / READ * max(1.0, short)
    return max(made, read) + (SECOND + work(knobs, problem) * m * n / PART if knobs["split_k"] > 1 else 0)


def straddling_rows(knobs: Knobs, problem: Problem) -> float:
    """Rows that a workgroup copies in a step that begin on 16 bytes but not on 32: they read a sector more."""
    shared = "n" if along_of(knobs) == "m" else "m"
    rows = [knobs[f"block_{side}"] / (knobs["cluster"] if side == shared else 1) for side in "mn"]
    pitches = [-(-row // knobs["align"]) * knobs["align"] if knobs["align"] else row for row in row_bytes(problem)]
    return sum(count for count, pitch in zip(rows, pitches, strict=True) if pitch % SECTOR)
