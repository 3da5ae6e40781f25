"""Transposes small matrices of bytes in registers with `v_perm_b32`, four by four.

before:  %t = vector.transpose %x, [1, 0] : vector<16x4xi8> to vector<4x16xi8>
after:   %p = llvm.call_intrinsic "llvm.amdgcn.perm"(%row1, %row0, %select) : (i32, i32, i32) -> i32
         ..

A dword holds four bytes of a row. Of the rows a, b, c, d of a block the first step pairs a with b and c with d, byte by
byte, the second puts the pairs together. LLVM takes shuffles of bytes apart into shifts instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import mlir
from lowering.core import Pass, Problem, Target
from lowering.mlir import ir

BLOCK = 4
# Which bytes: 0 to 3 are the second operand's, 4 to 7 the first's (AMD CDNA3 ISA guide, V_PERM_B32), lowest byte last.
LOW_PAIRS, HIGH_PAIRS = 0x05010400, 0x07030602
LOW_HALVES, HIGH_HALVES = 0x05040100, 0x07060302


@dataclass(frozen=True)
class TurnBytes(Pass):
    """Takes transpositions of two dimensions, both multiples of four, of elements of eight bits."""

    name: ClassVar[str] = "turn-bytes"

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where there is such a transposition."""
        if target.family == "amdgpu" and mlir.walk(state, takes):
            yield cls()

    def apply(self, module: Any) -> None:
        with mlir.scope():
            for op in mlir.walk(module, takes):
                turn(op)
        mlir.run(module, "canonicalize,cse")


def takes(op: Any) -> bool:
    """Whether an op is a transposition that is done here."""
    op = op.operation
    if op.name != "vector.transpose":
        return False
    kind = op.operands[0].type
    whole = len(kind.shape) == 2 and all(extent % BLOCK == 0 for extent in kind.shape)
    return whole and kind.element_type.width == 8 and list(op.attributes["permutation"]) == [1, 0]


def turn(op: Any) -> None:
    """Replaces a transposition."""
    vector, i32 = mlir.dialect("vector"), ir.IntegerType.get_signless(32)
    kind, made = op.operands[0].type, op.results[0].type
    rows, columns = kind.shape
    count = rows * columns // BLOCK
    words = ir.VectorType.get([count], i32)
    with ir.InsertionPoint(op):
        flat = vector.ShapeCastOp(ir.VectorType.get([rows * columns], kind.element_type), op.operands[0]).result
        taken = vector.BitCastOp(words, flat).result
        dwords = [vector.ExtractOp(taken, [], [n]).result for n in range(count)]
        result: list[Any] = [None] * count
        for row in range(0, rows, BLOCK):
            for column in range(columns // BLOCK):
                block = [dwords[(row + n) * (columns // BLOCK) + column] for n in range(BLOCK)]
                for n, word in enumerate(turned(block)):
                    result[(column * BLOCK + n) * (rows // BLOCK) + row // BLOCK] = word
        joined = vector.FromElementsOp(words, result).result
        back = vector.BitCastOp(ir.VectorType.get([rows * columns], kind.element_type), joined).result
        value = vector.ShapeCastOp(made, back).result
    op.results[0].replace_all_uses_with(value)
    op.erase()


def turned(rows: list[Any]) -> list[Any]:
    """The columns of four dwords of four bytes."""
    a, b, c, d = rows
    low = permuted(b, a, LOW_PAIRS), permuted(d, c, LOW_PAIRS)
    high = permuted(b, a, HIGH_PAIRS), permuted(d, c, HIGH_PAIRS)
    return [permuted(right, left, half) for left, right in (low, high) for half in (LOW_HALVES, HIGH_HALVES)]


def permuted(first: Any, second: Any, select: int) -> Any:
    """One `v_perm_b32`."""
    i32 = ir.IntegerType.get_signless(32)
    which = mlir.dialect("arith").ConstantOp(i32, select).result
    name = ir.StringAttr.get("llvm.amdgcn.perm")
    return mlir.dialect("llvm").CallIntrinsicOp(i32, name, [first, second, which], [], []).results
