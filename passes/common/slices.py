"""Unit-stride slices and padding of tensors, with sizes and offsets that may be static (int) or SSA values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowering import mlir

ir = mlir.ir
Size = Any  # an int, or an SSA value of index type


def as_index(value: int) -> Any:
    """An index constant at the insertion point."""
    arith = mlir.dialect("arith")
    return arith.constant(ir.IndexType.get(), value)


def zero(element: Any) -> Any:
    """The zero attribute of a type."""
    return ir.FloatAttr.get(element, 0.0) if isinstance(element, ir.FloatType) else ir.IntegerAttr.get(element, 0)


def dynamic() -> int:
    """MLIR's sentinel for a dynamic size."""
    return int(ir.ShapedType.get_dynamic_size())


def split(values: Sequence[Size]) -> tuple[list[Any], list[int]]:
    """The dynamic values, and the static list with a sentinel for each of them."""
    return [v for v in values if not isinstance(v, int)], [v if isinstance(v, int) else dynamic() for v in values]


def sizes_of(value: Any) -> list[Size]:
    """The sizes of a tensor: ints where static, the sizes of the slice it is, `tensor.dim` otherwise."""
    shape = list(value.type.shape)
    owner = None if isinstance(value, ir.BlockArgument) else value.owner.operation
    if owner is not None and owner.name == "tensor.extract_slice":
        return kept_sizes(sizes_of_slice(owner), shape)
    tensor = mlir.dialect("tensor")
    return [n if n >= 0 else tensor.dim(value, as_index(axis)) for axis, n in enumerate(shape)]


def kept_sizes(sizes: list[Size], shape: Sequence[int]) -> list[Size]:
    """The sizes of a slice without the ones that its rank-reduced type drops."""
    kept: list[Size] = []
    spare = len(sizes) - len(shape)
    for size in sizes:
        wanted = shape[len(kept)] if len(kept) < len(shape) else None
        if spare and size == 1 and wanted != 1:
            spare -= 1
            continue
        kept.append(size)
    return kept[: len(shape)] if not spare else kept[spare:]


def extract(source: Any, offsets: Sequence[Size], sizes: Sequence[Size], drop: Sequence[int] = ()) -> Any:
    """`tensor.extract_slice`, without the axes of `drop` (whose size is one)."""
    kept = [n if isinstance(n, int) else dynamic() for axis, n in enumerate(sizes) if axis not in drop]
    result = ir.RankedTensorType.get(kept, source.type.element_type)
    at, extent, ones = split(offsets), split(sizes), [1] * len(sizes)
    op = mlir.dialect("tensor").ExtractSliceOp(result, source, at[0], extent[0], [], at[1], extent[1], ones)
    return op.results[0]


def insert(source: Any, into: Any, offsets: Sequence[Size], sizes: Sequence[Size]) -> Any:
    """`tensor.insert_slice`; axes of size one may be absent from `source`."""
    at, extent, ones = split(offsets), split(sizes), [1] * len(sizes)
    op = mlir.dialect("tensor").InsertSliceOp(source, into, at[0], extent[0], [], at[1], extent[1], ones)
    return op.results[0]


def padded(value: Any, wanted: Sequence[int | None]) -> Any:
    """A tensor padded with zeros at the high end to the wanted sizes (None: as it is)."""
    high = [extra(size, full) for size, full in zip(sizes_of(value), wanted, strict=True)]
    if all(isinstance(amount, int) and amount == 0 for amount in high):
        return value
    shape = [n if full is None else full for n, full in zip(list(value.type.shape), wanted, strict=True)]
    element = value.type.element_type
    values, static = split(high)
    tensor, nothing = mlir.dialect("tensor"), mlir.dialect("arith").constant(element, zero(element))
    pad = tensor.PadOp(ir.RankedTensorType.get(shape, element), value, [], values, [0] * len(shape), static)
    block = ir.Block.create_at_start(pad.operation.regions[0], [ir.IndexType.get()] * len(shape))
    with ir.InsertionPoint(block):
        tensor.yield_(nothing)
    return pad.results[0]


def extra(size: Size, full: int | None) -> Size:
    """What is missing from a size to the full one."""
    if full is None:
        return 0
    return full - size if isinstance(size, int) else apply(constant(full) - dim(0), [size])


def apply(expression: Any, operands: Sequence[Any]) -> Any:
    """`affine.apply` of an expression in as many dimensions as there are operands."""
    affine = mlir.dialect("affine")
    return affine.apply(ir.AffineMap.get(len(operands), 0, [expression]), list(operands))


def minimum(expressions: Sequence[Any], operands: Sequence[Any]) -> Any:
    """`affine.min` of expressions in as many dimensions as there are operands."""
    affine = mlir.dialect("affine")
    return affine.min(ir.AffineMap.get(len(operands), 0, list(expressions)), list(operands))


def dim(number: int) -> Any:
    """The affine expression of a dimension."""
    return ir.AffineExpr.get_dim(number)


def constant(value: int) -> Any:
    """A constant affine expression."""
    return ir.AffineExpr.get_constant(value)


def as_value(size: Size) -> Any:
    """A size as an SSA value."""
    return as_index(size) if isinstance(size, int) else size


def upper_bound(size: Size) -> int | None:
    """The largest value of a size: itself, or the constant among the results of the `affine.min` that makes it."""
    if isinstance(size, int):
        return size
    owner = None if isinstance(size, ir.BlockArgument) else size.owner.operation
    if owner is None or owner.name != "affine.min":
        return None
    bounds = [int(r.value) for r in owner.attributes["map"].value.results if isinstance(r, ir.AffineConstantExpr)]
    return min(bounds, default=None)


def sizes_of_slice(cut: Any) -> list[Size]:
    """The sizes of an `extract_slice` as ints and values."""
    offsets = [int(entry) for entry in cut.attributes["static_offsets"]]
    values = iter(list(cut.operands)[1 + offsets.count(dynamic()) :])
    return [next(values) if entry == dynamic() else int(entry) for entry in cut.attributes["static_sizes"]]


def bounds_of(value: Any) -> list[int | None]:
    """The upper bounds of a tensor's sizes, without creating an op; None where there is none."""
    shape = list(value.type.shape)
    owner = None if isinstance(value, ir.BlockArgument) else value.owner.operation
    sliced = owner is not None and owner.name == "tensor.extract_slice"
    sizes = kept_sizes(sizes_of_slice(owner), shape) if sliced else [n if n >= 0 else None for n in shape]
    return [None if size is None else upper_bound(size) for size in sizes]
