"""Cuts the K loop of every tile into parts, each for a workgroup of its own; a second launch adds them up.

before:  gpu.launch blocks(%b, ..) in (%c16, ..) {              // 16 tiles, of 128 steps each
           %r = scf.for %k = 0 to 8192 step 64 iter_args(%acc = %zero) { .. }
           EPILOGUE(%b, %r)
         }
after, with split-k{parts=4}:
         %parts = memref.alloc() : memref<64x..>
         gpu.launch blocks(%w, ..) in (%c64, ..) {              // part %w / 16 of tile %w mod 16
           %r = scf.for %k = .. to .. step 64 iter_args(%acc = %zero) { .. }
           store %r to %parts[%w, ..]
         }
         gpu.launch blocks(%b, ..) in (%c16, ..) {
           %r = scf.for %part = 0 to 4 iter_args(%acc = %zero) { .. + load %parts[16 * %part + %b, ..] }
           EPILOGUE(%b, %r)
         }

For few tiles and a deep K. The parts differ by at most one step. (`partial_sums.py` says how they are kept.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu import partial_sums
from lowering.passes.gpu.index import launch_of, number
from lowering.passes.gpu.partial_sums import divided, objection, plus, times
from lowering.passes.gpu.persist import tiles_of
from lowering.passes.gpu.prefetch import copies, k_loop


@dataclass(frozen=True)
class SplitK(Pass):
    """`parts` is into how many the loop is cut; never more than its steps."""

    name: ClassVar[str] = "split-k"
    parts: int = 2

    def __post_init__(self) -> None:
        if self.parts < 2:
            raise ValueError(f"parts is at least 2, found {self.parts}")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """Two, four and eight parts, where there is a loop of as many steps."""
        loops = find.roles(state, "k")
        if len(loops) == 1 and objection(loops[0].operation) is None:
            steps, _ = partial_sums.steps_of(loops[0].operation)
            yield from (cls(parts) for parts in (2, 4, 8) if parts <= steps)

    def k_steps(self) -> int:
        """One for every part, and one that makes them differ."""
        return self.parts + 1

    def apply(self, module: Any) -> None:
        loop = k_loop(module)
        reason = objection(loop)
        if reason is not None:
            raise PassError(reason, str(loop.location))
        launch = launch_of(loop)
        assert launch is not None
        tiles, (steps, _) = tiles_of(launch) or 1, partial_sums.steps_of(loop)
        count = min(self.parts, steps)
        with mlir.scope():
            parts = partial_sums.workspace(launch, loop, tiles * count)
            with ir.InsertionPoint.after(launch):
                second = launch.clone()
            join(second.operation, parts, tiles, count)
            cut(launch, parts, tiles, count)
        mlir.run(module, "canonicalize,cse")


def cut(launch: Any, parts: Any, tiles: int, count: int) -> None:
    """Gives each workgroup a part of a tile's steps, neighbours parts of neighbouring tiles."""
    arith = mlir.dialect("arith")
    before, loop, behind = partial_sums.sides(launch)
    steps, _ = partial_sums.steps_of(loop)
    partial_sums.resized(launch, tiles * count)
    workgroup = launch.regions[0].blocks[0].arguments[0]
    with partial_sums.end_of(launch):
        part = divided(workgroup, tiles)
        tile = arith.RemUIOp(workgroup, number(tiles)).result
        inside = {workgroup: tile, **copies(before, {workgroup: tile})}
        begin, end = (divided(times(each, steps), count) for each in (part, plus(part, 1)))
        new = partial_sums.restarted(loop, inside, begin, end)
        partial_sums.keep(list(new.results), parts, (workgroup,), launch)
    partial_sums.erase([*before, loop, *behind])


def join(launch: Any, parts: Any, tiles: int, count: int) -> None:
    """Makes a copy of the launch add up the parts of each tile, in order."""
    arith, scf = mlir.dialect("arith"), mlir.dialect("scf")
    _, loop, _ = partial_sums.sides(launch)
    tile = launch.regions[0].blocks[0].arguments[0]
    with ir.InsertionPoint(loop):
        sums = scf.ForOp(number(0), number(count), number(1), list(loop.operands)[3:])
        with ir.InsertionPoint(sums.body):
            row = arith.AddIOp(times(sums.induction_variable, tiles), tile).result
            scf.YieldOp(partial_sums.added(list(sums.inner_iter_args), parts, (row,), launch))
    for old, new in zip(loop.results, sums.results, strict=True):
        old.replace_all_uses_with(new)
    loop.erase()
