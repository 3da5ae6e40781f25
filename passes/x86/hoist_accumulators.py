"""hoist-accumulators: C stays in registers while the K loop runs.

before -> after:
  scf.for %k iter_args(%t = %c : tensor<6x16xf32>) {
    %v = vector.transfer_read %t ; %w = vector.contract ..., %v ; vector.transfer_write %w, %t
  }
->
  %v0 = vector.transfer_read %c
  %v1 = scf.for %k iter_args(%v = %v0 : vector<6x16xf32>) { %w = vector.contract ..., %v ; scf.yield %w }
  vector.transfer_write %v1, %c
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import mlir
from lowering.core import Pass


@dataclass(frozen=True)
class HoistAccumulators(Pass):
    """Hoists reads and writes of the same slice out of the loops that only carry it."""

    name: ClassVar[str] = "hoist-accumulators"

    def apply(self, module: Any) -> None:
        mlir.transform(
            module,
            """%f = transform.structured.match ops{["func.func"]} in %root : (!transform.any_op) -> !transform.any_op
            %l = transform.structured.match ops{["scf.for"]} in %root : (!transform.any_op) -> !transform.any_op
            transform.loop.hoist_loop_invariant_subsets %l : !transform.any_op
            transform.apply_licm to %l : !transform.any_op
            transform.apply_patterns to %f { transform.apply_patterns.canonicalization } : !transform.any_op
            transform.apply_cse to %f : !transform.any_op""",
        )
