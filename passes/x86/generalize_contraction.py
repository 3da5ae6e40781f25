"""generalize-contraction: the named contraction as a `linalg.generic`.

before -> after:
  %r = linalg.matmul ins(%a, %b : tensor<8x4xf16>, tensor<4x8xf16>) outs(%c : tensor<8x8xf32>) -> tensor<8x8xf32>
->
  %r = linalg.generic {indexing_maps = [(m,n,k) -> (m,k), ...]} ins(%a, %b) outs(%c) { extf, extf, mulf, addf, yield }

The later passes change an operand's layout or type, which a named op cannot express. The fill and the epilogue stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, Problem, Target

MARK = "lower.generalized"


@dataclass(frozen=True)
class GeneralizeContraction(Pass):
    """Turns the one contraction into a `linalg.generic`; nothing to do where it is one."""

    name: ClassVar[str] = "generalize-contraction"

    def apply(self, module: Any) -> None:
        op = find.contraction(module)
        if op.name == "linalg.generic":
            return
        with mlir.context():
            op.attributes[MARK] = mlir.ir.UnitAttr.get()
        mlir.transform(
            module,
            f"""%c = transform.structured.match attributes {{{MARK}}} in %root
              : (!transform.any_op) -> !transform.any_op
            %g = transform.structured.generalize %c : (!transform.any_op) -> !transform.any_op""",
        )
        for each in mlir.walk(module, lambda each: MARK in each.operation.attributes):
            del each.attributes[MARK]

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where the one contraction is a named op."""
        found = find.contractions(state)
        if len(found) == 1 and found[0].name != "linalg.generic":
            yield cls()
