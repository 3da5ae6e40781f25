"""The schedule on tensor cores: blocks through workgroup memory by tensor copies, a warpgroup's tile in wgmma.

C is cut into block-m x block-n tiles, one a workgroup; a step of the K loop brings block-k of A and B to workgroup
memory by the tensor memory accelerator; every warpgroup keeps wave-m x wave-n of C in accumulators.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import gcd
from typing import Any

from lowering import dtypes
from lowering.core import Problem, Schedule, Target
from lowering.passes import pipeline
from lowering.passes.common.cpu_tail import TO_BUFFERS
from lowering.passes.common.vectorize import Vectorize
from lowering.passes.nvidia.promote_tma import MOST_ROWS, PITCH, ROW_BYTES
from lowering.passes.nvidia.staged_writes import COLUMNS
from lowering.passes.nvidia.wgmma import DEPTHS, LANES, MOST_COLUMNS, ROWS
from lowering.targets import simt
from lowering.targets.space import Knob, Rung

Knobs = Mapping[str, Any]

KNOBS: tuple[Knob, ...] = (
    Knob("block_m", (128, 64, 256, 192, 32, 16, 8), "rows of C a workgroup makes"),
    Knob("block_n", (256, 128, 64, 192, 32), "columns of C a workgroup makes"),
    Knob("block_k", (64, 128, 256), "depth of a step of the K loop, and of the tiles in workgroup memory"),
    Knob("wave_m", (64, 128, 32, 16, 8), "rows of C a warpgroup keeps"),
    Knob("wave_n", (256, 128, 64, 192, 32), "columns of C a warpgroup keeps"),
    Knob("swap", (False, True), "the 64 rows of wgmma run along N, its columns along M"),
    Knob(
        "stages",
        (4, 3, 2, 1, 5, 6, 7, 8, 12, 16),
        "places of each tile: tensor copies run so many steps ahead, less one",
    ),
    Knob("specialised", (True, False), "the copies have a warpgroup of their own"),
    Knob(
        "blocks",
        (2, 0, 1, 4),
        "blocks of 64x64 results a warpgroup has written by tensor copies at a time; 0: by threads",
    ),
    Knob("persistent", (1, 0, 2), "workgroups an SM that make all tiles in turn; 0: one a tile"),
    Knob("split_k", (1, 2, 4, 8, 16, 32, 64), "parts of K, each a workgroup's; a second launch adds them up"),
    Knob("raster_m", (16, 8, 4, 1, 32), "rows of tiles that neighbouring workgroups walk together"),
)
LADDER: tuple[Rung, ...] = (
    Rung("tensor cores and tensor copies", {"cores": "vector"}, instead=True),
    Rung("a wider tile", most={"block_n": 64, "wave_n": 64}),
    Rung("copies run ahead", most={"stages": 1}),
    Rung("a warpgroup for the copies", {"specialised": False}),
    Rung("more warpgroups", most={"block_m": 64, "wave_m": 64}),
    Rung("results by tensor copies", {"blocks": 0}),
    Rung("workgroups that stay", {"persistent": 0}),
    Rung("neighbours share operands", {"raster_m": 1}),
    Rung("parts of K", {"split_k": 1}),
)
TILES = ((128, 256), (128, 192), (128, 128), (128, 64), (64, 128), (64, 64))
# In multiply-adds, of which an SM makes 7.6 million a microsecond by this count: what a row or column of a tile costs a
# step (fitted to six tiles of bf16 2048^3, on an H200), a byte of A and B, a second launch, and an element of a part
# (fitted to ten products of few tiles, on an H100 with a cold L2)
EDGE, BYTE, SECOND, PART = 147, 2.5, 10_000_000, 18
BLOCK_BYTES = ROWS * ROW_BYTES
SUM_THREADS, SUM_WIDTH, SUM_COLUMNS = 128, 4, 64  # of the launch that adds up parts: 16 bytes a thread, whole lines
MOST_STAGES = 7  # more were not tried
FIXED_REGISTERS = 40  # descriptors, addresses, counters: seen in the compiled kernels


def possible(problem: Problem) -> str | None:
    """Why a problem cannot run on tensor cores by tensor copies; None where it can."""
    c = problem.contraction
    if c.element not in DEPTHS:
        return f"there is no wgmma for {c.element}"
    if c.accumulator != "f32":
        return f"wgmma of {c.element} accumulates in f32, not in {c.accumulator}"
    if c.layout == "other":
        return "tensor copies are of matrices, or of a batch of them, and this one's operands are not"
    nbytes = dtypes.lookup(c.element).bytes
    if nbytes == 1 and c.layout != "nt":
        return f"wgmma of {c.element} takes K along the rows of both operands, layout nt, found {c.layout}"
    rows = (c.k if c.layout[0] == "n" else c.m, c.n if c.layout[1] == "n" else c.k)
    for name, row in zip("AB", rows, strict=True):
        if row * nbytes % PITCH:
            return f"a row of {name} has {row * nbytes} bytes, no multiple of {PITCH}, which tensor copies take"
    return None


def illegal(knobs: Knobs, problem: Problem, target: Target) -> str | None:
    """Why full knobs cannot work for this problem on this target; None where they can."""
    c = problem.contraction
    nbytes = dtypes.lookup(c.element).bytes
    m, n, k, wave_m, wave_n = (int(knobs[name]) for name in ("block_m", "block_n", "block_k", "wave_m", "wave_n"))
    width = ROW_BYTES // nbytes
    sides = [("wave_m", wave_m), ("wave_n", wave_n)]
    (tall, high), (flat, wide) = reversed(sides) if knobs["swap"] else sides
    waves, tile = m // wave_m * (n // wave_n), m * n // max(1, m // wave_m * (n // wave_n)) // LANES
    rules = (
        (m % wave_m, f"block_m={m} is no multiple of wave_m={wave_m}"),
        (n % wave_n, f"block_n={n} is no multiple of wave_n={wave_n}"),
        (high % ROWS, f"{tall}={high} is no multiple of {ROWS}, the rows of wgmma"),
        (wide % 8 or wide > MOST_COLUMNS, f"{flat}={wide}: wgmma has 8, 16, .. {MOST_COLUMNS} columns"),
        (knobs["swap"] and knobs["blocks"], "with swap=true threads write the results: blocks=0"),
        (k % width, f"block_k={k} is no multiple of {width}, the elements of {ROW_BYTES} bytes"),
        (m > MOST_ROWS or n > MOST_ROWS, f"a tensor copy has at most {MOST_ROWS} rows, found {max(m, n)}"),
        (c.layout[0] == "t" and wave_m % width, f"wave_m={wave_m} is no multiple of {width}, a row of A's tile"),
        (knobs["blocks"] and unstaged(wave_n, problem), unstaged(wave_n, problem) or ""),
        (knobs["blocks"] and knobs["split_k"] > 1, "parts of sums are of 32 bits, which threads write: blocks=0"),
        (knobs["split_k"] > max(1, -(-c.k // k)), f"split_k={knobs['split_k']} parts of {-(-c.k // k)} steps"),
        (c.layout[1] == "n" and wave_n % width, f"wave_n={wave_n} is no multiple of {width}, a row of B's tile"),
    )
    broken = next((words for holds, words in rules if holds), None)
    if broken is not None:
        return broken
    for what, needed, name in (
        ("threads a workgroup", (waves + knobs["specialised"]) * LANES, "threads_per_group_max"),
        (
            "bytes of workgroup memory",
            memory(knobs, nbytes) + int(target.facts["shared_reserved"]),
            "shared_dynamic_max",
        ),
        (f"registers a thread for {wave_m}x{wave_n} of C", tile + FIXED_REGISTERS, "registers_per_lane"),
    ):
        if needed > int(target.facts[name]):
            return f"{needed} {what}, of {target.facts[name]}"
    file = int(target.facts["registers_per_group_max"])
    threads = (waves + knobs["specialised"]) * LANES
    if (tile + FIXED_REGISTERS) * threads > file:
        return f"{threads} threads of {tile + FIXED_REGISTERS} registers, of {file} a workgroup"
    return None


def memory(knobs: Knobs, nbytes: int) -> int:
    """Bytes of workgroup memory: the places of A's and B's tiles, and blocks of results."""
    tiles = (knobs["block_m"] + knobs["block_n"]) * knobs["block_k"] * nbytes * knobs["stages"]
    waves = knobs["block_m"] // knobs["wave_m"] * (knobs["block_n"] // knobs["wave_n"])
    return int(tiles + waves * knobs["blocks"] * BLOCK_BYTES)


def unstaged(wave_n: int, problem: Problem) -> str | None:
    """Why results cannot be written by tensor copies; None where they can."""
    c, nbytes = problem.contraction, dtypes.lookup(problem.contraction.output).bytes
    if nbytes != 2 or c.n * nbytes % PITCH:
        return f"tensor copies write 16-bit results in rows of a multiple of {PITCH} bytes"
    return f"wave_n={wave_n} is no multiple of {COLUMNS}, a block's columns" if wave_n % COLUMNS else None


def default(knobs: Knobs, problem: Problem, target: Target) -> dict[str, Any]:
    """Full knobs by the written rule, with those that are given.

    The tile that takes the fewest rounds of all SMs, each as long as its multiply-adds and its edges, which are read
    from workgroup memory, and into how many parts K is cut where tiles leave SMs idle; warpgroups side by side along M,
    each with all of the block's columns.
    """
    c = problem.contraction
    m, n, parts = shares(knobs, problem, target)
    nbytes = dtypes.lookup(c.element).bytes
    found = {
        "block_m": m,
        "block_n": n,
        "block_k": ROW_BYTES // nbytes,
        "wave_m": ROWS,
        "raster_m": 16,
        "specialised": True,
        "persistent": 1,
        "swap": False,
        "split_k": parts,
        **knobs,
    }
    found = {"wave_n": found["block_n"], **found}
    by_threads = found["split_k"] > 1 or found["swap"] or unstaged(found["wave_n"], problem)
    found = {"blocks": 0 if by_threads else min(2, found["wave_n"] // COLUMNS), **found}
    most = int(target.facts["shared_dynamic_max"]) - int(target.facts["shared_reserved"])
    fitting = [n for n in range(1, MOST_STAGES + 1) if memory({**found, "stages": n}, nbytes) <= most]
    return {"stages": min(max(fitting, default=1), steps(found, problem, target)), **found}


def shares(knobs: Knobs, problem: Problem, target: Target) -> tuple[int, int, int]:
    """Rows and columns of a tile, and parts of its K, that take the least time with the knobs that are given.

    As many parts as give every SM one, or a half of that, or a quarter ..: none that has no more steps than with fewer.
    """
    c, units = problem.contraction, int(target.facts["compute_units"])
    nbytes = dtypes.lookup(c.element).bytes
    step = int(knobs.get("block_k", ROW_BYTES // nbytes))
    depth = -(-c.k // step)
    fitting = [(m, n) for m, n in TILES if m < 2 * max(c.m, 64) and n < 2 * max(c.n, 64)]
    given = dict.fromkeys((int(knobs.get("block_m", m)), int(knobs.get("block_n", n))) for m, n in fitting)

    def parts(m: int, n: int) -> list[int]:
        if "split_k" in knobs or knobs.get("blocks"):
            return [int(knobs.get("split_k", 1))]
        most = max(1, min(units // tiles(m, n, problem), depth))
        return [-(-depth // -(-depth // (most >> half))) for half in range(most.bit_length())]

    def cost(share: tuple[int, int, int]) -> float:
        m, n, each = share
        count = tiles(m, n, problem)
        made = -(-count * each // units) * -(-depth // each) * step * (m * n + EDGE * (m + n))
        read = (c.m + c.n) * c.k * max(c.batch, 1) * nbytes * BYTE * units / min(units, count * each)
        return max(made, read) + (SECOND + PART * m * n * count * each if each > 1 else 0)

    return min(((m, n, each) for m, n in given for each in parts(m, n)), key=cost)


def tiles(block_m: int, block_n: int, problem: Problem) -> int:
    """Tiles of all matrices of C."""
    c = problem.contraction
    return -(-c.m // block_m) * -(-c.n // block_n) * max(c.batch, 1)


def work(knobs: Knobs, problem: Problem) -> int:
    """What workgroups take in turn: all parts of all tiles."""
    return tiles(knobs["block_m"], knobs["block_n"], problem) * int(knobs["split_k"])


def schedule(knobs: Knobs, problem: Problem, target: Target) -> Schedule:
    """The passes of full knobs."""
    convert = (
        "convert-gpu-to-nvvm{index-bitwidth=64 use-bare-ptr-memref-call-conv=true}"  # nvgpu's indices have 64 bits
    )
    outlined = simt.TO_KERNELS.index("gpu-kernel-outlining") + 1
    passes = (
        *tensor_steps(knobs, problem), *TO_BUFFERS, *device_steps(knobs, problem, target),
        *simt.TO_KERNELS[:outlined], "lower-tensor-maps", "gpu.module(convert-nvgpu-to-nvvm)",
        *simt.TO_KERNELS[outlined:], f"gpu.module({convert})", "gpu.module(convert-nvvm-to-llvm)", *simt.LAST,
    )  # fmt: skip
    return pipeline.parse(",".join(passes))


def tensor_steps(knobs: Knobs, problem: Problem) -> tuple[str, ...]:
    """On tensors: tiles of blocks and of warpgroups, the K loop, vectors of a whole warpgroup."""
    m, n, k, wave_m, wave_n = (knobs[name] for name in ("block_m", "block_n", "block_k", "wave_m", "wave_n"))
    most, split = max(wave_m * wave_n, wave_m * k, wave_n * k), knobs["split_k"] > 1
    return (
        *(("start-from-zero",) if problem.contraction.accumulates else ()),
        "linalg-fuse-elementwise-ops",
        f"pad{{tile-sizes={m},{n},{k * knobs['split_k']}}}",
        *((f"split-reduction{{parts={knobs['split_k']} step={k}}}",) if split else ()),
        f"tile{{mapping=block tile-sizes={m},{n}}}",
        f"tile{{mapping=warp tile-sizes={wave_m},{wave_n}}}",
        f"tile-reduction{{tile-sizes={k}}}",
        *(simt.DROP_BATCH if problem.contraction.batch or split else ()),
        *(sum_tiles(m, n) if split else ()),
        "vectorize" if most <= Vectorize.most else f"vectorize{{most={most}}}",
        *(("fold-split-reads",) if split else ()),
        "fold-padding-reads",
        *(("func.func(lower-vector-multi-reduction)",) if split else ()),
    )


def sum_tiles(block_m: int, block_n: int) -> tuple[str, ...]:
    """The loops of a sum of parts: a thread has four columns of a row, a workgroup has at most four warps."""
    columns = gcd(block_n, SUM_COLUMNS)
    rows = gcd(block_m, SUM_THREADS * SUM_WIDTH // columns)
    return (
        f"tile{{mapping=block role=sum tile-sizes={rows},{columns}}}",
        f"tile{{mapping=thread role=sum tile-sizes=1,{SUM_WIDTH}}}",
    )


def device_steps(knobs: Knobs, problem: Problem, target: Target) -> tuple[str, ...]:
    """On buffers: the launch, tensor copies, tensor cores, dynamic memory."""
    return (
        "fold-padding-writes",
        "map-blocks",
        *((f"rasterise{{rows={knobs['raster_m']}}}",) if knobs["raster_m"] > 1 else ()),
        f"map-waves{{most={target.facts['threads_per_group_max']} size={LANES}}}",
        *(("map-threads",) if knobs["split_k"] > 1 else ()),
        *persist(knobs, problem, target),
        "promote-tma",
        *ahead(knobs, problem, target),
        *(("transpose-product",) if knobs["swap"] else ()),
        f"wgmma{{blocks={knobs['blocks']}}}" if knobs["blocks"] else "wgmma",
        f"dynamic-workgroup{{most={target.facts['shared_dynamic_max']}}}",
        *(("dependent-launches",) if knobs["split_k"] > 1 else ()),
    )


def ahead(knobs: Knobs, problem: Problem, target: Target) -> tuple[str, ...]:
    """How the copies run ahead, where a workgroup has more than one step."""
    if steps(knobs, problem, target) == 1:
        return ()
    if knobs["specialised"]:
        return (f"warp-specialise{{most={target.facts['threads_per_group_max']} stages={knobs['stages']}}}",)
    return (f"ring{{stages={knobs['stages']}}}",) if knobs["stages"] > 1 else ()


def persist(knobs: Knobs, problem: Problem, target: Target) -> tuple[str, ...]:
    """As few workgroups as need no more rounds than all that run at once, where there are more tiles."""
    each = rounds(knobs, problem, target)
    return (f"persist{{workgroups={-(-work(knobs, problem) // each)}}}",) if each > 1 else ()


def rounds(knobs: Knobs, problem: Problem, target: Target) -> int:
    """The most tiles, or parts of them, that a workgroup makes."""
    most = int(knobs["persistent"]) * int(target.facts["compute_units"])
    return -(-work(knobs, problem) // most) if most else 1


def steps(knobs: Knobs, problem: Problem, target: Target) -> int:
    """The most steps of K, in all its tiles, that a workgroup takes."""
    depth = knobs["block_k"] * knobs["split_k"]
    return -(-problem.contraction.k // depth) * rounds(knobs, problem, target)
