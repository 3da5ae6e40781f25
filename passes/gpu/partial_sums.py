"""What the passes that share out a K loop among workgroups have in common: parts of sums, kept and added up.

A launch holds one loop marked k that carries the accumulators of lanes from zero. A workgroup that makes a part of a
tile's sum stores what each of its lanes holds, side by side with the other lanes, into a workspace; the same lane of a
second launch, whose body is the first's with the loop exchanged, adds the parts up and goes on to the epilogue.
"""

from __future__ import annotations

from math import prod
from typing import Any

from lowering import find, mlir
from lowering.core import PassError
from lowering.mlir import ir
from lowering.passes.gpu.direct_copies import GATHER
from lowering.passes.gpu.index import launch_of, linear, number
from lowering.passes.gpu.persist import tiles_of
from lowering.passes.gpu.prefetch import SOME_TRIPS, WRITES, copies, too_short

MOST = 2**31  # what indices of 32 bits count to


def objection(loop: Any) -> str | None:
    """Why a launch's work cannot be shared out by steps; None where it can."""
    launch = launch_of(loop)
    if launch is None or tiles_of(launch) is None:
        return "looked for a loop in a gpu.launch of a constant number of workgroups in one dimension"
    if loop.parent.operation != launch:
        return "the loop marked k is inside of something else than the launch"
    if SOME_TRIPS in loop.attributes:
        return "the loop's steps are shared out already"
    before, _, _ = sides(launch)
    if any(op.name in WRITES or op.name in ("gpu.barrier", GATHER) for op in before):
        return "a step's copies stand before the loop: its steps are shared out before fill-ahead takes one out"
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


def steps_of(loop: Any) -> tuple[int, int]:
    """How many steps a loop that passes `objection` has, and how far each goes."""
    _, high, step = (linear(operand).constant for operand in list(loop.operands)[:3])
    return high // step, step


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


def workspace(launch: Any, loop: Any, *count: int) -> Any:
    """A buffer for so many parts: one row a result of the loop, in it what each thread holds of it."""
    threads = linear(launch.operands[3]).constant
    kind = loop.results[0].type
    if any(value.type != kind for value in loop.results):
        raise PassError("the loop's accumulators are of several types", str(loop.location))
    shape = [*count, len(loop.results), threads, *kind.shape]
    if prod(shape) >= MOST:
        raise PassError(f"the parts are {prod(shape)} elements, more than indices of 32 bits can count")
    with ir.InsertionPoint(launch):
        return mlir.dialect("memref").AllocOp(ir.MemRefType.get(shape, kind.element_type), [], []).result


def place(part: tuple[Any, ...], result: int, launch: Any) -> list[Any]:
    """Where a thread's piece of a result lies in the workspace."""
    return [*part, number(result), launch.regions[0].blocks[0].arguments[3], number(0)]


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


def restarted(loop: Any, values: dict[Any, Any], begin: Any, end: Any) -> Any:
    """A copy of a loop, at the insertion point, over other steps, of which there is at least one."""
    _, step = steps_of(loop)
    new = find.defining(copies([loop], values)[loop.results[0]])
    assert new is not None
    new.attributes[SOME_TRIPS] = ir.UnitAttr.get()
    with ir.InsertionPoint(new):
        new.operands[0], new.operands[1] = times(begin, step), times(end, step)
    return new


def keep(results: list[Any], parts: Any, part: tuple[Any, ...], launch: Any) -> None:
    """Stores what a lane holds of a part."""
    for n, value in enumerate(results):
        mlir.dialect("vector").StoreOp(value, parts, place(part, n, launch))


def added(start: list[Any], parts: Any, part: tuple[Any, ...], launch: Any) -> list[Any]:
    """What a lane holds of a part, added to values."""
    arith, vector = mlir.dialect("arith"), mlir.dialect("vector")
    kind = start[0].type
    add = arith.AddFOp if isinstance(kind.element_type, ir.FloatType) else arith.AddIOp
    loaded = [vector.LoadOp(kind, parts, place(part, n, launch)).result for n in range(len(start))]
    return [add(sum_, each).result for sum_, each in zip(start, loaded, strict=True)]


def end_of(launch: Any) -> Any:
    """The insertion point at the end of a launch's body."""
    operations = launch.regions[0].blocks[0].operations
    return ir.InsertionPoint(operations[len(operations) - 1])


def erase(ops: list[Any]) -> None:
    """Erases ops of one block, in their order."""
    for op in reversed(ops):
        op.erase()
