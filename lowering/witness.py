"""The witness of a problem: the same program at the smallest sizes that keep what a schedule distinguishes.

Static shapes are baked into a state, and a naive 1024^3 takes seconds a launch; so candidates are verified on the
witness first, with every check, and at full size after.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import lcm

from lowering import problem as problems
from lowering.core import Pass, Problem, Schedule
from lowering.find import kernel_loops
from lowering.program import Contract
from lowering.sizes import ties

MOST = 2**23  # multiply-adds of a witness that keeps every tile apart
LEAST = (8, 8, 16)  # of M, N and a K step: a schedule without tiles is not checked on a sum of two products


def witness_of(problem: Problem, schedule: Schedule) -> Problem:
    """The witness that keeps what a schedule's tiles distinguish, each in the loop that its pass tiles.

    It has the problem's remainder by the least common multiple of a loop's tiles, so by each of them; where that would
    be a large problem, by the largest tile alone.
    """
    every = keeping(problem, schedule, lcm)
    return every if every.contraction.flops // 2 <= MOST else keeping(problem, schedule, max)


def keeping(problem: Problem, schedule: Schedule, both: Callable[[int, int], int]) -> Problem:
    """The witness that keeps `both` of two tiles of one loop."""
    node = problems.program(problem.ir).contract
    tiles: dict[int, int] = {}
    for each in schedule.passes:
        for loop, size in zip(tiled_loops(each, node), each.tile(), strict=True):
            if size > 1:
                tiles[loop] = both(tiles.get(loop, 1), size)
    for loops, least in zip((node.dims.m, node.dims.n, node.dims.k), LEAST, strict=True):
        found = [loop for loop in loops if loop in tiles] or loops[-1:]
        tiles.update({loop: tiles.get(loop, 1) * -(-least // tiles.get(loop, 1)) for loop in found})
    return reduced(problem, tiles, k_steps=max((each.k_steps() for each in schedule.passes), default=2))


def tiled_loops(each: Pass, node: Contract) -> tuple[int, int, int]:
    """The loops of M, N and K that a pass's `tile` is about.

    The passes of passes/x86 share one choice, `find.kernel_loops`; all others take the innermost of each class.
    """
    dims = node.dims
    if type(each).__module__.split(".")[-2:-1] == ["x86"]:
        return kernel_loops(dims, node.sizes, node.positions[2])
    return dims.m[-1], dims.n[-1], dims.k[-1]


def witness(problem: Problem, tile: tuple[int, int, int], steps: int = 2, k_steps: int = 2) -> Problem:
    """The problem with M, N, K and the batch shrunk; `tile` is the block tile of the innermost loops of M, N and K."""
    dims = problems.program(problem.ir).contract.dims
    pairs = zip((dims.m, dims.n, dims.k), tile, strict=True)
    return reduced(problem, {loops[-1]: max(size, 1) for loops, size in pairs}, steps, k_steps)


def reduced(problem: Problem, tiles: Mapping[int, int], steps: int = 2, k_steps: int = 2) -> Problem:
    """The problem with its loops shrunk, never beyond the original; `tiles` are the tile sizes of some of them.

    A loop keeps its remainder where it has one, after one whole tile (K: after `k_steps`); one that divides keeps
    `steps` tiles, since a loop of one trip folds away and the witness would be lowered to something else. Loops without
    a tile and batches keep 2.
    """
    program = problems.program(problem.ir)
    node, dims = program.contract, program.contract.dims
    wanted = {loop: min(size, 2) for loop, size in enumerate(node.sizes)}
    for loop, tile in tiles.items():
        whole, least = (k_steps, k_steps) if loop in dims.k else (1, steps)
        wanted[loop] = shrunk(node.sizes[loop], tile, whole, least)
    for group in ties(program):
        largest = max(wanted[loop] for loop in group)
        wanted.update(dict.fromkeys(group, largest))
    return problems.resize_loops(problem, wanted)


def shrunk(size: int, tile: int, whole: int, least: int) -> int:
    """The smallest size with the same remainder by `tile`: `whole` tiles before a remainder, `least` without one."""
    rest = size % tile
    return min(size, tile * whole + rest if rest else tile * least)
