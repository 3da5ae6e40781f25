"""Miscompiles of reads and writes: one that is missing, one at the wrong place.

before -> after, each at the first product of the state:
  test-drop-store       vector.store %r, %out[%i, %j] : vector<8>      ->  nothing
                        vector.transfer_write %r, %t : vector<4x8>     ->  vector.transfer_write %r[0:3] : vector<3x8>
                        materialize_in_destination %r in %out : 8x8    ->  ... %r[0:7, :] in %out[0:7, :]
  test-swap-operands    vector.contract %a, %b, %c : 4x4               ->  vector.contract %b, %a, %c
                        tensor.extract_slice %a[%i, 0] [6, 8]          ->  tensor.extract_slice %a[0, %i] [6, 8]
                        arith.cmpi slt, %k, %c45                       ->  arith.cmpi slt, %c45, %k
  test-read-past-tile   vector.transfer_read %a[%i, %j] : vector<4x4>  ->  vector.transfer_read %a[%i, %j + 1]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.mlir import ir
from lowering.passes.common import slices
from lowering.passes.faults.fault import FUNCTIONS, Miscompile, counter, order, sources

Offsets = list[Any]  # ints and values, as in lowering.passes.common.slices
READS = frozenset(
    {"memref.load", "memref.subview", "tensor.extract", "tensor.extract_slice", "vector.load", "vector.transfer_read"}
)
LOADS = frozenset({"llvm.intr.masked.load", "llvm.load"})
WRITES = frozenset(
    {"llvm.intr.masked.store", "llvm.store", "memref.copy", "memref.store", "vector.store", "vector.transfer_write"}
)  # value, destination


@dataclass(frozen=True)
class DropStore(Miscompile):
    """Drops the first write to an output after a product; of a vector of rows or a tensor, only the last row."""

    name: ClassVar[str] = "test-drop-store"
    victim: ClassVar[str] = "a write to an argument after a product"

    def strikes(self, product: Any) -> bool:
        ops = order(product)
        for op in ops[ops.index(product) :]:
            if has_rows(op):
                return drop_vector_row(op)
            if op.name in WRITES and not op.results and is_argument(op.operands[1]):
                op.erase()
                return True
            if op.name == "bufferization.materialize_in_destination":
                return drop_row(op)
        return False


@dataclass(frozen=True)
class SwapOperands(Miscompile):
    """Swaps A with B, the last two offsets where one of them is read, or the operands of the loop's comparison."""

    name: ClassVar[str] = "test-swap-operands"
    victim: ClassVar[str] = "A and B of one type, a read at two offsets, or the comparison of a loop"

    def strikes(self, product: Any) -> bool:
        a, b = list(product.operands)[:2]
        if a.type == b.type and a != b and product.name.startswith(("linalg.", "vector.contract")):
            product.operands[0], product.operands[1] = b, a
            return True
        return moved(product, swapped) or swap_comparison(product)


@dataclass(frozen=True)
class ReadPastTile(Miscompile):
    """Moves one read of A or B by one element, so that it passes the end of its tile."""

    name: ClassVar[str] = "test-read-past-tile"
    victim: ClassVar[str] = "a read of A or B at an offset"

    def strikes(self, product: Any) -> bool:
        return moved(product, one_further) or next_address(product)


def is_argument(value: Any) -> bool:
    """Whether a buffer is one of the function's, or a part of it; a loop may carry it."""
    op = find.defining(value)
    if op is not None:
        return len(op.operands) > 0 and is_argument(op.operands[0])
    owner = value.owner.owner.operation
    if owner.name == "scf.for":
        return is_argument(owner.operands[2 + value.arg_number])
    return owner.name in FUNCTIONS


def has_rows(write: Any) -> bool:
    """Whether an op is a `vector.transfer_write` of several rows, without a mask."""
    if write.name != "vector.transfer_write" or len(write.operands) != 2 + len(find.shape(write.operands[1])):
        return False
    rows, *columns = find.shape(write.operands[0])
    return rows > 1 and bool(columns)


def drop_vector_row(write: Any) -> bool:
    """Writes a vector without its last row."""
    vector = write.operands[0]
    rows, *columns = find.shape(vector)
    kind, rank = ir.VectorType.get([rows - 1, *columns], vector.type.element_type), 1 + len(columns)
    with ir.InsertionPoint(write):
        cut = mlir.dialect("vector").extract_strided_slice(kind, vector, [0] * rank, list(kind.shape), [1] * rank)
        write.operands[0] = cut
    return True


def drop_row(op: Any) -> bool:
    """Writes a result without its last row, along the first axis that has more than one."""
    result, out = op.operands
    sizes = list(find.shape(result))
    axis = next((axis for axis, size in enumerate(sizes) if size > 1), None)
    if axis is None or len(list(out.uses)) > 1:  # other ops wrote the result in place
        return False
    sizes[axis] -= 1
    with ir.InsertionPoint(op):
        op.operands[0] = slices.extract(result, [0] * len(sizes), sizes)
        op.operands[1] = mlir.dialect("memref").subview(out, [0] * len(sizes), sizes, [1] * len(sizes))
    return True


def moved(product: Any, changes: Callable[[Offsets], Iterator[Offsets]]) -> bool:
    """Changes the offsets of the nearest read of A or B that stays legal IR with one of the changes."""
    for op in sources(list(product.operands)[:2]):
        if op.name not in READS:
            continue
        with ir.InsertionPoint(op):
            old = offsets(op)
            new = next((each for each in changes(old) if each != old and is_legal(op, each)), None)
        if new is not None:
            set_offsets(op, new)
            return True
    return False


def swapped(old: Offsets) -> Iterator[Offsets]:
    """The offsets with the last two in each other's place."""
    yield [*old[:-2], *old[:-3:-1]]


def one_further(old: Offsets) -> Iterator[Offsets]:
    """The offsets with one of them one further, the last one first."""
    for axis in reversed(range(len(old))):
        yield [*old[:axis], plus_one(old[axis]), *old[axis + 1 :]]


def plus_one(offset: Any) -> Any:
    """One more than an offset."""
    return offset + 1 if isinstance(offset, int) else mlir.dialect("arith").addi(offset, slices.as_index(1))


def is_legal(op: Any, new: Offsets) -> bool:
    """Whether a read may have these offsets: no slice is seen to end outside, no view has another type."""
    if "static_offsets" not in op.attributes:
        return True
    ends = zip(new, op.attributes["static_sizes"], find.shape(op.operands[0]), strict=True)
    inside = all(at + size <= extent for at, size, extent in ends if isinstance(at, int) and size >= 0 and extent >= 0)
    return inside and (op.name != "memref.subview" or not all(isinstance(at, int) for at in new))


def offsets(op: Any) -> Offsets:
    """The offsets at which an op reads its first operand."""
    values = list(op.operands)[1:]
    if "static_offsets" not in op.attributes:
        return values[: len(find.shape(op.operands[0]))]
    rest = iter(values)
    return [next(rest) if entry == slices.dynamic() else int(entry) for entry in op.attributes["static_offsets"]]


def set_offsets(op: Any, new: Offsets) -> None:
    """Changes the offsets of a read; as many of them are values as before."""
    values, static = slices.split(new)
    if "static_offsets" in op.attributes:
        op.attributes["static_offsets"] = ir.DenseI64ArrayAttr.get(static)
    for number, value in enumerate(values, start=1):
        op.operands[number] = value


def next_address(product: Any) -> bool:
    """Moves the nearest load of A or B through a pointer by one element."""
    load = next((op for op in sources(list(product.operands)[:2]) if op.name in LOADS), None)
    if load is None:
        return False
    kind = load.results[0].type
    element = kind.element_type if isinstance(kind, ir.VectorType) else kind
    with ir.InsertionPoint(load):
        further = mlir.dialect("llvm").GEPOp(load.operands[0].type, load.operands[0], [], [1], element, 0)
    load.operands[0] = further.results[0]
    return True


def swap_comparison(product: Any) -> bool:
    """Swaps what the loop without structure around a product compares."""
    comparison = counter(product)
    if comparison is None:
        return False
    low, high = comparison.operands
    comparison.operands[0], comparison.operands[1] = high, low
    return True
