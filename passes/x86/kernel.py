"""How the x86 passes see a contraction: C[m,n] += A[m,k] * B[k,n], with n the dimension that is contiguous in C.

Vector lanes run along n. Where C is stored transposed, m and n and with them A and B change places; so 'A' here is the
operand that is broadcast and 'B' the one that is loaded as vectors, whatever their order in the op.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lowering import find
from lowering.core import PassError


@dataclass(frozen=True)
class Kernel:
    """A contraction op with its loops named: one m, n and k, and all `others`; `a` and `b` are operand numbers."""

    op: Any
    m: int
    n: int
    k: int
    others: tuple[int, ...]
    a: int
    b: int

    @property
    def loops(self) -> int:
        """The number of loops."""
        return len(self.others) + 3

    def axes(self, operand: int) -> list[int | None]:
        """The loop dimension of each axis of an operand."""
        return find.positions(find.maps(self.op)[operand])

    def axis(self, operand: int, loop: int) -> int:
        """The axis of an operand that a loop dimension indexes."""
        return self.axes(operand).index(loop)

    def size(self, loop: int) -> int:
        """A loop's trip count; negative where it is not static."""
        return find.loop_sizes(self.op)[loop]


def kernels(module: Any) -> list[Kernel]:
    """All contractions of a module that have an m, an n and a k. Raises PassError where there is none."""
    found = [kernel(op) for op in find.contractions(module)]
    if not found:
        find.contraction(module)  # says what it looked for
    return found


def the_kernel(module: Any) -> Kernel:
    """The one contraction of a module."""
    return kernel(find.contraction(module))


def only_kernel(state: Any) -> Kernel | None:
    """The one contraction of a state; None where there is none, or more than one, or no matrix product."""
    found = find.contractions(state)
    if len(found) != 1:
        return None
    dims = find.contraction_dims(found[0])
    return kernel(found[0]) if dims.m and dims.n and dims.k else None


def kernel(op: Any) -> Kernel:
    """A contraction with its loops named; PassError where it has no m, n or k dimension (a product with a vector)."""
    dims = find.contraction_dims(op)
    if not (dims.m and dims.n and dims.k):
        raise PassError(
            f"looked for a contraction with an m, an n and a k dimension, found {op.name} with {dims}", op.name
        )
    sizes = find.loop_sizes(op)
    m, n, k = find.kernel_loops(dims, sizes, find.positions(find.maps(op)[2]))
    others = tuple(dim for dim in range(len(sizes)) if dim not in (m, n, k))
    swapped = n in dims.m
    return Kernel(op, m, n, k, others, int(swapped), int(not swapped))


def two_dimensional(module: Any) -> list[Kernel]:
    """All contractions of a module; PassError where one still has loops besides m, n and k."""
    found = kernels(module)
    for each in found:
        if each.others:
            raise PassError(
                "expected a contraction of m, n and k only: run tile-cache and drop-outer-dims before", each.op.name
            )
    return found


def accumulator_type(op: Any) -> Any:
    """The element type of C."""
    return op.operands[2].type.element_type


def is_a(value: Any, name: str) -> Any | None:
    """The op that makes a value where it is of that name, otherwise None."""
    op = find.defining(value)
    return op if op is not None and op.name == name else None
