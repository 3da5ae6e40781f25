"""Shares tensor copies among the workgroups of a cluster: each asks for a part of a tile that all of them read.

before:  scf.if CONSUMES { ..; nvgpu.mbarrier.arrive %empty[%s] }              // warp-specialise, wgmma
         else { wait for %empty[%s];  nvgpu.tma.async.load %b[%k, %n], %full[%s] to %wb[%s] : 256 x 64 }
after:   scf.if CONSUMES { ..; arrive at %empty[%s] here and in the other workgroup }
         else { wait for %empty[%s], which counts the consumers of both
                nvgpu.tma.async.load %b[%k, %n + 128 * RANK], %full[%s] to %wb[%s, 128 * RANK] multicast_mask = 3 }

A copy to several workgroups arrives at the same place of each, and counts at the same barrier. What is shared is read
off the coordinates: those that are the same for all workgroups of a cluster. All of them make the same number of steps;
none begins before all barriers are there, and none ends while another may still copy to it or arrive at its barriers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu.index import Linear, cluster_of, emit, linear
from lowering.passes.gpu.map_threads import is_launch
from lowering.passes.nvidia.promote_tma import WORKGROUP
from lowering.passes.nvidia.ring import COPY, barrier_of
from lowering.passes.nvidia.share_registers import asked_once

ARRIVE, START, FENCE = "nvgpu.mbarrier.arrive", "nvgpu.mbarrier.init", "nvvm.fence.mbarrier.init"
RANK, DESCRIPTOR = "gpu.cluster_block_id", "nvgpu.tma.create.descriptor"
ATOM = 8  # rows that the permutation of a tile repeats after: a part has whole groups of them


@dataclass(frozen=True)
class Multicast(Pass):
    """Takes the one launch with clusters, whose copies and products have warpgroups of their own.

    Copies of one step in all stay as they are.
    """

    name: ClassVar[str] = "multicast"

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where workgroups of a cluster ask for the same tiles."""
        found = [launch for launch in mlir.walk(state, is_launch) if cluster_of(launch) > 1]
        if len(found) == 1 and objection(found[0]) is None:
            yield cls()

    def apply(self, module: Any) -> None:
        found = [launch for launch in mlir.walk(module, is_launch) if cluster_of(launch) > 1]
        if len(found) != 1:
            raise PassError("looked for a launch with clusters and found none; cluster makes it")
        (launch,) = found
        if asked_once(module):
            return
        reason = objection(launch)
        if reason is not None:
            raise PassError(reason, str(launch.location))
        with mlir.scope():
            size, copies = cluster_of(launch), shared(launch)
            for described_by in dict.fromkeys(map_of(copy) for copy in copies):
                narrow(described_by, size)
            for copy in copies:
                part(copy, size)
            for arrive in arrivals(launch):
                tell(arrive, size)
            for start in starts_of(launch):
                with ir.InsertionPoint(start):
                    start.operands[1] = emit(Linear(linear(start.operands[1]).constant * size))
            meet(launch)
        mlir.run(module, "canonicalize,cse")


def objection(launch: Any) -> str | None:
    """Why the copies of a launch cannot be shared; None where they can."""
    if not mlir.walk(launch, lambda op: op.operation.name == "nvvm.wgmma.mma_async") or not arrivals(launch):
        return "looked for products that free the places of their tiles one by one; warp-specialise and wgmma make them"
    if mlir.walk(launch, lambda op: op.operation.name == "nvvm.mapa"):
        return "the copies are shared already"
    found = shared(launch)
    if not found:
        return "the workgroups of a cluster ask for different tiles of both operands"
    for copy in found:
        rows, size = box_of(map_of(copy))[-2], cluster_of(launch)
        if rows % (size * ATOM):
            return f"{size} workgroups share boxes of {rows} rows: parts are of whole groups of {ATOM} rows"
    return None


def shared(launch: Any) -> list[Any]:
    """The copies that ask for the same in all workgroups of a cluster."""
    copies = mlir.walk(launch, lambda op: op.operation.name == COPY)
    return [copy for copy in copies if all(same(value, launch) for value in coordinates(copy))]


def coordinates(copy: Any) -> list[Any]:
    """Where a copy begins in its source."""
    return [value for value in list(copy.operands)[3:] if isinstance(value.type, ir.IndexType)][:-1]


def map_of(copy: Any) -> Any:
    """The op that makes a copy's tensor map."""
    return find.defining(next(value for value in copy.operands if "tensormap" in str(value.type)))


def box_of(described_by: Any) -> list[int]:
    """What a tensor map copies at a time: of a matrix of a batch, rows, columns."""
    return [linear(size).constant for size in list(described_by.operands)[1:]]


def same(value: Any, launch: Any) -> bool:
    """Whether an index is the same in all workgroups of a cluster: a workgroup's number reaches it as a quotient."""
    size, op = cluster_of(launch), find.defining(value)
    if op is None:
        loop = loop_of(value, launch)
        if loop is None:
            return fixed(value, launch)
        return not counts_workgroups(value, launch) and all(same(each, launch) for each in list(loop.operands)[:3])
    if launch not in find.parents(op):
        return True
    if op.name == RANK:
        return False
    if op.name == "arith.divui" and counts_workgroups(op.operands[0], launch):
        by = linear(op.operands[1])
        return not by.terms and by.constant % size == 0
    return all(same(operand, launch) for operand in op.operands)


def counts_workgroups(value: Any, launch: Any) -> bool:
    """Whether workgroups of a cluster have numbers n, n + 1, ..: their own, or that of a loop that goes on from it."""
    block = launch.regions[0].blocks[0].arguments[0]
    if value == block:
        return True
    loop = loop_of(value, launch)
    if loop is None or loop.operands[0] != block:
        return False
    step = linear(loop.operands[2])
    return not step.terms and step.constant % cluster_of(launch) == 0


def loop_of(value: Any, launch: Any) -> Any | None:
    """The loop in a launch whose counter a value is."""
    if find.defining(value) is not None or ir.BlockArgument(value).arg_number:
        return None
    owner = ir.BlockArgument(value).owner.owner.operation
    return owner if owner.name == "scf.for" and launch in find.parents(owner) else None


def fixed(value: Any, launch: Any) -> bool:
    """Whether an argument of the launch, or of what is around it, is the same in all workgroups of a cluster."""
    owner, body = ir.BlockArgument(value).owner.owner.operation, launch.regions[0].blocks[0]
    if owner == launch:
        return value != body.arguments[0]
    return owner in find.parents(launch)


def narrow(described_by: Any, size: int) -> None:
    """Lets a tensor map copy one part of its rows at a time."""
    *_, rows, columns = box_of(described_by)
    with ir.InsertionPoint(described_by):
        described_by.operands[len(described_by.operands) - 2] = emit(Linear(rows // size))
    kind = str(described_by.results[0].type)
    described_by.results[0].set_type(ir.Type.parse(kind.replace(f"{rows}x{columns}x", f"{rows // size}x{columns}x", 1)))


def part(copy: Any, size: int) -> None:
    """Lets each workgroup ask for its part, for all of them."""
    arith, gpu, whole = mlir.dialect("arith"), mlir.dialect("gpu"), copy.operands[0]
    *batch, rows, columns = whole.type.shape
    with ir.InsertionPoint(copy):
        rank = gpu.ClusterBlockIdOp(gpu.Dimension.x, upper_bound=size).result
        first = arith.MulIOp(rank, emit(Linear(rows // size))).result
        shape, strides = [*batch, rows // size, columns], [*(rows * columns for _ in batch), columns, 1]
        element = whole.type.element_type
        kind = ir.Type.parse(
            f"memref<{'x'.join(map(str, shape))}x{element}, strided<{strides}, offset: ?>, {WORKGROUP}>"
        )
        dynamic = ir.ShapedType.get_dynamic_size()
        there = (
            mlir.dialect("memref")
            .SubViewOp(kind, whole, [first], [], [], [*(0 for _ in batch), dynamic, 0], shape, [1] * len(shape))
            .result
        )
        column, row, *outer = coordinates(copy)
        i16 = ir.IntegerType.get_signless(16)
        mask = arith.ConstantOp(i16, ir.IntegerAttr.get(i16, (1 << size) - 1)).result
        mlir.dialect("nvgpu").TmaAsyncLoadOp(
            there, barrier_of(copy), map_of(copy).results[0], [column, arith.AddIOp(row, first).result, *outer],
            place_of(copy), multicastMask=mask,
        )  # fmt: skip
    copy.erase()


def place_of(copy: Any) -> Any:
    """Which barrier counts a copy."""
    return [value for value in list(copy.operands)[3:] if isinstance(value.type, ir.IndexType)][-1]


def arrivals(launch: Any) -> list[Any]:
    """Where consumers tell that a place is free."""
    return mlir.walk(launch, lambda op: op.operation.name == ARRIVE)


def starts_of(launch: Any) -> list[Any]:
    """Where the barriers are made that consumers arrive at."""
    barriers = {arrive.operands[0] for arrive in arrivals(launch)}
    return mlir.walk(launch, lambda op: op.operation.name == START and op.operands[0] in barriers)


def tell(arrive: Any, size: int) -> None:
    """Arrives at the barriers of the other workgroups too."""
    arith, gpu, llvm, nvvm = (mlir.dialect(name) for name in ("arith", "gpu", "llvm", "nvvm"))
    i32, near, far = ir.IntegerType.get_signless(32), ir.Type.parse("!llvm.ptr<3>"), ir.Type.parse("!llvm.ptr<7>")
    with ir.InsertionPoint(arrive):
        rank = gpu.ClusterBlockIdOp(gpu.Dimension.x, upper_bound=size).result
        here = mlir.dialect("nvgpu").MBarrierGetOp(i32, *arrive.operands).result
        pointer = llvm.IntToPtrOp(near, here).result
        for distance in range(1, size):
            other = arith.RemUIOp(arith.AddIOp(rank, emit(Linear(distance))).result, emit(Linear(size))).result
            nvvm.MBarrierArriveOp(nvvm.MapaOp(far, pointer, arith.IndexCastOp(i32, other).result).res, results=[])


def meet(launch: Any) -> None:
    """Lets the workgroups of a cluster begin together, once there are barriers, and end together."""
    nvvm = mlir.dialect("nvvm")
    (fence,) = mlir.walk(launch, lambda op: op.operation.name == FENCE)
    ops = [op.operation for op in fence.block.operations]
    barrier = ops[ops.index(fence) + 1]
    with ir.InsertionPoint(barrier):
        nvvm.ClusterArriveOp(aligned=True)
        nvvm.ClusterWaitOp(aligned=True)
    barrier.erase()
    with ir.InsertionPoint(list(launch.regions[0].blocks[0].operations)[-1]):
        nvvm.ClusterArriveOp()  # not aligned: the threads of the producer's warps come one by one
        nvvm.ClusterWaitOp()
