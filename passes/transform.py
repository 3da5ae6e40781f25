"""A transform-dialect script as a pass.

before -> after: what `@__transform_main` of the script does to the payload, as with upstream's
`transform-preload-library{transform-library-paths=FILE},transform-interpreter`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from lowering import mlir
from lowering.core import Pass, PassError, Problem, Target


@dataclass(frozen=True)
class Transform(Pass):
    """Interprets the script in `script`: a file's path. Its first named sequence is the entry."""

    name: ClassVar[str] = "transform"
    script: str

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """None: the script is the user's."""
        yield from ()

    def apply(self, module: Any) -> None:
        try:
            text = Path(self.script).read_text()
        except OSError as error:
            raise PassError(f"cannot read the transform script '{self.script}': {error.strerror}") from None
        mlir.transform(module, text)
