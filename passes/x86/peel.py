"""peel: the loops over register tiles and panels are split into one of full tiles and one for what is left.

before -> after (for every loop whose role is in `roles` and whose step may not divide its range):
  for %i = 0 to %m step 6 { %w = affine.min(6, %m - %i) ... tensor<?x?xf32> ... }        // role "ir"
->
  for %i = 0 to %m - %m mod 6 step 6 { ... tensor<6x?xf32> ... }                          // full tiles: static
  for %i = %m - %m mod 6 to %m step 6 { %w = %m - %i ... tensor<?x?xf32> ... }
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, Problem, Target

MARK = "lower.peel"
DONE = "lower.peeled"  # stays on both loops: neither has a short last step any more
CLEAN = """
  %f{0} = transform.structured.match ops{{["func.func"]}} in %root : (!transform.any_op) -> !transform.any_op
  transform.apply_patterns to %f{0} {{
    transform.apply_patterns.canonicalization
    transform.apply_patterns.linalg.tiling_canonicalization
    transform.apply_patterns.scf.for_loop_canonicalization
  }} : !transform.any_op
  transform.apply_cse to %f{0} : !transform.any_op
"""


@dataclass(frozen=True)
class Peel(Pass):
    """Peels the loops with these roles, innermost first."""

    name: ClassVar[str] = "peel"
    roles: tuple[str, ...] = ("ir", "jr", "pack-a", "pack-b")

    def apply(self, module: Any) -> None:
        script = ""
        with mlir.context():
            loops = [op for role in self.roles for op in find.roles(module, role) if op.name == "scf.for"]
            for number, loop in enumerate(loop for loop in loops if is_ragged(loop)):
                loop.attributes[f"{MARK}{number}"] = mlir.ir.UnitAttr.get()
                script += f"""
      %l{number} = transform.structured.match attributes {{{MARK}{number}}} in %root
        : (!transform.any_op) -> !transform.op<"scf.for">
      %m{number}, %r{number} = transform.loop.peel %l{number}
        : (!transform.op<"scf.for">) -> (!transform.any_op, !transform.any_op)
      transform.annotate %m{number} "{DONE}" : !transform.any_op
      transform.annotate %r{number} "{DONE}" : !transform.any_op"""
        if script:
            mlir.transform(module, script)
        for loop in mlir.walk(module, lambda op: op.operation.name == "scf.for"):
            for name in [name for name in loop.attributes if name.startswith(MARK) and name != DONE]:
                del loop.attributes[name]
        mlir.transform(module, CLEAN.format(0))

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where a loop with such a role may have a short last step."""
        found = [op for role in cls().roles for op in find.roles(state, role) if op.name == "scf.for"]
        if any(map(is_ragged, found)):
            yield cls()


def is_ragged(loop: Any) -> bool:
    """Whether a loop's last step may be short: its range is not known to be a multiple of its step."""
    low, high, step = [constant(value) for value in list(loop.operands)[:3]]
    if DONE in loop.attributes:
        return False
    return low is None or high is None or step is None or (high - low) % step != 0


def constant(value: Any) -> int | None:
    """The value of an index constant."""
    op = find.defining(value)
    return int(op.attributes["value"].value) if op is not None and op.name == "arith.constant" else None
