"""The witness of a problem: the same program at the smallest sizes that keep what a schedule distinguishes.

Static shapes are baked into a state, and a naive 1024^3 takes seconds a launch; so candidates are verified on the
witness first, with every check, and at full size after.
"""

from __future__ import annotations

from lowering import problem as problems
from lowering.core import Problem, Schedule
from lowering.sizes import ties

LEAST = (8, 8, 16)  # of M, N and a K step: a schedule without tiles is not checked on a sum of two products


def witness_of(problem: Problem, schedule: Schedule) -> Problem:
    """The witness that keeps what a schedule's largest tiles distinguish."""
    m, n, k = (tile * -(-least // tile) for tile, least in zip(schedule.tile, LEAST, strict=True))
    return witness(problem, (m, n, k))


def witness(problem: Problem, tile: tuple[int, int, int], steps: int = 2, k_steps: int = 2) -> Problem:
    """The problem with M, N, K and the batch shrunk, never beyond the original.

    `tile` is the block tile of M, N, K. A dimension keeps its remainder where it has one, after one whole tile (K:
    after `k_steps`); a dimension that divides keeps `steps` tiles, since a loop of one trip folds away and the witness
    would be lowered to something else. A batch keeps 2.
    """
    program = problems.program(problem.ir)
    node, dims = program.contract, program.contract.dims
    wanted = {loop: min(size, 2) for loop, size in enumerate(node.sizes)}
    for loops, size, whole, least in (
        (dims.m, tile[0], 1, steps),
        (dims.n, tile[1], 1, steps),
        (dims.k, tile[2], k_steps, k_steps),
    ):
        wanted[loops[-1]] = shrunk(node.sizes[loops[-1]], max(size, 1), whole, least)
    for group in ties(program):
        largest = max(wanted[loop] for loop in group)
        wanted.update(dict.fromkeys(group, largest))
    return problems.resize_loops(problem, wanted)


def shrunk(size: int, tile: int, whole: int, least: int) -> int:
    """The smallest size with the same remainder by `tile`: `whole` tiles before a remainder, `least` without one."""
    rest = size % tile
    return min(size, tile * whole + rest if rest else tile * least)
