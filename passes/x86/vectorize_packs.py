"""vectorize-packs: panels whose lanes lie side by side in the operand are copied row by row, as vectors.

before -> after:
  %p = linalg.generic ins(%b : tensor<?x16xf16>) outs(%panel : tensor<?x16xf32>) { extf }       // role "pack-b"
->
  %p = scf.for %k = 0 to %n step 1 {
    %v = vector.transfer_read %b[%k, 0] : vector<1x16xf16> ; %w = arith.extf %v ; vector.transfer_write %w, %panel[%k, 0]
  }

Panels that transpose, and those of an edge whose width is not static, are left to loops.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass

MARK = "lower.pack"


@dataclass(frozen=True)
class VectorizePacks(Pass):
    """Vectorises the copies of role "pack-a" and "pack-b" that do not transpose."""

    name: ClassVar[str] = "vectorize-packs"

    def apply(self, module: Any) -> None:
        copies = [op for role in ("pack-a", "pack-b") for op in find.roles(module, role) if is_row_copy(op)]
        if not copies:
            return
        with mlir.context():
            for op in copies:
                op.attributes[MARK] = mlir.ir.UnitAttr.get()
        handle = "!transform.any_op"
        mlir.transform(
            module,
            f"""%c = transform.structured.match attributes {{{MARK}}} in %root : ({handle}) -> {handle}
            %t, %l = transform.structured.tile_using_for %c tile_sizes [1] : ({handle}) -> ({handle}, {handle})
            transform.structured.vectorize %t : {handle}""",
        )
        mlir.run(module, "canonicalize,cse")


def is_row_copy(op: Any) -> bool:
    """Whether a copy of a panel reads the operand as it lies, with a static number of lanes."""
    if op.name != "linalg.generic" or find.shape(op.operands[1])[1] < 0:
        return False
    return all(find.positions(each) == [0, 1] for each in find.maps(op))
