"""Cuts the reduction of the contraction into parts that are made side by side, and adds them up in an op of its own.

before:  %r = linalg.matmul ins(%a, %b : 256x65536, 65536x256) outs(%zero)
         EPILOGUE(%r)
after, with split-reduction{parts=32}:
         %x, %y = tensor.expand_shape %a, %b                     : 256x32x2048, 32x2048x256
         %p = linalg.generic {%x[m, p, k] * %y[p, k, n]} outs(..)                      : 32x256x256
         %r = linalg.generic {%p[p, m, n] summed over p} outs(%zero) {lower.role = "sum"}
         EPILOGUE(%r)

For few tiles and a deep K: a part is one more dimension of a batch, and whatever makes batches makes parts. What
follows the contraction belongs to the sum from here on: `tile{role=sum}` gives it loops, a launch of its own. The
reduction must be a multiple of the parts (`pad` with as many steps makes it one). `fold-split-reads` takes the
reshaping into the reads. The result is rounded in another way, as each part is added up by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.passes.common.chain import SUM
from lowering.passes.common.start_from_zero import is_filled
from lowering.passes.common.tile import MARK, clear


@dataclass(frozen=True)
class SplitReduction(Pass):
    """`parts` is into how many the one reduction loop is cut; it divides its extent."""

    name: ClassVar[str] = "split-reduction"
    parts: int = 2

    def __post_init__(self) -> None:
        if self.parts < 2:
            raise ValueError(f"parts is at least 2, found {self.parts}")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """Two, four and eight parts, where they divide the reduction."""
        found = find.contractions(state)
        if len(found) == 1:
            yield from (cls(parts) for parts in (2, 4, 8) if objection(found[0], parts) is None)

    def apply(self, module: Any) -> None:
        contraction = find.contraction(module)
        reason = objection(contraction, self.parts)
        if reason is not None:
            raise PassError(reason, str(contraction.location))
        op = "!transform.any_op"
        with mlir.context():
            contraction.operation.attributes[MARK] = mlir.ir.UnitAttr.get()
        try:
            mlir.transform(
                module,
                f"""%op = transform.structured.match attributes {{{MARK}}} in %root : ({op}) -> {op}
                %init, %fill, %parts, %sum = transform.structured.split_reduction %op
                  {{split_factor = {self.parts}, insert_split_dimension = 0}} : ({op}) -> ({", ".join([op] * 4)})""",
            )
        finally:
            clear(module)
        (use,) = find.contraction(module).results[0].uses
        find.set_role(use.owner, SUM)
        mlir.run(module, "canonicalize,cse")


def objection(contraction: Any, parts: int) -> str | None:
    """Why a contraction's reduction cannot be cut into so many parts; None where it can."""
    dims, extents = find.contraction_dims(contraction), find.loop_sizes(contraction)
    if not contraction.operation.results or min(extents) < 0:
        return "looked for a contraction on tensors of static size"
    if len(dims.k) != 1:
        return f"the contraction has {len(dims.k)} reduction loops, not one"
    if extents[dims.k[0]] % parts:
        return f"{parts} parts do not divide a reduction of {extents[dims.k[0]]}: pad it to whole steps of all parts"
    if not is_filled(contraction):
        return "the contraction adds to what is there; start-from-zero adds it at the end"
    return None
