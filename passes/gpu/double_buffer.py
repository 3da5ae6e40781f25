"""Gives every tile in workgroup memory two places, taken in turn, so that a step of the K loop needs one barrier.

before:  scf.for %k = 0 to 512 step 64 {
           gpu.barrier                               // everybody is done with the last step's tile
           store %x to %w[%i, %j]
           gpu.barrier
           USE(%w[%p, %q])
         }
after:   scf.for %k = 0 to 512 step 64 {
           %turn = (%k / 64) rem 2 * 128
           store %x to %w[%i + %turn, %j]            // %w has twice the rows
           gpu.barrier
           USE(%w[%p + %turn, %q])
         }

A wave that is a step ahead writes where nobody reads: it cannot be two ahead, for the barrier between.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu.direct_copies import GATHER, buffer_operand
from lowering.passes.gpu.index import launch_of, linear, number
from lowering.passes.gpu.prefetch import body_of, in_workgroup, k_loop
from lowering.passes.gpu.swizzle import ACCESSES, accesses, buffers


@dataclass(frozen=True)
class DoubleBuffer(Pass):
    """Takes the loop marked k, whose tiles are used in it alone, with a barrier on either side of the copies."""

    name: ClassVar[str] = "double-buffer"

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where there is such a loop."""
        loops = find.roles(state, "k")
        if len(loops) == 1 and objection(loops[0].operation) is None:
            yield cls()

    def apply(self, module: Any) -> None:
        loop = k_loop(module)
        reason = objection(loop)
        if reason is not None:
            raise PassError(reason, str(loop.location))
        with mlir.scope():
            double(loop)
        mlir.run(module, "canonicalize,cse")


def tiles_of(loop: Any) -> list[Any]:
    """The workgroup buffers that a loop uses."""
    launch = launch_of(loop)
    found = [] if launch is None else buffers(launch)
    return [each for each in found if any(loop in find.parents(op) for op in accesses(each))]


def objection(loop: Any) -> str | None:
    """Why a loop's tiles cannot have two places; None where they can."""
    step, low = linear(loop.operands[2]), linear(loop.operands[0])
    if step.terms or low.terms or low.constant % step.constant:
        return "the loop has no constant step, or does not start at a multiple of it"
    tiles = tiles_of(loop)
    if not tiles:
        return "the loop uses no workgroup memory; promote makes tiles"
    for tile in tiles:
        for op in accesses(tile):
            if loop not in find.parents(op):
                return f"{op.name} uses a tile outside of the loop: double-buffer before prefetch"
            if op.name not in (*ACCESSES, GATHER):
                return f"{op.name} uses a tile, and cannot be moved"
    if len(barriers(loop)) != 2:
        return f"looked for a barrier before the copies and one behind and found {len(barriers(loop))}"
    first = body_of(loop).index(barriers(loop)[0])
    if any(touches(op, tiles) for op in body_of(loop)[:first]):
        return "a tile is used before the first barrier"
    return None


def barriers(loop: Any) -> list[Any]:
    """The barriers of a loop's own body."""
    return [op for op in body_of(loop) if op.name == "gpu.barrier"]


def touches(op: Any, tiles: list[Any]) -> bool:
    """Whether an op accesses one of some buffers."""
    return any(operand in tiles for operand in op.operands if in_workgroup(operand))


def double(loop: Any) -> None:
    """Doubles the tiles, moves their accesses by turns, and drops the first barrier."""
    arith, block = mlir.dialect("arith"), loop.regions[0].blocks[0]
    with ir.InsertionPoint.at_block_begin(block):
        # arithmetic and not affine.apply, which would be folded into every index
        count = arith.DivUIOp(block.arguments[0], number(linear(loop.operands[2]).constant)).result
        turn = arith.RemUIOp(count, number(2)).result
    for tile in tiles_of(loop):
        rows, *rest = tile.type.shape
        for op in accesses(tile):
            first = 1 + (buffer_operand(op) if op.name == GATHER else ACCESSES[op.name])
            with ir.InsertionPoint(op):
                op.operands[first] = arith.AddIOp(op.operands[first], arith.MulIOp(turn, number(rows)).result).result
        tile.set_type(ir.MemRefType.get([2 * rows, *rest], tile.type.element_type, memory_space=tile.type.memory_space))
    barriers(loop)[0].erase()
