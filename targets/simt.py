"""The schedule that GPUs share: blocks through workgroup memory, thread tiles in registers, multiply-add instructions.

    C is cut into block-m x block-n tiles, one a workgroup; a step of the K loop brings block-k columns of A and rows
    of B into workgroup memory; every thread keeps thread-m x thread-n elements of C in registers and updates them with
    unroll-k rank-1 products at a time.

A family's space adds how its LLVM dialect is reached. Threads run along N, thread-n is one 16-byte load of B, so that
neighbouring threads read neighbouring words of workgroup memory, and A's elements are the same for many threads. With
larger thread-n the threads of a wave are a patch of patch-m rows. Copies may run ahead of the products: with `stages`
in workgroup memory, with `prefetch` in registers.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from lowering import dtypes
from lowering.core import Contraction, Problem, Schedule, Target
from lowering.passes import pipeline
from lowering.passes.common.cpu_tail import TO_BUFFERS
from lowering.targets.space import Knob, Rung

Knobs = Mapping[str, int]

KNOBS: tuple[Knob, ...] = (
    Knob("block_m", (128, 64, 32, 16, 8, 4, 256), "rows of C a workgroup makes"),
    Knob("block_n", (128, 64, 32, 16, 8, 4, 256), "columns of C a workgroup makes"),
    Knob("block_k", (16, 8, 4, 32, 64), "depth of a step of the K loop, and of the tiles in workgroup memory"),
    Knob("thread_m", (16, 8, 4), "rows of C a thread keeps in registers"),
    Knob("thread_n", (4, 8, 16), "columns of C a thread keeps in registers"),
    Knob("unroll_k", (4, 2, 1, 8, 16), "rank-1 products between two jumps of the loop inside a step"),
    Knob("stages", (1, 2, 3), "2: tiles have two places, for one barrier a step; 3: and are filled a step ahead"),
    Knob("prefetch", (False, True), "the next step's tiles are loaded while this one is computed"),
    Knob("patch_m", (0, 4, 2, 8), "rows of the patch that a wave's threads are; 0: threads go row after row"),
)
LADDER: tuple[Rung, ...] = (
    Rung("multiply-adds of single threads"),
    Rung("larger tiles", most={"block_m": 32, "block_n": 32, "thread_m": 4, "thread_n": 4}),
    Rung("unrolled", most={"unroll_k": 1}),
)
TILES = (
    {"block_m": 128, "block_n": 128, "thread_m": 16, "thread_n": 4},
    {"block_m": 128, "block_n": 64, "thread_m": 16, "thread_n": 4},
    {"block_m": 64, "block_n": 128, "thread_m": 16, "thread_n": 4},
    {"block_m": 64, "block_n": 64, "thread_m": 8, "thread_n": 4},
    {"block_m": 32, "block_n": 64, "thread_m": 8, "thread_n": 4},
    {"block_m": 64, "block_n": 32, "thread_m": 8, "thread_n": 4},
    {"block_m": 32, "block_n": 32, "thread_m": 4, "thread_n": 4},
    {"block_m": 4, "block_n": 256, "thread_m": 4, "thread_n": 4},
    {"block_m": 256, "block_n": 4, "thread_m": 4, "thread_n": 4},
    {"block_m": 16, "block_n": 16, "thread_m": 4, "thread_n": 4},
)  # largest first
PLAIN = {"stages": 1, "prefetch": False, "patch_m": 0}
TRANSPOSE_PADDING = 4  # elements: keeps rows on 16 bytes, and puts the rows of a transposed store into different banks
DROP_BATCH = ("linalg-generalize-named-ops", "linalg-fold-unit-extent-dims{use-rank-reducing-slices=true}")
TO_KERNELS: tuple[str, ...] = (  # a launch with vectors in it -> a function of its own, of scalars and control flow
    "lower-contraction",
    "lower-transfers",
    "expand-math",
    "gpu-launch-sink-index-computations",
    "gpu-kernel-outlining",
    "gpu.module(expand-strided-metadata)",
    "affine-expand-index-ops",
    "lower-affine",
    "canonicalize",
    "cse",
    "loop-invariant-code-motion",
    "gpu.module(convert-scf-to-cf)",
)
LAST = (
    "gpu.module(convert-vector-to-llvm)",
    "gpu.module(convert-ub-to-llvm)",
    "canonicalize",
    "cse",
    "reconcile-unrealized-casts",
    "kernel-arguments",
    "llvm{unroll=false}",
)
MOST_BLOCKS = 2**31 - 1  # a one-dimensional grid: CUDA C++ Programming Guide; HIP's grid in threads is below 2^32
MOST_ELEMENTS = 2**31 - 1  # an element's index in 32 bits
FIXED_REGISTERS = 24  # addresses, counters: seen in the compiled kernels


def illegal(knobs: Knobs, problem: Problem, target: Target) -> str | None:
    """Why these knobs cannot work for this problem on this target, from the chip's numbers; None where they can."""
    unknown = sorted(set(knobs) - {knob.name for knob in KNOBS})
    if unknown:
        return f"there is no knob '{unknown[0]}'{pipeline.nearest(unknown[0], [knob.name for knob in KNOBS])}"
    if dtypes.is_small(problem.contraction.element):
        return f"there are no multiply-adds of {problem.contraction.element}, and nothing widens it here"
    chosen = full(knobs, problem, target)
    for block, thread in (("block_m", "thread_m"), ("block_n", "thread_n"), ("block_k", "unroll_k")):
        if chosen[block] % chosen[thread]:
            return f"{block}={chosen[block]} is no multiple of {thread}={chosen[thread]}"
    reason = unpatched(chosen, target)
    if reason is not None:
        return reason
    whole = too_many_threads(chosen, problem, target) or too_many_bytes(chosen, problem, target)
    return whole or too_many_blocks(chosen, problem)


def unpatched(knobs: Knobs, target: Target) -> str | None:
    """Why the threads are no patches, or a number of stages is none."""
    if not 1 <= knobs["stages"] <= 3:
        return f"stages is 1, 2 or 3, found {knobs['stages']}"
    if not knobs["patch_m"]:
        return None
    wave, rows = int(target.facts["wave_size"]), knobs["patch_m"]
    if rows & (rows - 1) or rows > wave:
        return f"patch_m is a power of two, at most the {wave} threads of a wave, found {rows}"
    high, wide = knobs["block_m"] // knobs["thread_m"], knobs["block_n"] // knobs["thread_n"]
    if high % rows or wide % (wave // rows):
        return f"{high}x{wide} threads are no patches of {rows}x{wave // rows}: those take patch_m=0"
    return None


def threads(knobs: Knobs) -> int:
    """Threads of a workgroup."""
    return knobs["block_m"] // knobs["thread_m"] * (knobs["block_n"] // knobs["thread_n"])


def too_many_threads(knobs: Knobs, problem: Problem, target: Target) -> str | None:
    """Why a workgroup or its registers do not fit."""
    count, most = threads(knobs), int(target.facts["threads_per_group_max"])
    if count > most:
        return f"{count} threads a workgroup, of {most}"
    if count == 1:
        return "one thread a workgroup: a thread tile as large as the block's"
    m, n = knobs["thread_m"], knobs["thread_n"]
    needed, there = registers(knobs, problem), int(target.facts["registers_per_lane"])
    if needed > there:
        ahead = " and what it loads ahead take" if knobs["prefetch"] else " takes"
        return f"a thread tile of {m}x{n}{ahead} {needed} registers, of {there}"
    file = int(target.facts.get("registers_per_group_max", 0))
    if file and needed * count > file:
        return f"{count} threads of {needed} registers take {needed * count}, of {file} a workgroup"
    return None


def registers(knobs: Knobs, problem: Problem) -> int:
    """Registers of a thread, as far as they can be told before compiling."""
    m, n = knobs["thread_m"], knobs["thread_n"]
    wide = max(1, dtypes.lookup(problem.contraction.accumulator).bytes // 4)
    loaded = -(-(knobs["block_m"] + knobs["block_n"]) * knobs["block_k"] // threads(knobs)) if knobs["prefetch"] else 0
    return (m * n + m + n + loaded) * wide + FIXED_REGISTERS


def too_many_bytes(knobs: Knobs, problem: Problem, target: Target) -> str | None:
    """Why the tiles do not fit into workgroup memory."""
    wide = dtypes.lookup(problem.contraction.accumulator).bytes
    needed = (
        knobs["block_k"]
        * (knobs["block_m"] + knobs["block_n"] + 2 * TRANSPOSE_PADDING)
        * wide
        * min(2, knobs["stages"])
    )
    there = int(target.facts["shared_static_max"])
    if needed > there:
        return f"the tiles of A and B take {needed} bytes of workgroup memory, of {there}"
    return None


def too_many_blocks(knobs: Knobs, problem: Problem) -> str | None:
    """Why the grid does not fit."""
    count = blocks(knobs, problem.contraction)
    if count * max(threads(knobs), 2) > 2 * MOST_BLOCKS:
        return f"{count} workgroups of {threads(knobs)} threads are more than a grid holds"
    return None


def blocks(knobs: Knobs, c: Contraction) -> int:
    """Workgroups of a launch."""
    return -(-c.m // knobs["block_m"]) * -(-c.n // knobs["block_n"]) * max(c.batch, 1)


def default(problem: Problem, target: Target) -> dict[str, int]:
    """The written rule.

    The largest tile that still gives every compute unit a workgroup; where none does, the one with the most workgroups
    of at least one wave. Tiles that are twice what the problem has in a dimension, or slivers of it, are left out. K
    steps by 16, or less where K is less.
    """
    c = problem.contraction
    fitting = [tile for tile in TILES if suits(tile["block_m"], c.m) and suits(tile["block_n"], c.n)] or [TILES[-1]]
    units = int(target.facts["compute_units"])
    full = [tile for tile in fitting if threads(tile) >= int(target.facts["wave_size"])] or fitting
    enough = [tile for tile in full if blocks(tile, c) >= units]
    tile = enough[0] if enough else max(full, key=lambda each: blocks(each, c))
    depth = min(16, max(4, 1 << (c.k - 1).bit_length()))
    return {**tile, **PLAIN, "block_k": depth, "unroll_k": 4}


def suits(tile: int, extent: int) -> bool:
    """Whether a tile is neither twice as large as a dimension nor a sliver of it."""
    return tile < 2 * max(extent, 16) and (tile >= 16 or extent < 16)


def full(knobs: Knobs, problem: Problem, target: Target) -> dict[str, int]:
    """All knobs, those that are not given being the default's."""
    return {**default(problem, target), **knobs}


def schedule(
    knobs: Knobs, problem: Problem, target: Target, convert: tuple[str, ...], last: tuple[str, ...] = LAST
) -> Schedule:
    """The passes of these knobs; knobs that are not given are the default's. `convert`: to the family's dialect."""
    chosen = full(knobs, problem, target)
    steps = (*tensor_steps(chosen, problem), *TO_BUFFERS, *device_steps(chosen, problem, target), *convert, *last)
    return pipeline.parse(",".join(steps))


def tensor_steps(knobs: Knobs, problem: Problem) -> tuple[str, ...]:
    """On tensors: tiles of blocks and of threads, the K loops, vectors."""
    m, n, k = knobs["block_m"], knobs["block_n"], knobs["block_k"]
    outermost = problem.contraction.batch and problem.contraction.layout != "other"
    return (
        *(("start-from-zero",) if problem.contraction.accumulates else ()),
        "linalg-fuse-elementwise-ops",
        f"pad{{tile-sizes={m},{n},{k}}}",
        f"tile{{mapping=block tile-sizes={m},{n}}}",
        f"tile{{mapping=thread tile-sizes={knobs['thread_m']},{knobs['thread_n']}}}",
        *(DROP_BATCH if outermost else ()),
        f"tile-reduction{{tile-sizes={k}}}",
        f"tile-reduction{{role=unroll tile-sizes={knobs['unroll_k']}}}",
        "vectorize",
        "fold-padding-reads",
    )


def device_steps(knobs: Knobs, problem: Problem, target: Target) -> tuple[str, ...]:
    """On buffers: the launch, workgroup memory, scalar and vector code, and the kernel as a function of its own."""
    rows, wave, ahead = knobs["patch_m"], int(target.facts["wave_size"]), without_short(knobs, problem)
    lanes = f"lanes={rows},{wave // rows} " if rows else ""
    return (
        "fold-padding-writes",
        "map-blocks",
        f"map-threads{{{lanes}most={target.facts['threads_per_group_max']}}}",
        f"promote{{padding={TRANSPOSE_PADDING}}}",
        *(("double-buffer",) if ahead["stages"] > 1 else ()),
        *(("fill-ahead",) if ahead["stages"] > 2 else ()),
        *(("prefetch",) if ahead["prefetch"] else ()),
        *TO_KERNELS,
    )


def without_short(knobs: Knobs, problem: Problem) -> dict[str, int]:
    """How far ahead the copies run: less where K has no steps for it, or is not one loop."""
    c = problem.contraction
    steps = -(-c.k // knobs["block_k"]) if c.layout != "other" else 1
    stages = knobs["stages"] if steps > 1 else 1
    return {"stages": stages, "prefetch": int(knobs["prefetch"] and steps > 1 + (stages > 2))}


def index_bits(problem: Problem) -> int:
    """How wide indices are in a kernel: 32 bits where every buffer's elements can be counted with them, else 64."""
    largest = max(prod(argument.shape) for argument in problem.arguments)
    return 32 if largest <= MOST_ELEMENTS // 2 else 64
