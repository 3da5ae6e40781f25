"""The schedule on tensor cores: blocks through workgroup memory by tensor copies, a warpgroup's tile in wgmma.

C is cut into block-m x block-n tiles, one a workgroup; a step of the K loop brings block-k of A and B to workgroup
memory by the tensor memory accelerator; every warpgroup keeps wave-m x wave-n of C in accumulators. Workgroups of a
cluster share what they copy.
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
from lowering.passes.nvidia.share_registers import at_start, left_over
from lowering.passes.nvidia.staged_writes import columns_of
from lowering.passes.nvidia.wgmma import DEPTHS, LANES, MOST_COLUMNS, ROWS, accumulated_in, step_of_columns
from lowering.targets import simt
from lowering.targets.space import Knob, Rung

Knobs = Mapping[str, Any]

KNOBS: tuple[Knob, ...] = (
    Knob("block_m", (128, 64, 256, 192, 32, 16, 8), "rows of C a workgroup makes"),
    Knob("block_n", (256, 128, 64, 192, 32), "columns of C a workgroup makes"),
    Knob("block_k", (64, 128, 256, 32), "depth of a step of the K loop, and of the tiles in workgroup memory"),
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
        "blocks of 64 rows of 128 bytes a warpgroup has written by tensor copies at a time; 0: by threads",
    ),
    Knob(
        "apart", (False, True), "a step's products are added up apart, then in f32: sums of 8-bit floats keep 14 bits"
    ),
    Knob("align", (0, 128, 16), "bytes that rows of A and B become multiples of, copied first; 0: read as they lie"),
    Knob("persistent", (1, 0, 2), "workgroups an SM that make all tiles in turn; 0: one a tile"),
    Knob("split_k", (1, 2, 4, 8, 16, 32, 64), "parts of K, each a workgroup's; a second launch adds them up"),
    Knob("copier_registers", (40, 24, 32, 0), "of a thread that copies, the others get what is left; 0: all the same"),
    Knob("flight", (0, 1), "steps whose products still run when those of the next are begun"),
    Knob("cluster", (1, 2, 4, 8), "workgroups that share the copies of what their tiles have in common"),
    Knob("raster_m", (16, 8, 4, 1, 32), "rows of tiles that neighbouring workgroups walk together"),
    Knob("hilbert", (False, True), "tiles are walked along curves in squares of raster_m, not in groups of rows"),
)
LADDER: tuple[Rung, ...] = (
    Rung("tensor cores and tensor copies", {"cores": "vector"}, instead=True),
    Rung("a wider tile", most={"block_n": 64, "wave_n": 64}),
    Rung("copies run ahead", most={"stages": 1}),
    Rung("a warpgroup for the copies", {"specialised": False}),
    Rung("more warpgroups", most={"block_m": 64, "wave_m": 64}),
    Rung("results by tensor copies", {"blocks": 0}),
    Rung("workgroups that stay", {"persistent": 0}),
    Rung("registers from the copies", {"copier_registers": 0}),
    Rung("copies shared in a cluster", {"cluster": 1}),
    Rung("neighbours share operands", {"raster_m": 1}),
    Rung("parts of K", {"split_k": 1}),
)
APART = 16  # SMs that clusters of more than two leave: on an H100, 30 of four ran at once, and 32 took twice the time
BLOCK_BYTES = ROWS * ROW_BYTES
SUM_THREADS, SUM_WIDTH, SUM_COLUMNS = 128, 2, 64  # of the launch that adds up parts: 8 bytes a thread, whole lines
FIXED_REGISTERS = 40  # descriptors, addresses, counters: seen in the compiled kernels


def possible(problem: Problem) -> str | None:
    """Why a problem cannot run on tensor cores by tensor copies; None where it can."""
    c = problem.contraction
    element = c.multiplied or c.element
    if element not in DEPTHS:
        also = "; as tf32, with fewer bits, there is" if element == "f32" else ""
        return f"there is no wgmma for {element}{also}"
    if c.accumulator != accumulated_in(element):
        return f"wgmma of {element} accumulates in {accumulated_in(element)}, not in {c.accumulator}"
    if c.layout == "other":
        return "tensor copies are of matrices, or of a batch of them, and this one's operands are not"
    nbytes = dtypes.lookup(c.element).bytes
    if nbytes != 2 and c.layout != "nt":
        return f"wgmma of {element} takes K along the rows of both operands, layout nt, found {c.layout}"
    return None


def row_bytes(problem: Problem) -> tuple[int, int]:
    """Bytes of a row of A and of one of B, as they are stored."""
    c, nbytes = problem.contraction, dtypes.lookup(problem.contraction.element).bytes
    return nbytes * (c.k if c.layout[0] == "n" else c.m), nbytes * (c.n if c.layout[1] == "n" else c.k)


def ragged(problem: Problem, nbytes: int = PITCH) -> str | None:
    """Which operand has rows of no multiple of so many bytes, in words; None where neither has."""
    for name, row in zip("AB", row_bytes(problem), strict=True):
        if row % nbytes:
            return f"a row of {name} has {row} bytes, no multiple of {nbytes}, which tensor copies take"
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
    grid = (-(-c.m // m), -(-c.n // n))
    tile *= 2 if knobs["apart"] else 1
    rules = (
        (m % wave_m, f"block_m={m} is no multiple of wave_m={wave_m}"),
        (n % wave_n, f"block_n={n} is no multiple of wave_n={wave_n}"),
        (high % ROWS, f"{tall}={high} is no multiple of {ROWS}, the rows of wgmma"),
        (
            wide % step_of_columns(c.element) or wide > MOST_COLUMNS,
            f"{flat}={wide}: wgmma has a multiple of {step_of_columns(c.element)} columns, at most {MOST_COLUMNS}",
        ),
        (knobs["swap"] and knobs["blocks"], "with swap=true threads write the results: blocks=0"),
        (knobs["apart"] and knobs["flight"], "sums that are added up apart are waited for in each step: flight=0"),
        (knobs["apart"] and c.accumulator == "i32", "apart=true: sums of integers are exact, there is nothing to gain"),
        (k % width, f"block_k={k} is no multiple of {width}, the elements of {ROW_BYTES} bytes"),
        (m > MOST_ROWS or n > MOST_ROWS, f"a tensor copy has at most {MOST_ROWS} rows, found {max(m, n)}"),
        (c.layout[0] == "t" and wave_m % width, f"wave_m={wave_m} is no multiple of {width}, a row of A's tile"),
        (not knobs["align"] and ragged(problem), f"{ragged(problem)}: align={ROW_BYTES} copies them first"),
        (knobs["cluster"] not in (1, 2, 4, 8), f"cluster={knobs['cluster']}: 1, 2, 4 or 8 workgroups share copies"),
        (knobs["align"] % PITCH, f"align={knobs['align']} is no multiple of {PITCH} bytes"),
        (knobs["blocks"] and unstaged(wave_n, problem), unstaged(wave_n, problem) or ""),
        (knobs["blocks"] and knobs["split_k"] > 1, "parts of sums are of 32 bits, which threads write: blocks=0"),
        (knobs["split_k"] > max(1, -(-c.k // k)), f"split_k={knobs['split_k']} parts of {-(-c.k // k)} steps"),
        (
            knobs["hilbert"] and knobs["raster_m"] & (knobs["raster_m"] - 1),
            f"raster_m={knobs['raster_m']} is no power of two, the side of a square that a curve fills",
        ),
        (
            knobs["flight"] and (knobs["stages"] == 1 or not knobs["specialised"]),
            "products in flight hold a place of their tiles: that takes two, and copies with a warpgroup of their own",
        ),
        (knobs["cluster"] > 1 and not knobs["specialised"], "shared copies have a warpgroup of their own"),
        (
            knobs["cluster"] > 1 and 1 in grid,
            f"clusters are of rows and columns of tiles, and C has {grid[0]} x {grid[1]}",
        ),
        (knobs["cluster"] > 1 and knobs["split_k"] > 1, "clusters make tiles of all of K: cluster=1 or split_k=1"),
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
    threads, needed = (waves + knobs["specialised"]) * LANES, tile + FIXED_REGISTERS
    if (most := registers(knobs)) >= needed:
        return None
    if most > at_start(threads):
        return f"{needed} registers a thread for {wave_m}x{wave_n} of C, of {most} that the copies leave"
    return f"{threads} threads of {needed} registers, of {target.facts['registers_per_group_max']} a workgroup"


def registers(knobs: Knobs) -> int:
    """Registers that a thread that multiplies can have."""
    consumers = knobs["block_m"] // knobs["wave_m"] * (knobs["block_n"] // knobs["wave_n"]) * LANES
    threads = consumers + knobs["specialised"] * LANES
    if not (knobs["specialised"] and knobs["copier_registers"]):
        return at_start(threads)
    return max(at_start(threads), left_over(threads, consumers, int(knobs["copier_registers"])))


def memory(knobs: Knobs, nbytes: int) -> int:
    """Bytes of workgroup memory: the places of A's and B's tiles, and blocks of results."""
    tiles = (knobs["block_m"] + knobs["block_n"]) * knobs["block_k"] * nbytes * knobs["stages"]
    waves = knobs["block_m"] // knobs["wave_m"] * (knobs["block_n"] // knobs["wave_n"])
    return int(tiles + waves * knobs["blocks"] * BLOCK_BYTES)


def unstaged(wave_n: int, problem: Problem) -> str | None:
    """Why results cannot be written by tensor copies; None where they can."""
    c, nbytes = problem.contraction, result_bytes(problem)
    if nbytes not in (2, 4) or c.n * nbytes % PITCH:
        return f"tensor copies write results of 16 or 32 bits in rows of a multiple of {PITCH} bytes"
    columns = columns_of(nbytes)
    return f"wave_n={wave_n} is no multiple of {columns}, a block's columns" if wave_n % columns else None


def result_bytes(problem: Problem) -> int:
    """Bytes of a result."""
    return dtypes.lookup(problem.contraction.output).bytes


def along_of(knobs: Knobs) -> str:
    """What the tiles of a cluster follow one another along: they share the larger of their operands."""
    return "n" if knobs["block_m"] > knobs["block_n"] else "m"


def cluster_tiles(knobs: Knobs, problem: Problem) -> int:
    """How many times a cluster makes its tiles; its last ones may lie beyond C."""
    c, size = problem.contraction, knobs["cluster"]
    high, wide = -(-c.m // knobs["block_m"]), -(-c.n // knobs["block_n"])
    matrix = high * -(-wide // size) if along_of(knobs) == "n" else -(-high // size) * wide
    return matrix * max(c.batch, 1)


def tiles(block_m: int, block_n: int, problem: Problem) -> int:
    """Tiles of all matrices of C."""
    c = problem.contraction
    return -(-c.m // block_m) * -(-c.n // block_n) * max(c.batch, 1)


def work(knobs: Knobs, problem: Problem) -> int:
    """What workgroups, or clusters of them, take in turn: all parts of all tiles."""
    return cluster_tiles(knobs, problem) * int(knobs["split_k"])


def schedule(knobs: Knobs, problem: Problem, target: Target) -> Schedule:
    """The passes of full knobs."""
    convert = (
        "convert-gpu-to-nvvm{index-bitwidth=64 use-bare-ptr-memref-call-conv=true}"  # nvgpu's indices have 64 bits
    )
    outlined = simt.TO_KERNELS.index("gpu-kernel-outlining") + 1
    passes = (
        *tensor_steps(knobs, problem), *TO_BUFFERS, *device_steps(knobs, problem, target),
        *simt.TO_KERNELS[:outlined], "lower-tensor-maps", "gpu.module(convert-nvgpu-to-nvvm)",
        *simt.TO_KERNELS[outlined:], f"gpu.module({convert})", "gpu.module(convert-nvvm-to-llvm)", *simt.LAST[:-1],
        "by-value-maps", simt.LAST[-1],
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
    """The loops of a sum of parts: a thread has two columns of a row, a workgroup has at most four warps."""
    columns = gcd(block_n, SUM_COLUMNS)
    rows = gcd(block_m, SUM_THREADS * SUM_WIDTH // columns)
    return (
        f"tile{{mapping=block role=sum tile-sizes={rows},{columns}}}",
        f"tile{{mapping=thread role=sum tile-sizes=1,{SUM_WIDTH}}}",
    )


def device_steps(knobs: Knobs, problem: Problem, target: Target) -> tuple[str, ...]:
    """On buffers: the launch, tensor copies, tensor cores, dynamic memory."""
    along, deep = along_of(knobs), problem.contraction.k > 2 * knobs["block_k"] * knobs["split_k"]
    several = steps(knobs, problem, target) > 1
    clusters = int(knobs["cluster"]) if several else 1
    rows = knobs["raster_m"] // (clusters if along == "m" else 1)
    tf32 = problem.contraction.multiplied == "tf32"
    options = {"blocks": knobs["blocks"] or "", "truncate": "true" if tf32 else ""}
    given = " ".join(f"{name}={value}" for name, value in options.items() if value)
    return (
        "fold-padding-writes",
        "map-blocks",
        *((f"cluster{{along={along} size={clusters}}}",) if clusters > 1 else ()),
        *((f"{'hilbert{side' if knobs['hilbert'] else 'rasterise{rows'}={rows}}}",) if rows > 1 else ()),
        f"map-waves{{most={target.facts['threads_per_group_max']} size={LANES}}}",
        *(("map-threads",) if knobs["split_k"] > 1 else ()),
        *persist(knobs, problem, target),
        *((f"align-rows{{bytes={knobs['align']}}}",) if knobs["align"] and ragged(problem, knobs["align"]) else ()),
        "promote-tma{round=true}" if tf32 else "promote-tma",
        *ahead(knobs, problem, target),
        *(("transpose-product",) if knobs["swap"] else ()),
        f"wgmma{{{given}}}" if given else "wgmma",
        *(("sum-apart",) if knobs["apart"] and problem.contraction.k > knobs["block_k"] * knobs["split_k"] else ()),
        "first-product",
        *(("overlap-steps",) if knobs["flight"] and deep else ()),
        *(("multicast",) if clusters > 1 else ()),
        f"dynamic-workgroup{{most={target.facts['shared_dynamic_max']}}}",
        *(("dependent-launches",) if knobs["split_k"] > 1 else ()),
    )


def ahead(knobs: Knobs, problem: Problem, target: Target) -> tuple[str, ...]:
    """How the copies run ahead, where a workgroup has more than one step."""
    if steps(knobs, problem, target) == 1:
        return ()
    if knobs["specialised"]:
        most = f"most={target.facts['threads_per_group_max']}"
        return (f"warp-specialise{{{most} stages={knobs['stages']}}}", *share(knobs))
    return (f"ring{{stages={knobs['stages']}}}",) if knobs["stages"] > 1 else ()


def share(knobs: Knobs) -> tuple[str, ...]:
    """Registers from the copies to the products, where that gives these more."""
    waves = knobs["block_m"] // knobs["wave_m"] * (knobs["block_n"] // knobs["wave_n"])
    most = registers(knobs)
    if most <= at_start((waves + 1) * LANES):
        return ()
    return (f"share-registers{{consumer={most} producer={knobs['copier_registers']}}}",)


def persist(knobs: Knobs, problem: Problem, target: Target) -> tuple[str, ...]:
    """As few workgroups as need no more rounds than all that run at once, where there are more tiles."""
    each = rounds(knobs, problem, target)
    few = -(-work(knobs, problem) // each) * knobs["cluster"]
    return (f"persist{{workgroups={few}}}",) if each > 1 else ()


def rounds(knobs: Knobs, problem: Problem, target: Target) -> int:
    """The most tiles, or parts of them, that a workgroup makes."""
    units = int(target.facts["compute_units"]) - (APART if knobs["cluster"] > 2 else 0)
    most = int(knobs["persistent"]) * units // knobs["cluster"]
    return -(-work(knobs, problem) // most) if most else 1


def steps(knobs: Knobs, problem: Problem, target: Target) -> int:
    """The most steps of K, in all its tiles, that a workgroup takes."""
    depth = knobs["block_k"] * knobs["split_k"]
    return -(-problem.contraction.k // depth) * rounds(knobs, problem, target)
