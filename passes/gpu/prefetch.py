"""Loads the next step's tiles from device memory while this step is computed: registers carry them over.

before:  scf.for %k = 0 to 512 step 64 {
           %x = load %A[.., %k]                      // device memory
           gpu.barrier; store %x to %w; gpu.barrier
           USE(%w)
         }
after:   %x0 = load %A[.., 0]
         %l = scf.for %k = 0 to 448 step 64 iter_args(%x = %x0) {
           gpu.barrier; store %x to %w; gpu.barrier
           %y = load %A[.., %k + 64]
           USE(%w)
           scf.yield %y
         }
         gpu.barrier; store %l to %w; gpu.barrier
         USE(%w)                                     // the last step has nothing to load
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu.index import linear

SOME_TRIPS = "lower.some_trips"  # on a loop of whole steps that are not constant in number, but at least one
READS = {"vector.transfer_read": 0, "vector.load": 0, "memref.load": 0, "amdgpu.raw_buffer_load": 0}
WRITES = {"vector.store": 1, "memref.store": 1, "vector.transfer_write": 1, "amdgpu.raw_buffer_store": 1}


@dataclass(frozen=True)
class Prefetch(Pass):
    """Takes the loop marked k, of two trips or more, whose step copies to workgroup memory."""

    name: ClassVar[str] = "prefetch"

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where there is such a loop."""
        loops = find.roles(state, "k")
        if len(loops) == 1 and objection(loops[0]) is None:
            yield cls()

    def apply(self, module: Any) -> None:
        loop = k_loop(module)
        reason = objection(loop)
        if reason is not None:
            raise PassError(reason, str(loop.location))
        with mlir.scope():
            rotate(loop)
        mlir.run(module, "canonicalize,cse")


def k_loop(module: Any) -> Any:
    """The one loop marked k. Raises PassError."""
    loops = find.roles(module, "k")
    if len(loops) != 1:
        raise PassError(f"looked for one loop marked k and found {len(loops)}; tile-reduction makes it")
    return loops[0].operation


def too_short(loop: Any) -> str | None:
    """Why no step of a loop can be taken out of it; None where one can."""
    bounds = [linear(operand) for operand in list(loop.operands)[:3]]
    if SOME_TRIPS in loop.attributes and not bounds[2].terms:
        return None
    if any(each.terms for each in bounds):
        return "the loop has no constant bounds"
    low, high, step = (each.constant for each in bounds)
    if (high - low) % step or high - low < 2 * step:
        return f"the loop from {low} to {high} by {step} has not two whole trips"
    return None


def objection(loop: Any) -> str | None:
    """Why a loop's loads cannot be moved a step ahead; None where they can."""
    short = too_short(loop)
    if short is not None:
        return short
    if not loads(loop):
        return "the loop copies nothing to workgroup memory; promote does"
    if any(op.name in WRITES and not in_workgroup(op.operands[WRITES[op.name]]) for op in body_of(loop)):
        return "the loop writes device memory, which the next step might load"
    if not any(op.name == "gpu.barrier" for op in body_of(loop)):
        return "the loop has no barrier between the copies and their use"
    return None


def body_of(loop: Any) -> list[Any]:
    """The ops of a loop, without its yield."""
    return [op.operation for op in list(loop.regions[0].blocks[0].operations)[:-1]]


def in_workgroup(value: Any) -> bool:
    """Whether a buffer is workgroup memory."""
    return isinstance(value.type, ir.MemRefType) and "workgroup" in str(value.type.memory_space)


def loads(loop: Any) -> list[Any]:
    """The reads of device memory that end in stores to workgroup memory, in order."""
    stored: set[Any] = set()
    for op in body_of(loop):
        if op.name in WRITES and in_workgroup(op.operands[WRITES[op.name]]):
            stored |= find.reaching(op.operands[0], loop.operation)
    return [
        op for op in body_of(loop)
        if op.name in READS and not in_workgroup(op.operands[READS[op.name]]) and op.results[0] in stored
    ]  # fmt: skip


def behind_copies(ops: list[Any]) -> int:
    """Where the next loads go: behind the last store to workgroup memory, and its barrier if that precedes any read."""
    last = max(n for n, op in enumerate(ops) if op.name in WRITES and in_workgroup(op.operands[WRITES[op.name]]))
    for number, op in enumerate(ops[last + 1 :], last + 1):
        if op.name == "gpu.barrier":
            return number + 1
        if op.name in READS and in_workgroup(op.operands[READS[op.name]]):
            break
    return last + 1


def rotate(loop: Any) -> None:
    """Rebuilds the loop: the loads of the first step before it, those of the next step in it, its last step behind."""
    scf, arith = mlir.dialect("scf"), mlir.dialect("arith")
    low, high, step = list(loop.operands)[:3]
    reads, block = loads(loop), loop.regions[0].blocks[0]
    needed = needed_for(reads, loop)
    counter, carried = block.arguments[0], list(block.arguments)[1:]
    with ir.InsertionPoint(loop):
        first = copies(needed, {counter: low})
        end = arith.SubIOp(high, step).result
        inits = [*list(loop.operands)[3:], *(part for read in reads for part in packed(first[read.results[0]]))]
        new = scf.ForOp(low, end, step, inits)
    keep_marks(loop, new.operation)
    with ir.InsertionPoint(new.body):
        close = scf.YieldOp(list(new.inner_iter_args))
    arguments = list(new.inner_iter_args)
    values = dict(zip((counter, *carried), (new.induction_variable, *arguments[: len(carried)]), strict=True))
    kept = [op for op in body_of(loop) if op not in reads]
    split = behind_copies(kept)
    results = list(block.operations)[-1].operands
    with ir.InsertionPoint(close):
        loaded = iter(arguments[len(carried) :])
        values |= {read.results[0]: unpacked(loaded, read.results[0].type) for read in reads}
        values |= copies(kept[:split], values)
        ahead = arith.AddIOp(new.induction_variable, step).result
        following = copies(needed, {counter: ahead})
        values |= copies(kept[split:], values)
        later = [part for read in reads for part in packed(following[read.results[0]])]
    for number, value in enumerate([*results, *later]):
        close.operation.operands[number] = values.get(value, value)
    with ir.InsertionPoint(loop):
        final = {counter: end, **dict(zip(carried, list(new.results)[: len(carried)], strict=True))}
        loaded = iter(list(new.results)[len(carried) :])
        final |= {read.results[0]: unpacked(loaded, read.results[0].type) for read in reads}
        final |= copies(kept, final)
    for old, value in zip(loop.results, results, strict=True):
        old.replace_all_uses_with(final.get(value, value))
    loop.erase()


def keep_marks(loop: Any, shorter: Any) -> None:
    """Gives a loop that is a step shorter the attributes of the other, but for a number of trips that is gone."""
    for name in list(loop.attributes):
        if name != SOME_TRIPS:
            shorter.attributes[name] = loop.attributes[name]


def words_of(kind: Any) -> int:
    """Dwords of a vector of bytes; 0 for anything else.

    LLVM keeps bytes that a loop carries in a register each, and a vector of dwords that is made of bytes likewise.
    """
    is_bytes = isinstance(kind, ir.VectorType) and kind.element_type.width == 8
    return prod(kind.shape) // 4 if is_bytes and prod(kind.shape) % 4 == 0 else 0


def packed(value: Any) -> list[Any]:
    """A value as a loop carries it: bytes as dwords."""
    count, vector = words_of(value.type), mlir.dialect("vector")
    if not count:
        return [value]
    i32 = ir.IntegerType.get_signless(32)
    flat = vector.ShapeCastOp(ir.VectorType.get([4 * count], value.type.element_type), value).result
    words = vector.BitCastOp(ir.VectorType.get([count], i32), flat).result
    return [vector.ExtractOp(words, [], [n]).result for n in range(count)]


def unpacked(values: Iterator[Any], kind: Any) -> Any:
    """The value again, of the next of those that a loop carries."""
    count, vector = words_of(kind), mlir.dialect("vector")
    if not count:
        return next(values)
    words = [next(values) for _ in range(count)]
    joined = vector.FromElementsOp(ir.VectorType.get([count], words[0].type), words).result
    flat = vector.BitCastOp(ir.VectorType.get([4 * count], kind.element_type), joined).result
    return vector.ShapeCastOp(kind, flat).result


def needed_for(reads: list[Any], loop: Any) -> list[Any]:
    """The reads and what computes their places, in order."""
    values: set[Any] = set()
    for read in reads:
        values |= find.reaching(read.results[0], loop)
    return [op for op in body_of(loop) if any(result in values for result in op.results)]


def copies(ops: Iterable[Any], values: dict[Any, Any]) -> dict[Any, Any]:
    """Copies of ops at the insertion point, with values replaced; the new result of each old one."""
    known, made = dict(values), dict[Any, Any]()
    for op in ops:
        clone = op.clone()
        for inner in (clone, *(each for each in mlir.walk(clone, lambda _: True))):
            inner = inner.operation
            for number, operand in enumerate(inner.operands):
                if operand in known:
                    inner.operands[number] = known[operand]
        fresh = dict(zip(op.results, clone.results, strict=True))
        known |= fresh
        made |= fresh
    return made
