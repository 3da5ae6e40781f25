"""What a family makes of emitted code, and how it says that it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lowering.core import Class, Kernel, PassError, Stage


class BuildError(PassError):
    """Code generation or linking that failed: one line, with the stage it failed in."""

    def __init__(
        self, reason: str, stage: Stage = "codegen", where: str = "", log: str = "", kind: Class = "illegal"
    ) -> None:
        super().__init__(reason, where, log, kind)
        self.stage: Stage = stage


@dataclass(frozen=True)
class Linked:
    """A loadable image, and what it says of its kernels."""

    format: Literal["obj", "hsaco", "ptx", "cubin"]
    image: bytes = field(repr=False)
    kernels: tuple[Kernel, ...] = ()
    limits: Mapping[str, int] = field(
        default_factory=dict
    )  # kernel -> the most threads of a workgroup it was built for
