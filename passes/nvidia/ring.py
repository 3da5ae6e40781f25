"""Lets tensor copies run ahead of the products: several places for each tile, taken in turn.

before:  scf.for %k = 0 to 512 step 64 {                  // promote-tma: one place, one barrier
           gpu.barrier
           FILL(%w, %k)
           nvgpu.mbarrier.try_wait.parity %b[0], ..
           USE(%w)
         }
after:   FILL(%w[0], 0);  FILL(%w[1], 64);  FILL(%w[2], 128)             // stages - 1 steps ahead
         scf.for %k = 0 to 512 step 64 {                  // %i: the number of the step
           gpu.barrier                                    // all have used the place that is filled next
           scf.if (there is such a step) { FILL(%w[(%i + 3) mod 4], %k + 192) }
           nvgpu.mbarrier.try_wait.parity %b[%i mod 4], (%i / 4) mod 2
           USE(%w[%i mod 4])
         }

A copy takes several hundred clocks to arrive; a place that is waited for was asked for so many steps before. Every
place has a barrier of its own, whose phase tells how often the ring has gone round. Where K is one step deep, the steps
are those of the loop over tiles that `persist` makes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu.index import Linear, emit, linear
from lowering.passes.gpu.prefetch import body_of, copies, k_loop
from lowering.passes.nvidia.promote_tma import TICKS, WORKGROUP, step_number, steps_loop, tile_loop

COPY, EXPECT, WAIT = "nvgpu.tma.async.load", "nvgpu.mbarrier.arrive.expect_tx", "nvgpu.mbarrier.try_wait.parity"


@dataclass(frozen=True)
class Ring(Pass):
    """`stages` is the number of places of each tile. Copies of one step in all stay as they are."""

    name: ClassVar[str] = "ring"
    stages: int = 4

    def __post_init__(self) -> None:
        if self.stages < 2:
            raise ValueError(f"stages is a number of places, at least 2, found {self.stages}")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """Four places, three and two, where tensor copies fill one."""
        loops = loops_of(state)
        if len(loops) == 1 and loops[0] is not None and objection(loops[0]) is None:
            yield from (cls(stages) for stages in (4, 3, 2))

    def k_steps(self) -> int:
        """Twice round the ring, and one step more."""
        return 2 * self.stages + 1

    def apply(self, module: Any) -> None:
        loop = loop_of(module)
        if loop is None:
            return
        reason = objection(loop)
        if reason is not None:
            raise PassError(reason, str(loop.location))
        with mlir.scope():
            Steps(loop, self.stages).ahead()
        mlir.run(module, "canonicalize,cse")


def loops_of(module: Any) -> list[Any | None]:
    """The loops marked k; where there are none, those over tiles that tensor copies are in; None: copies in no loop."""
    found = find.roles(module, "k") or map(steps_loop, mlir.walk(module, lambda op: op.operation.name == COPY))
    return list(dict.fromkeys(None if loop is None else loop.operation for loop in found))


def loop_of(module: Any) -> Any | None:
    """The one loop whose steps copy tiles; None where there is one step in all. Raises PassError."""
    found = loops_of(module)
    return found[0] if len(found) == 1 else k_loop(module)


def objection(loop: Any) -> str | None:
    """Why the copies of a loop cannot run ahead; None where they can."""
    low, high, step = (linear(operand) for operand in list(loop.operands)[:3])
    if high.terms or step.terms or (low.terms and (find.role_of(loop) == "k" or tile_loop(loop) is not None)):
        return "the loop has no constant bounds"
    names, waits = [op.name for op in body_of(loop)], [op for op in body_of(loop) if op.name == WAIT]
    if any("num_barriers" in str(barrier_of(wait).type) for wait in waits):  # one is not printed
        return "the copies run ahead already"
    if COPY not in names:
        return "no tensor copy fills a tile in the loop; promote-tma asks for them"
    if names.count(EXPECT) != 1 or len(waits) != 1 or names.count("gpu.barrier") != 1:
        return "looked for one barrier, one count of bytes and one wait in the loop, as promote-tma leaves them"
    for op in body_of(loop):
        if op.name == COPY and any(use.owner.operation.name not in USES for use in whole(op.operands[0]).uses):
            return "a tile is used by something other than tensor copies and reads of vectors: ring comes before wgmma"
    return None


USES = (COPY, "memref.subview", "vector.transfer_read")


def barrier_of(op: Any) -> Any:
    """The barriers that an op is about."""
    return next(value for value in op.operands if "mbarrier" in str(value.type))


def whole(buffer: Any) -> Any:
    """The buffer of workgroup memory that a part is of."""
    op = find.defining(buffer)
    return buffer if op is None else op.operands[0]


class Steps:
    """A loop whose tiles get several places, and what its copies and waits are made of."""

    def __init__(self, loop: Any, stages: int) -> None:
        self.loop, self.stages = loop, stages
        ops = body_of(loop)
        self.copies = [op for op in ops if op.name == COPY]
        (self.expect,), (self.wait,) = ([op for op in ops if op.name == name] for name in (EXPECT, WAIT))
        (self.barrier,) = (op for op in ops if op.name == "gpu.barrier")
        self.low, self.high, self.step = (linear(operand) for operand in list(loop.operands)[:3])
        self.counter = loop.regions[0].blocks[0].arguments[0]
        self.boxes = [list(op.operands[0].type.shape) for op in self.copies]
        self.one_thread = list(self.expect.operands)[3]
        self.more_places()

    def ahead(self) -> None:
        """Takes the first copies out of the loop; in it are those of a step that is to come."""
        for number in range(self.stages - 1):
            first = self.low + self.step.scaled(number)
            if first.terms or first.constant < self.high.constant:
                with ir.InsertionPoint(self.loop):
                    self.fill_where_there_is(emit(first), certain=not first.terms)
        with ir.InsertionPoint(self.wait):
            later = mlir.dialect("arith").AddIOp(self.counter, emit(self.step.scaled(self.stages - 1))).result
            self.fill_where_there_is(later)
            self.arrived()

    def fill_where_there_is(self, k: Any, certain: bool = False) -> None:
        """Asks for the copies of a step, where it is one of the loop.

        In a branch: copies become inline assembly, of which a predicate that turns out constant is no valid one.
        """
        if certain:
            self.fill(k, self.turn(k)[0], self.one_thread)
            return
        arith, scf = mlir.dialect("arith"), mlir.dialect("scf")
        branch = scf.IfOp(arith.CmpIOp(arith.CmpIPredicate.ult, k, emit(self.high)).result)
        with ir.InsertionPoint(branch.then_block):
            self.fill(k, self.turn(k)[0], self.one_thread)
            scf.YieldOp([])

    def arrived(self) -> Any:
        """Waits for the copies of a step, and lets its reads find them; the place."""
        place, odd = self.turn(self.counter)
        mlir.dialect("nvgpu").MBarrierTryWaitParityOp(barrier_of(self.wait), odd, emit(Linear(TICKS)), place)
        self.redirect(place)
        parts = dict.fromkeys(find.defining(op.operands[0]) for op in self.copies)
        for op in (*self.copies, self.expect, self.wait, *(part for part in parts if part is not None)):
            op.erase()
        return place

    def turn(self, k: Any, tile: Any | None = None) -> tuple[Any, Any]:
        """The place of a step, and whether the ring has gone round an odd number of times before it."""
        arith = mlir.dialect("arith")
        step = step_number(self.loop, k, tile)
        place = arith.RemUIOp(step, emit(Linear(self.stages))).result
        round_ = arith.RemUIOp(arith.DivUIOp(step, emit(Linear(self.stages))).result, emit(Linear(2))).result
        return place, arith.CmpIOp(arith.CmpIPredicate.eq, round_, emit(Linear(1))).result

    def more_places(self) -> None:
        """Makes the buffers and the barriers as many as there are places."""
        for buffer in self.buffers():
            kind = buffer.type
            buffer.set_type(
                ir.MemRefType.get([self.stages, *kind.shape], kind.element_type, memory_space=kind.memory_space)
            )
        barrier = barrier_of(self.expect)
        barrier.set_type(
            ir.Type.parse(f"!nvgpu.mbarrier.group<memorySpace = {WORKGROUP}, num_barriers = {self.stages}>")
        )
        (start,) = (use.owner.operation for use in barrier.uses if use.owner.operation.name == "nvgpu.mbarrier.init")
        with ir.InsertionPoint(start):
            count, predicate = start.operands[1], list(start.operands)[3]
            for number in range(self.stages):
                mlir.dialect("nvgpu").MBarrierInitOp(barrier, count, emit(Linear(number)), predicate=predicate)
        start.erase()

    def buffers(self) -> list[Any]:
        """The tiles, each once."""
        return list(dict.fromkeys(whole(op.operands[0]) for op in self.copies))

    def fill(self, k: Any, place: Any, predicate: Any | None, known: Mapping[Any, Any] = {}) -> None:
        """Asks for the copies of a step to a place, where a condition holds. `known`: what stands for other values."""
        nvgpu = mlir.dialect("nvgpu")
        barrier, count = list(self.expect.operands)[:2]
        needed = [op for op in body_of(self.loop) if any(self.places(op, copy) for copy in self.copies)]
        values = {self.counter: k, **known}
        values |= copies(needed, values)
        nvgpu.MBarrierArriveExpectTxOp(barrier, count, place, predicate=predicate)
        for copy, box in zip(self.copies, self.boxes, strict=True):
            _, _, described_by, *at, _, _ = list(copy.operands)
            coordinates = [values.get(value, value) for value in at]
            there = self.part(copy.operands[0], box, place)
            nvgpu.TmaAsyncLoadOp(there, barrier, described_by, coordinates, place, predicate=predicate)

    def places(self, op: Any, copy: Any) -> bool:
        """Whether an op computes where a copy begins."""
        return any(
            result in find.reaching(value, self.loop) for value in list(copy.operands)[3:-2] for result in op.results
        )

    def part(self, old: Any, inner: list[int], place: Any) -> Any:
        """What a copy fills, at a place."""
        op, buffer = find.defining(old), whole(old)
        box = [] if op is None else [next(iter(op.attributes["static_offsets"]))]
        rows, width = inner[-2:]
        strides, shape = [rows * width, width, 1][-len(inner) :], "x".join(map(str, inner))
        kind = ir.Type.parse(f"memref<{shape}x{old.type.element_type}, strided<{strides}, offset: ?>, {WORKGROUP}>")
        outer = [ir.ShapedType.get_dynamic_size(), *box, 0][: len(buffer.type.shape) - 2]
        offsets, sizes = [*outer, 0, 0], [*(1 for _ in outer), rows, width]
        return mlir.dialect("memref").SubViewOp(
            kind, buffer, [place], [], [], offsets, sizes, [1] * len(sizes)
        ).result  # fmt: skip

    def redirect(self, place: Any) -> None:
        """Lets the reads find their place."""
        for buffer in self.buffers():
            for use in list(buffer.uses):
                op = use.owner.operation
                if op.name != "vector.transfer_read":
                    continue
                rank = len(buffer.type.shape)
                with ir.InsertionPoint(op):
                    indices = [place, *list(op.operands)[1:rank]]
                    padding = op.operands[rank]
                    positions = find.positions(op.attributes["permutation_map"].value)
                    kept = [ir.AffineExpr.get_dim(each + 1) for each in positions if each is not None]
                    to = ir.AffineMap.get(rank, 0, kept)
                    value = mlir.dialect("vector").TransferReadOp(
                        op.results[0].type, buffer, indices, to, padding, op.attributes["in_bounds"]
                    ).result  # fmt: skip
                op.results[0].replace_all_uses_with(value)
                op.erase()
