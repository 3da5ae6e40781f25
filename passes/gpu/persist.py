"""Launches as many workgroups as the chip runs at once, each of which makes one tile after the other.

before:  gpu.launch blocks(%b, ..) in (%c4096, ..) {          // workgroup memory %w
           TILE(%b)
         }
after, with persist{workgroups=304}:
         gpu.launch blocks(%b, ..) in (%c304, ..) {
           scf.for %tile = %b to %c4096 step %c304 {
             gpu.barrier                                      // nobody is still at the last tile's memory
             TILE(%tile)
           }
         }

Neighbouring workgroups still make neighbouring tiles, and each turn of the loop is a round of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu.index import cluster_of, linear, number
from lowering.passes.gpu.map_threads import is_launch


@dataclass(frozen=True)
class Persist(Pass):
    """`workgroups` is the most that are launched; a launch with no more stays as it is."""

    name: ClassVar[str] = "persist"
    workgroups: int = 1

    def __post_init__(self) -> None:
        if self.workgroups < 1:
            raise ValueError(f"workgroups is at least 1, found {self.workgroups}")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """One and two workgroups a compute unit, where a launch has more."""
        units = int(target.facts.get("compute_units", 0))
        tiles = [tiles_of(each) or 0 for each in mlir.walk(state, is_launch)]
        yield from (cls(each) for each in (units, 2 * units) if each and any(count > each for count in tiles))

    def apply(self, module: Any) -> None:
        launches = mlir.walk(module, is_launch)
        if not launches:
            raise PassError("looked for a gpu.launch and found none; map-blocks makes it")
        found = [(each.operation, tiles_of(each)) for each in launches]
        with mlir.scope():
            for launch, count in found:
                if count is None:
                    raise PassError(
                        "a launch's workgroups are no constant number in one dimension", str(launch.location)
                    )
                if mlir.walk(launch, lambda op: op.operation.name == "nvgpu.mbarrier.create"):
                    raise PassError(
                        "the phases of the launch's barriers count the steps of one tile: persist before promote-tma",
                        str(launch.location),
                    )
                if count <= self.workgroups:
                    continue
                if self.workgroups % cluster_of(launch):
                    raise PassError(
                        f"{self.workgroups} workgroups are no whole clusters of {cluster_of(launch)}",
                        str(launch.location),
                    )
                loop(launch, count, self.workgroups)
        mlir.run(module, "canonicalize,cse")


def tiles_of(launch: Any) -> int | None:
    """The workgroups of a launch in its one dimension; None where it has several, or their number is no constant."""
    x, y, z = (linear(size) for size in list(launch.operands)[:3])
    return x.constant if not (x.terms or y.terms or z.terms) and y.constant == z.constant == 1 else None


def loop(launch: Any, count: int, workgroups: int) -> None:
    """Puts a launch's body into a loop over its tiles."""
    scf, gpu, body = mlir.dialect("scf"), mlir.dialect("gpu"), launch.regions[0].blocks[0]
    block, size = body.arguments[0], body.arguments[6]
    ops = [op.operation for op in list(body.operations)[:-1]]
    with ir.InsertionPoint(launch):
        launch.operands[0] = number(workgroups)
    with ir.InsertionPoint.at_block_begin(body):
        tiles = number(count)
        size.replace_all_uses_with(tiles)
        new = scf.ForOp(block, tiles, number(workgroups), [])
    with ir.InsertionPoint(new.body):
        gpu.BarrierOp()
        end = scf.YieldOp([])
    for op in ops:
        op.move_before(end.operation)
    for use in list(block.uses):
        op = use.owner.operation
        if op != new.operation:
            op.operands[use.operand_number] = new.induction_variable
