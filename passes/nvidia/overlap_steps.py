"""Lets the products of a step run on while those of the next are begun; their tiles are handed back a step later.

before:  FIRST STEP                                                                      // first-product
         scf.for %k = 64 to 512 step 64 {                                                // wgmma
           wait for %full[%s];  PRODUCTS;  nvvm.wgmma.wait.group.sync.aligned 0
           if first thread: nvgpu.mbarrier.arrive %empty[%s]
         }
after:   FIRST STEP, but for its wait and its arrival
         scf.for %k = 64 to 512 step 64 iter_args(%before = place of the first step) {
           wait for %full[%s];  PRODUCTS;  nvvm.wgmma.wait.group.sync.aligned 1          // all but those just begun
           if first thread: nvgpu.mbarrier.arrive %empty[%before]
           scf.yield %s
         }
         nvvm.wgmma.wait.group.sync.aligned 0;  if first thread: nvgpu.mbarrier.arrive %empty[place of the last step]

A warpgroup that waits for its products before it begins more leaves the tensor cores to others, or idle where there are
none. A place of the ring is held a step longer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu.index import emit, linear
from lowering.passes.gpu.prefetch import body_of, copies

PRODUCT, WAIT, ARRIVE = "nvvm.wgmma.mma_async", "nvvm.wgmma.wait.group.sync.aligned", "nvgpu.mbarrier.arrive"


@dataclass(frozen=True)
class OverlapSteps(Pass):
    """Takes every loop that waits for the products of each step."""

    name: ClassVar[str] = "overlap-steps"

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where a loop waits for the products of each step."""
        if loops(state):
            yield cls()

    def apply(self, module: Any) -> None:
        found = loops(module)
        if not found:
            raise PassError(
                "looked for a loop that waits for the products of each step and then frees the place of its tiles; "
                "warp-specialise and wgmma make it"
            )
        with mlir.scope():
            for step in found:
                step.overlap()
        mlir.run(module, "canonicalize,cse")


@dataclass(frozen=True)
class Step:
    """A step's wait for its products, and the branch that frees its place: in a loop, or in front of it."""

    loop: Any
    wait: Any
    release: Any

    @property
    def place(self) -> Any:
        """The place that is freed."""
        (arrive,) = mlir.walk(self.release, lambda op: op.operation.name == ARRIVE)
        return arrive.operands[1]

    def freed(self, place: Any) -> None:
        """Frees another place, at the insertion point."""
        condition = find.defining(self.release.operands[0])
        inside = condition is not None and condition.block == self.release.block
        copies([condition, self.release] if inside else [self.release], {self.place: place})

    def overlap(self) -> None:
        """Rebuilds the loop, with the place of the step before."""
        scf, nvvm, loop = mlir.dialect("scf"), mlir.dialect("nvvm"), self.loop
        before = in_front(loop)
        low, high, step, *starts = list(loop.operands)
        with ir.InsertionPoint(loop):
            first = before.place if before else low
            new = scf.ForOp(low, high, step, [*starts, first])
        for name in list(loop.attributes):
            new.operation.attributes[name] = loop.attributes[name]
        block = loop.regions[0].blocks[0]
        *results, freed = new.inner_iter_args
        with ir.InsertionPoint(new.body):
            end = scf.YieldOp([*results, freed])
        for old, value in zip(block.arguments, (new.induction_variable, *results), strict=True):
            old.replace_all_uses_with(value)
        yielded = list(list(block.operations)[-1].operands)
        for op in body_of(loop):
            op.move_before(end.operation)
        for number, value in enumerate((*yielded, self.place)):
            end.operation.operands[number] = value
        with ir.InsertionPoint(self.release):
            nvvm.WgmmaWaitGroupSyncOp(1)
            if before:
                self.freed(freed)
            else:
                self.freed_behind_the_first(new.induction_variable, low, freed)
        with ir.InsertionPoint(loop):
            nvvm.WgmmaWaitGroupSyncOp(0)
            self.freed(new.results[len(results)])
        for old, value in zip(loop.results, list(new.results)[: len(results)], strict=True):
            old.replace_all_uses_with(value)
        for op in (self.wait, self.release, *((before.wait, before.release) if before else ()), loop):
            op.erase()

    def freed_behind_the_first(self, counter: Any, low: Any, place: Any) -> None:
        """Frees the place of the step before, where there is one."""
        scf, arith = mlir.dialect("scf"), mlir.dialect("arith")
        later = scf.IfOp(arith.CmpIOp(arith.CmpIPredicate.ne, counter, emit(linear(low))).result)
        with ir.InsertionPoint(later.then_block):
            self.freed(place)
            scf.YieldOp([])


def loops(root: Any) -> list[Step]:
    """The loops that wait for the products of each step."""
    found = mlir.walk(root, lambda op: op.operation.name == "scf.for" and carries_products(op))
    steps = (step_in(body_of(loop), loop) for loop in found)
    return [step for step in steps if step is not None]


def carries_products(loop: Any) -> bool:
    """Whether products add to what a loop carries."""
    carried = list(loop.regions[0].blocks[0].arguments)[1:]
    return any(use.owner.operation.name == PRODUCT for each in carried for use in each.uses)


def step_in(ops: list[Any], loop: Any) -> Step | None:
    """The one step among ops: products, a wait for all of them, and an arrival."""
    waits = [number for number, op in enumerate(ops) if op.name == WAIT and op.attributes["group"].value == 0]
    if len(waits) != 1 or not any(op.name == PRODUCT for op in ops[: waits[0]]):
        return None
    releases = [op for op in ops[waits[0] :] if op.name == "scf.if" and any(map(several, mlir.walk(op, is_arrival)))]
    return Step(loop, ops[waits[0]], releases[0]) if len(releases) == 1 else None


def is_arrival(op: Any) -> bool:
    """Whether an op tells that a place is free."""
    return op.operation.name == ARRIVE


def several(arrive: Any) -> bool:
    """Whether there are several places: the only one would be waited for before it is free."""
    return "num_barriers" in str(arrive.operands[0].type)  # one is not printed


def in_front(loop: Any) -> Step | None:
    """The step that was taken out of a loop; None where the loop begins with the first."""
    product = find.defining(loop.operands[3])
    if product is None or product.name != PRODUCT or product.block != loop.block:
        return None
    ops = [op.operation for op in loop.block.operations]
    return step_in(ops[: ops.index(loop)], loop)
