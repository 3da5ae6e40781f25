"""The table of our own passes: name -> class. A new pass is one file, one line here and one `.mlir` test."""

from __future__ import annotations

from lowering.core import Pass
from lowering.passes.common.backend import Codegen, Llvm, Ptxas
from lowering.passes.transform import Transform

TABLE: tuple[type[Pass], ...] = (
    Transform,
    Llvm,
    Codegen,
    Ptxas,
)

PASSES: dict[str, type[Pass]] = {cls.name: cls for cls in TABLE}
