"""How a pass finds its op: by structure, then by `lower.role`, never by position or SSA name.

A contraction is a linalg op with two inputs, one accumulator, at least one reduction loop and a body that adds the
product of its (possibly widened) inputs to the accumulator. As it is lowered it becomes `vector.contract`, and its K
loop is the `scf.for` whose induction variable reaches A and B but not the accumulator.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lowering import mlir
from lowering.core import PassError

ROLE = "lower.role"  # the discardable attribute on loops and buffers
WIDENING = frozenset({"arith.extf", "arith.extsi", "arith.extui", "arith.sitofp", "arith.uitofp"})
SUMS = {"arith.addf": "arith.mulf", "arith.addi": "arith.muli"}


@dataclass(frozen=True)
class Dims:
    """Loop dimensions of a contraction, by what they index; in loop order."""

    batch: tuple[int, ...]
    m: tuple[int, ...]
    n: tuple[int, ...]
    k: tuple[int, ...]


def contraction(root: Any) -> Any:
    """The one linalg contraction under `root`. Raises PassError where there is none or more than one."""
    return only(contractions(root), "a linalg contraction (two inputs, a reduction loop, a multiply-add body)", root)


def contractions(root: Any) -> list[Any]:
    """All linalg contractions under `root`, on tensors or on buffers."""
    return mlir.walk(root, is_contraction)


def vector_contract(root: Any) -> Any:
    """The one `vector.contract` under `root`. Raises PassError where there is none or more than one."""
    return only(vector_contracts(root), "a vector.contract", root)


def vector_contracts(root: Any) -> list[Any]:
    """All `vector.contract` ops under `root`."""
    return mlir.walk(root, lambda op: op.operation.name == "vector.contract")


def only(found: list[Any], what: str, root: Any) -> Any:
    """The single element of `found`; PassError that says `what` was looked for otherwise."""
    if len(found) == 1:
        return found[0]
    if not found:
        raise PassError(f"looked for {what} and found none{hint(root)}", root.operation.name)
    places = ", ".join(sorted({op.name for op in found}))
    raise PassError(f"looked for {what} and found {len(found)} ({places})", root.operation.name)


def hint(root: Any) -> str:
    """What has become of the contraction, where that can be seen."""
    for name in ("vector.contract", "vector.fma", "vector.outerproduct", "gpu.launch_func", "llvm.func"):
        if mlir.walk(root, lambda op, name=name: op.operation.name == name):
            return f"; this state is already lowered to {name}"
    return ""


def is_contraction(op: Any) -> bool:
    """Whether `op` is a linalg contraction: structure only, so named ops and generics alike."""
    op = op.operation
    if not op.name.startswith("linalg.") or len(op.regions) != 1 or not op.regions[0].blocks:
        return False
    return len(op.operands) == 3 and has_multiply_add(op.regions[0].blocks[0]) and bool(reduction_dims(op))


def has_multiply_add(block: Any) -> bool:
    """Whether a body with arguments (a, b, c) yields c + widen(a) * widen(b), in any order of operands."""
    ops = [op.operation for op in block.operations]
    if len(block.arguments) != 3 or not ops or ops[-1].name != "linalg.yield" or len(ops[-1].operands) != 1:
        return False
    a, b, c = block.arguments
    add = defining(ops[-1].operands[0])
    if add is None or add.name not in SUMS:
        return False
    terms = [value for value in add.operands if value != c]
    product = defining(terms[0]) if len(terms) == 1 else None
    if product is None or product.name != SUMS[add.name]:
        return False
    sources = [unwidened(value) for value in product.operands]
    return sources in ([a, b], [b, a])


def unwidened(value: Any) -> Any:
    """The value before the casts that widened it."""
    op = defining(value)
    while op is not None and op.name in WIDENING:
        value = op.operands[0]
        op = defining(value)
    return value


def defining(value: Any) -> Any | None:
    """The op that makes a value; None for a block argument."""
    return None if isinstance(value, mlir.ir.BlockArgument) else value.owner.operation


def maps(op: Any) -> list[Any]:
    """The indexing maps of a linalg op or a `vector.contract`, named ops included."""
    if op.operation.name == "vector.contract":
        found = op.operation.attributes["indexing_maps"]
    else:
        found = mlir.dialect("linalg").get_indexing_maps(op.operation)
    return [attribute.value for attribute in found or ()]


def positions(affine_map: Any) -> list[int | None]:
    """The loop dimension of each result of a projected permutation; None for a constant."""
    return [result.position if isinstance(result, mlir.ir.AffineDimExpr) else None for result in affine_map.results]


def reduction_dims(op: Any) -> tuple[int, ...]:
    """The loops of a linalg op that its output does not depend on."""
    found = maps(op)
    if not found or not all(simple(each) for each in found):
        return ()
    written = set(positions(found[-1]))
    return tuple(dim for dim in range(found[-1].n_dims) if dim not in written)


def simple(affine_map: Any) -> bool:
    """Whether every result of a map is a loop dimension or the constant 0, no loop twice."""
    dims = [dim for dim in positions(affine_map) if dim is not None]
    others = [result for result in affine_map.results if not isinstance(result, mlir.ir.AffineDimExpr)]
    zeros = all(isinstance(result, mlir.ir.AffineConstantExpr) and result.value == 0 for result in others)
    return zeros and len(dims) == len(set(dims))


def contraction_dims(op: Any) -> Dims:
    """The loops of a contraction (linalg op or `vector.contract`), classified by which of A, B, C they index."""
    a, b, c = (set(positions(each)) for each in maps(op))
    loops = range(maps(op)[-1].n_dims)
    return Dims(
        batch=tuple(d for d in loops if d in a and d in b and d in c),
        m=tuple(d for d in loops if d in a and d not in b and d in c),
        n=tuple(d for d in loops if d not in a and d in b and d in c),
        k=tuple(d for d in loops if d not in c),
    )


def largest(loops: Sequence[int], sizes: Sequence[int]) -> int:
    """The loop of a class that has the most trips, the innermost of equals; one of dynamic size counts as one trip."""
    return max(loops, key=lambda dim: (abs(sizes[dim]), dim))


def kernel_loops(dims: Dims, sizes: Sequence[int], written: Sequence[int | None]) -> tuple[int, int, int]:
    """The loops that the x86 passes tile, as rows, columns and depth; `written` are the loops that index C, in order.

    Columns are contiguous in C: an n loop, or where C is stored transposed an m loop, and the rows are of the other
    class. Rows and depth are the largest of theirs. Every class has to have a loop.
    """
    columns = next(dim for dim in reversed(written) if dim is not None and dim not in dims.batch)
    return largest(dims.n if columns in dims.m else dims.m, sizes), columns, largest(dims.k, sizes)


def loop_sizes(op: Any) -> tuple[int, ...]:
    """The trip counts of a linalg op's loops, read from the shapes of its operands."""
    found = maps(op)
    sizes = [1] * found[-1].n_dims
    for value, affine_map in zip(op.operation.operands, found, strict=True):
        for dim, size in zip(positions(affine_map), shape(value), strict=True):
            if dim is not None:
                sizes[dim] = size
    return tuple(sizes)


def shape(value: Any) -> tuple[int, ...]:
    """The shape of a tensor, memref or vector value; () for a scalar."""
    return tuple(value.type.shape) if isinstance(value.type, mlir.ir.ShapedType) else ()


def element(value: Any) -> str:
    """The element type of a value, as MLIR spells it."""
    return str(value.type.element_type if isinstance(value.type, mlir.ir.ShapedType) else value.type)


def roles(root: Any, role: str) -> list[Any]:
    """The ops under `root` whose `lower.role` is `role`."""
    return mlir.walk(root, lambda op: role_of(op) == role)


def role_of(op: Any) -> str:
    """The `lower.role` of an op; empty where it has none."""
    attributes = op.operation.attributes
    return str(attributes[ROLE].value) if ROLE in attributes else ""


def set_role(op: Any, role: str) -> None:
    """Marks an op with its role."""
    with mlir.context():
        op.operation.attributes[ROLE] = mlir.ir.StringAttr.get(role)


def k_loop(root: Any) -> Any:
    """The innermost `scf.for` over K: its induction variable reaches A and B but not C; else `lower.role` is k."""
    found: list[Any] = []
    for op in (*contractions(root), *vector_contracts(root)):
        loop = next((each for each in parents(op) if each.name == "scf.for" and steps_k(each, op)), None)
        if loop is not None and loop not in found:
            found.append(loop)
    return only(found or roles(root, "k"), "a K loop (an scf.for that steps A and B but not the accumulator)", root)


def steps_k(loop: Any, op: Any) -> bool:
    """Whether the loop's induction variable moves both inputs of the contraction but not its accumulator."""
    step = loop.regions[0].blocks[0].arguments[0]
    a, b, c = (step in reaching(value, loop) for value in list(op.operands)[:3])
    return a and b and not c


def reaching(value: Any, inside: Any) -> set[Any]:
    """All values that `value` is computed from by ops inside a loop; stops at block arguments."""
    seen: set[Any] = set()
    pending = [value]
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        op = defining(current)
        if op is not None and inside in parents(op):
            pending.extend(op.operands)
    return seen


def parents(op: Any) -> Iterable[Any]:
    """The ops around an op, innermost first."""
    parent = op.operation.parent
    while parent is not None:
        yield parent.operation
        parent = parent.operation.parent
