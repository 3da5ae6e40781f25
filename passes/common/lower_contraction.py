"""`vector.contract` as one multiply-add of a row a broadcast lane of A.

before -> after:
  %v = vector.contract %a, %b, %c : vector<1x6xf32>, vector<1x16xf32> into vector<6x16xf32>
->
  %a0 = vector.broadcast (vector.extract %a[0, 0]) : f32 to vector<16xf32>
  %r0 = vector.fma %a0, %b[0], %c[0] : vector<16xf32>           // six times; integers: arith.muli, arith.addi
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target

# One set at a time: all of them in one greedy rewrite with canonicalization did not end.
SETS = (
    "vector.lower_contraction lowering_strategy = outerproduct",
    "vector.lower_outerproduct",
    "vector.lower_transpose lowering_strategy = shuffle_1d",
    "vector.lower_shape_cast",
)


@dataclass(frozen=True)
class LowerContraction(Pass):
    """`most` is the number of multiply-adds of the largest contraction: more means that a step before it is missing."""

    name: ClassVar[str] = "lower-contraction"
    most: int = 2**17

    def apply(self, module: Any) -> None:
        for op in find.vector_contracts(module):
            if (count := multiply_adds(op)) > self.most:
                raise PassError(
                    f"{op.name} has {count} multiply-adds, more than {self.most} to be written out one by one: tile it "
                    "first, or make matrix instructions of it",
                    str(op.location),
                )
        sets = "".join(
            f"transform.apply_patterns to %f {{ transform.apply_patterns.{each} }} : !transform.any_op\n"
            for each in SETS
        )
        mlir.transform(
            module,
            f"""%f = transform.structured.match ops{{["func.func"]}} in %root : (!transform.any_op) -> !transform.any_op
            {sets}
            transform.apply_cse to %f : !transform.any_op""",
        )

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where there is a `vector.contract`."""
        found = find.vector_contracts(state)
        if found and all(multiply_adds(op) <= cls.most for op in found):
            yield cls()


def multiply_adds(op: Any) -> int:
    """Those of a `vector.contract`: the product of the sizes of all its loops."""
    sizes: dict[str, int] = {}
    for operand, map_ in zip(op.operands, op.attributes["indexing_maps"], strict=True):
        shape = find.shape(operand)
        sizes |= {str(loop): size for loop, size in zip(map_.value.results, shape, strict=True)}
    return prod(sizes.values())
