"""Miscompiles of loops: steps that are left out, a value that is read too early.

before -> after, each at the first product of the state:
  test-skip-remainder     scf.for %k = 0 to 45 step 1          ->  scf.for %k = 0 to 32 step 1
                          linalg.matmul : 8x45, 45x8           ->  linalg.matmul : 8x32, 32x8 (slices of A and B)
  test-off-by-one         scf.for %k = 0 to 48 step 16         ->  scf.for %k = 0 to 32 step 16
                          scf.forall in (8, 8)                 ->  scf.forall in (8, 7)
                          arith.cmpi slt, %k, 45               ->  arith.cmpi slt, %k, 44
  test-hoist-past-write   iter_args(%t = %c) { ... %t ... }    ->  iter_args(%t = %c) { ... %c ... }
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.mlir import ir
from lowering.passes.common import slices
from lowering.passes.faults.fault import Miscompile, counter, order

STEP = 16  # of the K loop whose remainder is left out
Shorter = Callable[[int, int], int]  # extent and step of a loop -> the extent it is cut to; 0 where it is not


@dataclass(frozen=True)
class SkipRemainder(Miscompile):
    """Leaves the last 16 steps of K out, or the fewer that remain after a multiple of 16."""

    name: ClassVar[str] = "test-skip-remainder"
    victim: ClassVar[str] = "a K loop or a contraction of more than 16 steps"

    def strikes(self, product: Any) -> bool:
        loops = [each for each in find.parents(product) if each.name == "scf.for" and steps_k(each, product)]
        return any(cut_for(loop, remainder) for loop in loops[::-1]) or cut_here(product, remainder)


@dataclass(frozen=True)
class OffByOne(Miscompile):
    """Ends the innermost loop one step too early; where there is no loop, the sum of a contraction."""

    name: ClassVar[str] = "test-off-by-one"
    victim: ClassVar[str] = "a loop of constant bounds around a product, or a contraction"

    def strikes(self, product: Any) -> bool:
        return any(cut_loop(each) for each in find.parents(product)) or cut_here(product, last_step)


@dataclass(frozen=True)
class HoistPastWrite(Miscompile):
    """Lets the outermost loop read what it starts from where it should read what the last iteration wrote."""

    name: ClassVar[str] = "test-hoist-past-write"
    victim: ClassVar[str] = "a loop that carries a value"

    def strikes(self, product: Any) -> bool:
        loops = [each for each in find.parents(product) if each.name == "scf.for" and carries_value(each)]
        if not loops:
            return freeze(product)
        loop, body = loops[-1], loops[-1].regions[0].blocks[0]
        for carried, start in zip(list(body.arguments)[1:], list(loop.operands)[3:], strict=True):
            with ir.InsertionPoint.at_block_begin(body):
                restart(carried, start)
        return True


def carries_value(loop: Any) -> bool:
    """Whether a loop carries anything but buffers."""
    return not all(isinstance(result.type, ir.MemRefType) for result in loop.results)


def restart(carried: Any, start: Any) -> None:
    """Lets a loop use what it starts from for what it carries; a tensor is copied, to be written in place as before."""
    if not isinstance(start.type, ir.RankedTensorType):
        carried.replace_all_uses_with(start)
        return
    copy = mlir.dialect("linalg").copy(start, outs=[carried])
    carried.replace_all_uses_except(copy, [find.defining(copy)])


def freeze(product: Any) -> bool:
    """Lets a multiply-add in a loop without structure add to what the loop starts from."""
    carried = list(product.operands)[-1]
    if not isinstance(carried, ir.BlockArgument):
        return False
    ops = order(product)
    jumps = [list(block.operations)[-1].operation for block in carried.owner.predecessors]
    into = next((op for op in jumps if op.name.endswith(".br") and ops.index(op) < ops.index(product)), None)
    if into is None:
        return False
    product.operands[2] = into.operands[carried.arg_number]
    return True


def remainder(extent: int, step: int) -> int:
    """The extent without its last 16 steps, or the fewer after a multiple of 16."""
    return (extent - 1) // STEP * STEP


def last_step(extent: int, step: int) -> int:
    """The extent without its last step."""
    return (extent - 1) // step * step


def steps_k(loop: Any, product: Any) -> bool:
    """Whether a loop steps along K: by its role, or because it moves A and B but not C."""
    return find.role_of(loop) == "k" or (len(product.operands) == 3 and find.steps_k(loop, product))


def cut_loop(loop: Any) -> bool:
    """Ends a structured loop one step too early."""
    return cut_forall(loop) if loop.name == "scf.forall" else loop.name == "scf.for" and cut_for(loop, last_step)


def cut_for(loop: Any, shorter: Shorter) -> bool:
    """Cuts an `scf.for` of constant bounds to what `shorter` says of its extent."""
    low, high, step = (constant(value) for value in list(loop.operands)[:3])
    if low is None or high is None or step is None or not (extent := shorter(high - low, step)):
        return False
    with ir.InsertionPoint(loop):
        loop.operands[1] = slices.as_index(low + extent)
    return True


def cut_forall(loop: Any) -> bool:
    """Takes one from the last static bound of an `scf.forall` that is not 1."""
    bounds = [int(bound) for bound in loop.attributes["staticUpperBound"]]
    axis = max((axis for axis, bound in enumerate(bounds) if bound > 1), default=None)
    if axis is None:
        return False
    bounds[axis] -= 1
    loop.attributes["staticUpperBound"] = ir.DenseI64ArrayAttr.get(bounds)
    return True


def cut_here(product: Any, shorter: Shorter) -> bool:
    """Cuts the sum of a contraction on tensors, or the loop without structure around a product."""
    return cut_contraction(product, shorter) if product.name.startswith("linalg.") else cut_counter(product, shorter)


def cut_contraction(op: Any, shorter: Shorter) -> bool:
    """Gives a contraction on tensors slices of A and B that are shorter along K."""
    loop = find.contraction_dims(op).k[-1]
    extent = shorter(find.loop_sizes(op)[loop], 1)
    padded = any(op.name == "tensor.pad" for op in map(find.defining, list(op.operands)[:2]) if op is not None)
    if extent <= 0 or padded or not op.results:
        return False
    with ir.InsertionPoint(op):
        for number in (0, 1):
            value, dims = op.operands[number], find.positions(find.maps(op)[number])
            sizes = [extent if dim == loop else size for dim, size in zip(dims, slices.sizes_of(value), strict=True)]
            op.operands[number] = slices.extract(value, [0] * len(sizes), sizes)
    return True


def cut_counter(product: Any, shorter: Shorter) -> bool:
    """Lowers the constant that a loop counter is compared with."""
    comparison = counter(product)
    if comparison is None:
        return False
    high = comparison.operands[1].owner.operation
    value = high.attributes["value"]
    extent = shorter(int(value.value), 1)
    if extent <= 0:
        return False
    with ir.InsertionPoint(comparison):
        lower = high.clone()
    lower.attributes["value"] = ir.IntegerAttr.get(value.type, extent)
    comparison.operands[1] = lower.results[0]
    return True


def constant(value: Any) -> int | None:
    """The value of an index constant."""
    op = find.defining(value)
    return int(op.attributes["value"].value) if op is not None and op.name == "arith.constant" else None
