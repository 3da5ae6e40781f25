"""Moves registers from the warpgroups that copy to those that multiply.

before:  scf.if %t < 256 {                        // warp-specialise: 384 threads of at most 168 registers
           MULTIPLY
         } else { COPY }
after:   scf.if %t < 256 {
           nvvm.setmaxregister increase 232
           MULTIPLY
         } else {
           nvvm.setmaxregister decrease 40
           COPY
         }

A kernel starts with as many registers for every thread as the register file has for all of them. Threads that only ask
for copies need few; with theirs the others keep larger tiles of C. Whole warpgroups change their number together (PTX
ISA, "setmaxnreg").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu.index import linear
from lowering.passes.gpu.map_threads import is_launch
from lowering.passes.nvidia.ring import loops_of

GRAIN, LEAST, MOST = 8, 24, 256  # what setmaxnreg takes: PTX ISA
FILE = 65536  # registers of a workgroup: CUDA C++ Programming Guide, compute capability 9.0
MOST_AT_START = 255  # of a thread of a kernel, in the same table
CHANGE = "nvvm.setmaxregister"


@dataclass(frozen=True)
class ShareRegisters(Pass):
    """`producer` registers for each thread that copies, `consumer` for each that multiplies.

    Copies of one step in all, which nobody else asks for, stay as they are.
    """

    name: ClassVar[str] = "share-registers"
    producer: int = 40
    consumer: int = 232

    def __post_init__(self) -> None:
        for count in (self.producer, self.consumer):
            if count % GRAIN or not LEAST <= count <= MOST:
                raise ValueError(f"registers are {LEAST}, {LEAST + GRAIN}, .. {MOST}, found {count}")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """A few for the copies and what is left for the products, where there are two roles."""
        for launch in mlir.walk(state, is_launch):
            found = roles(launch)
            if found is not None and not changed(launch):
                threads, consumers = linear(list(launch.operands)[3]).constant, found[1]
                for producer in (40, 24):
                    consumer = left_over(threads, consumers, producer)
                    if consumer > at_start(threads):
                        yield cls(producer, consumer)
                return

    def apply(self, module: Any) -> None:
        launches = mlir.walk(module, is_launch)
        found = [(launch, role) for launch in launches if (role := roles(launch)) is not None]
        if not found and asked_once(module):
            return
        if len(found) != 1:
            raise PassError("looked for a launch whose threads have two roles; warp-specialise makes them")
        launch, (branch, consumers) = found[0]
        threads = linear(list(launch.operands)[3]).constant
        reason = objection(self, threads, consumers) if not changed(launch) else "registers have been moved already"
        if reason is not None:
            raise PassError(reason, str(launch.location))
        with mlir.scope():
            change(branch.regions[0].blocks[0], "increase", self.consumer)
            change(branch.regions[1].blocks[0], "decrease", self.producer)


def asked_once(module: Any) -> bool:
    """Whether tensor copies are in no loop: there is one step in all, and warp-specialise leaves it as it is."""
    found = loops_of(module)
    return bool(found) and all(loop is None for loop in found)


def roles(launch: Any) -> tuple[Any, int] | None:
    """The branch that parts those that multiply, so many threads, from those that copy; None where there is none."""
    thread = launch.regions[0].blocks[0].arguments[3]
    for op in launch.regions[0].blocks[0].operations:
        test = find.defining(op.operands[0]) if op.operation.name == "scf.if" else None
        if test is None or test.name != "arith.cmpi" or test.operands[0] != thread or not len(op.regions[1].blocks):
            continue
        asks = mlir.walk(op.regions[1].blocks[0].operations[0].parent, is_copy)
        if asks and not linear(test.operands[1]).terms:
            return op.operation, linear(test.operands[1]).constant
    return None


def is_copy(op: Any) -> bool:
    """Whether an op asks for a tensor copy to workgroup memory."""
    return op.operation.name == "nvgpu.tma.async.load"


def changed(launch: Any) -> bool:
    """Whether registers have been moved."""
    return bool(mlir.walk(launch, lambda op: op.operation.name == CHANGE))


def at_start(threads: int) -> int:
    """Registers of each thread at the start: what the file has for all of them."""
    return min(MOST, FILE // threads // GRAIN * GRAIN)


def left_over(threads: int, consumers: int, producer: int) -> int:
    """Registers of each thread that multiplies, where each of the others has a number."""
    most = at_start(threads) * threads - producer * (threads - consumers)
    return min(MOST_AT_START // GRAIN * GRAIN, most // consumers // GRAIN * GRAIN)


def objection(how: ShareRegisters, threads: int, consumers: int) -> str | None:
    """Why so many registers cannot be moved; None where they can."""
    start = at_start(threads)
    needed = how.producer * (threads - consumers) + how.consumer * consumers
    if needed > start * threads:
        return (
            f"{threads - consumers} threads of {how.producer} registers and {consumers} of {how.consumer} are {needed},"
            f" of {start * threads}: at most {left_over(threads, consumers, how.producer)} for each of the latter"
        )
    if not how.producer <= start <= how.consumer:
        return f"a thread starts with {start} registers: producers can only have fewer, consumers only more"
    return None


def change(block: Any, action: str, count: int) -> None:
    """Changes the number of registers at the start of a role."""
    nvvm = mlir.dialect("nvvm")
    with ir.InsertionPoint.at_block_begin(block):
        nvvm.SetMaxRegisterOp(count, nvvm.SetMaxRegisterAction[action])
