"""Maps the loops over workgroups to a kernel launch.

before:  scf.forall (%i, %j) in (8, 3) { BODY(%i, %j) } {mapping = [#gpu.block<linear_dim_1>, #gpu.block<linear_dim_0>]}
after:   gpu.launch blocks(%b, ..) in (24, 1, 1) threads(..) in (1, 1, 1) {
           %i, %j = affine.delinearize_index %b into (8, 3)
           BODY(%i, %j)
         }

The grid is one-dimensional: the y and z dimensions end at 65535 on NVIDIA, and an order of workgroups that shares more
operands in the caches only has to change the one index.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir


@dataclass(frozen=True)
class MapBlocks(Pass):
    """Every outermost bufferised forall becomes one launch; one that is mapped to threads alone gets a grid of 1."""

    name: ClassVar[str] = "map-blocks"

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The default, where there are foralls to launch, bufferised."""
        found = outermost(state)
        if found and not any(op.results or inside_launch(op) for op in found):
            yield cls()

    def apply(self, module: Any) -> None:
        foralls = outermost(module)
        if not foralls:
            raise PassError("looked for an scf.forall to launch and found none; tile{mapping=block ...} makes one")
        with mlir.scope():
            for forall in foralls:
                launch(forall)
        mlir.run(module, "canonicalize,cse")


def is_forall(op: Any) -> bool:
    """Whether an op is an `scf.forall`."""
    return op.operation.name == "scf.forall"


def outermost(module: Any) -> list[Any]:
    """The foralls of a module that are in no other one."""
    return [op for op in mlir.walk(module, is_forall) if not any(map(is_forall, find.parents(op)))]


def inside_launch(op: Any) -> bool:
    """Whether an op is in a launch already."""
    return any(each.name == "gpu.launch" for each in find.parents(op))


def trip_counts(forall: Any, level: str) -> list[int]:
    """The trip counts of a normalised forall that is mapped to linear ids of `level`, the last one fastest."""
    attributes, where = forall.attributes, str(forall.location)
    counts = list(attributes["staticUpperBound"])
    if forall.results:
        raise PassError("the scf.forall still has tensor results: bufferise first", where)
    if any(attributes["staticLowerBound"]) or any(step != 1 for step in attributes["staticStep"]) or min(counts) < 0:
        raise PassError("the scf.forall is not normalised to static (0 to N step 1)", where)
    ids = [f"#gpu.{level}<linear_dim_{len(counts) - 1 - i}>" for i in range(len(counts))]
    found = [str(each) for each in attributes["mapping"]] if "mapping" in attributes else []
    if found != ids:
        raise PassError(f"the scf.forall is not mapped to [{', '.join(ids)}] but to [{', '.join(found)}]", where)
    return counts


def mapped_to(forall: Any, level: str) -> bool:
    """Whether a forall is mapped to blocks or threads."""
    return "mapping" in forall.attributes and f"#gpu.{level}<" in str(forall.attributes["mapping"])


def launch(forall: Any) -> None:
    """Wraps one forall into a launch and replaces it by its body."""
    gpu, arith = mlir.dialect("gpu"), mlir.dialect("arith")
    index = ir.IndexType.get()
    counts = [] if mapped_to(forall, "thread") else trip_counts(forall, "block")
    with ir.InsertionPoint(forall):
        one = arith.ConstantOp(index, 1).result
        blocks = arith.ConstantOp(index, prod(counts)).result
        op = gpu.LaunchOp((blocks, one, one), (one, one, one))
    body = op.regions[0].blocks[0]
    with ir.InsertionPoint(body):
        end = gpu.TerminatorOp().operation
    if counts:
        inline(forall, body.arguments[0], counts, end)
    else:
        forall.move_before(end)


def inline(forall: Any, linear: Any, counts: list[int], before: Any) -> None:
    """Moves a forall's body in front of an op, its indices the first of those of the linear one, and erases it."""
    with ir.InsertionPoint(before):
        ids = delinearized(linear, counts)
    adopt(forall, ids, before)


def adopt(forall: Any, ids: list[Any], before: Any) -> None:
    """Moves a forall's body in front of an op, its indices being those given, and erases it."""
    block = forall.regions[0].blocks[0]
    for argument, value in zip(list(block.arguments), ids, strict=False):
        argument.replace_all_uses_with(value)
    for op in list(block.operations)[:-1]:
        op.operation.move_before(before)
    forall.erase()


def delinearized(linear: Any, counts: list[int]) -> list[Any]:
    """The indices of a linear id, the last one fastest."""
    if len(counts) == 1:
        return [linear]
    affine = mlir.dialect("affine")
    return list(affine.AffineDelinearizeIndexOp([ir.IndexType.get()] * len(counts), linear, [], counts).results)
