"""Maps the loops over waves (warps) to the threads of the launch around them.

before:  gpu.launch ... threads(%t, ..) in (1, 1, 1) {
           scf.forall (%i, %j) in (2, 2) { BODY(%i, %j) } {mapping = [#gpu.warp<linear_dim_1>, #gpu.warp<linear_dim_0>]}
         }
after:   gpu.launch ... threads(%t, ..) in (256, 1, 1) {
           %i, %j, %lane = affine.delinearize_index %t into (2, 2, 64)
           BODY(%i, %j)
         }

The body stays what a whole wave does: its vectors are those of all lanes together, until a pass says which lane holds
what of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu.map_blocks import inline, is_forall, trip_counts
from lowering.passes.gpu.map_threads import is_launch


@dataclass(frozen=True)
class MapWaves(Pass):
    """`size` is the number of lanes of a wave, `most` that of threads that a workgroup can have."""

    name: ClassVar[str] = "map-waves"
    size: int = 64
    most: int = 1024

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The chip's own numbers, where a launch holds loops over waves."""
        needed = {"wave_size", "threads_per_group_max"} <= set(target.facts)
        if needed and any(mlir.walk(launch, of_waves) for launch in mlir.walk(state, is_launch)):
            yield cls(int(target.facts["wave_size"]), int(target.facts["threads_per_group_max"]))

    def apply(self, module: Any) -> None:
        launches = [op for op in mlir.walk(module, is_launch) if mlir.walk(op, of_waves)]
        if not launches:
            raise PassError("looked for a loop over waves in a gpu.launch; tile{mapping=warp ...} makes one")
        with mlir.scope():
            for launch in launches:
                distribute(launch, self.size, self.most)
        mlir.run(module, "canonicalize,cse")


def of_waves(op: Any) -> bool:
    """Whether an op is a loop over waves."""
    return is_forall(op) and "mapping" in op.attributes and "#gpu.warp<" in str(op.attributes["mapping"])


def distribute(launch: Any, size: int, most: int) -> None:
    """Gives a launch a wave for each trip of its foralls, and each wave one trip."""
    foralls = mlir.walk(launch, of_waves)
    counts = [trip_counts(forall, "warp") for forall in foralls]
    totals = sorted({prod(each) for each in counts})
    if len(totals) != 1:
        raise PassError(
            f"the loops over waves have different sizes: {', '.join(map(str, totals))}", str(launch.location)
        )
    if totals[0] * size > most:
        raise PassError(f"{totals[0]} waves of {size} lanes are more than {most} threads", str(launch.location))
    with ir.InsertionPoint(launch):
        launch.operands[3] = mlir.dialect("arith").ConstantOp(ir.IndexType.get(), totals[0] * size).result
    thread = launch.regions[0].blocks[0].arguments[3]
    for forall, trips in zip(foralls, counts, strict=True):
        if any(map(is_forall, find.parents(forall))):
            raise PassError("a loop over waves inside another loop over waves or threads", str(forall.location))
        inline(forall, thread, [*trips, size], forall)
