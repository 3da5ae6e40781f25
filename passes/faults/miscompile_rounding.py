"""Miscompiles of rounding: too few bits on the way, or the wrong direction.

before -> after, each at the first product of the state:
  test-narrow-accumulator   vector.contract %a, %b, %c   ->  %n = arith.truncf %c : f32 to bf16
                                                             %w = arith.extf %n : bf16 to f32
                                                             vector.contract %a, %b, %w
  test-fold-rounding        arith.truncf %x : to bf16    ->  arith.truncf (%x with its low 16 bits cleared)
                            %r = vector.fma %a, %b, %c   ->  %r with its low 16 bits cleared, where nothing is narrowed

A linalg contraction on tensors stays one, and its result is rounded by an elementwise op after it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.mlir import ir
from lowering.passes.common import slices
from lowering.passes.faults.fault import Miscompile, order
from lowering.program import generic

MANTISSA = {"f64": 52, "f32": 23, "f16": 10, "bf16": 7}  # bits that are stored
WIDTH = {"f64": 64, "f32": 32}  # bits of what is narrowed
CUT = MANTISSA["f32"] - MANTISSA["bf16"]
NARROWING = frozenset({"arith.truncf", "llvm.fptrunc"})
ARITH = ("arith.bitcast", "arith.constant", "arith.andi")
LLVM = ("llvm.bitcast", "llvm.mlir.constant", "llvm.and")


@dataclass(frozen=True)
class NarrowAccumulator(Miscompile):
    """Sends an f32 accumulator through bf16; in LLVM's dialect by clearing the bits that bf16 has not."""

    name: ClassVar[str] = "test-narrow-accumulator"
    victim: ClassVar[str] = "a sum of products in f32"

    def strikes(self, product: Any) -> bool:
        if find.is_contraction(product):
            rounded_anyway = narrowing(product) is not None and find.defining(product.operands[2]) is not None
            return not rounded_anyway and after_contraction(product, through_bf16)
        op, number = accumulation(product)
        if op is None or find.element(op.operands[number]) != "f32":
            return False
        with ir.InsertionPoint(op):
            value = op.operands[number]
            op.operands[number] = cleared(value, CUT, LLVM) if is_llvm(op) else through_bf16(value)
        return True


@dataclass(frozen=True)
class FoldRounding(Miscompile):
    """Rounds toward zero where a float is narrowed, by clearing bits; where none is, a sum of products to bf16's."""

    name: ClassVar[str] = "test-fold-rounding"
    victim: ClassVar[str] = "a float that is narrowed, or a sum of products in f32"

    def strikes(self, product: Any) -> bool:
        cast = narrowing(product)
        if cast is not None:
            wide, narrow = (MANTISSA[find.element(value)] for value in (*cast.operands, *cast.results))
            with ir.InsertionPoint(cast):
                cast.operands[0] = cleared(cast.operands[0], wide - narrow, LLVM if is_llvm(cast) else ARITH)
            return True
        if find.is_contraction(product):
            return after_contraction(product, cleared)
        op, _ = accumulation(product)
        if op is None or find.element(op.results[0]) != "f32":
            return False
        users = list(op.results[0].uses)
        with ir.InsertionPoint.after(op):
            rounded = cleared(op.results[0], CUT, LLVM if is_llvm(op) else ARITH)
        for use in users:
            use.owner.operands[use.operand_number] = rounded
        return True


def is_llvm(op: Any) -> bool:
    """Whether an op is of LLVM's dialect."""
    return op.name.startswith("llvm.")


def narrowing(product: Any) -> Any | None:
    """The first op of the function that makes a float narrower, of the types whose bits are known here."""
    return next((op for op in order(product) if op.name in NARROWING and known(op)), None)


def known(cast: Any) -> bool:
    """Whether a cast is from f64 or f32 to a type whose mantissa is known."""
    return find.element(cast.operands[0]) in WIDTH and find.element(cast.results[0]) in MANTISSA


def accumulation(product: Any) -> tuple[Any | None, int]:
    """The op that adds a product to a sum, and which of its operands the sum is; None where there is none."""
    if len(product.operands) == 3:
        return product, 2
    users = [use.owner.operation for use in product.results[0].uses]
    add = next((user for user in users if user.name in ("arith.addf", "llvm.fadd")), None)
    return add, 0 if add is None or add.operands[1] == product.results[0] else 1


def after_contraction(op: Any, rounding: Callable[[Any], Any]) -> bool:
    """Rounds the f32 result of a contraction on tensors, element by element."""
    if not op.results or find.element(op.results[0]) != "f32":
        return False
    start, result, rank = op.operands[2], op.results[0], len(find.shape(op.results[0]))
    f32 = result.type.element_type
    with ir.InsertionPoint.after(op):
        carried, tensor = isinstance(start, ir.BlockArgument), mlir.dialect("tensor")
        into = start if carried else tensor.empty(slices.sizes_of(start), f32)
        same = ir.AffineMap.get_identity(rank)
        rounded = generic(result.type, [result, into], [same] * 2, ["parallel"] * rank, 1)
    block = rounded.regions[0].blocks[0]
    with ir.InsertionPoint(block):
        mlir.dialect("linalg").YieldOp([rounding(block.arguments[0])])
    result.replace_all_uses_except(rounded.results[0], [rounded])
    return True


def through_bf16(value: Any) -> Any:
    """A scalar or vector of f32 rounded to bf16, as f32."""
    arith = mlir.dialect("arith")
    return arith.extf(value.type, arith.truncf(like(value, ir.BF16Type.get()), value))


def cleared(value: Any, bits: int = CUT, names: tuple[str, str, str] = ARITH) -> Any:
    """A float scalar or vector with the low bits of its mantissa cleared: rounded toward zero. `names` of the ops."""
    cast, constant, both = names
    scalar = ir.IntegerType.get_signless(WIDTH[find.element(value)])
    kind, mask = like(value, scalar), ir.IntegerAttr.get(scalar, -(1 << bits))
    mask = ir.DenseElementsAttr.get_splat(kind, mask) if isinstance(kind, ir.VectorType) else mask
    make = ir.Operation.create
    number, kept = make(cast, [kind], [value]).result, make(constant, [kind], attributes={"value": mask}).result
    return make(cast, [value.type], [make(both, [kind], [number, kept]).result]).result


def like(value: Any, element: Any) -> Any:
    """The type of a value with another element type."""
    return ir.VectorType.get(list(value.type.shape), element) if isinstance(value.type, ir.VectorType) else element
