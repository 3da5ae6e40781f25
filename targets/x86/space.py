"""The x86 space: cache blocks, register tile, packing and a few switches; and the rule that picks the default.

The schedule is the matrix product of Goto and van de Geijn (Anatomy of High-Performance Matrix Multiplication, ACM TOMS
34(3), 2008): B in panels of nr columns, A in panels of mr rows, an mr x nr tile of C in registers over the K loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lowering import dtypes
from lowering.core import Problem, Schedule, Target
from lowering.passes import pipeline
from lowering.passes.common.cpu_tail import BUFFERIZE, TO_LLVM, TO_LOOPS
from lowering.targets.space import Knob, Rung, Value
from lowering.targets.x86.runtime import host_features

Knobs = Mapping[str, Value]

KNOBS: tuple[Knob, ...] = (
    Knob("mc", (96, 48, 192, 288, 384, 24, 0), "rows of an A block, which stays in L2; 0: no blocks"),
    Knob("nc", (2048, 1024, 512, 4096, 256, 0), "columns of a B block, which stays in L3; 0: no blocks"),
    Knob("kc", (512, 384, 256, 128, 768, 64, 0), "depth of a block; 0: no blocks"),
    Knob("mr", (6, 4, 8, 14, 12, 3, 2, 1), "rows of C in registers"),
    Knob("nr", (16, 8, 32, 4, 24, 12, 64, 2, 1), "columns of C in registers: vector lanes"),
    Knob("pack_a", (True, False), "copy A blocks into panels that the K loop reads in order"),
    Knob("pack_b", (True, False), "copy B blocks into panels that the K loop reads in order"),
    Knob("widen", (True, False), "widen narrow elements while packing instead of in the K loop"),
    Knob("peel", (True, False), "a loop of full tiles and one for the edge, instead of one that masks every tile"),
    Knob("scalar_a", (True, False), "read A element by element, so that broadcasts come from memory"),
    Knob("prefetch_c", (True, False), "fetch the next tile of C while one is computed"),
)
LADDER: tuple[Rung, ...] = (
    Rung("one element after the other"),
    Rung("vectors", most={"nr": 1}),
    Rung("rows in registers", most={"mr": 1}),
    Rung("blocks that stay in caches", {"mc": 0, "nc": 0, "kc": 0}),
    Rung("panels of B", {"pack_b": False}),
    Rung("panels of A", {"pack_a": False}),
    Rung("full tiles without masks", {"peel": False}),
    Rung("broadcasts from memory", {"scalar_a": False}),
    Rung("the next tile of C is fetched", {"prefetch_c": False}),
)


def vector_bits(target: Target) -> int:
    """The width of a vector register of the target's CPU: of this machine where it is 'host'."""
    features = host_features() if target.cpu == "host" else frozenset(target.features.replace("+", "").split(","))
    width = "avx512" if "avx512f" in features else "avx" if "avx" in features else "sse"
    return int(target.facts[f"vector_bits_{width}"])


def vector_registers(target: Target) -> int:
    """How many vector registers there are: 32 with AVX-512, otherwise 16."""
    wide = vector_bits(target) == target.facts["vector_bits_avx512"]
    return int(target.facts["vector_registers_avx512" if wide else "vector_registers"])


def lanes(problem: Problem, target: Target) -> int:
    """Accumulators a vector register holds."""
    return vector_bits(target) // dtypes.lookup(problem.contraction.accumulator).bits


def ladder(full_knobs: Knobs) -> tuple[Rung, ...]:
    """The steps from a naive schedule to one with these knobs: always the same."""
    return LADDER


def illegal(knobs: Knobs, problem: Problem, target: Target) -> str | None:
    """Why these knobs make no sense for this problem on this target; None where they do."""
    unknown = sorted(set(knobs) - {knob.name for knob in KNOBS})
    if unknown:
        return f"there is no knob '{unknown[0]}'{pipeline.nearest(unknown[0], [knob.name for knob in KNOBS])}"
    if dtypes.is_small(problem.contraction.element):
        return f"there are no multiply-adds of {problem.contraction.element}, and nothing widens it here"
    full = {**default(problem, target), **knobs}
    mr, nr, width = int(full["mr"]), int(full["nr"]), lanes(problem, target)
    if nr & (nr - 1):
        return f"nr={nr} is no power of two: such vectors are taken apart lane by lane, ten times slower"
    if nr > width and nr % width:
        return f"nr={nr} is no multiple of a vector register's {width} lanes"
    vectors = -(-nr // width)
    needed, there = mr * vectors + vectors + 1, vector_registers(target)
    if needed > there:
        return f"mr={mr}, nr={nr} take {needed} vector registers (C {mr * vectors}, B {vectors}, A 1), of {there}"
    return caches(full, problem, target)


def caches(knobs: Knobs, problem: Problem, target: Target) -> str | None:
    """Why a block does not fit its cache, or None. No block counts for more than the problem itself."""
    c = problem.contraction
    size = dtypes.lookup(c.accumulator).bytes
    m, n, k = (int(knobs[name]) or extent for name, extent in (("mc", c.m), ("nc", c.n), ("kc", c.k)))
    m, n, k = min(m, c.m), min(n, c.n), min(k, c.k)
    if knobs["pack_a"] and m * k * size > target.facts["l2_bytes"]:
        return f"an A block of {m}x{k} takes {m * k * size} bytes, more than the {target.facts['l2_bytes']} of L2"
    if knobs["pack_b"] and n * k * size > target.facts["l3_bytes"]:
        return f"a B block of {k}x{n} takes {n * k * size} bytes, more than the {target.facts['l3_bytes']} of L3"
    return None


def default(problem: Problem, target: Target) -> dict[str, Value]:
    """The written rule.

    Registers: two vectors wide, and as many rows as leave room for B and one broadcast (6 of 16 registers, 14 of 32).
    Caches: a kc x nr panel of B fills L1 (C and A stream past it), an mc x kc block of A three eighths of L2, and a
    kc x nc block of B an eighth of L3. Blocks are then made equal, so that the last one is no sliver. A problem that is
    smaller than a tile gets a smaller tile, and an operand is packed only where it is read more than once.
    """
    c = problem.contraction
    size, width = dtypes.lookup(c.accumulator).bytes, lanes(problem, target)
    nr = min(2 * width, power_of_two(c.n))
    mr = min((vector_registers(target) - 3) // 2, c.m)
    deepest = int(target.facts["l1_bytes"]) // (2 * width * size)
    kc = balanced(c.k, deepest, 8)
    mc = balanced(c.m, 3 * int(target.facts["l2_bytes"]) // (8 * deepest * size), mr)
    nc = balanced(c.n, int(target.facts["l3_bytes"]) // (8 * deepest * size), nr)
    return {
        "mc": mc,
        "nc": nc,
        "kc": kc,
        "mr": mr,
        "nr": nr,
        "pack_a": c.n > nr,
        "pack_b": c.m > mr,
        "widen": True,
        "peel": True,
        "scalar_a": True,
        "prefetch_c": True,
    }


def balanced(extent: int, most: int, step: int) -> int:
    """The size of the fewest equal blocks of at most `most`, rounded up to `step`; 0 where one is enough."""
    if extent <= most:
        return 0
    blocks = -(-extent // most)
    return -(-extent // (blocks * step)) * step


def power_of_two(n: int) -> int:
    """The smallest power of two that is not smaller."""
    return 1 << (n - 1).bit_length()


def full(knobs: Knobs, problem: Problem, target: Target) -> dict[str, Value]:
    """All knobs, those that are not given being the default's."""
    return {**default(problem, target), **knobs}


def schedule(knobs: Knobs, problem: Problem, target: Target) -> Schedule:
    """The passes of these knobs; knobs that are not given are the default's."""
    chosen = full(knobs, problem, target)
    return pipeline.parse(",".join((*kernel_steps(chosen), *BUFFERIZE, *lower_steps(chosen), *TO_LOOPS, *TO_LLVM)))


def kernel_steps(knobs: Mapping[str, Any]) -> tuple[str, ...]:
    """On tensors: blocks, register tiles, panels, the K loop and its vectors."""
    tile = f"mr={knobs['mr']} nr={knobs['nr']}"
    steps = [
        "generalize-contraction",
        f"tile-cache{{mc={knobs['mc']} nc={knobs['nc']} kc={knobs['kc']}}}",
        "drop-outer-dims",
        f"tile-registers{{{tile}}}",
        f"pad-registers{{{tile}}}",
    ]
    steps += [f"pack{{operand={x} widen={str(knobs['widen']).lower()}}}" for x in ("b", "a") if knobs[f"pack_{x}"]]
    steps += ["peel"] if knobs["peel"] else []
    return (*steps, "tile-k", "vectorize-contraction", "hoist-accumulators", "fold-padding-reads")


def lower_steps(knobs: Mapping[str, Any]) -> tuple[str, ...]:
    """On buffers: what the register kernel becomes."""
    steps = ["prefetch-c"] if knobs["prefetch_c"] else []
    steps += ["split-accumulators", "lower-contraction"]
    steps += ["scalar-a"] if knobs["scalar_a"] else []
    return (*steps, "vectorize-rows")
