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

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target

MARK = "lower.hoist"


@dataclass(frozen=True)
class HoistAccumulators(Pass):
    """Hoists the reads and writes of C out of the K loop around each `vector.contract`, and out of no other loop."""

    name: ClassVar[str] = "hoist-accumulators"

    def apply(self, module: Any) -> None:
        contracts = find.vector_contracts(module)
        if not contracts:
            raise PassError("looked for a vector.contract and found none: run vectorize-contraction before")
        loops = [loop for loop in map(k_loop, contracts) if loop is not None]
        if not loops:
            return  # K is one step: there is no loop to hoist out of
        with mlir.context():
            for loop in loops:
                loop.attributes[MARK] = mlir.ir.UnitAttr.get()
        mlir.transform(
            module,
            f"""%l = transform.structured.match attributes {{{MARK}}} in %root
              : (!transform.any_op) -> !transform.any_op
            transform.loop.hoist_loop_invariant_subsets %l : !transform.any_op""",
        )
        for loop in mlir.walk(module, lambda op: MARK in op.operation.attributes):
            del loop.attributes[MARK]
        mlir.run(module, "loop-invariant-code-motion,canonicalize,cse")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where a contraction of vectors stands in its K loop."""
        if any(k_loop(contract) is not None for contract in find.vector_contracts(state)):
            yield cls()


def k_loop(contract: Any) -> Any | None:
    """The innermost loop around a contract, where it steps A and B but not the accumulator; otherwise None."""
    loop = next((each for each in find.parents(contract) if each.name == "scf.for"), None)
    return loop if loop is not None and find.steps_k(loop, contract) else None
