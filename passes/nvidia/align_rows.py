"""Copies a product's operands so that their rows begin where tensor copies can read them: a launch of its own each.

before:  gpu.launch .. { READ(%a[%i, %k]) .. }                       // %a : memref<4095x4095xbf16>, rows of 8190 bytes
after, with align-rows{bytes=128}:
         %w = memref.alloc() : memref<4095x4096xbf16>                 // rows of 8192 bytes
         gpu.launch blocks(%b, ..) in (8190, ..) threads(%t, ..) in (256, ..) {
           %r, %c = affine.delinearize_index %b into (4095, 2)
           %w[%r, 2048 * %c + 8 * %t ..] = %a[%r, 2048 * %c + 8 * %t ..]      // 8 elements, zeros beyond the row's end
         }
         gpu.launch .. { READ(%w[%i, %k]) .. }

A tensor map takes rows of multiples of 16 bytes; whole lines of 128 are read fastest. What is added to a row is zero:
along K it adds nothing, along M and N it is beyond the result. A thread's loads are as narrow as the rows' alignment
wants, its store has 16 bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu.index import Linear, emit, launch_of
from lowering.passes.gpu.map_blocks import delinearized
from lowering.passes.nvidia.promote_tma import behind, is_buffer_read

STORE = 16  # bytes a thread writes


@dataclass(frozen=True)
class AlignRows(Pass):
    """`bytes` is what the rows' length becomes a multiple of, `threads` the most in a workgroup that copies."""

    name: ClassVar[str] = "align-rows"
    bytes: int = 128
    threads: int = 256

    def __post_init__(self) -> None:
        if self.bytes % STORE or self.bytes < STORE:
            raise ValueError(f"bytes is a multiple of {STORE}, found {self.bytes}")
        if self.threads % 32 or self.threads < 32:
            raise ValueError(f"threads is a multiple of 32, found {self.threads}")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """Lines and the least that tensor copies take, where an operand's rows are of neither."""
        found = find.vector_contracts(state)
        if target.family == "nvidia" and len(found) == 1 and launch_of(found[0]) is not None:
            yield from (cls(each) for each in (128, STORE) if ragged(found[0], each))

    def apply(self, module: Any) -> None:
        contract = find.vector_contract(module)
        launch = launch_of(contract)
        if launch is None:
            raise PassError("looked for a vector.contract in a gpu.launch; map-blocks makes the launch")
        reads = ragged(contract, self.bytes)
        if not reads:
            raise PassError(f"every row of the operands has a multiple of {self.bytes} bytes", str(contract.location))
        with mlir.scope(), ir.InsertionPoint(launch):
            sources = dict.fromkeys(read.operands[0] for read in reads)
            copies = {source: self.copied(source) for source in sources}
            for read in reads:
                read.operands[0] = copies[read.operands[0]]
        mlir.run(module, "canonicalize,cse")

    def copied(self, source: Any) -> Any:
        """A copy with longer rows, and the launch that makes it."""
        gpu, memref, vector = mlir.dialect("gpu"), mlir.dialect("memref"), mlir.dialect("vector")
        arith, element = mlir.dialect("arith"), source.type.element_type
        *outer, row = find.shape(source)
        nbytes = element.width // 8
        length, width = -(-row * nbytes // self.bytes) * self.bytes // nbytes, STORE // nbytes
        parts = -(-length // (self.threads * width))
        threads = -(-length // (parts * width * 32)) * 32
        there = memref.AllocOp(ir.MemRefType.get([*outer, length], element), [], []).result
        one = emit(Linear(1))
        launch = gpu.LaunchOp((emit(Linear(prod(outer) * parts)), one, one), (emit(Linear(threads)), one, one))
        body = launch.regions[0].blocks[0]
        with ir.InsertionPoint(body):
            *at, part = delinearized(body.arguments[0], [*outer, parts])
            first = arith.MulIOp(part, emit(Linear(threads * width))).result
            column = arith.AddIOp(first, arith.MulIOp(body.arguments[3], emit(Linear(width))).result).result
            inside = arith.CmpIOp(arith.CmpIPredicate.ult, column, emit(Linear(length))).result
            branch = mlir.dialect("scf").IfOp(inside)
            with ir.InsertionPoint(branch.then_block):
                last = ir.AffineMap.get(len(outer) + 1, 0, [ir.AffineExpr.get_dim(len(outer))])
                zero = arith.ConstantOp(element, zero_of(element)).result
                kind = ir.VectorType.get([width], element)
                maybe, surely = (ir.ArrayAttr.get([ir.BoolAttr.get(each)]) for each in (False, True))
                value = vector.TransferReadOp(kind, source, [*at, column], last, zero, maybe).result
                vector.TransferWriteOp(None, value, there, [*at, column], last, surely)
                mlir.dialect("scf").YieldOp([])
            gpu.TerminatorOp()
        return there


def zero_of(element: Any) -> Any:
    """Zero as an attribute."""
    integer = isinstance(element, ir.IntegerType)
    return ir.IntegerAttr.get(element, 0) if integer else ir.FloatAttr.get(element, 0.0)


def ragged(contract: Any, nbytes: int) -> list[Any]:
    """The reads of a contraction's operands whose rows have no multiple of so many bytes."""
    found = [behind(contract, number)[0] for number in (0, 1)]
    reads = [op for op in found if op is not None and is_buffer_read(op)]
    return [
        op for op in reads if find.shape(op.operands[0])[-1] * op.operands[0].type.element_type.width % (8 * nbytes)
    ]
