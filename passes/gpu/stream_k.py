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
of its last, and whole ones between: two places for parts are enough. What a lane holds of a part it stores side by side
with the other lanes, and the same lane of the second launch adds it up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu.index import launch_of, linear, number
from lowering.passes.gpu.persist import holds_memory, tiles_of
from lowering.passes.gpu.prefetch import SOME_TRIPS, copies, k_loop, too_short

MOST = 2**31  # what indices of 32 bits count to: workgroups times all steps


@dataclass(frozen=True)
class StreamK(Pass):
    """`workgroups` is how many share the work; there are never more than steps."""

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

    def apply(self, module: Any) -> None:
        loop = k_loop(module)
        reason = objection(loop)
        if reason is not None:
            raise PassError(reason, str(loop.location))
        launch = launch_of(loop)
        assert launch is not None
        work = work_of(launch, loop, self.workgroups)
        if work.workgroups * work.total >= MOST:
            raise PassError(f"{work.total} steps of {work.workgroups} workgroups are more than indices can count")
        with mlir.scope():
            parts = workspace(launch, loop, work)
            with ir.InsertionPoint.after(launch):
                second = launch.clone()
            join(second.operation, parts, work)
            share(launch, loop, parts, work)
        mlir.run(module, "canonicalize,cse")


@dataclass(frozen=True)
class Work:
    """How the steps of all tiles are shared out: steps a tile, the loop's step, workgroups and tiles."""

    steps: int
    step: int
    tiles: int
    workgroups: int

    @property
    def total(self) -> int:
        """Steps of all tiles."""
        return self.steps * self.tiles

    def first(self, workgroup: Any) -> Any:
        """Where a workgroup's steps begin."""
        return divided(times(workgroup, self.total), self.workgroups)


def objection(loop: Any) -> str | None:
    """Why a launch's work cannot be shared out by steps; None where it can."""
    launch = launch_of(loop)
    if launch is None or tiles_of(launch) is None:
        return "looked for a loop in a gpu.launch of a constant number of workgroups in one dimension"
    if loop.parent.operation != launch:
        return "the loop marked k is inside of something else than the launch"
    short = too_short(loop)
    if short is not None:
        return short
    if linear(loop.operands[0]).constant:
        return "the loop does not begin at 0"
    if not all(is_zero(value) for value in list(loop.operands)[3:]) or not loop.results:
        return "what the loop adds up does not start from zero"
    if not all(isinstance(value.type, ir.VectorType) and len(value.type.shape) == 1 for value in loop.results):
        return "the loop carries something else than the accumulators of lanes; map-lanes makes those"
    return None


def is_zero(value: Any) -> bool:
    """Whether a vector is a constant of zeros."""
    op = find.defining(value)
    if op is None or op.name != "arith.constant" or not isinstance(value.type, ir.VectorType):
        return False
    constant = ir.DenseElementsAttr(op.attributes["value"])
    return constant.is_splat and str(constant.get_splat_value()).split(" ")[0] in ("0", "0.000000e+00")


def work_of(launch: Any, loop: Any, workgroups: int) -> Work:
    """How a launch's work is shared out."""
    _, high, step = (linear(operand).constant for operand in list(loop.operands)[:3])
    tiles = tiles_of(launch) or 1
    steps = high // step
    return Work(steps, step, tiles, min(workgroups, tiles * steps))


# --- indices ---------------------------------------------------------------------------------------------------------


def times(value: Any, factor: int) -> Any:
    """A product with a constant."""
    return mlir.dialect("arith").MulIOp(value, number(factor)).result


def divided(value: Any, divisor: int) -> Any:
    """A quotient, rounded down."""
    return mlir.dialect("arith").DivUIOp(value, number(divisor)).result


def plus(value: Any, more: int) -> Any:
    """A sum with a constant."""
    return mlir.dialect("arith").AddIOp(value, number(more)).result


def compared(how: str, left: Any, right: Any) -> Any:
    """A comparison of numbers without a sign."""
    arith = mlir.dialect("arith")
    return arith.CmpIOp(getattr(arith.CmpIPredicate, how), left, right).result


# --- parts -----------------------------------------------------------------------------------------------------------


def workspace(launch: Any, loop: Any, work: Work) -> Any:
    """A buffer for two parts of every workgroup: one row a result of the loop, in it what each thread holds of it."""
    threads = linear(launch.operands[3]).constant
    kind = loop.results[0].type
    if any(value.type != kind for value in loop.results):
        raise PassError("the loop's accumulators are of several types", str(loop.location))
    shape = [work.workgroups, 2, len(loop.results), threads, *kind.shape]
    with ir.InsertionPoint(launch):
        return mlir.dialect("memref").AllocOp(ir.MemRefType.get(shape, kind.element_type), [], []).result


def place(workgroup: Any, which: Any, result: int, launch: Any) -> list[Any]:
    """Where a thread's piece of a result lies in the workspace."""
    return [workgroup, which, number(result), launch.regions[0].blocks[0].arguments[3], number(0)]


def sides(launch: Any) -> tuple[list[Any], Any, list[Any]]:
    """The ops of a launch before its loop over K, the loop, and those behind it."""
    ops = [op.operation for op in list(launch.regions[0].blocks[0].operations)[:-1]]
    at = next(n for n, op in enumerate(ops) if find.role_of(op) == "k")
    return ops[:at], ops[at], ops[at + 1 :]


def resized(launch: Any, workgroups: int) -> None:
    """Sets how many workgroups a launch has."""
    body = launch.regions[0].blocks[0]
    with ir.InsertionPoint(launch):
        launch.operands[0] = number(workgroups)
    with ir.InsertionPoint.at_block_begin(body):
        body.arguments[6].replace_all_uses_with(number(workgroups))


def share(launch: Any, loop: Any, parts: Any, work: Work) -> None:
    """Gives each workgroup its steps: a loop over their tiles, with the epilogue for whole ones."""
    arith, scf, gpu = mlir.dialect("arith"), mlir.dialect("scf"), mlir.dialect("gpu")
    body = launch.regions[0].blocks[0]
    before, loop, behind = sides(launch)
    resized(launch, work.workgroups)
    workgroup = body.arguments[0]
    with ir.InsertionPoint(body.operations[len(body.operations) - 1]):
        first, last = work.first(workgroup), work.first(plus(workgroup, 1))
        low = divided(first, work.steps)
        high = plus(divided(arith.SubIOp(last, number(1)).result, work.steps), 1)
        tiles = scf.ForOp(low, high, number(1), [])
    tile = tiles.induction_variable
    with ir.InsertionPoint(tiles.body):
        if holds_memory(launch):
            gpu.BarrierOp()
        inside = copies(before, {workgroup: tile})
        start = times(tile, work.steps)
        begin = arith.SubIOp(arith.MaxUIOp(first, start).result, start).result
        end = arith.MinUIOp(arith.SubIOp(last, start).result, number(work.steps)).result
        results = copies([loop], {workgroup: tile, **inside})
        new = find.defining(results[loop.results[0]])
        assert new is not None
        new.attributes[SOME_TRIPS] = ir.UnitAttr.get()
        with ir.InsertionPoint(new):
            new.operands[0], new.operands[1] = times(begin, work.step), times(end, work.step)
        whole = compared("eq", arith.SubIOp(end, begin).result, number(work.steps))
        branch = scf.IfOp(whole, has_else=True)
        scf.YieldOp([])
    with ir.InsertionPoint(branch.then_block):
        copies(behind, {workgroup: tile, **inside, **dict(zip(loop.results, new.results, strict=True))})
        scf.YieldOp([])
    with ir.InsertionPoint(branch.else_block):
        which = arith.SelectOp(compared("eq", tile, low), number(0), number(1)).result
        for n, value in enumerate(new.results):
            mlir.dialect("vector").StoreOp(value, parts, place(workgroup, which, n, launch))
        scf.YieldOp([])
    for op in reversed([*before, loop, *behind]):
        op.erase()


def join(launch: Any, parts: Any, work: Work) -> None:
    """Makes a copy of the launch add up the parts of the tiles that are cut, each where it is cut first."""
    arith, scf, vector = mlir.dialect("arith"), mlir.dialect("scf"), mlir.dialect("vector")
    body = launch.regions[0].blocks[0]
    before, loop, behind = sides(launch)
    resized(launch, max(1, work.workgroups - 1))
    kind, index = loop.results[0].type, body.arguments[0]
    add = arith.AddFOp if isinstance(kind.element_type, ir.FloatType) else arith.AddIOp
    with ir.InsertionPoint(body.operations[len(body.operations) - 1]):
        cut, earlier = work.first(plus(index, 1)), work.first(index)
        tile = divided(cut, work.steps)
        start = times(tile, work.steps)
        # the part before this place is the tile's first, and there is one
        mine = arith.AndIOp(compared("ult", start, cut), compared("ule", earlier, start)).result
        branch = scf.IfOp(mine)
    with ir.InsertionPoint(branch.then_block):
        inside = copies(before, {index: tile})
        ending = arith.SubIOp(times(plus(start, work.steps), work.workgroups), number(1)).result
        last = divided(ending, work.total)  # the workgroup of the tile's last step
        added = scf.ForOp(index, plus(last, 1), number(1), [inside.get(v, v) for v in list(loop.operands)[3:]])
        with ir.InsertionPoint(added.body):
            # it is the first tile of all workgroups but the first, and of that one if it begins with it
            is_first = compared("ule", start, work.first(added.induction_variable))
            which = arith.SelectOp(is_first, number(0), number(1)).result
            loaded = [
                vector.LoadOp(kind, parts, place(added.induction_variable, which, n, launch)).result
                for n in range(len(loop.results))
            ]
            scf.YieldOp([add(acc, part).result for acc, part in zip(added.inner_iter_args, loaded, strict=True)])
        copies(behind, {index: tile, **inside, **dict(zip(loop.results, added.results, strict=True))})
        scf.YieldOp([])
    for op in reversed([*before, loop, *behind]):
        op.erase()
