"""Exchanges the operands of a product: C = A.B is C^T = B^T.A^T, and what an instruction takes many rows of may be N.

before:  %r = vector.contract {(m, n, k) -> (m, k), (n, k), (m, n)} %a, %b, %acc : vector<8x64xbf16>, vector<64x64xbf16>
after:   %r = vector.contract {(m, n, k) -> (n, k), (m, k), (m, n)} %b, %a, %acc : vector<64x64xbf16>, vector<8x64xbf16>

wgmma multiplies 64 rows of its first operand by 8 to 256 of its second: where C has few rows, most of the 64 would be
beyond it. Nothing moves: the result keeps its shape, and only who holds what of it changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, Problem, Target
from lowering.mlir import ir


@dataclass(frozen=True)
class TransposeProduct(Pass):
    """Takes the one vector.contract there is; twice is as good as not at all."""

    name: ClassVar[str] = "transpose-product"

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """Once, where there is a contraction with fewer rows than columns."""
        found = find.vector_contracts(state)
        if len(found) == 1:
            yield from (cls(),) if find.shape(found[0].operands[0])[0] < find.shape(found[0].operands[1])[0] else ()

    def apply(self, module: Any) -> None:
        contract = find.vector_contract(module).operation
        with mlir.scope():
            left, right, _ = list(contract.operands)
            maps = list(contract.attributes["indexing_maps"])
            contract.operands[0], contract.operands[1] = right, left
            contract.attributes["indexing_maps"] = ir.ArrayAttr.get([maps[1], maps[0], maps[2]])
