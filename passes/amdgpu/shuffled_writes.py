"""The other way to write what a wave's lanes hold: through workgroup memory, so that a store fills whole lines.

before:  transfer_write %piece, %C[%i + %lane mod 16, %j + 8 * (%lane floordiv 16)]     // 16 rows, 64 bytes of each
after:   gpu.barrier                                                    // the tiles of A and B are read no more
         store %piece, %w[PLACE(%lane mod 16, 8 * (%lane floordiv 16))] // in a part of %w that is this wave's own
         %row = load %w[PLACE(%lane floordiv 8, 8 * (%lane mod 8))]
         transfer_write %row, %C[%i + %lane floordiv 8, %j + 8 * (%lane mod 8)]         // 8 rows, 128 bytes of each

What one instruction has of rows goes through at once, and then the next. The hardware does a wave's accesses of
workgroup memory in their order, so that its own need no barriers; the compiler is told where lanes meet. The memory is
a buffer of the tiles that has the written type, where there is one that is large enough (a swizzle of it holds here
too), and a new one otherwise.
"""

from __future__ import annotations

from typing import Any, Protocol

from lowering import find, mlir
from lowering.core import PassError
from lowering.mlir import ir
from lowering.passes.amdgpu.matrix_layout import LANES, Layout
from lowering.passes.common.slices import apply
from lowering.passes.gpu.index import launch_of, linear
from lowering.passes.gpu.promote import VECTOR_BYTES, WORKGROUP, attribution
from lowering.passes.gpu.swizzle import buffers

ACQUIRE, RELEASE = 4, 5  # of LLVM's atomic orderings
Axes = tuple[str | None, ...]


class Wave(Protocol):
    """What a wave's lanes hold of a result, as `map-lanes` knows it."""

    @property
    def layout(self) -> Layout:
        """Which lane holds what."""
        ...

    along: str  # the axis of C that a lane's runs lie along: m or n
    across: str
    runs: int
    second_tiles: int

    def piece(self, value: Any, axes: Axes, key: tuple[int, int]) -> Any:
        """A lane's run of a value."""
        ...

    def write_piece(self, op: Any, value: Any, axes: Axes, at: dict[str, tuple[Any, int]]) -> None:
        """Writes a part of what a write is of."""
        ...


def shuffled(wave: Wave, op: Any, axes: Axes) -> None:
    """Writes a wave's value as whole rows. Raises PassError where rows are none of whole pieces."""
    value = op.operands[0]
    if not axes or axes[-1] != wave.along or find.positions(op.attributes["permutation_map"].value)[-1] is None:
        raise PassError("the runs of lanes do not lie along the rows of what is written", str(op.location))
    element = value.type.element_type
    extent, rows, piece = wave.runs * wave.layout.span, wave.layout.tile, VECTOR_BYTES * 8 // element.width
    if extent % piece or rows * extent // piece % LANES:
        raise PassError(f"{rows} rows of {extent} elements are no whole pieces for {LANES} lanes", str(op.location))
    launch, vector = launch_of(op), mlir.dialect("vector")
    assert launch is not None
    waves = linear(launch.operands[3]).constant // LANES
    buffer, width = scratch(launch, element, waves * rows * extent, extent)
    thread, lane = ir.AffineExpr.get_dim(0), ir.AffineExpr.get_dim(0)
    within = ir.AffineExpr.get_mod(thread, LANES)

    def place(row: Any, column: Any) -> list[Any]:
        at = ir.AffineExpr.get_floor_div(thread, LANES) * (rows * extent) + row * extent + column
        parts = (ir.AffineExpr.get_floor_div(at, width), ir.AffineExpr.get_mod(at, width))
        return [apply(each, [launch.regions[0].blocks[0].arguments[3]]) for each in parts]

    def row_of(number: Any) -> Any:
        return ir.AffineExpr.get_floor_div(number, extent // piece)

    def column_of(number: Any) -> Any:
        return ir.AffineExpr.get_mod(number, extent // piece) * piece

    held = ir.VectorType.get([wave.layout.width], element)
    whole = ir.VectorType.get([piece], element)
    with ir.InsertionPoint(op):
        mlir.dialect("gpu").BarrierOp()
        for tile in range(wave.second_tiles):
            for run in range(wave.runs):
                own = vector.ShapeCastOp(held, wave.piece(value, axes, (run, tile))).result
                row, column = wave.layout.second_row(0, within), wave.layout.run_start(run, within)
                for first in range(0, wave.layout.width, piece):
                    vector.StoreOp(part(own, first, piece), buffer, place(row, column + first))
            meet()
            for first in range(0, rows * extent // piece, LANES):
                loaded = vector.LoadOp(whole, buffer, place(row_of(within + first), column_of(within + first))).result
                along, across = (column_of(lane + first), piece), (row_of(lane + first) + tile * rows, 1)
                wave.write_piece(op, loaded, axes, {wave.along: along, wave.across: across})
            meet()


def meet() -> None:
    """Lets the lanes of a wave meet; this becomes no instruction.

    LLVM looks at one lane: without the fences it moves accesses past each other that meet in other lanes, and without
    the barrier, which is convergent, into branches that some lanes take first.
    """
    llvm = mlir.dialect("llvm")
    i64 = ir.IntegerType.get_signless(64)
    llvm.FenceOp(ir.IntegerAttr.get(i64, RELEASE), syncscope="wavefront")
    mlir.dialect("rocdl").WaveBarrierOp()
    llvm.FenceOp(ir.IntegerAttr.get(i64, ACQUIRE), syncscope="wavefront")


def part(value: Any, first: int, count: int) -> Any:
    """At most so many neighbouring elements of a vector of one dimension."""
    if count >= value.type.shape[0]:
        return value
    kind = ir.VectorType.get([count], value.type.element_type)
    return mlir.dialect("vector").ExtractStridedSliceOp(kind, value, [first], [count], [1]).result


def scratch(launch: Any, element: Any, count: int, extent: int) -> tuple[Any, int]:
    """A workgroup buffer of so many elements, and how many of a row of it are used."""
    piece = VECTOR_BYTES * 8 // element.width
    for buffer in buffers(launch):
        if buffer.type.element_type != element or len(buffer.type.shape) != 2:
            continue
        height, length = buffer.type.shape
        used = used_of(length, extent, piece)
        if height * used >= count:
            return buffer, used
    kind = ir.MemRefType.get([count // extent, extent], element, memory_space=ir.Attribute.parse(WORKGROUP))
    return attribution(launch, kind), extent


def used_of(length: int, extent: int, piece: int) -> int:
    """How many elements of a buffer's row are used for rows of an extent: whole ones, or a whole part of one."""
    parts = (n for n in range(piece, length + 1, piece) if extent % n == 0)
    return length // extent * extent or max(parts, default=0)
