"""A miscompile that only several waves show: a barrier that is missing.

before -> after:  gpu.barrier -> nothing, for the first one of the state
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from lowering.core import PassError
from lowering.mlir import ir
from lowering.passes.faults.fault import Fault

BARRIERS = frozenset({"gpu.barrier", "rocdl.s.barrier", "rocdl.barrier", "nvvm.barrier0", "nvvm.barrier"})


@dataclass(frozen=True)
class DropBarrier(Fault):
    """Removes the first barrier. Waves that run in step do not notice; the race is there all the same."""

    name: ClassVar[str] = "test-drop-barrier"

    def apply(self, module: Any) -> None:
        """Raises PassError where there is no barrier."""
        found: list[Any] = []

        def visit(op: Any) -> Any:
            if op.name in BARRIERS:
                found.append(op)
                return ir.WalkResult.INTERRUPT
            return ir.WalkResult.ADVANCE

        module.operation.walk(visit)
        if not found:
            raise PassError("there is no barrier to drop")
        found[0].erase()
