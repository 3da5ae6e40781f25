"""Gives every workgroup the same share of all steps of all tiles; a second launch puts together tiles that are cut.

before:  gpu.launch blocks(%b, ..) in (%c400, ..) {             // 400 tiles, of 8 steps each
           %r = scf.for %k = 0 to 512 step 64 iter_args(%acc = %zero) { .. }
           EPILOGUE(%b, %r)
         }
after, with stream-k{workgroups=304}:
         %parts = memref.alloc() : memref<304x2x..>
         gpu.launch blocks(%w, ..) in (%c304, ..) {             // steps FIRST(%w) to FIRST(%w + 1) of 3200
           scf.for %b = FIRST(%w) / 8 to .. {                   // the tiles of these
             %r = scf.for %k = .. to .. step 64 iter_args(%acc = %zero) { .. }
             scf.if WHOLE { EPILOGUE(%b, %r) } else { store %r to %parts[%w, ..] }
           }
         }
         gpu.launch blocks(%i, ..) in (%c303, ..) {             // the place where workgroup %i + 1 begins
           scf.if FIRST PLACE THAT CUTS ITS TILE %b {
             %r = scf.for %w = .. iter_args(%acc = %zero) { .. + load %parts[%w, ..] }
             EPILOGUE(%b, %r)
           }
         }

FIRST(w) is w times all steps divided by the workgroups, rounded down. A workgroup has a part of its first tile, a part
of its last, and whole ones between: two places for parts are enough. (`partial_sums.py` says how.)
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
from lowering.passes.gpu.partial_sums import compared, divided, objection, plus, times
from lowering.passes.gpu.persist import tiles_of
from lowering.passes.gpu.prefetch import copies, k_loop

LEAST = 3  # steps of a workgroup: fewer are not worth a part


@dataclass(frozen=True)
class StreamK(Pass):
    """`workgroups` is how many share the work; never so many that one has fewer than three steps."""

    name: ClassVar[str] = "stream-k"
    workgroups: int = 1

    def __post_init__(self) -> None:
        if self.workgroups < 1:
            raise ValueError(f"workgroups is at least 1, found {self.workgroups}")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """One and two workgroups a compute unit, where there is a launch that can be shared out."""
        units, loops = int(target.facts.get("compute_units", 0)), find.roles(state, "k")
        if units and len(loops) == 1 and objection(loops[0].operation) is None:
            yield from (cls(units), cls(2 * units))

    def k_steps(self) -> int:
        """Of two by two tiles: shared out by three, some are cut and some are whole."""
        return 4

    def apply(self, module: Any) -> None:
        loop = k_loop(module)
        reason = objection(loop)
        if reason is not None:
            raise PassError(reason, str(loop.location))
        launch = launch_of(loop)
        assert launch is not None
        steps, tiles = partial_sums.steps_of(loop)[0], tiles_of(launch) or 1
        work = Work(steps, tiles, min(self.workgroups, max(1, tiles * steps // LEAST)))
        if work.workgroups * work.total >= partial_sums.MOST:
            raise PassError(f"{work.total} steps of {work.workgroups} workgroups are more than indices can count")
        with mlir.scope():
            parts = partial_sums.workspace(launch, loop, work.workgroups, 2)
            with ir.InsertionPoint.after(launch):
                second = launch.clone()
            join(second.operation, parts, work)
            share(launch, parts, work)
        mlir.run(module, "canonicalize,cse")


@dataclass(frozen=True)
class Work:
    """How the steps of all tiles are shared out: steps a tile, tiles and workgroups."""

    steps: int
    tiles: int
    workgroups: int

    @property
    def total(self) -> int:
        """Steps of all tiles."""
        return self.steps * self.tiles

    def first(self, workgroup: Any) -> Any:
        """Where a workgroup's steps begin."""
        return divided(times(workgroup, self.total), self.workgroups)


def share(launch: Any, parts: Any, work: Work) -> None:
    """Gives each workgroup its steps: a loop over their tiles, with the epilogue for whole ones."""
    arith, scf = mlir.dialect("arith"), mlir.dialect("scf")
    before, loop, behind = partial_sums.sides(launch)
    partial_sums.resized(launch, work.workgroups)
    workgroup = launch.regions[0].blocks[0].arguments[0]
    with partial_sums.end_of(launch):
        first, last = work.first(workgroup), work.first(plus(workgroup, 1))
        low = divided(first, work.steps)
        high = plus(divided(arith.SubIOp(last, number(1)).result, work.steps), 1)
        tiles = scf.ForOp(low, high, number(1), [])
    tile = tiles.induction_variable
    with ir.InsertionPoint(tiles.body):
        mlir.dialect("gpu").BarrierOp()
        inside = {workgroup: tile, **copies(before, {workgroup: tile})}
        start = times(tile, work.steps)
        begin = arith.SubIOp(arith.MaxUIOp(first, start).result, start).result
        end = arith.MinUIOp(arith.SubIOp(last, start).result, number(work.steps)).result
        new = partial_sums.restarted(loop, inside, begin, end)
        whole = compared("eq", arith.SubIOp(end, begin).result, number(work.steps))
        branch = scf.IfOp(whole, has_else=True)
        scf.YieldOp([])
    with ir.InsertionPoint(branch.then_block):
        copies(behind, {**inside, **dict(zip(loop.results, new.results, strict=True))})
        scf.YieldOp([])
    with ir.InsertionPoint(branch.else_block):
        which = arith.SelectOp(compared("eq", tile, low), number(0), number(1)).result
        partial_sums.keep(list(new.results), parts, (workgroup, which), launch)
        scf.YieldOp([])
    partial_sums.erase([*before, loop, *behind])


def join(launch: Any, parts: Any, work: Work) -> None:
    """Makes a copy of the launch add up the parts of the tiles that are cut, each where it is cut first."""
    arith, scf = mlir.dialect("arith"), mlir.dialect("scf")
    before, loop, behind = partial_sums.sides(launch)
    partial_sums.resized(launch, max(1, work.workgroups - 1))
    index = launch.regions[0].blocks[0].arguments[0]
    with partial_sums.end_of(launch):
        cut, earlier = work.first(plus(index, 1)), work.first(index)
        tile = divided(cut, work.steps)
        start = times(tile, work.steps)
        # the tile began before this place, and no earlier than with the workgroup before
        mine = arith.AndIOp(compared("ult", start, cut), compared("ule", earlier, start)).result
        branch = scf.IfOp(mine)
    with ir.InsertionPoint(branch.then_block):
        inside = {index: tile, **copies(before, {index: tile})}
        ending = arith.SubIOp(times(plus(start, work.steps), work.workgroups), number(1)).result
        last = divided(ending, work.total)  # the workgroup of the tile's last step
        zeros = [inside.get(value, value) for value in list(loop.operands)[3:]]
        sums = scf.ForOp(index, plus(last, 1), number(1), zeros)
        with ir.InsertionPoint(sums.body):
            workgroup = sums.induction_variable
            # the first tile of all that begin in it or with it
            which = arith.SelectOp(compared("ule", start, work.first(workgroup)), number(0), number(1)).result
            scf.YieldOp(partial_sums.added(list(sums.inner_iter_args), parts, (workgroup, which), launch))
        copies(behind, {**inside, **dict(zip(loop.results, sums.results, strict=True))})
        scf.YieldOp([])
    partial_sums.erase([*before, loop, *behind])
