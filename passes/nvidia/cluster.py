"""Groups workgroups that make neighbouring tiles into clusters, which run at once and reach each other's memory.

before:  gpu.launch blocks(%b, ..) in (33 * 16, ..) {
           %i, %j = affine.delinearize_index %b into (33, 16)
after:   gpu.launch clusters(..) in (2, ..) blocks(%b, ..) in (2 * 17 * 16, ..) {
           %rank = gpu.cluster_block_id x                             // 0 or 1
           %p, %j = affine.delinearize_index %b / 2 into (17, 16)
           %i = 2 * %p + %rank

Tiles of a cluster follow one another along M, so that they multiply the same columns of B, or along N. Where they do
not come out even, the last cluster has a workgroup whose tile lies beyond C: it takes part in what the cluster shares,
and reads zeros and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from lowering import mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu.index import CLUSTER, cluster_of, head, number
from lowering.passes.gpu.rasterise import grid_of, multiplying, quotient, times

DIMENSIONS = {"m": -2, "n": -1}
PORTABLE = 8  # workgroups of a cluster: CUDA C++ Programming Guide, "Thread block clusters"
TRANSFERS = ("vector.transfer_read", "vector.transfer_write")


@dataclass(frozen=True)
class Cluster(Pass):
    """`size` workgroups to a cluster, tiles side by side `along` m or n."""

    name: ClassVar[str] = "cluster"
    size: int = 2
    along: str = "m"

    def __post_init__(self) -> None:
        if not 2 <= self.size <= PORTABLE:
            raise ValueError(f"size is a number of workgroups, 2 to {PORTABLE}, found {self.size}")
        if self.along not in DIMENSIONS:
            raise ValueError(f"along is m or n, found '{self.along}'")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """Two, either way, where a chip has clusters and one launch takes its index apart."""
        launches = multiplying(state)
        if target.family == "nvidia" and len(launches) == 1 and objection(launches[0]) is None:
            yield from (cls(2, along) for along in DIMENSIONS)

    def apply(self, module: Any) -> None:
        launches = multiplying(module)
        if len(launches) != 1:
            raise PassError(f"looked for one gpu.launch and found {len(launches)}; map-blocks makes it")
        reason = objection(launches[0])
        if reason is not None:
            raise PassError(reason, str(launches[0].location))
        with mlir.scope():
            grid = grid_of(launches[0])
            assert grid is not None
            sizes = list(grid.attributes["static_basis"])
            if sizes[DIMENSIONS[self.along]] % self.size:
                beyond(launches[0])
            launch = clustered(launches[0], self.size)
            share_out(launch, grid, self.size, DIMENSIONS[self.along])
        mlir.run(module, "canonicalize,cse")


def objection(launch: Any) -> str | None:
    """Why a launch's workgroups cannot be grouped; None where they can."""
    if cluster_of(launch) > 1:
        return "the workgroups are in clusters already"
    if len(launch.regions[0].blocks[0].arguments) != head(launch):
        return "the launch has buffers of workgroup memory: cluster comes before promote-tma"
    if grid_of(launch) is None:
        return "looked for an affine.delinearize_index of all workgroups; cluster comes before rasterise and persist"
    if mlir.walk(launch, lambda op: op.operation.name in ("memref.load", "memref.store", "linalg.generic")):
        return "the launch reads or writes single elements, which a tile beyond the matrix would do too"
    return None


def beyond(launch: Any) -> None:
    """Lets transfers check their bounds: there is a tile that lies beyond the matrix."""
    for op in mlir.walk(launch, lambda op: op.operation.name in TRANSFERS):
        count = len(op.attributes["in_bounds"])
        op.attributes["in_bounds"] = ir.ArrayAttr.get([ir.BoolAttr.get(False)] * count)


def clustered(launch: Any, size: int) -> Any:
    """The launch anew, with clusters."""
    body, index = launch.regions[0].blocks[0], ir.IndexType.get()
    segments = list(launch.attributes["operandSegmentSizes"])
    segments[CLUSTER : CLUSTER + 3] = [1, 1, 1]
    attributes = {name: launch.attributes[name] for name in list(launch.attributes)}
    attributes["operandSegmentSizes"] = ir.DenseI32ArrayAttr.get(segments)
    operands = list(launch.operands)
    with ir.InsertionPoint(launch):
        one = number(1)
        operands[6:6] = [number(size), one, one]
        new = ir.Operation.create("gpu.launch", [], operands, attributes, regions=1, loc=launch.location)
    for _ in range(6):
        body.add_argument(index, ir.Location.unknown())
    body.append_to(new.regions[0])
    launch.erase()
    return new


def share_out(launch: Any, grid: Any, size: int, dimension: int) -> None:
    """Takes the number of the cluster apart, and gives each of its workgroups one of its tiles."""
    arith, affine, gpu = mlir.dialect("arith"), mlir.dialect("affine"), mlir.dialect("gpu")
    sizes = list(grid.attributes["static_basis"])
    sizes[dimension] = -(-sizes[dimension] // size)
    with ir.InsertionPoint(launch):
        launch.operands[0] = number(prod(sizes) * size)
    with ir.InsertionPoint(grid):
        rank = gpu.ClusterBlockIdOp(gpu.Dimension.x, upper_bound=size).result
        kinds = [ir.IndexType.get()] * len(sizes)
        parts = list(affine.AffineDelinearizeIndexOp(kinds, quotient(grid.operands[0], size), [], sizes).results)
        parts[dimension] = arith.AddIOp(times(parts[dimension], size), rank).result
    for old, new in zip(grid.results, parts, strict=True):
        old.replace_all_uses_with(new)
    grid.erase()
