"""The schedule on matrix cores: blocks through swizzled workgroup memory, a wave's tile in matrix instructions.

    C is cut into block-m x block-n tiles, one a workgroup; a step of the K loop brings block-k of A and B to workgroup
    memory, by way of registers that the step before has loaded; every wave keeps wave-m x wave-n of C in accumulators.

Every step but the first few is on its own: without it, or in another order, a kernel is as right and slower.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lowering import dtypes
from lowering.core import Problem, Schedule, Target
from lowering.passes import pipeline
from lowering.passes.amdgpu.matrix_layout import DEPTHS, LANES, Layout
from lowering.passes.amdgpu.shuffled_writes import used_of
from lowering.passes.common.cpu_tail import TO_BUFFERS
from lowering.passes.common.vectorize import Vectorize
from lowering.passes.gpu.promote import VECTOR_BYTES, busy_piece
from lowering.targets import simt
from lowering.targets.amdgpu import lds_swizzle
from lowering.targets.space import Knob, Rung

Knobs = Mapping[str, Any]

KNOBS: tuple[Knob, ...] = (
    Knob("block_m", (256, 128, 64, 32, 16, 192), "rows of C a workgroup makes"),
    Knob("block_n", (256, 128, 64, 32, 16, 192), "columns of C a workgroup makes"),
    Knob("block_k", (64, 128, 32, 16, 256), "depth of a step of the K loop, and of the tiles in workgroup memory"),
    Knob("wave_m", (64, 128, 32, 16), "rows of C a wave keeps"),
    Knob("wave_n", (64, 128, 32, 16), "columns of C a wave keeps"),
    Knob("mfma", (16, 32), "rows and columns of one matrix instruction"),
    Knob("run", (2, 1, 4), "quads of C that a lane has side by side: four columns each"),
    Knob("direct", (False, True), "copies to workgroup memory by no register, of tiles that divide and have K last"),
    Knob("shuffle", (False, True), "C is written through workgroup memory, as whole rows of a wave's tile"),
    Knob("swizzle", (True, False), "16-byte chunks of workgroup memory are permuted, so that no access conflicts"),
    Knob("padding", (0, 8), "elements by which a row of workgroup memory is longer, instead of permuting"),
    Knob(
        "stages", (1, 2, 3), "1: each tile has one place; 2: two, and a step one barrier; 3: filled a step ahead, too"
    ),
    Knob("prefetch", (True, False), "the next step's tiles are loaded while this one is computed"),
    Knob("ahead", (0, 1, 2), "clusters of matrix instructions between a read of workgroup memory and its use"),
    Knob("ping_pong", (False, True), "one half of the waves loads while the other multiplies; wants stages=3"),
    Knob("fences", (True, False), "nothing is scheduled into a cluster of matrix instructions or across it"),
    Knob("buffers", (True, False), "device memory is accessed with buffer instructions, which check bounds"),
    Knob("raster_m", (4, 1, 8, 2, 16), "rows of tiles that neighbouring workgroups walk together"),
    Knob("chiplets", (8, 1), "chiplets that workgroups go to in turn"),
    Knob("persistent", (0, 1, 2), "workgroups a compute unit that make all tiles in turn; 0: one a tile"),
    Knob("split_k", (1, 2, 4, 8, 16), "workgroups that share the steps of one tile"),
    Knob("stream_k", (0, 1, 2), "workgroups a compute unit that share all steps of all tiles alike; 0: one a tile"),
)
LADDER: tuple[Rung, ...] = (
    Rung("matrix cores", {"cores": "vector"}, instead=True),
    Rung("larger tiles of waves", most={"block_m": 64, "block_n": 64, "wave_m": 32, "wave_n": 32}),
    Rung("buffer instructions", {"buffers": False}),
    Rung("no bank conflicts", {"swizzle": False}),
    Rung("the next tiles are on their way", {"prefetch": False}),
    Rung("and stay ahead", {"fences": False}),
    Rung("wider stores", {"run": 1}),
    Rung("neighbours share operands", {"raster_m": 1, "chiplets": 1}),
)
LINE = 128  # bytes of a row of a tile in device memory: a whole line
FIXED_REGISTERS = 24  # addresses, counters: seen in the compiled kernels


@dataclass(frozen=True)
class Shape:
    """What the knobs come to for a problem's elements."""

    knobs: Knobs
    element: str
    accumulator: str
    output: str
    multiplied: str = ""

    @staticmethod
    def of(knobs: Knobs, problem: Problem) -> Shape:
        """That of a problem."""
        c = problem.contraction
        return Shape(knobs, c.element, c.accumulator, c.output, c.multiplied)

    @property
    def layout(self) -> Layout:
        """Which lane holds what."""
        return Layout(self.knobs["mfma"], self.knobs["run"], "xf32" if self.multiplied else self.element)

    @property
    def nbytes(self) -> int:
        """Bytes of an element of A and B."""
        return dtypes.lookup(self.element).bytes

    @property
    def waves(self) -> int:
        """Waves of a workgroup."""
        return self.knobs["block_m"] // self.knobs["wave_m"] * (self.knobs["block_n"] // self.knobs["wave_n"])

    @property
    def lds_bytes(self) -> int:
        """Workgroup memory."""
        row = (self.knobs["block_k"] + self.knobs["padding"]) * self.nbytes
        tiles = (self.knobs["block_m"] + self.knobs["block_n"]) * row * min(2, self.knobs["stages"])
        own = self.knobs["shuffle"] and not self.shuffles_in_tiles
        return tiles + (self.shuffled * dtypes.lookup(self.output).bytes if own else 0)

    @property
    def shuffled(self) -> int:
        """Elements that go through workgroup memory at once where results are shuffled."""
        return self.waves * self.knobs["mfma"] * self.knobs["wave_n"]

    @property
    def shuffles_in_tiles(self) -> bool:
        """Whether that can be the memory of A's or B's tile."""
        length, piece = self.knobs["block_k"] + self.knobs["padding"], VECTOR_BYTES // self.nbytes
        used = used_of(length, self.knobs["wave_n"], piece)
        largest = max(self.knobs["block_m"], self.knobs["block_n"])
        return self.output == self.element and largest * used >= self.shuffled

    @property
    def registers(self) -> int:
        """Vector registers a lane, as far as they can be told before compiling."""
        knobs, width = self.knobs, max(1, dtypes.lookup(self.accumulator).bytes // 4)
        accumulators = knobs["wave_m"] * knobs["wave_n"] // LANES * width
        width = self.layout.read_width(knobs["block_k"], self.nbytes)
        slices = knobs["block_k"] // (self.layout.groups * width) if knobs["ping_pong"] else 1 + knobs["ahead"]
        fragments = (knobs["wave_m"] + knobs["wave_n"]) // knobs["mfma"] * (width * self.nbytes // 4) * slices
        tiles = (knobs["block_m"] + knobs["block_n"]) * knobs["block_k"] * self.nbytes // (4 * LANES * self.waves)
        return accumulators + fragments + (tiles if knobs["prefetch"] else 0) + FIXED_REGISTERS


def possible(problem: Problem) -> str | None:
    """Why a problem has no matrix instruction; None where it has one."""
    c = problem.contraction
    if (c.element, 16) not in DEPTHS:
        return f"there is no matrix instruction for {c.element}"
    wanted = {"i8": "i32", "f64": "f64"}.get(c.element, "f32")
    if c.accumulator != wanted:
        return f"matrix instructions of {c.element} accumulate in {wanted}, not in {c.accumulator}"
    return "the operands are indexed in another way than as rows and columns" if c.layout == "other" else None


def illegal(knobs: Knobs, problem: Problem, target: Target) -> str | None:
    """Why full knobs cannot work for this problem on this target; None where they can."""
    shape = Shape.of(knobs, problem)
    if (shape.layout.element, knobs["mfma"]) not in DEPTHS:
        return f"there is no {knobs['mfma']}x{knobs['mfma']} matrix instruction for {shape.element}"
    layout = shape.layout
    for side, granule in (("m", layout.tile), ("n", max(layout.span, layout.tile))):
        block, wave = knobs[f"block_{side}"], knobs[f"wave_{side}"]
        if block % wave:
            return f"block_{side}={block} is no multiple of wave_{side}={wave}"
        if wave % granule:
            return f"wave_{side}={wave} is no multiple of {granule}, what instructions with runs of {layout.run} cover"
    if knobs["block_k"] % layout.depth:
        return f"block_k={knobs['block_k']} is no multiple of the instruction's {layout.depth}"
    excluded = contradiction(shape) or mixed(knobs, problem)
    if excluded is not None:
        return excluded
    rows, row, places = (
        knobs["block_m"] + knobs["block_n"],
        knobs["block_k"] + knobs["padding"],
        min(2, knobs["stages"]),
    )
    for what, needed, name, words in (
        ("threads a workgroup", shape.waves * LANES, "threads_per_group_max", f"{shape.waves} waves of {LANES}"),
        (
            "bytes of workgroup memory", shape.lds_bytes, "shared_static_max",
            f"{rows} rows of block_m and block_n, {row} elements of {shape.nbytes} bytes, {places} of each",
        ),
        (
            "vector registers", shape.registers, "architectural_registers_per_lane",
            f"a wave's tile of {knobs['wave_m']}x{knobs['wave_n']}, its fragments and what is loaded ahead",
        ),
    ):  # fmt: skip
        if needed > int(target.facts[name]):
            return f"{needed} {what}, of {target.facts[name]} ({words})"
    return None


def mixed(knobs: Knobs, problem: Problem) -> str | None:
    """Why one operand cannot be copied directly and the other by registers; None where it can."""
    direct, wanted = straight(knobs, problem), [name for name in ("ping_pong", "ahead") if knobs[name]]
    if direct[0] == direct[1] or knobs["stages"] != 3 or not knobs["prefetch"] or not wanted:
        return None
    return (
        f"{wanted[0]} takes both operands by registers or both directly, or prefetch=false: only one can be direct here"
    )


def contradiction(shape: Shape) -> str | None:
    """Which knobs exclude each other; None where none do."""
    knobs, waves = shape.knobs, shape.waves
    pieces = knobs["mfma"] * knobs["wave_n"] * dtypes.lookup(shape.output).bytes // VECTOR_BYTES
    stages, split, stream = knobs["stages"], knobs["split_k"] > 1, knobs["stream_k"] > 0
    rules = (
        (knobs["swizzle"] and knobs["padding"], "rows are either permuted or padded: padding goes with swizzle=false"),
        (stages > 3, f"stages is 1, 2 or 3, found {stages}"),
        (knobs["run"] not in (1, 2, 4), f"run is 1, 2 or 4, found {knobs['run']}"),
        (knobs["ping_pong"] and stages != 3, f"ping_pong takes stages=3, found {stages}"),
        (knobs["ping_pong"] and waves % 2, f"ping_pong takes an even number of waves, found {waves}"),
        ((split or stream) and stages != 1, f"split_k and stream_k take stages=1, found {stages}"),
        (split and stream, "the steps of a tile are shared out once: by split_k or by stream_k"),
        (
            knobs["shuffle"] and pieces % LANES,
            f"shuffle gives {LANES} lanes 16 bytes each, of {pieces} pieces",
        ),
        (knobs["shuffle"] and shape.shuffles_in_tiles and stages != 1, f"shuffle takes stages=1, found {stages}"),
        (stream and knobs["persistent"], "stream_k is persistent itself"),
    )
    return next((words for holds, words in rules if holds), None)


def schedule(knobs: Knobs, problem: Problem, convert: tuple[str, ...], target: Target) -> Schedule:
    """The passes of full knobs. `convert`: to the family's dialect."""
    steps = (*tensor_steps(knobs, problem), *TO_BUFFERS, *device_steps(knobs, problem, target), *convert, *simt.LAST)
    return pipeline.parse(",".join(steps))


def tensor_steps(knobs: Knobs, problem: Problem) -> tuple[str, ...]:
    """On tensors: tiles of blocks and of waves, the K loop, vectors of a whole wave."""
    c = problem.contraction
    m, n, k = knobs["block_m"], knobs["block_n"], knobs["block_k"]
    wave_m, wave_n = knobs["wave_m"], knobs["wave_n"]
    return (
        *(("start-from-zero",) if c.accumulates else ()),
        "linalg-fuse-elementwise-ops",
        f"pad{{tile-sizes={m},{n},{k}}}",
        f"tile{{mapping=block tile-sizes={m},{n}}}",
        f"tile{{mapping=warp tile-sizes={wave_m},{wave_n}}}",
        *(simt.DROP_BATCH if c.batch else ()),
        f"tile-reduction{{tile-sizes={k}}}",
        vectorize(max(wave_m * wave_n, wave_m * k, wave_n * k)),
        "fold-padding-reads",
    )


def vectorize(most: int) -> str:
    """The step that makes a wave's vectors, which have so many elements."""
    return "vectorize" if most <= Vectorize.most else f"vectorize{{most={most}}}"


def device_steps(knobs: Knobs, problem: Problem, target: Target) -> tuple[str, ...]:
    """On buffers: the launch, workgroup memory, lanes, and how it is all scheduled."""
    truncate = problem.contraction.multiplied == "tf32"
    options = {"run": knobs["run"] != 1, "shuffle": knobs["shuffle"], "size": knobs["mfma"] != 16, "truncate": truncate}
    values = {"run": knobs["run"], "shuffle": "true", "size": knobs["mfma"], "truncate": "true"}
    given = " ".join(f"{name}={values[name]}" for name, wanted in options.items() if wanted)
    lanes = f"{{{given}}}" if given else ""
    direct = "direct=true " if knobs["direct"] else ""
    padding = f" padding={knobs['padding']}" if knobs["padding"] else ""
    raster = knobs["raster_m"] > 1 or knobs["chiplets"] > 1
    nbytes, vain = dtypes.lookup(problem.contraction.element).bytes, idle(knobs, problem, target)
    workgroups = knobs["persistent"] * int(target.facts["compute_units"])

    def wanted(name: str, least: int = 1) -> bool:
        return knobs[name] >= least and name not in vain

    return (
        "fold-padding-writes",
        "map-blocks",
        *((f"rasterise{{chiplets={knobs['chiplets']} rows={knobs['raster_m']}}}",) if raster else ()),
        f"map-waves{{most={target.facts['threads_per_group_max']} size={target.facts['wave_size']}}}",
        f"promote{{{direct}k=last{padding} widen=false}}",
        f"map-lanes{lanes}",
        *(swizzles(knobs, problem) if knobs["swizzle"] else ()),
        *((f"split-k{{parts={knobs['split_k']}}}",) if wanted("split_k", 2) else ()),
        *((f"stream-k{{workgroups={stream_groups(knobs, target)}}}",) if wanted("stream_k") else ()),
        *(("double-buffer",) if wanted("stages", 2) else ()),
        *(("fill-ahead",) if wanted("stages", 3) else ()),
        *(("prefetch",) if wanted("prefetch") else ()),
        *((f"pipeline-fragments{{ahead={knobs['ahead']}}}",) if knobs["ahead"] else ()),
        *(("ping-pong",) if wanted("ping_pong") else ()),
        *(("fence-products",) if knobs["fences"] else ()),
        *(("buffer-accesses",) if knobs["buffers"] else ()),
        *(("turn-bytes",) if nbytes == 1 and problem.contraction.layout != "nt" else ()),
        *((f"persist{{workgroups={workgroups}}}",) if wanted("persistent") else ()),
        *simt.TO_KERNELS,
    )


def idle(knobs: Knobs, problem: Problem, target: Target) -> dict[str, str]:
    """The knobs that ask for what this problem has no room for, and why: no pass is made for them."""
    steps, persistent = steps_of(knobs, problem), knobs["persistent"] * int(target.facts["compute_units"])
    made = tiles(knobs, problem) * (knobs["split_k"] if steps > 1 else 1)
    ahead = knobs["stages"] > 2 and steps > 1
    few = f"K has {steps} step{'s' if steps > 1 else ''} of block_k={knobs['block_k']}"
    direct = straight(knobs, problem)
    no_prefetch = "direct copies leave nothing to load" if all(direct) else few if steps <= 1 + ahead else ""
    trips = steps - ahead - (knobs["prefetch"] and not no_prefetch)  # of the loop that is left
    rules = (
        ("split_k", knobs["split_k"] > 1 and steps == 1, few),
        ("stream_k", knobs["stream_k"] and steps == 1, few),
        ("stages", knobs["stages"] > 1 and steps == 1, few),
        ("prefetch", knobs["prefetch"] and no_prefetch, no_prefetch),
        ("ping_pong", knobs["ping_pong"] and trips <= 1, few),
        (
            "direct",
            knobs["direct"] and not any(direct),
            "copied so are tiles that divide, with K last, in rows that are not padded",
        ),
        ("persistent", persistent >= made, f"there are {made} tiles for {persistent} workgroups"),
    )
    return {name: words for name, holds, words in rules if holds}


def spare(knobs: Knobs, problem: Problem, target: Target) -> dict[str, str]:
    """The knobs that share steps of K out among more workgroups than there are steps."""
    steps, groups = steps_of(knobs, problem), stream_groups(knobs, target)
    every = tiles(knobs, problem) * steps
    found = {"split_k": f"{knobs['split_k']} parts of {steps} steps"} if knobs["split_k"] > steps > 1 else {}
    return found | ({"stream_k": f"{groups} workgroups for {every} steps"} if groups > every and steps > 1 else {})


def steps_of(knobs: Knobs, problem: Problem) -> int:
    """Steps of the K loop."""
    return -(-problem.contraction.k // knobs["block_k"])


def stream_groups(knobs: Knobs, target: Target) -> int:
    """Workgroups among which stream_k shares all steps out."""
    return knobs["stream_k"] * int(target.facts["compute_units"])


def straight(knobs: Knobs, problem: Problem) -> tuple[bool, bool]:
    """Whether A's and B's tiles are copied by no register: what `direct_copies.suits` says of them."""
    c, shape = problem.contraction, Shape.of(knobs, problem)
    left, right = c.layout
    nbytes, depth, threads = shape.nbytes, knobs["block_k"], shape.waves * LANES
    whole = knobs["direct"] and c.k % depth == 0 and nbytes <= 4 and not knobs["padding"]

    def suits(extent: int, rows: int, k_last: bool) -> bool:
        return whole and k_last and extent % rows == 0 and rows * depth * nbytes % (4 * threads) == 0

    return suits(c.m, knobs["block_m"], left == "n"), suits(c.n, knobs["block_n"], right == "t")


def tiles(knobs: Knobs, problem: Problem) -> int:
    """Tiles of C."""
    c = problem.contraction
    return max(1, c.batch) * -(-c.m // knobs["block_m"]) * -(-c.n // knobs["block_n"])


def swizzles(knobs: Knobs, problem: Problem) -> tuple[str, ...]:
    """A permutation of each operand's buffer, where its rows have several chunks."""
    shape = Shape.of(knobs, problem)
    chunks = knobs["block_k"] * shape.nbytes // lds_swizzle.CHUNK
    if chunks < 2 or chunks & (chunks - 1):
        return ()
    left, right = problem.contraction.layout
    found: list[str] = []
    for number, (side, turned) in enumerate((("m", left == "t"), ("n", right == "n"))):
        rows, threads = knobs[f"block_{side}"], shape.waves * LANES
        piece = turned_piece(rows, knobs["block_k"], shape.nbytes, threads) if turned else (0, 0)
        masks = lds_swizzle.masks(lds_swizzle.Tile(shape.layout, rows, chunks, side == "n", *piece))
        if masks:
            buffer = f"buffer={number} " if number else ""
            found.append(f"swizzle{{{buffer}rows={','.join(map(str, masks))}}}")
    if knobs["shuffle"] and not shape.shuffles_in_tiles:
        bits = (knobs["wave_n"] * dtypes.lookup(shape.output).bytes // VECTOR_BYTES).bit_length() - 1
        masks = tuple(1 << bit for bit in range(min(3, bits)))  # the row modulo 8: 128 bytes, what all banks have
        found += [f"swizzle{{buffer=2 rows={','.join(map(str, masks))}}}"] if masks else []
    return tuple(found)


def turned_piece(rows: int, depth: int, nbytes: int, threads: int) -> tuple[int, int]:
    """Rows and bytes along K of the piece that a thread turns: what `promote` does where both divide."""
    widest = VECTOR_BYTES // nbytes
    deep, wide = busy_piece(rows * depth, threads, 8 * nbytes, (widest, widest))
    return wide, deep * nbytes
