"""What a payload may be: one public function, one contraction, tensors of known shape and supported type.

Each check raises a UserError that points at the place and says what would be accepted.
"""

from __future__ import annotations

from typing import Any

from lowering import find, mlir
from lowering.dtypes import DTYPES, ELEMENTS, OUTPUTS
from lowering.source import Source

MOST_DIMENSIONS = 6
ALLOWED = (
    "a problem is one contraction (linalg.matmul, linalg.batch_matmul, a linalg.generic) with a linalg.fill or a\n"
    "linalg.transpose before it and elementwise linalg ops after it, on tensors or on buffers"
)


def symbol(op: Any) -> str:
    """The symbol name of an op; empty where it has none."""
    attributes = op.operation.attributes
    return attributes["sym_name"].value if "sym_name" in attributes else ""


def visibility(op: Any) -> str:
    """public, private or nested; public where an op says nothing."""
    attributes = op.attributes
    return attributes["sym_visibility"].value if "sym_visibility" in attributes else "public"


def is_function(op: Any) -> bool:
    """Whether an op is a function, whatever its visibility."""
    return op.operation.name == "func.func"


def one_function(module: Any, source: Source) -> Any:
    """The one public function with a body."""
    functions = [op.operation for op in module.body.operations if is_function(op) and op.regions[0].blocks]
    public = [op for op in functions if visibility(op) == "public"]
    if not public:
        raise source.error("expected one public func.func at the top level, found none")
    if len(public) > 1:
        names = ", ".join(f"@{symbol(op)}" for op in public)
        message = f"expected one public function, found {len(public)} ({names}); make the others private"
        raise source.error(message, public[1].location)
    if len(public[0].regions[0].blocks) > 1:
        raise source.error("the function has control flow; a problem is straight-line code", public[0].location)
    return public[0]


def check_contractions(main: Any, source: Source) -> None:
    """That there is exactly one contraction; the error lists what was found."""
    found = find.contractions(main)
    if len(found) == 1:
        return
    if not found:
        ops = [op for op in mlir.walk(main, lambda op: op.operation.name.startswith("linalg.")) if op.regions]
        names = ", ".join(f"{op.name} (line {source.line(op.location)})" for op in ops)
        detail = f"its linalg ops are {names}" if names else "it has no linalg op"
        if any(op.name in ("linalg.matmul", "linalg.batch_matmul", "linalg.contract") for op in ops):
            detail += "; a result narrower than the operands casts the operands: narrow the result after it instead"
        raise source.error(f"@{symbol(main)} has no contraction: {detail}", main.location, (ALLOWED,))
    listed = [f"  line {source.line(op.location)}: {op.name} {describe(op)}" for op in found]
    raise source.error(f"expected one contraction, found {len(found)}:", "", tuple(listed))


def describe(op: Any) -> str:
    """The shape of a contraction, `BxMxNxK` as `--shape` takes it, and its element type."""
    dims, sizes = find.contraction_dims(op), find.loop_sizes(op)
    letters = {"B": dims.batch, "M": dims.m, "N": dims.n, "K": dims.k}
    used = {letter: loops for letter, loops in letters.items() if loops}
    shape = "x".join("?" if sizes[loop] < 0 else str(sizes[loop]) for loops in used.values() for loop in loops)
    return (
        f"{shape} ({'x'.join(letter for letter, loops in used.items() for _ in loops)}), {find.element(op.operands[0])}"
    )


def check_types(main: Any, source: Source) -> None:
    """That every tensor is ranked, static, not empty, of a supported element type, and buffers are row-major."""
    block = main.regions[0].blocks[0]
    for number, argument in enumerate(block.arguments):
        check_type(argument.type, f"argument {number}", argument.location, source)
    for op in mlir.walk(main, lambda op: op.operation.parent.operation == main):
        for result in op.results:
            check_type(result.type, f"the result of {op.name}", op.location, source)


def check_type(kind: Any, what: str, where: Any, source: Source) -> None:
    """UserError where a type is not one that a problem can have."""
    ir = mlir.ir
    if not isinstance(kind, ir.ShapedType):
        return
    if not kind.has_rank:
        raise source.error(f"{what} is {kind}: its rank must be known", where)
    for dim, size in enumerate(kind.shape):
        if kind.is_dynamic_dim(dim):
            raise source.error(f"dimension {dim} of {what} ({kind}) is dynamic: give it a size", where)
        if size == 0:
            raise source.error(f"dimension {dim} of {what} ({kind}) is zero: there is nothing to compute", where)
    if kind.rank > MOST_DIMENSIONS:
        raise source.error(
            f"{what} ({kind}) has {kind.rank} dimensions; at most {MOST_DIMENSIONS} are supported", where
        )
    dtype = str(kind.element_type)
    if dtype not in (*OUTPUTS, *ELEMENTS, "i1"):
        why = DTYPES[dtype].not_yet if dtype in DTYPES else f"use {', '.join(ELEMENTS)}"
        raise source.error(f"the element type {dtype} of {what} ({kind}) is not supported yet: {why}", where)
    if isinstance(kind, ir.RankedTensorType) and kind.encoding is not None:
        raise source.error(f"{what} ({kind}) has an encoding; only dense tensors are supported", where)
    if isinstance(kind, ir.MemRefType) and not plain(kind):
        raise source.error(f"{what} ({kind}) must be row-major, without a layout or a memory space", where)


def plain(kind: Any) -> bool:
    """Whether a memref is row-major in the default memory space."""
    return kind.memory_space is None and kind.affine_map == mlir.ir.AffineMap.get_identity(kind.rank)
