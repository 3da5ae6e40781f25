"""Which tiles suit a problem on matrix cores: the candidates, and what the model predicts of each.

What is taken where nothing is asked for is the legal candidate that is *predicted* to take the least time, or another
that is as fast as far as the model can tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lowering import dtypes
from lowering.core import Problem, Target
from lowering.targets.amdgpu import lds_swizzle, matrix
from lowering.targets.tile_model import Prediction, Tiling, predict

Knobs = Mapping[str, Any]

BLOCKS = (256, 192, 128, 64, 32, 16)
WAVES = (128, 96, 64, 32, 16)
MOST_WAVES = 8  # of a workgroup: two a SIMD
NEAR = 1.05  # times the least predicted time: half of what the model is off by on the rows that it was fitted to


def default(knobs: Knobs, problem: Problem, target: Target) -> dict[str, Any]:
    """The legal candidate with the knobs that are given that is predicted to be the fastest."""
    found = legal(knobs, problem, target)
    if not found:
        return {**fixed(problem, target), "block_m": 128, "block_n": 128, "wave_m": 64, "wave_n": 64, **knobs}
    return ordered(found, problem, target)[0][0]


def legal(knobs: Knobs, problem: Problem, target: Target) -> list[dict[str, Any]]:
    """The legal candidates with the knobs that are given; those whose threads copy alike, where there are any."""
    found = [each for each in candidates(knobs, problem, target) if matrix.illegal(each, problem, target) is None]
    alike = [each for each in found if whole_pieces(each, problem)]
    return alike or found


def split(knobs: Knobs, problem: Problem, target: Target) -> list[dict[str, Any]]:
    """The legal candidates that share K out among several workgroups a tile, as long as compute units are idle."""
    if {"split_k", "stream_k", "persistent"} & set(knobs) or knobs.get("stages", 1) != 1:
        return []
    found: list[dict[str, Any]] = []
    for each in legal(knobs, problem, target):
        parts = 2
        most = int(target.facts["compute_units"]) // matrix.tiles(each, problem)
        while parts <= min(most, matrix.steps_of(each, problem)):
            found.append({**each, "split_k": parts})
            parts *= 2
    return found


def ordered(
    found: Sequence[dict[str, Any]], problem: Problem, target: Target
) -> list[tuple[dict[str, Any], Prediction]]:
    """Schedules by *predicted* time; first of those that the model cannot tell from the fastest, what reads least.

    What is read for a multiply-add, from workgroup memory and then from the caches, costs power and instructions too.
    """
    rows = [(each, prediction(each, problem, target)) for each in found]
    rows.sort(key=lambda row: (row[1].seconds, -row[0]["run"]))
    near = [row for row in rows if row[1].seconds <= NEAR * rows[0][1].seconds]
    first = min(near, key=lambda row: (*reads(row[0]), row[1].seconds, -row[0]["run"]))
    return [first, *(row for row in rows if row is not first)]


def reads(knobs: Knobs) -> tuple[float, float]:
    """Elements that are read for a multiply-add: from workgroup memory, and from the caches."""
    waves, blocks = (knobs["wave_m"], knobs["wave_n"]), (knobs["block_m"], knobs["block_n"])
    return 1 / waves[0] + 1 / waves[1], 1 / blocks[0] + 1 / blocks[1]


def candidates(knobs: Knobs, problem: Problem, target: Target) -> Iterator[dict[str, Any]]:
    """Tiles that are not twice as large as the problem, with the knobs that are given; legal or not."""
    base, c = fixed(problem, target), problem.contraction

    def values(name: str, every: tuple[int, ...]) -> tuple[int, ...]:
        return (int(knobs[name]),) if name in knobs else every

    for block_m in values("block_m", sizes(c.m, c.layout[:1] == "t", c.element)):
        for block_n in values("block_n", sizes(c.n, c.layout[1:] == "n", c.element)):
            for wave_m in values("wave_m", WAVES):
                for wave_n in values("wave_n", WAVES):
                    waves = block_m // wave_m * (block_n // wave_n)
                    if block_m % wave_m or block_n % wave_n or not 1 <= waves <= MOST_WAVES:
                        continue
                    tile = {"block_m": block_m, "block_n": block_n, "wave_m": wave_m, "wave_n": wave_n}
                    for run in dict.fromkeys(values("run", (base["run"], 1))):
                        yield {**base, **tile, "run": run, **knobs}


def whole_pieces(knobs: Knobs, problem: Problem) -> bool:
    """Whether every thread copies as much as any other, and 16 bytes along K at once.

    Otherwise some load again what others have; and shorter pieces, where they are turned, cannot avoid conflicts.
    """
    c, nbytes = problem.contraction, dtypes.lookup(problem.contraction.element).bytes
    threads, depth = matrix.Shape.of(knobs, problem).waves * matrix.LANES, knobs["block_k"]
    for rows, is_turned in ((knobs["block_m"], c.layout[:1] == "t"), (knobs["block_n"], c.layout[1:] == "n")):
        wide, deep = matrix.turned_piece(rows, depth, nbytes, threads) if is_turned else (1, lds_swizzle.CHUNK)
        if deep != lds_swizzle.CHUNK or rows * depth * nbytes % (wide * deep * threads):
            return False
    return True


def sizes(extent: int, along_rows: bool, element: str) -> tuple[int, ...]:
    """Sizes of a block in a dimension: not twice the problem's; whole lines where the dimension runs along memory."""
    least = matrix.LINE // dtypes.lookup(element).bytes if along_rows else 0
    fitting = tuple(size for size in BLOCKS if size < 2 * max(extent, 16))
    return tuple(size for size in fitting if size >= least) or fitting[:1]


def fixed(problem: Problem, target: Target) -> dict[str, Any]:
    """The knobs that depend on the elements and on K alone."""
    c = problem.contraction
    nbytes, wide = dtypes.lookup(c.element).bytes, dtypes.lookup(c.output).bytes
    depth = matrix.DEPTHS["xf32" if c.multiplied else c.element, 16]
    return {
        "block_k": max(depth, min(matrix.LINE // nbytes, 1 << (c.k - 1).bit_length())), "mfma": 16,
        "run": min(4, max(1, 16 // wide // 4)), "direct": False, "shuffle": False, "swizzle": True, "padding": 0,
        "stages": 1, "prefetch": True, "ahead": 0, "ping_pong": False, "fences": True, "buffers": True, "raster_m": 4,
        "chiplets": int(target.facts["chiplets"]), "persistent": 0, "split_k": 1, "stream_k": 0,
    }  # fmt: skip


def prediction(knobs: Knobs, problem: Problem, target: Target) -> Prediction:
    """What the model says of full knobs."""
    c = problem.contraction
    shape = matrix.Shape.of(knobs, problem)
    rows = {(int(row["m"]), str(row["element"])): row for row in target.facts["matrix"]}
    row = rows.get((knobs["mfma"], shape.layout.element)) or rows[knobs["mfma"], "f16"]
    return predict(
        Tiling(
            c.m, c.n, c.k, max(c.batch, 1), shape.nbytes, dtypes.lookup(c.output).bytes,
            (knobs["block_m"], knobs["block_n"], knobs["block_k"]), (knobs["wave_m"], knobs["wave_n"]),
            (knobs["mfma"], knobs["mfma"], shape.layout.depth), int(row["cycles"]), shape.registers, shape.lds_bytes,
            CLOCKS.get(c.element, c.element), knobs["prefetch"],
            bool(knobs["ahead"]) or knobs["ping_pong"] or shape.waves > MOST_WAVES // 2,
            1.0 if knobs["swizzle"] else 2.0 if knobs["padding"] else 4.0,
            shape.layout.read_width(knobs["block_k"], shape.nbytes) * shape.nbytes,
            knobs["raster_m"], knobs["chiplets"], min(knobs["split_k"], -(-c.k // knobs["block_k"])),
            knobs["stream_k"], knobs["persistent"], dtypes.lookup(c.accumulator).bytes,
        ),
        target,
    )  # fmt: skip


CLOCKS = {"f8E4M3FNUZ": "f8", "f8E5M2FNUZ": "f8", "i8": "f8"}  # whose sustained clock is taken
