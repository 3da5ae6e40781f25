"""Vectorises every linalg op of a tile, and keeps the accumulators in vectors over the K loop.

before:  %r = scf.for %k = ... iter_args(%acc = %c : tensor<16x4xf32>) {
           linalg.matmul ins(%a, %b : 16x4, 4x4) outs(%acc)
after:   %v = scf.for %k = ... iter_args(%acc = %c : vector<16x4xf32>) {
           %x = vector.transfer_read %a ... : vector<16x4xf32>
           %y = vector.transfer_read %b ... : vector<4x4xf32>
           vector.contract %x, %y, %acc
         }

Sizes must be static and divide (`pad` sees to it).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target

ANY = "!transform.any_op"


@dataclass(frozen=True)
class Vectorize(Pass):
    """`most` is the number of elements of the largest vector allowed: more means that a tiling step is missing."""

    name: ClassVar[str] = "vectorize"
    most: int = 1024

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The default, where there is a contraction on tensors left."""
        if find.contractions(state):
            yield cls()

    def apply(self, module: Any) -> None:
        self.refuse_large(module)
        mlir.transform(
            module,
            f"""
            %f = transform.structured.match ops{{["func.func"]}} in %root : ({ANY}) -> {ANY}
            %g = transform.structured.vectorize_children_and_apply_patterns %f : ({ANY}) -> {ANY}
            transform.apply_patterns to %g {{
              transform.apply_patterns.tensor.fold_tensor_subset_ops_into_vector_transfers
              transform.apply_patterns.canonicalization
            }} : {ANY}
            %loops = transform.structured.match ops{{["scf.for"]}} in %g : ({ANY}) -> {ANY}
            transform.loop.hoist_loop_invariant_subsets %loops : {ANY}""",
        )
        left = mlir.walk(module, lambda op: op.operation.name.startswith("linalg."))
        if left:
            raise PassError(
                f"{left[0].name} was not vectorised (sizes that do not divide the tile?)", str(left[0].location)
            )
        mlir.run(module, "canonicalize,cse")

    def refuse_large(self, module: Any) -> None:
        """Raises PassError for an op whose vectors would be larger than `most`."""
        for op in mlir.walk(module, lambda op: op.operation.name.startswith("linalg.") and bool(op.operation.regions)):
            for value in op.operands:
                if prod(find.shape(value)) > self.most:
                    shape = "x".join(map(str, find.shape(value)))
                    raise PassError(
                        f"{op.name} on {shape} is too large for vectors of {self.most}: tile it first", str(op.location)
                    )
