"""A product that is only added may become one multiply-add.

before -> after:
  %p = arith.mulf %a, %b : f32 ; %s = arith.addf %c, %p : f32
->
  %p = arith.mulf %a, %b fastmath<contract> : f32 ; %s = arith.addf %c, %p fastmath<contract> : f32

LLVM fuses two operations only where both allow it. The fused one rounds once instead of twice; nothing else changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, Problem, Target

ir = mlir.ir


@dataclass(frozen=True)
class ContractFma(Pass):
    """Allows the fusion of every `arith.mulf` whose one use is an `arith.addf`; flags that are set stay."""

    name: ClassVar[str] = "contract-fma"

    def apply(self, module: Any) -> None:
        with mlir.context():
            contract = ir.Attribute.parse("#arith.fastmath<contract>")
            for op in strict_ops(module):
                op.attributes["fastmath"] = contract

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where a product is added and the two may not be fused yet."""
        if strict_ops(state):
            yield cls()


def strict_ops(module: Any) -> list[Any]:
    """The products that are only added, and their sums, that have no fast-math flag."""
    found: list[Any] = []
    for add in mlir.walk(module, lambda op: op.operation.name == "arith.addf"):
        products = [op for op in map(find.defining, add.operands) if op is not None and is_product(op)]
        found += (*products, add) if products else ()
    return [op for op in found if str(op.attributes["fastmath"]) == "#arith.fastmath<none>"]


def is_product(op: Any) -> bool:
    """Whether an op is a product with one use."""
    return op.name == "arith.mulf" and len(list(op.results[0].uses)) == 1
