"""Lets one half of the waves load while the other multiplies: the two waves of a SIMD take turns.

before:  scf.for %k .. {                        // fill-ahead: copies of the next step, use of this one
           COPY; READ fragments; amdgpu.mfma ..; READ fragments; amdgpu.mfma ..
           gpu.barrier
         }
after:   scf.if %late { gpu.barrier }           // the second half of the waves begins a phase later
         scf.for %k .. {
           COPY; READ all fragments             // a phase with memory
           gpu.barrier
           amdgpu.mfma ..                       // and one with the matrix cores
           gpu.barrier
         }
         scf.if not %late { gpu.barrier }

A wave reads a place of workgroup memory in the phases k and k + 1 of its half, and writes the other: what is written a
phase later is what was read a phase before. Each wave meets as many barriers as any other. The fragments of a whole
step are in registers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.amdgpu.matrix_layout import LANES
from lowering.passes.gpu.fill_ahead import reads_tile
from lowering.passes.gpu.index import launch_of, linear
from lowering.passes.gpu.prefetch import body_of, k_loop

FENCES = ("amdgpu.sched_barrier", "rocdl.s.setprio", "rocdl.sched.group.barrier")


@dataclass(frozen=True)
class PingPong(Pass):
    """Takes the loop marked k of a workgroup with an even number of waves, as `fill-ahead` leaves it."""

    name: ClassVar[str] = "ping-pong"

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
            part(loop)
            stagger(loop)


def objection(loop: Any) -> str | None:
    """Why the halves of a workgroup cannot take turns at a loop; None where they can."""
    launch = launch_of(loop)
    if launch is None:
        return "the loop is in no gpu.launch"
    x, y, z = (linear(size) for size in list(launch.operands)[3:6])
    if x.terms or y.terms or z.terms or y.constant * z.constant != 1 or x.constant % (2 * LANES):
        return "the workgroup is no even number of whole waves in one dimension"
    ops = body_of(loop)
    barriers = [op for op in ops if op.name == "gpu.barrier"]
    if len(barriers) != 1 or ops[-1] != barriers[0]:
        return "looked for one barrier, at the end of the loop; fill-ahead leaves one there"
    if any(op.name in FENCES for op in ops):
        return "the products are fenced: ping-pong before fence-products"
    if not any(op.name == "amdgpu.mfma" for op in ops):
        return "looked for amdgpu.mfma in the loop and found none; map-lanes makes them"
    if any(reads_tile(op) or op.regions for op in products(loop)):
        return "what is read from workgroup memory depends on a product of the same step"
    return None


def products(loop: Any) -> list[Any]:
    """The matrix instructions of a loop's body and what comes of them there, in order."""
    found: list[Any] = []
    values: set[Any] = set()
    for op in body_of(loop):
        if op.name == "amdgpu.mfma" or any(operand in values for operand in op.operands):
            found.append(op)
            values |= set(op.results)
    return found


def part(loop: Any) -> None:
    """Puts everything else before the products, and a barrier between."""
    multiplied = products(loop)
    first = multiplied[0]
    for op in body_of(loop)[:-1]:
        if op not in multiplied:
            op.move_before(first)
    with ir.InsertionPoint(first):
        mlir.dialect("gpu").BarrierOp()


def stagger(loop: Any) -> None:
    """Keeps the second half of the waves back by one barrier, which the first half meets behind the loop."""
    arith, scf = mlir.dialect("arith"), mlir.dialect("scf")
    launch = launch_of(loop)
    assert launch is not None
    threads = linear(launch.operands[3]).constant
    i32 = ir.IntegerType.get_signless(32)
    with ir.InsertionPoint(loop):
        thread = arith.IndexCastOp(i32, launch.regions[0].blocks[0].arguments[3]).result
        first = mlir.dialect("rocdl").ReadfirstlaneOp(i32, thread).result  # one branch a wave
        half = arith.ConstantOp(i32, threads // 2).result
        late = arith.CmpIOp(arith.CmpIPredicate.uge, first, half).result
        early = arith.CmpIOp(arith.CmpIPredicate.ult, first, half).result
        wait(scf.IfOp(late))
    with ir.InsertionPoint.after(loop):
        wait(scf.IfOp(early))


def wait(branch: Any) -> None:
    """Fills a branch with a barrier."""
    with ir.InsertionPoint(branch.then_block):
        mlir.dialect("gpu").BarrierOp()
        mlir.dialect("scf").YieldOp([])
