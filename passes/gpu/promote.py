"""Brings the block's tiles of A and B into workgroup memory, once a step of the K loop, by all threads together.

before:  gpu.launch ... threads(%t ..) in (256, 1, 1) {
           scf.for %k = 0 to 512 step 16 iter_args(..) {
             %a = vector.transfer_read %A[128 * %block + 16 * %y, %k] : vector<16x16xf32>      // thread row %y of 8
             vector.contract %a, ..
after:   gpu.launch ... workgroup(%w : memref<16x128xf32, #gpu.address_space<workgroup>>) {
           scf.for %k = 0 to 512 step 16 iter_args(..) {
             %g = vector.transfer_read %A[128 * %block + ROW(%t), %k + COLUMN(%t)] : vector<1x4xf32>
             gpu.barrier
             store %g to %w[COLUMN(%t) .., ROW(%t)]
             gpu.barrier
             %a = vector.transpose (vector.transfer_read %w[0, 16 * %y] : vector<16x16xf32>)
             vector.contract %a, ..

What the block needs is read off the index: the part that depends on threads or on loops inside the K loop spans the
tile, the rest is its origin. The buffer has K outermost, so that a thread's row or column of a tile is contiguous, and
it holds widened elements, so that each is widened once a block. Matrix instructions want neither: with `k=last` what
a row or column has along K is contiguous (where the source has it otherwise, a thread loads a piece of both dimensions
and turns it in registers), and with `widen=false` elements stay as they are. Reads out of bounds stay so. Threads
beyond the last piece repeat it: no thread leaves the others at a barrier.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd, prod
from typing import Any, ClassVar, Literal

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu import direct_copies
from lowering.passes.gpu.index import Linear, divisor, emit, from_threads, head, largest, launch_of, linear

VECTOR_BYTES = 16  # the widest load of a thread on both families
WORKGROUP = "#gpu.address_space<workgroup>"


@dataclass(frozen=True)
class Promote(Pass):
    """`operands` names the inputs of the contraction; `padding` is how many elements a row of the buffer is longer by.

    It is for rows that are transposed, and with K last for all. `k`: whether K is the buffer's first dimension or its
    last. `widen`: whether the buffer holds widened elements.
    `direct`: tiles that can be are copied by no register (`direct_copies.py`).
    """

    name: ClassVar[str] = "promote"
    operands: tuple[Literal["a", "b"], ...] = ("a", "b")
    padding: int = 0
    k: Literal["first", "last"] = "first"
    widen: bool = True
    direct: bool = False

    def __post_init__(self) -> None:
        if self.padding < 0:
            raise ValueError(f"padding is a number of elements, at least 0, found {self.padding}")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """Both operands or one, with and without padding, where a launch holds one vector contraction."""
        found = find.vector_contracts(state)
        launch = launch_of(found[0]) if found else None
        if len(found) != 1 or launch is None or holds_forall(launch):
            return
        operands: tuple[tuple[Literal["a", "b"], ...], ...] = (("a", "b"), ("b",), ("a",))
        for names in operands:
            reads = [behind(found[0], "ab".index(name))[0] for name in names]
            if all(is_buffer_read(op) and op is not None and not from_threads(op.operands[0], launch) for op in reads):
                yield from (cls(names, padding) for padding in (4, 0))
                yield cls(names, 0, "last", False)
                if target.family == "amdgpu":
                    yield cls(names, 0, "last", False, True)

    def apply(self, module: Any) -> None:
        contract = find.vector_contract(module)
        launch = launch_of(contract)
        if launch is None:
            raise PassError("looked for a vector.contract in a gpu.launch; map-blocks and map-threads make the launch")
        if holds_forall(launch):
            raise PassError("the launch holds an scf.forall: map-threads has to say first which thread does what of it")
        with mlir.scope():
            before = place(contract, launch)
            tiles = [tile_of(contract, "ab".index(name), launch, before, self) for name in self.operands]
            copy(tiles, launch, before, self.direct)
            for tile in tiles:
                redirect(tile, contract)
        mlir.run(module, "canonicalize,cse")


def holds_forall(launch: Any) -> bool:
    """Whether a launch has loops that are not threads yet."""
    return bool(mlir.walk(launch, lambda op: op.operation.name == "scf.forall"))


@dataclass(frozen=True)
class Tile:
    """One operand's tile. Dimensions are those of the source memref, unless `order` says the buffer's."""

    operand: int
    read: Any
    casts: tuple[Any, ...]  # that are done before the buffer
    later: tuple[Any, ...]  # and behind it
    origin: tuple[Linear, ...]
    local: tuple[Linear, ...]
    extents: tuple[int, ...]
    order: tuple[int, ...]  # the source dimension of each buffer dimension
    buffer: Any
    k: tuple[int, ...]  # the source dimensions along K


def place(contract: Any, launch: Any) -> Any:
    """The op before which a step's copies go: the first in the loop marked k, or else what holds the contraction."""
    around = [op for op in find.parents(contract) if launch in find.parents(op)]
    loop = next((op for op in reversed(around) if find.role_of(op) == "k"), None)
    if loop is not None:
        return loop.regions[0].blocks[0].operations[0].operation
    return around[-1] if around else contract


def tile_of(contract: Any, operand: int, launch: Any, before: Any, how: Promote) -> Tile:
    """What the block reads of one operand, and a new workgroup buffer for it."""
    op, casts = behind(contract, operand)
    if op is None or not is_buffer_read(op):
        found = "a block argument" if op is None else op.name
        raise PassError(f"looked for a vector.transfer_read of a buffer behind input {'ab'[operand]} and found {found}")
    if from_threads(op.operands[0], launch):
        raise PassError(f"input {'ab'[operand]} is read from another part of a buffer in each thread", str(op.location))
    rank = len(find.shape(op.operands[0]))
    forms = [linear(index) for index in list(op.operands)[1 : 1 + rank]]
    local = tuple(Linear(0, {v: f for v, f in form.terms.items() if is_local(v, launch, before)}) for form in forms)
    origin = tuple(form + part.scaled(-1) for form, part in zip(forms, local, strict=True))
    extents = spans(op, local, launch)
    order = buffer_order(op, contract, operand, extents, how.k)
    shape = [extents[dim] for dim in order]
    shape[-1] += how.padding if how.k == "last" or order[-1] != rank - 1 else 0
    early, later = (casts, ()) if how.widen else ((), casts)
    element = (early[-1] if early else op).results[0].type.element_type
    buffer = attribution(launch, ir.MemRefType.get(shape, element, memory_space=ir.Attribute.parse(WORKGROUP)))
    return Tile(operand, op, early, later, origin, local, extents, order, buffer, k_dims(op, contract, operand))


def behind(contract: Any, operand: int) -> tuple[Any | None, tuple[Any, ...]]:
    """The op that makes an input of the contraction (None: none does), and the widening casts after it in order."""
    value, casts = contract.operands[operand], list[Any]()
    while (op := find.defining(value)) is not None and op.name in find.WIDENING:
        casts.insert(0, op)
        value = op.operands[0]
    return op, tuple(casts)


def is_buffer_read(op: Any | None) -> bool:
    """Whether an op reads a vector from a buffer in device memory."""
    if op is None or op.name != "vector.transfer_read" or not isinstance(op.operands[0].type, ir.MemRefType):
        return False
    return op.operands[0].type.memory_space is None


def is_local(value: Any, launch: Any, before: Any) -> bool:
    """Whether an index term differs between the threads of a block, or changes within one step of the K loop."""
    if from_threads(value, launch):
        return True
    if not isinstance(value, ir.BlockArgument):
        return False
    loop = ir.BlockArgument(value).owner.owner.operation
    return any(op.block == before.block for op in (loop, *find.parents(loop)) if op.name != "builtin.module")


def spans(read: Any, local: tuple[Linear, ...], launch: Any) -> tuple[int, ...]:
    """How far the block's reads reach in each dimension of the source."""
    positions = find.positions(read.attributes["permutation_map"].value)
    vector = find.shape(read.results[0])
    found: list[int] = []
    for dim, form in enumerate(local):
        reach = vector[positions.index(dim)] if dim in positions else 1
        for value, factor in form.terms.items():
            most = largest(value, launch)
            if most is None or factor < 0:
                raise PassError(f"cannot bound the index of dimension {dim} that the block reads", str(read.location))
            reach += most * factor
        found.append(reach)
    return tuple(found)


def buffer_order(read: Any, contract: Any, operand: int, extents: tuple[int, ...], where: str) -> tuple[int, ...]:
    """The source dimensions that the buffer keeps: those of K first (or last), the others after (or before) them."""
    positions = find.positions(read.attributes["permutation_map"].value)
    if None in positions:
        raise PassError("cannot promote a read that broadcasts", str(read.location))
    k = k_dims(read, contract, operand)
    rest = [dim for dim in range(len(extents)) if dim not in k and (dim in positions or extents[dim] > 1)]
    return (*k, *rest) if where == "first" else (*rest, *k)


def k_dims(read: Any, contract: Any, operand: int) -> tuple[int, ...]:
    """The dimensions of the source that run along K."""
    positions = find.positions(read.attributes["permutation_map"].value)
    loops = find.positions(find.maps(contract)[operand])
    reduced = find.contraction_dims(contract).k
    return tuple(dim for dim, loop in zip(positions, loops, strict=True) if dim is not None and loop in reduced)


def attribution(launch: Any, kind: Any) -> Any:
    """A new workgroup buffer of a launch."""
    count = launch.attributes["workgroup_attributions"].value if "workgroup_attributions" in launch.attributes else 0
    body = launch.regions[0].blocks[0]
    if len(body.arguments) != head(launch) + count:
        raise PassError("the launch has private buffers already", str(launch.location))
    launch.attributes["workgroup_attributions"] = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), count + 1)
    return body.add_argument(kind, ir.Location.unknown())


def copy(tiles: list[Tile], launch: Any, before: Any, direct: bool) -> None:
    """Emits the loads of all tiles, and the stores between two barriers; direct copies between them, too."""
    threads = prod(linear(size).constant for size in list(launch.operands)[3:6])
    thread = launch.regions[0].blocks[0].arguments[3]
    gpu = mlir.dialect("gpu")
    with ir.InsertionPoint(before):
        pieces: list[tuple[Tile, list[Any], Any]] = []
        straight = [tile for tile in tiles if direct and direct_copies.suits(tile, threads)]
        for tile in (each for each in tiles if each not in straight):
            sizes = piece_sizes(tile, threads)
            pieces += [(tile, ids, load(tile, ids, sizes)) for ids in split(tile, thread, threads, sizes)]
        gpu.BarrierOp()
        for tile in straight:
            dword = [*(1 for _ in tile.extents[:-1]), direct_copies.DWORD // tile.buffer.type.element_type.width]
            direct_copies.emit_copies(tile, thread, threads, split(tile, thread, threads, dword))
        for tile, ids, piece in pieces:
            store(tile, ids, piece)
        if straight:
            direct_copies.wait()
        gpu.BarrierOp()


def piece_width(tile: Tile) -> int:
    """How many contiguous elements a thread loads at once; no piece crosses a row's end, so it is in bounds or not."""
    source = tile.read.operands[0].type
    common = gcd(tile.extents[-1], source.shape[-1], divisor(tile.origin[-1]))
    return gcd(VECTOR_BYTES * 8 // source.element_type.width, common)


def turned(tile: Tile) -> bool:
    """Whether a thread turns its piece: the buffer's last dimension is along K, and the source's last is not."""
    return tile.order[-1] in tile.k and tile.order[0] not in tile.k and tile.order[-1] != len(tile.extents) - 1


def piece_sizes(tile: Tile, threads: int) -> list[int]:
    """How many elements of each dimension of the source a thread loads at once."""
    width, ones = piece_width(tile), [1] * (len(tile.extents) - 1)
    if not turned(tile):
        return [*ones, width]
    k = tile.order[-1]
    bits = tile.buffer.type.element_type.width
    depth = gcd(VECTOR_BYTES * 8 // bits, tile.extents[k])
    depth, width = busy_piece(prod(tile.extents), threads, bits, (depth, width))
    return [depth if dim == k else 1 for dim in range(len(ones))] + [width]


def busy_piece(elements: int, threads: int, bits: int, most: tuple[int, int]) -> tuple[int, int]:
    """How deep along K, and how wide, a piece is that is turned: as a vector of the buffer, or less for idle threads.

    No narrower than a dword before it is half as deep.
    """
    depth, width = most
    narrowest, shallowest = max(1, 32 // bits), max(1, 64 // bits)
    while elements // (depth * width) < threads and (width > narrowest or depth > shallowest):
        depth, width = (depth, width // 2) if width > narrowest else (depth // 2, width)
    return depth, width


def split(tile: Tile, thread: Any, threads: int, sizes: list[int]) -> list[list[Any]]:
    """The pieces of a thread: the index in the tile of each."""
    affine, arith = mlir.dialect("affine"), mlir.dialect("arith")
    index = ir.IndexType.get()
    basis = [extent // size for extent, size in zip(tile.extents, sizes, strict=True)]
    total, d0 = prod(basis), ir.AffineExpr.get_dim(0)
    pieces: list[list[Any]] = []
    inner = prod(basis[1:])
    if total % threads == 0 and threads % inner == 0:  # whole rows of pieces: the next piece is so many rows further
        ids = scaled(list(affine.AffineDelinearizeIndexOp([index] * len(basis), thread, [], basis).results), sizes)
        for first in range(0, total, threads):
            pieces.append([emit(Linear(first // inner * sizes[0], {ids[0]: 1})), *ids[1:]])
        return pieces
    for first in range(0, total, threads):
        piece = affine.AffineApplyOp(ir.AffineMap.get(1, 0, [d0 + first]), [thread]).result
        if first + threads > total:
            piece = arith.MinUIOp(piece, arith.ConstantOp(index, total - 1).result).result
        ids = list(affine.AffineDelinearizeIndexOp([index] * len(basis), piece, [], basis).results)
        pieces.append(scaled(ids, sizes))
    return pieces


def scaled(ids: list[Any], sizes: list[int]) -> list[Any]:
    """The numbers of a piece as the index of its first element."""
    return [emit(Linear(0, {each: size})) for each, size in zip(ids, sizes, strict=True)]


def load(tile: Tile, ids: list[Any], sizes: list[int]) -> Any:
    """One piece from the source, widened; turned, with K last, where it has two dimensions."""
    vector, rank = mlir.dialect("vector"), len(tile.extents)
    source, element = tile.read.operands[0], tile.read.operands[0].type.element_type
    positions = find.positions(tile.read.attributes["permutation_map"].value)
    inside = [each.value for each in tile.read.attributes["in_bounds"]]
    bounds = [inside[positions.index(dim)] if dim in positions else True for dim in range(rank)]
    indices = [emit(origin + Linear(0, {i: 1})) for origin, i in zip(tile.origin, ids, strict=True)]
    kind = ir.VectorType.get(sizes, element)
    padding = tile.read.operands[1 + rank]
    identity = ir.AffineMap.get_identity(rank)
    value = vector.TransferReadOp(kind, source, indices, identity, padding, bounds).result
    shape = [size for size in sizes if size > 1] or [1]
    if shape != sizes:
        value = vector.ShapeCastOp(ir.VectorType.get(shape, element), value).result
    if turned(tile) and len(shape) == 2:
        value = vector.TransposeOp(ir.VectorType.get(shape[::-1], element), value, [1, 0]).result
        shape = shape[::-1]
    for cast in tile.casts:
        kind = ir.VectorType.get(shape, cast.results[0].type.element_type)
        value = ir.Operation.create(cast.name, results=[kind], operands=[value]).results[0]
    return value


def store(tile: Tile, ids: list[Any], piece: Any) -> None:
    """One piece into the buffer: as a vector where its dimension is the buffer's last, else element by element."""
    vector, memref, last = mlir.dialect("vector"), mlir.dialect("memref"), len(tile.extents) - 1
    if turned(tile) and len(piece.type.shape) == 1:
        vector.StoreOp(piece, tile.buffer, [ids[dim] for dim in tile.order])
        return
    if turned(tile):
        for i in range(piece.type.shape[0]):
            row = vector.ExtractOp(piece, [], [i]).result
            at = emit(Linear(i, {ids[last]: 1}))
            vector.StoreOp(row, tile.buffer, [at if dim == last else ids[dim] for dim in tile.order])
        return
    if tile.order[-1] == last:
        vector.StoreOp(piece, tile.buffer, [ids[dim] for dim in tile.order])
        return
    for i in range(piece.type.shape[0]):
        element = vector.ExtractOp(piece, [], [i]).result
        at = emit(Linear(i, {ids[last]: 1}))
        memref.StoreOp(element, tile.buffer, [at if dim == last else ids[dim] for dim in tile.order])


def redirect(tile: Tile, contract: Any) -> None:
    """Lets the contraction read its operand from the buffer."""
    vector = mlir.dialect("vector")
    positions = find.positions(tile.read.attributes["permutation_map"].value)
    shape, element = find.shape(tile.read.results[0]), tile.buffer.type.element_type
    kept = [dim for dim in tile.order if dim in positions]
    permutation = [kept.index(dim) for dim in positions if dim is not None]
    with ir.InsertionPoint(contract):
        indices = [emit(tile.local[dim]) for dim in tile.order]
        padding = mlir.dialect("ub").PoisonOp(element).result
        kind = ir.VectorType.get([shape[positions.index(dim)] for dim in kept], element)
        to = ir.AffineMap.get(len(indices), 0, [ir.AffineExpr.get_dim(tile.order.index(dim)) for dim in kept])
        value = vector.TransferReadOp(kind, tile.buffer, indices, to, padding, [True] * len(kept)).result
        for cast in tile.later:
            wide = ir.VectorType.get(kind.shape, cast.results[0].type.element_type)
            value = ir.Operation.create(cast.name, results=[wide], operands=[value]).results[0]
        element = value.type.element_type
        if kept != positions:
            value = vector.TransposeOp(ir.VectorType.get(shape, element), value, permutation).result
    contract.operands[tile.operand] = value
