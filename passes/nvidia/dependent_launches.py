"""Lets a launch start while the one before it still runs, and wait in the kernel for what that one writes.

before:  gpu.launch .. { PARTS };  gpu.launch .. { SUM }
after:   gpu.launch .. { nvvm.griddepcontrol launch_dependents;  PARTS }
         gpu.launch .. { nvvm.griddepcontrol wait;  SUM }

(Programmatic dependent launch.) The workgroups of the second are there when the last of the first has ended, which
hides the time of a launch. `wait` returns when the launch before has ended and its writes can be seen, so all reads and
writes are in the order in which they were; the launch plan reads from the kernel that it may start early.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu.map_threads import is_launch


@dataclass(frozen=True)
class DependentLaunches(Pass):
    """Takes two launches, one after the other; a third would wait for the second alone."""

    name: ClassVar[str] = "dependent-launches"

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where there are two launches."""
        if target.family == "nvidia" and objection(mlir.walk(state, is_launch)) is None:
            yield cls()

    def apply(self, module: Any) -> None:
        launches = mlir.walk(module, is_launch)
        reason = objection(launches)
        if reason is not None:
            raise PassError(reason)
        with mlir.scope():
            for launch, kind in zip(launches, ("launch_dependents", "wait"), strict=True):
                with ir.InsertionPoint.at_block_begin(launch.regions[0].blocks[0]):
                    mlir.dialect("nvvm").GriddepcontrolOp(ir.Attribute.parse(f"#nvvm<grid_dep_action {kind}>"))


def objection(launches: list[Any]) -> str | None:
    """Why launches cannot overlap; None where they can."""
    if len(launches) != 2:
        return f"looked for two gpu.launch, one after the other, and found {len(launches)}"
    if any(each.operation.parent.name != "func.func" for each in launches):
        return "a launch is inside of something else than the host function"
    if any(mlir.walk(each, lambda op: op.operation.name == "nvvm.griddepcontrol") for each in launches):
        return "the launches overlap already"
    return None
