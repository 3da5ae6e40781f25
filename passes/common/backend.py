"""The last steps of a schedule: not passes over MLIR but the options of LLVM, its code generator and ptxas.

They stand in the schedule's text like any pass, so the text is the whole recipe; `codegen.build` reads them, and takes
the defaults of those that are absent.

before -> after: LLVM dialect -> optimised LLVM IR (`llvm`) -> assembly or object (`codegen`) -> cubin (`ptxas`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from lowering.core import Pass, PassError, Problem, Target


@dataclass(frozen=True)
class Backend(Pass):
    """A step that code generation reads."""

    name: ClassVar[str] = ""

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """None: it is no step from a state to a state."""
        yield from ()

    def apply(self, module: Any) -> None:
        raise PassError(
            f"'{self.name}' is a step of code generation: it has no effect on MLIR, and stands last in a schedule"
        )


@dataclass(frozen=True)
class Llvm(Backend):
    """LLVM's optimisation pipeline at level `opt`, with the parts that are worth switching off for a kernel."""

    name: ClassVar[str] = "llvm"
    opt: int = 3  # 0 to 3
    unroll: bool = True  # LLVM unrolls a short static K loop whole; false keeps it a loop
    vectorize: bool = True  # loops
    slp: bool = True  # straight-line code
    interleave: bool = True

    def __post_init__(self) -> None:
        level(self.opt)


@dataclass(frozen=True)
class Codegen(Backend):
    """Instruction selection, scheduling and register allocation at level `opt`."""

    name: ClassVar[str] = "codegen"
    opt: int = 3  # 0 to 3

    def __post_init__(self) -> None:
        level(self.opt)


@dataclass(frozen=True)
class Ptxas(Backend):
    """NVIDIA's assembler at level `opt`; `maxrregcount` bounds the registers a thread (0: as the kernel says)."""

    name: ClassVar[str] = "ptxas"
    opt: int = 3  # 0 to 3
    maxrregcount: int = 0  # 0, or 16 to 255

    def __post_init__(self) -> None:
        level(self.opt)
        if self.maxrregcount and not 16 <= self.maxrregcount <= 255:
            raise ValueError(f"maxrregcount is 0 (no bound) or 16 to 255, found {self.maxrregcount}")


BACKEND = (Llvm, Codegen, Ptxas)
Step = TypeVar("Step", Llvm, Codegen, Ptxas)


def level(opt: int) -> None:
    """Raises ValueError where an optimisation level is none."""
    if not 0 <= opt <= 3:
        raise ValueError(f"opt is 0, 1, 2 or 3, found {opt}")


def pick(steps: Iterable[Pass], cls: type[Step]) -> Step:
    """The step of a class among `steps`, the last where there are several, or its defaults."""
    found = [step for step in steps if isinstance(step, cls)]
    return found[-1] if found else cls()
