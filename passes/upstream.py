"""Any registered upstream pass or pipeline, by its own MLIR text.

before -> after: whatever `mlir-opt --pass-pipeline='builtin.module(ANCHOR(NAME{options}))'` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from lowering import mlir
from lowering.core import Pass


@dataclass(frozen=True)
class Upstream(Pass):
    """One upstream pass with its options and the ops it is anchored on, outermost first."""

    name: ClassVar[str] = "upstream"
    of: str  # the registered name
    arguments: tuple[tuple[str, str], ...] = ()  # sorted, defaults left out
    anchors: tuple[str, ...] = ()  # e.g. ("gpu.module",); builtin.module is understood

    def apply(self, module: Any) -> None:
        mlir.run(module, str(self))

    def options(self) -> Iterable[tuple[str, str]]:
        return self.arguments

    def __str__(self) -> str:
        options = " ".join(f"{name}={value}" for name, value in self.arguments)
        text = f"{self.of}{{{options}}}" if options else self.of
        for anchor in reversed(self.anchors):
            text = f"{anchor}({text})"
        return text


@cache
def manager_text(pipeline: str) -> str:
    """How MLIR prints a pipeline, every option spelt out. Raises ValueError with MLIR's message for a bad one."""
    with mlir.context():
        return str(mlir.passmanager.PassManager.parse(f"builtin.module({pipeline})"))
