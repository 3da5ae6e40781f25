"""The families of targets: what differs between them when a binary is made and run.

A family's parts are named by path and imported when used, so that listing the targets loads no driver. A family has a
tuple of executors, best first: the first that is available runs its binaries.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lowering.core import Pass, Target
from lowering.targets.executor import Executor
from lowering.targets.linked import Linked

Finish = Callable[[bytes, Target, Sequence[Pass]], Linked]


@dataclass(frozen=True)
class Family:
    """One family; paths are `module:name` below `lowering.targets`."""

    name: str
    emit: Literal["object", "assembly"]  # what LLVM emits for `finish`
    dialect: str  # the dialect of the family's intrinsics, which translate to LLVM IR beside llvm's own ops
    device: bool  # kernels in a gpu.module and a launch plan, not one host function
    finish_path: str
    executor_paths: tuple[str, ...]
    images: tuple[str, ...]  # what `finish` can make
    inline: str = ""  # the pass that writes the dialect's ops that are no intrinsics as inline assembly

    @property
    def space(self) -> Any:
        """The module with KNOBS, illegal, default, full, ladder and schedule."""
        return importlib.import_module(f"lowering.targets.{self.name}.space")

    @property
    def finish(self) -> Finish:
        """Emitted code -> image."""
        return resolve(self.finish_path)

    @property
    def executors(self) -> tuple[Executor, ...]:
        """The ways to run a binary of this family."""
        return tuple(resolve(path)() for path in self.executor_paths)


def resolve(path: str) -> Any:
    """The object of a path `module:name`."""
    module, name = path.split(":")
    return getattr(importlib.import_module(f"lowering.targets.{module}"), name)


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            "amdgpu",
            "object",
            "rocdl",
            True,
            "amdgpu.hsaco:finish",
            ("amdgpu.runtime:Hip", "amdgpu.emulated:Emulated"),
            ("hsaco",),
        ),
        Family(
            "nvidia",
            "assembly",
            "nvvm",
            True,
            "nvidia.ptx:finish",
            ("nvidia.runtime:Cuda",),
            ("ptx", "cubin"),
            "convert-nvvm-to-llvm",
        ),
        Family("x86", "object", "llvm", False, "host:finish", ("x86.runtime:CPU",), ("obj",)),
    )
}
