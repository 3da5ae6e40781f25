"""pack: an operand of the register kernels is copied once per cache block into panels that the K loop reads in order.

before -> after (operand=a, mr = 6; for operand=b read n and nr):
  %a = ...cache block : tensor<?x?xf16>
  for ... { %t = tensor.extract_slice %a[i, 0][6, k]; linalg.generic {(m,k), ...} ins(%t, ...) { extf ... } }
->
  %p0 = tensor.empty() : tensor<16x128x6xf32>                                  // panel, k, lane
  %p = scf.for %q = 0 to ceil(m / 6) {                                        // role "pack-a"
    linalg.generic ins(%a[6q:+6, :]) outs(%p0[q, :, :]) { extf }              // transposes and widens
  }
  for ... { %t = tensor.extract_slice %p[i / 6, 0, 0][1, k, 6]; linalg.generic {(k,m), ...} ins(%t, ...) }

The lanes beyond the edge of the block are zero, so a padded edge tile reads a whole panel. Elements are widened to the
accumulator's type here, once, instead of in the K loop (`widen=false` keeps them narrow).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.passes.common import slices
from lowering.passes.x86.kernel import Kernel, accumulator_type, is_a, only_kernel, two_dimensional

ir = mlir.ir


@dataclass(frozen=True)
class Source:
    """Where an operand comes from: the cache block, the lane it starts at (None: zero), and its lane and k axes."""

    block: Any
    start: Any | None
    lane: int
    depth: int


@dataclass(frozen=True)
class Pack(Pass):
    """Packs one operand of the one contraction, in panels of the size of its register tile."""

    name: ClassVar[str] = "pack"
    operand: Literal["a", "b"] = "a"
    widen: bool = True

    def apply(self, module: Any) -> None:
        found = two_dimensional(module)
        if len(found) != 1:
            raise PassError(f"expected one contraction, found {len(found)}: run pack before peel", found[0].op.name)
        kernel = found[0]
        if kernel.op.name != "linalg.generic":
            raise PassError("expected a linalg.generic: run generalize-contraction before", kernel.op.name)
        if find.roles(module, f"pack-{self.operand}"):
            raise PassError(f"operand {self.operand} is packed already: its panels are no cache block", kernel.op.name)
        with mlir.scope():
            self.pack(kernel)
        mlir.run(module, "canonicalize,cse,loop-invariant-code-motion,canonicalize,cse")

    def pack(self, kernel: Kernel) -> None:
        """Emits the packing loop after the definition of the cache block, and lets the kernel read a panel."""
        number, loop = (kernel.a, kernel.m) if self.operand == "a" else (kernel.b, kernel.n)
        source = source_of(kernel, number, loop)
        width = panel_width(kernel, number, loop)
        narrow = source.block.type.element_type
        element = accumulator_type(kernel.op) if self.widen else narrow
        with after(source.block):
            packed = packing_loop(source, width, element, body_cast(kernel, number), f"pack-{self.operand}")
        with ir.InsertionPoint(kernel.op):
            panel = panel_slice(kernel, number, loop, source, packed, width)
        read_panel(kernel, number, loop, panel)

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """Either operand that is not packed yet, widened and, where its elements are narrower than C's, as they are."""
        kernel = only_kernel(state)
        if kernel is None or kernel.others or kernel.op.name != "linalg.generic":
            return
        if not find.roles(state, "ir") or find.roles(state, "k"):
            return
        operands: tuple[tuple[Literal["a", "b"], int], ...] = (("b", kernel.b), ("a", kernel.a))
        for operand, number in operands:
            if not find.roles(state, f"pack-{operand}"):
                yield cls(operand)
                if find.element(kernel.op.operands[number]) != str(accumulator_type(kernel.op)):
                    yield cls(operand, widen=False)


def source_of(kernel: Kernel, number: int, loop: int) -> Source:
    """Traces an operand through padding and slice to the cache block. Raises PassError where k is sliced too."""
    value = kernel.op.operands[number]
    pad = is_a(value, "tensor.pad")
    value = pad.operands[0] if pad is not None else value
    lane, depth = kernel.axis(number, loop), kernel.axis(number, kernel.k)
    cut = is_a(value, "tensor.extract_slice")
    around = None if cut is None else next((p for p in find.parents(cut) if find.role_of(p) in ("ir", "jr")), None)
    if cut is None or around is None or len(cut.operands[0].type.shape) != 2:
        return Source(value, None, lane, depth)
    offsets = mixed(cut, "static_offsets", 1)
    if offsets[depth] != 0:
        raise PassError("the operand is sliced along k: run pack before tile-k", cut.name)
    if offsets[lane] != 0 and not isinstance(offsets[lane], ir.BlockArgument):
        raise PassError("the operand's slice does not begin where its register tile does", cut.name)
    return Source(cut.operands[0], None if offsets[lane] == 0 else offsets[lane], lane, depth)


def mixed(cut: Any, name: str, first: int) -> list[Any]:
    """The offsets of a slice as ints and values; `first` is the number of its first dynamic operand."""
    values = iter(list(cut.operands)[first:])
    return [next(values) if entry == slices.dynamic() else int(entry) for entry in cut.attributes[name]]


def panel_width(kernel: Kernel, number: int, loop: int) -> int:
    """The lanes of a panel: the static size of the register tile, or the constant bound of a dynamic one."""
    value = kernel.op.operands[number]
    axis = kernel.axis(number, loop)
    if value.type.shape[axis] >= 0:
        return int(value.type.shape[axis])
    cut = is_a(value, "tensor.extract_slice")
    sizes = [] if cut is None else slices.sizes_of_slice(cut)
    width = slices.upper_bound(sizes[axis]) if sizes else None
    if width is None:
        raise PassError("expected a register tile with a bounded size: run tile-registers before", kernel.op.name)
    return width


def body_cast(kernel: Kernel, number: int) -> str | None:
    """The op in the contraction's body that widens an operand's element, if any."""
    argument = kernel.op.regions[0].blocks[0].arguments[number]
    users = [use.owner.name for use in argument.uses]
    return users[0] if users and users[0] in find.WIDENING else None


def after(value: Any) -> Any:
    """The insertion point after a value's definition."""
    if isinstance(value, ir.BlockArgument):
        return ir.InsertionPoint.at_block_begin(value.owner)
    return ir.InsertionPoint.after(value.owner.operation)


def packing_loop(source: Source, width: int, element: Any, cast: str | None, role: str) -> Any:
    """The loop that fills the panels; returns the packed tensor, panels x k x lanes."""
    scf = mlir.dialect("scf")
    sizes = slices.sizes_of(source.block)
    lanes, depth = sizes[source.lane], sizes[source.depth]
    dest = empty_panels(lanes, depth, width, element)
    loop = scf.ForOp(slices.as_value(0), slices.as_value(lanes), slices.as_value(width), [dest])
    find.set_role(loop, role)
    with ir.InsertionPoint(loop.body):
        lane, panels = loop.induction_variable, loop.inner_iter_args[0]
        rows = rows_left(lane, lanes, width)
        offsets, extent = [0, 0], [depth, depth]
        offsets[source.lane], extent[source.lane] = lane, rows
        cut = slices.extract(source.block, offsets, extent)
        panel = slices.apply(ir.AffineExpr.get_floor_div(slices.dim(0), slices.constant(width)), [lane])
        into = slices.extract(panels, [panel, 0, 0], [1, depth, rows], drop=(0,))
        panels = slices.insert(copy(cut, into, source, cast, role), panels, [panel, 0, 0], [1, depth, rows])
        if not isinstance(rows, int):
            panels = zero_lanes(panels, panel, depth, rows, width)
        scf.yield_([panels])
    return loop.results[0]


def rows_left(lane: Any, lanes: Any, width: int) -> Any:
    """The lanes of the panel that starts at `lane`: an int where every panel is full."""
    if isinstance(lanes, int) and lanes % width == 0:
        return width
    if isinstance(lanes, int):
        return slices.minimum([slices.constant(width), slices.constant(lanes) - slices.dim(0)], [lane])
    return slices.minimum([slices.constant(width), slices.dim(1) - slices.dim(0)], [lane, lanes])


def empty_panels(lanes: Any, depth: Any, width: int, element: Any) -> Any:
    """The tensor of the panels, at its largest size, so that one static buffer serves every block."""
    most, deep = slices.upper_bound(lanes), slices.upper_bound(depth)
    panels = (
        slices.apply(ir.AffineExpr.get_ceil_div(slices.dim(0), slices.constant(width)), [lanes]) if most is None else 0
    )
    shape = [panels if most is None else -(-most // width), depth if deep is None else deep, width]
    return mlir.dialect("tensor").empty(shape, element)


def zero_lanes(panels: Any, panel: Any, depth: Any, rows: Any, width: int) -> Any:
    """Zeros in the lanes of a panel beyond its rows: none of a full one, which makes this step fold away."""
    element = panels.type.element_type
    missing = slices.apply(slices.constant(width) - slices.dim(0), [rows])
    cut = slices.extract(panels, [panel, 0, rows], [1, depth, missing], drop=(0,))
    nothing = mlir.dialect("arith").constant(element, slices.zero(element))
    fill = mlir.dialect("linalg").fill(nothing, outs=[cut])
    return slices.insert(fill, panels, [panel, 0, rows], [1, depth, missing])


def copy(cut: Any, into: Any, source: Source, cast: str | None, role: str) -> Any:
    """The generic that transposes (and widens) a slice of the block into a panel: loops k, lane."""
    order = [slices.dim(0), slices.dim(1)] if source.depth == 0 else [slices.dim(1), slices.dim(0)]
    maps = [ir.AffineMap.get(2, 0, order), ir.AffineMap.get_identity(2)]
    kinds = ir.ArrayAttr.get([ir.Attribute.parse("#linalg.iterator_type<parallel>")] * 2)
    attributes = {
        "indexing_maps": ir.ArrayAttr.get([ir.AffineMapAttr.get(m) for m in maps]),
        "iterator_types": kinds,
        "operandSegmentSizes": ir.DenseI32ArrayAttr.get([1, 1]),
        find.ROLE: ir.StringAttr.get(role),
    }
    op = ir.Operation.create("linalg.generic", [into.type], [cut, into], attributes, regions=1)
    types = [cut.type.element_type, into.type.element_type]
    block = ir.Block.create_at_start(op.regions[0], types)
    with ir.InsertionPoint(block):
        value = block.arguments[0]
        if types[0] != types[1]:
            value = ir.Operation.create(cast or "arith.extf", [types[1]], [value]).results[0]
        mlir.dialect("linalg").YieldOp([value])
    return op.results[0]


def panel_slice(kernel: Kernel, number: int, loop: int, source: Source, packed: Any, width: int) -> Any:
    """The panel of a register tile: k x lanes."""
    value = kernel.op.operands[number]
    lanes = slices.sizes_of(value)[kernel.axis(number, loop)]
    depth = slices.sizes_of(source.block)[source.depth]
    panel: Any = 0
    if source.start is not None:
        panel = slices.apply(ir.AffineExpr.get_floor_div(slices.dim(0), slices.constant(width)), [source.start])
    return slices.extract(packed, [panel, 0, 0], [1, depth, lanes], drop=(0,))


def read_panel(kernel: Kernel, number: int, loop: int, panel: Any) -> None:
    """Puts a panel in the place of an operand: its map becomes (k, lane); its widening goes if the panel is wide."""
    op = kernel.op
    maps = find.maps(op)
    maps[number] = ir.AffineMap.get(3, 0, [slices.dim(kernel.k), slices.dim(loop)])
    op.operands[number] = panel
    op.attributes["indexing_maps"] = ir.ArrayAttr.get([ir.AffineMapAttr.get(m) for m in maps])
    argument = op.regions[0].blocks[0].arguments[number]
    element = panel.type.element_type
    if argument.type == element:
        return
    casts = [use.owner.operation for use in argument.uses]
    argument.set_type(element)
    for cast in casts:
        cast.results[0].replace_all_uses_with(argument)
        cast.erase()
