"""What the test-only passes share, and where in a state a miscompile strikes.

A miscompile leaves IR that verifies and computes something wrong; the passes after it lower that as they would the
right one, but for some that look closely at what was changed (`pack`, for one, at slices along K).

It strikes at the *first product* of a state, of the highest level that is there: a linalg contraction,
`vector.contract`, a multiply-add, a multiplication. That one belongs to a full tile; the last may be padding alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir

FUNCTIONS = frozenset({"func.func", "gpu.func", "llvm.func"})
FUSED = frozenset({"vector.fma", "math.fma", "llvm.intr.fma", "llvm.intr.fmuladd"})
SPLIT = frozenset({"arith.mulf", "llvm.fmul"})
COMPARISONS = frozenset({"arith.cmpi", "llvm.icmp"})
CONSTANTS = frozenset({"arith.constant", "llvm.mlir.constant"})
LEVELS: tuple[Callable[[Any], bool], ...] = (
    find.is_contraction,
    lambda op: op.operation.name == "vector.contract",
    lambda op: op.operation.name in FUSED,
    lambda op: op.operation.name in SPLIT,
)


@dataclass(frozen=True)
class Fault(Pass):
    """A pass that misbehaves on purpose: it tests what has to notice that. Its name begins with `test-`."""

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """None: a fault stands in a schedule only where somebody writes it."""
        return iter(())


@dataclass(frozen=True)
class Miscompile(Fault):
    """A fault that makes the program wrong. Raises PassError where a state has nothing that it could break."""

    victim: ClassVar[str]  # what it looks for, in words

    def apply(self, module: Any) -> None:
        with mlir.scope():
            if not any(self.strikes(op) for op in products(module)):
                raise PassError(f"looked for {self.victim} and found none", module.operation.name)

    def strikes(self, product: Any) -> bool:
        """Breaks the program around one product; False where nothing there can be broken, and nothing was."""
        raise NotImplementedError


def products(module: Any) -> list[Any]:
    """The ops that multiply A by B, of the highest level that the state has."""
    return next(filter(None, (mlir.walk(module, level) for level in LEVELS)), [])


def order(op: Any) -> list[Any]:
    """All ops of the function around an op, an op after those inside it."""
    function = next(each for each in find.parents(op) if each.name in FUNCTIONS)
    return mlir.walk(function, lambda each: True)


def sources(values: list[Any]) -> Iterator[Any]:
    """The ops that some values are computed by, nearest first; stops at block arguments."""
    pending, seen = deque(values), set[Any]()
    while pending:
        op = find.defining(pending.popleft())
        if op is not None and op not in seen:
            seen.add(op)
            pending.extend(op.operands)
            yield op


def counter(product: Any) -> Any | None:
    """The comparison of a loop counter with a constant that stands next before a product: a loop without structure."""
    ops = order(product)
    before = reversed(ops[: ops.index(product)])
    return next((op for op in before if op.name in COMPARISONS and counts(op)), None)


def counts(comparison: Any) -> bool:
    """Whether an op compares a block argument with a constant."""
    low, high = comparison.operands
    op = find.defining(high)
    return isinstance(low, ir.BlockArgument) and op is not None and op.name in CONSTANTS
