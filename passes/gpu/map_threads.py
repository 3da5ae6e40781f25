"""Maps the loops over threads to the threads of the launch around them.

before:  gpu.launch ... threads(%t, ..) in (1, 1, 1) {
           scf.forall (%i, %j) in (8, 32) { BODY(%i, %j) }
             {mapping = [#gpu.thread<linear_dim_1>, #gpu.thread<linear_dim_0>]}
         }
after:   gpu.launch ... threads(%t, ..) in (256, 1, 1) {
           %i, %j = affine.delinearize_index %t into (8, 32)
           BODY(%i, %j)
         }

With `lanes=2,4` eight neighbouring threads are a patch of two rows of four, and their numbers' bits are taken for
columns and rows in turn: 0 1 4 5 above 2 3 6 7. Workgroup memory serves eight lanes of 16 bytes at a time. In a row of
threads with tiles of 8x8 they read one place of A and eight of B, 32 bytes apart: half of the banks, twice. In patches
of this order they read two of A and four of B, which are in banks of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu.index import Linear, emit
from lowering.passes.gpu.map_blocks import adopt, delinearized, inline, is_forall, trip_counts


@dataclass(frozen=True)
class MapThreads(Pass):
    """All foralls of a launch must need the same number of threads, so that no thread is left out of a barrier.

    A launch that has its threads already stays as it is beside one that has not.

    `most` is the number of threads that a workgroup can have. `lanes`: rows and columns of a patch of neighbouring
    threads, powers of two; none: row after row.
    """

    name: ClassVar[str] = "map-threads"
    most: int = 1024
    lanes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.lanes and (len(self.lanes) != 2 or any(each < 1 or each & (each - 1) for each in self.lanes)):
            raise ValueError(f"lanes is two powers of two, found {','.join(map(str, self.lanes))}")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The chip's own bound, where a launch holds a forall."""
        if "threads_per_group_max" in target.facts and any(
            mlir.walk(launch, is_forall) for launch in mlir.walk(state, is_launch)
        ):
            yield cls(int(target.facts["threads_per_group_max"]))

    def apply(self, module: Any) -> None:
        launches = mlir.walk(module, is_launch)
        if not launches:
            raise PassError("looked for a gpu.launch and found none; map-blocks makes one")
        with mlir.scope():
            waiting = [launch for launch in launches if mlir.walk(launch, is_forall)]
            for launch in waiting or launches:
                distribute(launch, self.most, self.lanes)
        mlir.run(module, "canonicalize,cse")


def is_launch(op: Any) -> bool:
    """Whether an op is a `gpu.launch`."""
    return op.operation.name == "gpu.launch"


def distribute(launch: Any, most: int, lanes: tuple[int, ...]) -> None:
    """Gives a launch as many threads as its foralls have trips, at most `most`, and each thread one trip."""
    foralls = mlir.walk(launch, is_forall)
    if not foralls:
        raise PassError(
            "the gpu.launch holds no scf.forall for its threads; tile{mapping=thread ...} makes one",
            str(launch.location),
        )
    counts = [trip_counts(forall, "thread") for forall in foralls]
    totals = sorted({prod(each) for each in counts})
    if len(totals) != 1:
        raise PassError(
            f"the loops over threads have different sizes: {', '.join(map(str, totals))}", str(launch.location)
        )
    if totals[0] > most:
        raise PassError(
            f"{totals[0]} threads in a workgroup are more than {most}: take larger thread tiles", str(launch.location)
        )
    for trips in counts if lanes else ():
        if len(trips) < 2 or trips[-2] % lanes[0] or trips[-1] % lanes[1]:
            raise PassError(
                f"{'x'.join(map(str, trips))} threads are no patches of {lanes[0]}x{lanes[1]}", str(launch.location)
            )
    with ir.InsertionPoint(launch):
        launch.operands[3] = mlir.dialect("arith").ConstantOp(ir.IndexType.get(), totals[0]).result
    thread = launch.regions[0].blocks[0].arguments[3]
    for forall, trips in zip(foralls, counts, strict=True):
        if any(map(is_forall, find.parents(forall))):
            raise PassError("a loop over threads inside another one", str(forall.location))
        if lanes:
            with ir.InsertionPoint(forall):
                ids = patched(thread, trips, lanes)
            adopt(forall, ids, forall)
        else:
            inline(forall, thread, trips, forall)


def patched(thread: Any, trips: list[int], lanes: tuple[int, ...]) -> list[Any]:
    """The indices of a thread, where neighbouring threads are patches of the last two."""
    bits = [each.bit_length() - 1 for each in lanes]
    shared = min(bits)
    # the sides that bits are of, the lowest first: columns and rows in turn, then what the longer side has more
    sides = [1, 0] * shared + [int(bits[1] > bits[0])] * (max(bits) - shared)
    *outer, rows, columns = trips
    first = list(delinearized(thread, [*outer, rows // lanes[0], columns // lanes[1], *(2 for _ in sides)]))
    ids = first[len(outer) :]
    forms = [Linear(0, {ids[side]: lanes[side]}) for side in (0, 1)]
    weights = [1, 1]
    for side, bit in zip(sides, reversed(ids[2:]), strict=True):
        forms[side] = forms[side] + Linear(0, {bit: weights[side]})
        weights[side] *= 2
    return [*first[: len(outer)], *(emit(form) for form in forms)]
