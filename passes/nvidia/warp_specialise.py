"""Gives the copies to a warpgroup of their own: one thread asks for tiles, the others multiply what has arrived.

before:  gpu.launch .. threads(%t ..) in (256, 1, 1) {       // promote-tma: one place, one barrier
           scf.for %k = 0 to 512 step 64 {
             gpu.barrier
             FILL(%w, %k)
             nvgpu.mbarrier.try_wait.parity %full[0], ..
             USE(%w)
           }
           WRITE
         }
after:   gpu.launch .. threads(%t ..) in (384, 1, 1) {
           scf.if %t < 256 {
             scf.for %k = 0 to 512 step 64 {                 // %i: the number of the step
               nvgpu.mbarrier.try_wait.parity %full[%i mod 4], ..
               USE(%w[%i mod 4])
               nvgpu.mbarrier.arrive %empty[%i mod 4]
             }
             WRITE
           } else {
             scf.if %t == 256 {
               scf.for %k = 0 to 512 step 64 {
                 nvgpu.mbarrier.try_wait.parity %empty[%i mod 4], ..
                 FILL(%w[%i mod 4], %k)
               }
             }
           }
         }

No barrier holds all threads any more: a warpgroup that is late waits for nobody, and the copies run as far ahead as
there are places. Where K is one step deep, the steps are those of the loop over tiles that `persist` makes: tiles are
copied while the results of those before are written.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu.index import Linear, emit, launch_of, linear
from lowering.passes.gpu.prefetch import body_of, copies
from lowering.passes.nvidia.promote_tma import TICKS, tile_loop
from lowering.passes.nvidia.ring import Steps, barrier_of, loop_of, loops_of, objection

WARPGROUP = 128  # threads


@dataclass(frozen=True)
class WarpSpecialise(Pass):
    """`stages` is the number of places of each tile, `most` that of threads that a workgroup can have.

    Copies of one step in all stay as they are.
    """

    name: ClassVar[str] = "warp-specialise"
    stages: int = 4
    most: int = 1024

    def __post_init__(self) -> None:
        if self.stages < 1:
            raise ValueError(f"stages is a number of places, at least 1, found {self.stages}")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """Four places, three and two, where tensor copies fill one."""
        loops = loops_of(state)
        if len(loops) == 1 and loops[0] is not None and objection(loops[0]) is None:
            yield from (cls(stages) for stages in (4, 3, 2))

    def k_steps(self) -> int:
        """Twice round the ring, and one step more."""
        return 2 * self.stages + 1

    def apply(self, module: Any) -> None:
        loop = loop_of(module)
        if loop is None:
            return
        launch = launch_of(loop)
        reason = objection(loop)
        if reason is not None:
            raise PassError(reason, str(loop.location))
        outermost = tile_loop(loop) or loop
        if launch is None or outermost.block != launch.regions[0].blocks[0]:
            raise PassError("the loop is in a branch or in loops of the gpu.launch, or in none", str(loop.location))
        threads = linear(list(launch.operands)[3]).constant
        if threads % WARPGROUP or threads + WARPGROUP > self.most:
            raise PassError(f"{threads} threads and a warpgroup more, of {self.most}", str(launch.location))
        with mlir.scope():
            split(Steps(loop, self.stages), launch, threads)
        mlir.run(module, "canonicalize,cse")


def split(steps: Steps, launch: Any, threads: int) -> None:
    """Two roles: the loop and what follows it, and the copies."""
    scf, arith, nvgpu = mlir.dialect("scf"), mlir.dialect("arith"), mlir.dialect("nvgpu")
    body, thread = launch.regions[0].blocks[0], launch.regions[0].blocks[0].arguments[3]
    with ir.InsertionPoint(launch):
        launch.operands[3] = emit(Linear(threads + WARPGROUP))
    empty = second(steps, threads)
    outer = tile_loop(steps.loop)
    with ir.InsertionPoint(outer or steps.loop):
        consumes = arith.CmpIOp(arith.CmpIPredicate.ult, thread, emit(Linear(threads))).result
        roles = scf.IfOp(consumes, has_else=True)
    with ir.InsertionPoint(roles.else_block):
        asks = scf.IfOp(arith.CmpIOp(arith.CmpIPredicate.eq, thread, emit(Linear(threads))).result)
        scf.YieldOp([])
    with ir.InsertionPoint(asks.then_block):
        if outer is None:
            produce(steps, empty, None, {})
        else:
            every_tile(steps, outer, empty)
        scf.YieldOp([])
    with ir.InsertionPoint(roles.then_block):
        end = scf.YieldOp([]).operation
    behind = [op.operation for op in body.operations]
    behind = behind[behind.index(roles.operation) + 1 : -1]
    for op in behind:
        op.move_before(end)
    with ir.InsertionPoint(steps.wait):
        place = steps.arrived()
    steps.barrier.erase()
    last = list(steps.loop.regions[0].blocks[0].operations)[-1].operation
    with ir.InsertionPoint(last):
        nvgpu.MBarrierArriveOp(empty, place)


def every_tile(steps: Steps, outer: Any, empty: Any) -> None:
    """The copies of all tiles, at the insertion point: a loop over tiles beside that of the consumers."""
    scf = mlir.dialect("scf")
    tiles = scf.ForOp(*list(outer.operands)[:3])
    with ir.InsertionPoint(tiles.body):
        known = {outer.regions[0].blocks[0].arguments[0]: tiles.induction_variable}
        before = itertools.takewhile(lambda op: op != steps.loop, body_of(outer))
        known |= copies(
            [op for op in before if op.name.startswith(("affine.", "arith.", "gpu.cluster_block_id"))], known
        )
        produce(steps, empty, tiles.induction_variable, known)
        scf.YieldOp([])
    first = body_of(outer)[0]
    if first.name == "gpu.barrier":  # persist's: places and warpgroups have barriers of their own now
        first.erase()


def produce(steps: Steps, empty: Any, tile: Any | None, known: Mapping[Any, Any]) -> None:
    """The loop of the copies of a tile, at the insertion point."""
    scf, arith = mlir.dialect("scf"), mlir.dialect("arith")
    loop = scf.ForOp(*map(emit, (steps.low, steps.high, steps.step)))
    with ir.InsertionPoint(loop.body):
        place, odd = steps.turn(loop.induction_variable, tile)
        even = arith.XOrIOp(odd, arith.ConstantOp(ir.IntegerType.get_signless(1), 1).result).result
        mlir.dialect("nvgpu").MBarrierTryWaitParityOp(empty, even, emit(Linear(TICKS)), place)
        steps.fill(loop.induction_variable, place, None, known)
        scf.YieldOp([])


def second(steps: Steps, threads: int) -> Any:
    """Barriers that tell which places are free: made like those that tell which are full."""
    full = barrier_of(steps.expect)
    starts = [use.owner.operation for use in full.uses if use.owner.operation.name == "nvgpu.mbarrier.init"]
    with ir.InsertionPoint(starts[0]):
        empty = mlir.dialect("nvgpu").MBarrierCreateOp(full.type).result
        for start in starts:
            _, _, number, predicate = list(start.operands)
            mlir.dialect("nvgpu").MBarrierInitOp(empty, emit(Linear(threads)), number, predicate=predicate)
    return empty
