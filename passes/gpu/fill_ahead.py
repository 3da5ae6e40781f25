"""Fills the tiles of the next step of the K loop while this step's are used: the third stage of a pipeline.

before:  scf.for %k = 0 to 512 step 64 {       // double-buffer: two places, taken in turn
           %x = load %A[.., %k]
           store %x to %w[TURN(%k)]
           gpu.barrier
           USE(%w[TURN(%k)])
         }
after:   FILL(0)
         gpu.barrier
         scf.for %k = 0 to 448 step 64 {
           FILL(%k + 64)                       // into the other place
           USE(%w[TURN(%k)])
           gpu.barrier
         }
         USE(%w[TURN(448)])                    // the last step has nothing to fill

Copies by no register come behind the last read of USE, since LLVM has every read of workgroup memory wait for those
before it; what goes through registers beside them is loaded at the start of the step, and stored with them.

With `prefetch` behind it a step loads two steps ahead and stores one ahead: what a step multiplies is there when it
begins, and a wave's stores need not have arrived before its own products.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu.direct_copies import GATHER, WAIT
from lowering.passes.gpu.prefetch import READS, WRITES, body_of, copies, in_workgroup, k_loop, keep_marks, too_short


@dataclass(frozen=True)
class FillAhead(Pass):
    """Takes the loop marked k, of two trips or more, with one barrier between the copies of a step and their use."""

    name: ClassVar[str] = "fill-ahead"

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where there is such a loop."""
        loops = find.roles(state, "k")
        if len(loops) == 1 and objection(loops[0].operation) is None:
            yield cls()

    def k_steps(self) -> int:
        """One that it takes, one that prefetch takes, and a loop."""
        return 4

    def apply(self, module: Any) -> None:
        loop = k_loop(module)
        reason = objection(loop)
        if reason is not None:
            raise PassError(reason, str(loop.location))
        with mlir.scope():
            rotate(loop)
        mlir.run(module, "canonicalize,cse")


def objection(loop: Any) -> str | None:
    """Why a loop's tiles cannot be filled a step ahead; None where they can."""
    short = too_short(loop)
    if short is not None:
        return short
    ops = body_of(loop)
    barriers = [number for number, op in enumerate(ops) if op.name == "gpu.barrier"]
    if len(barriers) != 1:
        return f"looked for one barrier in the loop and found {len(barriers)}; double-buffer leaves one"
    fill, use = ops[: barriers[0]], ops[barriers[0] + 1 :]
    if not any(fills(op) for op in fill):
        return "the loop copies nothing to workgroup memory; promote does"
    carried = list(loop.regions[0].blocks[0].arguments)[1:]
    if any(operand in carried for op in fill for operand in op.operands):
        return "the copies are of what another step has loaded: fill-ahead before prefetch"
    if any(fills(op) for each in use for op in nested(each)) or any(reads_tile(op) for op in fill):
        return "the barrier does not lie between the copies to workgroup memory and their use"
    if any(fills(inner) for op in fill for inner in nested(op)[1:]):
        return "a copy to workgroup memory is in a branch or a loop of its own"
    if any(op.name in WRITES and not fills(op) for each in ops for op in nested(each)):
        return "the loop writes device memory, which the next step might load"
    return None


def fills(op: Any) -> bool:
    """Whether an op writes workgroup memory."""
    return op.name == GATHER or (op.name in WRITES and in_workgroup(op.operands[WRITES[op.name]]))


def nested(op: Any) -> list[Any]:
    """An op and all that its regions hold."""
    inner = [each for region in op.regions for block in region.blocks for each in block.operations]
    return [op, *(found for each in inner for found in nested(each.operation))]


def reads_tile(op: Any) -> bool:
    """Whether an op, or one in its regions, reads workgroup memory."""
    return any(each.name in READS and in_workgroup(each.operands[READS[each.name]]) for each in nested(op))


def rotate(loop: Any) -> None:
    """Rebuilds the loop: the first step's copies before it, the next step's in it, the last step's use behind it.

    The loop had one barrier and no race, so the copies of a step may run beside the use of the step before.
    """
    scf, arith, gpu = mlir.dialect("scf"), mlir.dialect("arith"), mlir.dialect("gpu")
    low, high, step = list(loop.operands)[:3]
    ops, block = body_of(loop), loop.regions[0].blocks[0]
    at = next(number for number, op in enumerate(ops) if op.name == "gpu.barrier")
    fill, waits = [op for op in ops[:at] if op.name != WAIT], [op for op in ops[:at] if op.name == WAIT]
    use = [*(op for op in fill if not fills(op)), *ops[at + 1 :]]  # what both need is computed for both
    start = 1 + max((number for number, op in enumerate(use) if reads_tile(op)), default=-1) if waits else 0
    mixed = waits and any(fills(op) and op.name != GATHER for op in fill)
    early = [op for op in fill if not fills(op)] if mixed else []
    late = [op for op in fill if op not in early]
    counter, carried = block.arguments[0], list(block.arguments)[1:]
    results = list(list(block.operations)[-1].operands)
    with ir.InsertionPoint(loop):
        copies([*fill, *waits], {counter: low})
        gpu.BarrierOp()
        end = arith.SubIOp(high, step).result
        new = scf.ForOp(low, end, step, list(loop.operands)[3:])
    keep_marks(loop, new.operation)
    with ir.InsertionPoint(new.body):
        close = scf.YieldOp(list(new.inner_iter_args))
    with ir.InsertionPoint(close):
        values = dict(zip((counter, *carried), (new.induction_variable, *new.inner_iter_args), strict=True))
        following = {counter: arith.AddIOp(new.induction_variable, step).result}
        following |= copies(early, following)
        values |= copies(use[:start], values)
        copies(late, following)
        values |= copies(use[start:], values)
        copies(waits, {})  # for direct copies, which are under way while the products are made
        gpu.BarrierOp()
    for index, value in enumerate(results):
        close.operation.operands[index] = values.get(value, value)
    with ir.InsertionPoint(loop):
        final = {counter: end, **dict(zip(carried, list(new.results), strict=True))}
        final |= copies(use, final)
    for old, value in zip(loop.results, results, strict=True):
        old.replace_all_uses_with(final.get(value, value))
    loop.erase()
