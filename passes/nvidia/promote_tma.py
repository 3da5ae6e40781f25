"""Brings the block's tiles of A and B into workgroup memory with the tensor memory accelerator, once a step of K.

before:  gpu.launch ... {
           scf.for %k = 0 to 512 step 64 iter_args(..) {
             %a = vector.transfer_read %A[128 * %block + 64 * %y, %k] : vector<64x64xf16>      // warpgroup %y of 2
             vector.contract %a, ..
after:   %m = nvgpu.tma.create.descriptor %A box[128, 64]                                      // in the host function
         gpu.launch ... workgroup(%w : memref<128x64xf16, #gpu.address_space<workgroup>>) {
           %b = nvgpu.mbarrier.create;  nvgpu.mbarrier.init %b[0], 1
           scf.for %k = 0 to 512 step 64 iter_args(..) {
             gpu.barrier                                                // all have read the step before
             one thread: nvgpu.mbarrier.arrive.expect_tx %b[0], BYTES;  nvgpu.tma.async.load %m[%k, 128 * %block] to %w
             nvgpu.mbarrier.try_wait.parity %b[0], PARITY(%k)           // all bytes are there
             %a = vector.transfer_read %w[64 * %y, 0] : vector<64x64xf16>
             vector.contract %a, ..

One thread asks for a box, and hardware copies it: no registers, no addresses, and zeros where the box is beyond the
matrix. A buffer's rows are at most 128 bytes long, what matrix instructions take; a longer row of a tile lies in
several boxes, one after the other. The source is a matrix, or several of them one after the other (a batch), of which a
block reads one: boxes of 1x128x64. Its rows start on 16 bytes. f32 may be rounded to tf32, to nearest, on the way (the
element type TFLOAT32 of a tensor map).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu.index import Linear, divisor, emit, from_threads, launch_of, linear
from lowering.passes.gpu.promote import attribution, behind, holds_forall, is_buffer_read, is_local, place, spans
from lowering.program import MULTIPLIED

ROW_BYTES = 128  # of a buffer: one swizzle atom (PTX ISA, "Swizzling modes")
PITCH = 16  # bytes that a source's row is a multiple of: cuTensorMapEncodeTiled, globalStrides
MOST_ROWS = 256  # of a box in any dimension: cuTensorMapEncodeTiled, boxDim
TICKS = 10_000_000  # of a wait before it is tried again
WORKGROUP = "#gpu.address_space<workgroup>"


@dataclass(frozen=True)
class PromoteTma(Pass):
    """Takes both inputs of the vector contraction in a launch. `round`: f32 arrives rounded to tf32."""

    name: ClassVar[str] = "promote-tma"
    round: bool = False

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where a chip has tensor maps and the contraction reads matrices that they can describe."""
        found = find.vector_contracts(state)
        if target.family == "nvidia" and len(found) == 1 and objection(found[0]) is None:
            yield cls()

    def apply(self, module: Any) -> None:
        contract = find.vector_contract(module)
        reason = objection(contract) or (unrounded(contract) if self.round else None)
        if reason is not None:
            raise PassError(reason, str(contract.location))
        launch = launch_of(contract)
        with mlir.scope():
            steps = steps_loop(contract)
            before = contract if steps is not None and not is_k(steps) else place(contract, launch)
            tiles = [tile_of(contract, operand, launch, before) for operand in (0, 1)]
            maps = [described(tile, launch, self.round) for tile in tiles]
            copy(tiles, maps, launch, before)
            for tile in tiles:
                redirect(tile, contract)
        mlir.run(module, "canonicalize,cse")


def objection(contract: Any) -> str | None:
    """Why the inputs of a contraction cannot be copied so; None where they can."""
    launch = launch_of(contract)
    if launch is None:
        return "looked for a vector.contract in a gpu.launch; map-blocks and map-waves make the launch"
    if holds_forall(launch):
        return "the launch holds an scf.forall: map-waves has to say first which thread does what of it"
    loops = [op for op in find.parents(contract) if op.name == "scf.for"]
    over_k, over_tiles = [loop for loop in loops[:1] if is_k(loop)], loops[1:] if loops and is_k(loops[0]) else loops
    bounds = [linear(bound) for loop in over_k for bound in list(loop.operands)[:3]]
    if any(bound.terms for bound in bounds) or len(over_tiles) > 1 or any(len(loop.results) for loop in over_tiles):
        return "looked for one loop around the contraction, marked k, with constant bounds, in at most one over tiles"
    for operand, name in enumerate("ab"):
        op, _ = behind(contract, operand)
        if not is_buffer_read(op) or op is None:
            return f"looked for a vector.transfer_read of a buffer behind input {name}"
        if from_threads(op.operands[0], launch) or not from_host(op.operands[0]):
            return f"input {name} is not read from an argument of the program or a workspace"
        shape, bits = find.shape(op.operands[0]), op.operands[0].type.element_type.width
        positions = find.positions(op.attributes["permutation_map"].value)
        if len(shape) not in (2, 3) or sorted(positions, key=str) != [len(shape) - 2, len(shape) - 1]:
            return f"input {name} is not read as a matrix of one or of a batch: {len(shape)} dimensions, {positions}"
        if shape[-1] * bits % (8 * PITCH):
            return f"a row of input {name} has {shape[-1] * bits // 8} bytes, no multiple of {PITCH}"
    return None


def unrounded(contract: Any) -> str | None:
    """Why the inputs of a contraction cannot be rounded on the way; None where they can."""
    reads = [behind(contract, operand)[0] for operand in (0, 1)]
    found = {str(read.operands[0].type.element_type) for read in reads if read is not None}
    return None if found == {"f32"} else f"copies round f32 to tf32, not {' and '.join(sorted(found))}"


def from_host(buffer: Any) -> bool:
    """Whether a buffer is an argument of the host function, or allocated there."""
    op = find.defining(buffer)
    return isinstance(buffer, ir.BlockArgument) if op is None else op.name == "memref.alloc"


@dataclass(frozen=True)
class Tile:
    """One operand's tile: rows of the source, and columns in boxes of `width`; `origin` and `local` are of all its
    dimensions, of which a batch comes first.
    """

    operand: int
    read: Any
    casts: tuple[Any, ...]
    origin: tuple[Linear, ...]
    local: tuple[Linear, ...]
    rows: int
    columns: int
    width: int
    buffer: Any

    @property
    def boxes(self) -> int:
        """Boxes that make the tile."""
        return self.columns // self.width

    @property
    def box(self) -> list[int]:
        """The shape of a box."""
        return [*(1 for _ in self.origin[2:]), self.rows, self.width]


def tile_of(contract: Any, operand: int, launch: Any, before: Any) -> Tile:
    """What the block reads of one operand, and a new workgroup buffer for it."""
    op, casts = behind(contract, operand)
    assert op is not None
    rank = len(find.shape(op.operands[0]))
    forms = [linear(index) for index in list(op.operands)[1 : 1 + rank]]
    local = tuple(Linear(0, {v: f for v, f in form.terms.items() if is_local(v, launch, before)}) for form in forms)
    origin = tuple(form + part.scaled(-1) for form, part in zip(forms, local, strict=True))
    *_, rows, columns = spans(op, local, launch)
    element = op.results[0].type.element_type
    width = min(columns, ROW_BYTES * 8 // element.width)
    part = find.shape(op.results[0])[find.positions(op.attributes["permutation_map"].value).index(rank - 1)]
    several = any(form.terms for form in local[:-2])  # matrices of a batch
    if columns % width or part % width or divisor(local[-1]) % width or rows > MOST_ROWS or several:
        raise PassError(
            f"input {'ab'[operand]} has a tile of {rows}x{columns}, {part} columns a warpgroup: boxes are of at most "
            f"{MOST_ROWS} rows and of {width} columns, of one matrix",
            str(op.location),
        )
    shape = [rows, width] if columns == width and rank == 2 else [columns // width, rows, width]
    buffer = attribution(launch, ir.MemRefType.get(shape, element, memory_space=ir.Attribute.parse(WORKGROUP)))
    return Tile(operand, op, casts, origin, local, rows, columns, width, buffer)


def described(tile: Tile, launch: Any, rounded: bool) -> Any:
    """A tensor map of the tile's source, in the host function; `rounded`: which gives f32 as tf32."""
    source, element = tile.read.operands[0], tile.buffer.type.element_type
    kind = ir.Type.parse(
        f"!nvgpu.tensormap.descriptor<tensor = memref<{'x'.join(map(str, tile.box))}x{element}, 3>, swizzle = none, "
        "l2promo = l2promo_128b, oob = zero, interleave = none>"
    )
    with ir.InsertionPoint(launch):
        sizes = [mlir.dialect("arith").ConstantOp(ir.IndexType.get(), n).result for n in tile.box]
        whole = mlir.dialect("memref").CastOp(ir.UnrankedMemRefType.get(element, None), source).result
        found = mlir.dialect("nvgpu").TmaCreateDescriptorOp(kind, whole, sizes)
        if rounded:
            found.operation.attributes[MULTIPLIED] = ir.StringAttr.get("tf32")
        return found.result


def copy(tiles: list[Tile], maps: list[Any], launch: Any, before: Any) -> None:
    """Emits the barrier that counts bytes at the start of the kernel, and the copies of a step before an op."""
    arith, gpu, nvgpu = mlir.dialect("arith"), mlir.dialect("gpu"), mlir.dialect("nvgpu")
    index, body = ir.IndexType.get(), launch.regions[0].blocks[0]

    def number(value: int) -> Any:
        return arith.ConstantOp(index, value).result

    with ir.InsertionPoint.at_block_begin(body):
        zero = number(0)
        one_thread = arith.CmpIOp(arith.CmpIPredicate.eq, body.arguments[3], zero).result
        barrier = nvgpu.MBarrierCreateOp(
            ir.Type.parse(f"!nvgpu.mbarrier.group<memorySpace = {WORKGROUP}, num_barriers = 1>")
        ).result
        nvgpu.MBarrierInitOp(barrier, number(1), zero, predicate=one_thread)
        mlir.dialect("nvvm").FenceMbarrierInitOp()
        gpu.BarrierOp()
    loop = steps_loop(before)
    with ir.InsertionPoint(before):
        if loop is None or is_k(loop):  # a loop over tiles has one
            gpu.BarrierOp()
        nbytes = sum(prod(tile.buffer.type.shape) * tile.buffer.type.element_type.width // 8 for tile in tiles)
        nvgpu.MBarrierArriveExpectTxOp(barrier, number(nbytes), zero, predicate=one_thread)
        for tile, described_by in zip(tiles, maps, strict=True):
            for box in range(tile.boxes):
                there = tile.buffer if tile.boxes == 1 else part(tile, box)
                *outer, last = tile.origin
                at = [emit(last + Linear(box * tile.width)), *map(emit, reversed(outer))]
                nvgpu.TmaAsyncLoadOp(there, barrier, described_by, at, zero, predicate=one_thread)
        nvgpu.MBarrierTryWaitParityOp(barrier, parity(loop), number(TICKS), zero)


def is_k(loop: Any) -> bool:
    """Whether a loop is over K."""
    return find.role_of(loop) == "k"


def steps_loop(op: Any) -> Any | None:
    """The loop around an op in whose steps the tiles change: over K, or where that is one step, over tiles of C."""
    loops = [each for each in find.parents(op) if each.name == "scf.for"]
    return next(filter(is_k, loops), loops[-1] if loops else None)


def tile_loop(loop: Any) -> Any | None:
    """The loop over tiles that a K loop is in, where a workgroup makes several."""
    return next((op for op in find.parents(loop) if op.name == "scf.for"), None)


def step_number(loop: Any, k: Any, tile: Any | None = None) -> Any:
    """How many steps came before that of some k, in the tiles before too. `tile`: the number of the loop over tiles."""
    arith = mlir.dialect("arith")
    low, high, step = list(loop.operands)[:3]
    number = arith.DivUIOp(arith.SubIOp(k, low).result, step).result
    outer = tile_loop(loop)
    if outer is None:
        return number
    first, _, distance = list(outer.operands)[:3]
    now = outer.regions[0].blocks[0].arguments[0] if tile is None else tile
    made = arith.DivUIOp(arith.SubIOp(now, first).result, distance).result
    start, end, width = (linear(each).constant for each in (low, high, step))
    return arith.AddIOp(arith.MulIOp(made, emit(Linear(-(-(end - start) // width)))).result, number).result


def parity(loop: Any | None) -> Any:
    """Whether an odd number of steps of a loop came before this one; with no loop there is one step."""
    arith = mlir.dialect("arith")
    if loop is None:
        return arith.ConstantOp(ir.IntegerType.get_signless(1), 0).result
    count, index = step_number(loop, loop.regions[0].blocks[0].arguments[0]), ir.IndexType.get()
    rest = arith.RemUIOp(count, arith.ConstantOp(index, 2).result).result
    return arith.CmpIOp(arith.CmpIPredicate.eq, rest, arith.ConstantOp(index, 1).result).result


def part(tile: Tile, box: int) -> Any:
    """The part of a buffer that a box fills."""
    size = tile.rows * tile.width
    strides = [size, tile.width, 1][-len(tile.box) :]
    kind = ir.Type.parse(
        f"memref<{'x'.join(map(str, tile.box))}x{tile.buffer.type.element_type}, strided<{strides}, offset: "
        f"{box * size}>, {WORKGROUP}>"
    )
    return (
        mlir.dialect("memref")
        .SubViewOp(kind, tile.buffer, [], [], [], [box, 0, 0], [1, tile.rows, tile.width], [1, 1, 1])
        .result
    )


def redirect(tile: Tile, contract: Any) -> None:
    """Lets the contraction read its operand from the buffer."""
    vector = mlir.dialect("vector")
    positions = find.positions(tile.read.attributes["permutation_map"].value)
    shape, element = find.shape(tile.read.results[0]), tile.buffer.type.element_type
    last = len(tile.origin) - 1
    rows, columns = shape[positions.index(last - 1)], shape[positions.index(last)]
    with ir.InsertionPoint(contract):
        padding = mlir.dialect("ub").PoisonOp(element).result
        if tile.boxes == 1:
            value = read(tile.buffer, [emit(each) for each in tile.local], [rows, columns], padding)
        else:
            form = tile.local[-1]  # a multiple of the width, all of it
            box = Linear(form.constant // tile.width, {v: f // tile.width for v, f in form.terms.items()})
            indices = [emit(box), emit(tile.local[-2]), emit(Linear(0))]
            value = read(tile.buffer, indices, [columns // tile.width, rows, tile.width], padding)
            turned = ir.VectorType.get([rows, columns // tile.width, tile.width], element)
            value = vector.TransposeOp(turned, value, [1, 0, 2]).result
            value = vector.ShapeCastOp(ir.VectorType.get([rows, columns], element), value).result
        if positions != [last - 1, last]:
            value = vector.TransposeOp(ir.VectorType.get(shape, element), value, [1, 0]).result
        for cast in tile.casts:
            wide = ir.VectorType.get(shape, cast.results[0].type.element_type)
            value = ir.Operation.create(cast.name, results=[wide], operands=[value]).results[0]
    contract.operands[tile.operand] = value


def read(buffer: Any, indices: list[Any], shape: list[int], padding: Any) -> Any:
    """A vector of a part of a buffer, in its order: of its last dimensions where it has fewer."""
    kind, rank = ir.VectorType.get(shape, padding.type), len(indices)
    inner = ir.AffineMap.get(rank, 0, [ir.AffineExpr.get_dim(n) for n in range(rank - len(shape), rank)])
    return mlir.dialect("vector").TransferReadOp(kind, buffer, indices, inner, padding, [True] * len(shape)).result
