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
        """The default, where there is a contraction on tensors left and every linalg op is static and small enough."""
        found = find.contractions(state)
        if found and all(len(op.results) for op in found) and cls().too_large(state) is None:
            yield cls()

    def apply(self, module: Any) -> None:
        large = self.too_large(module)
        if large is not None:
            shape = max(map(find.shape, large.operands), key=lambda each: (min(each, default=0) < 0, prod(each)))
            size = "x".join("?" if n < 0 else str(n) for n in shape)
            raise PassError(
                f"{large.name} on {size} is too large for vectors of {self.most}: tile it first", str(large.location)
            )
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
            transform.loop.hoist_loop_invariant_subsets %loops : {ANY}
            transform.apply_patterns to %g {{
              transform.apply_patterns.tensor.fold_tensor_subset_ops_into_vector_transfers
            }} : {ANY}""",
        )
        left = mlir.walk(module, is_linalg)
        if left:
            raise PassError(
                f"{left[0].name} was not vectorised (sizes that do not divide the tile?)", str(left[0].location)
            )
        mlir.run(module, "canonicalize,cse")

    def too_large(self, module: Any) -> Any | None:
        """The first op, copies included, whose vectors would be larger than `most`, or of no size known here."""
        for op in mlir.walk(module, lambda op: is_linalg(op) or op.operation.name == "memref.copy"):
            if any(min(find.shape(v), default=0) < 0 or prod(find.shape(v)) > self.most for v in op.operands):
                return op
        return None


def is_linalg(op: Any) -> bool:
    """Whether an op is a linalg op, not the yield of one."""
    return op.operation.name.startswith("linalg.") and bool(op.operation.regions)
