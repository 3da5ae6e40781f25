"""Results written by tensor copies, through workgroup memory: an option of `wgmma`.

A thread holds two neighbouring columns of a row, and its own stores would be of four or eight bytes. Instead a
warpgroup puts blocks of 64 rows of 128 bytes into workgroup memory, and one thread asks for each block to be copied to
device memory, while the others go on. Results of 16 bits go four 8 x 8 matrices an instruction (stmatrix), those of 32
bits two a thread. Chunks of 16 bytes are exchanged within a block's rows as the copies expect, so that no store
conflicts; what lies beyond the matrix is not written.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Protocol

from lowering import find, mlir
from lowering.core import PassError
from lowering.mlir import ir
from lowering.passes.gpu.fragments import Axes, Key
from lowering.passes.gpu.index import Linear, emit, launch_of, linear
from lowering.passes.gpu.promote import attribution

LANES = 128
CHUNK = 16  # bytes
ROWS, ROW_BYTES = 64, 128  # of a block
WORKGROUP = "#gpu.address_space<workgroup>"


class Warpgroup(Protocol):
    """What the threads of a warpgroup hold of a result, as `wgmma` knows it."""

    m: int
    n: int
    lane: Any

    def piece(self, value: Any, axes: Axes, key: Key) -> Any:
        """Two columns of a row of a value."""
        ...


def objection(op: Any, axes: Axes, columns: int) -> str | None:
    """Why a write cannot be a tensor copy; None where it can."""
    target, kind = op.operands[1], op.operands[0].type
    rank = len(find.shape(target))
    if axes != ("m", "n") or find.positions(op.attributes["permutation_map"].value) != [rank - 2, rank - 1]:
        return "the rows of what is written do not run along N"
    bits = kind.element_type.width
    if bits not in (16, 32) or columns % columns_of(bits // 8):
        return f"blocks are of elements of 16 or 32 bits in rows of {ROW_BYTES} bytes, found {columns} of {bits} bits"
    if not isinstance(target, ir.BlockArgument) or rank > 3 or find.shape(target)[-1] * bits % (8 * CHUNK):
        return "a tensor map is of matrices that are an argument of the program, with rows of a multiple of 16 bytes"
    return None


def staged(group: Warpgroup, op: Any, axes: Axes, blocks: int) -> None:
    """Writes a warpgroup's value, `blocks` of its blocks at a time. Raises PassError where that cannot be."""
    reason = objection(op, axes, group.n)
    if reason is not None:
        raise PassError(reason, str(op.location))
    launch, value = launch_of(op), op.operands[0]
    assert launch is not None
    described_by = described(op.operands[1], value.type.element_type, launch)
    *outermost, row, at = list(op.operands)[2:]
    buffer = buffer_of(launch, threads_at(op, launch) // LANES, value.type.element_type, blocks)
    width = columns_of(value.type.element_type.width // 8)
    rounds = [(tile, column) for tile in range(group.m // ROWS) for column in range(0, group.n, width)]
    with ir.InsertionPoint(op):
        place = (Pairs if width == 32 else Matrices)(group, launch, buffer, blocks)
        for first in range(0, len(rounds), blocks):
            some = rounds[first : first + blocks]
            place.free()
            for slot, (tile, column) in enumerate(some):
                place.fill(
                    slot,
                    {
                        (half, eight): group.piece(value, axes, (2 * tile + half, column // 8 + eight))
                        for eight in range(width // 8)
                        for half in range(2)
                    },
                )
            blocks_at = [(emit(linear(at) + Linear(c)), emit(linear(row) + Linear(t * ROWS))) for t, c in some]
            place.send(described_by, [(*inner, *reversed(outermost)) for inner in blocks_at])
    outer = [each for each in find.parents(op) if each.name == "scf.for" and launch in find.parents(each)]
    with ir.InsertionPoint(behind(outer[-1] if outer else op)):
        drain(group.lane)


def described(target: Any, element: Any, launch: Any) -> Any:
    """A tensor map of what is written, in the host function."""
    box = [*(1 for _ in find.shape(target)[2:]), ROWS, columns_of(element.width // 8)]
    kind = ir.Type.parse(
        f"!nvgpu.tensormap.descriptor<tensor = memref<{'x'.join(map(str, box))}x{element}, 3>, "
        "swizzle = swizzle_128b, l2promo = l2promo_128b, oob = zero, interleave = none>"
    )
    with ir.InsertionPoint(launch):
        sizes = [emit(Linear(size)) for size in box]
        whole = mlir.dialect("memref").CastOp(ir.UnrankedMemRefType.get(element, None), target).result
        return mlir.dialect("nvgpu").TmaCreateDescriptorOp(kind, whole, sizes).result


def threads_at(op: Any, launch: Any) -> int:
    """How many threads, the first ones, come to an op: all, or those that a branch on their number lets through."""
    thread = launch.regions[0].blocks[0].arguments[3]
    for parent in find.parents(op):
        test = find.defining(parent.operands[0]) if parent.name == "scf.if" else None
        if test is not None and test.name == "arith.cmpi" and test.operands[0] == thread:
            return linear(test.operands[1]).constant
    return linear(list(launch.operands)[3]).constant


def buffer_of(launch: Any, groups: int, element: Any, blocks: int) -> Any:
    """Workgroup memory for some blocks of every warpgroup."""
    space = ir.Attribute.parse(WORKGROUP)
    shape = [groups, blocks, ROWS, columns_of(element.width // 8)]
    return attribution(launch, ir.MemRefType.get(shape, element, memory_space=space))


def columns_of(nbytes: int) -> int:
    """Columns of a block of elements of so many bytes."""
    return ROW_BYTES // nbytes


def flat(piece: Any) -> Any:
    """Two values as a vector of one dimension."""
    return mlir.dialect("vector").ShapeCastOp(ir.VectorType.get([2], piece.type.element_type), piece).result


def word(piece: Any) -> Any:
    """Two 16-bit values as one of 32 bits."""
    vector, i32 = mlir.dialect("vector"), ir.IntegerType.get_signless(32)
    return vector.ExtractOp(vector.BitCastOp(ir.VectorType.get([1], i32), flat(piece)).result, [], [0]).result


class Place(ABC):
    """Where a warpgroup's blocks lie, and the ops on them; made at the insertion point."""

    def __init__(self, group: Warpgroup, launch: Any, buffer: Any, blocks: int) -> None:
        arith = mlir.dialect("arith")
        self.buffer, self.i32 = buffer, ir.IntegerType.get_signless(32)
        thread = launch.regions[0].blocks[0].arguments[3]
        self.number = arith.DivUIOp(thread, emit(Linear(LANES))).result
        self.first = arith.CmpIOp(arith.CmpIPredicate.eq, group.lane, emit(Linear(0))).result
        self.id = arith.AddIOp(
            arith.IndexCastOp(self.i32, self.number).result, self.constant(1)
        ).result  # 0 is all threads'
        lane = arith.RemUIOp(group.lane, emit(Linear(32))).result
        warp = arith.DivUIOp(group.lane, emit(Linear(32))).result
        base = mlir.dialect("memref").ExtractAlignedPointerAsIndexOp(buffer).result
        own = arith.AddIOp(base, times(self.number, blocks * ROWS * ROW_BYTES)).result
        self.warp = arith.AddIOp(own, times(warp, 16 * ROW_BYTES)).result
        self.chunks = self.addresses(lane)

    @abstractmethod
    def addresses(self, lane: Any) -> list[Any]:
        """Where a lane stores, by instruction."""

    @abstractmethod
    def fill(self, slot: int, pieces: dict[Key, Any]) -> None:
        """Stores a block, of which a thread has two columns of each of two rows, for every eight columns."""

    def chunk(self, row: Any, number: Any) -> Any:
        """The address of a chunk of a warp's row in the first block."""
        arith = mlir.dialect("arith")
        flip = arith.RemUIOp(row, emit(Linear(8))).result
        start = arith.AddIOp(self.warp, times(row, ROW_BYTES)).result
        return arith.AddIOp(start, times(arith.XOrIOp(number, flip).result, CHUNK)).result

    def pointer(self, address: Any, further: int) -> Any:
        """A pointer to so many bytes behind an address."""
        at = mlir.dialect("arith").AddIOp(address, emit(Linear(further))).result
        wide = mlir.dialect("arith").IndexCastOp(ir.IntegerType.get_signless(64), at).result
        return mlir.dialect("llvm").IntToPtrOp(ir.Type.parse("!llvm.ptr<3>"), wide).result

    def constant(self, value: int) -> Any:
        """A number of 32 bits."""
        return mlir.dialect("arith").ConstantOp(self.i32, ir.IntegerAttr.get(self.i32, value)).result

    def meet(self) -> None:
        """Lets the warpgroup's threads meet."""
        mlir.dialect("nvvm").BarrierOp(barrierId=self.id, numberOfThreads=self.constant(LANES))

    def free(self) -> None:
        """Waits until the blocks of the round before have been read."""
        nvvm = mlir.dialect("nvvm")
        with only(self.first):
            nvvm.CpAsyncBulkWaitGroupOp(0, read=True)
        self.meet()

    def send(self, described_by: Any, coordinates: list[tuple[Any, ...]]) -> None:
        """Lets one thread ask for the copies, once all have stored."""
        nvvm, parse = mlir.dialect("nvvm"), ir.Attribute.parse
        nvvm.FenceProxyOp(parse("#nvvm.proxy_kind<async.shared>"), space=parse("#nvvm.shared_space<cta>"))
        self.meet()
        with only(self.first):
            for slot, at in enumerate(coordinates):
                mlir.dialect("nvgpu").TmaAsyncStoreOp(self.block(slot, len(at)), described_by, list(at))
            nvvm.CpAsyncBulkCommitGroupOp()

    def block(self, slot: int, rank: int) -> Any:
        """One of the warpgroup's blocks, of as many dimensions as what is written."""
        element, columns = self.buffer.type.element_type, self.buffer.type.shape[-1]
        strides = [ROWS * columns, columns, 1][-rank:]
        shape = "x".join(map(str, [1, ROWS, columns][-rank:]))
        kind = ir.Type.parse(f"memref<{shape}x{element}, strided<{strides}, offset: ?>, {WORKGROUP}>")
        offsets = [ir.ShapedType.get_dynamic_size(), slot, 0, 0]
        sizes = [1, 1, ROWS, columns]
        return (
            mlir.dialect("memref").SubViewOp(kind, self.buffer, [self.number], [], [], offsets, sizes, [1] * 4).result
        )


class Matrices(Place):
    """Blocks of 16-bit elements."""

    def addresses(self, lane: Any) -> list[Any]:
        """Of the row of 16 bytes that a lane gives for each of the block's quarters, 16 columns."""
        arith = mlir.dialect("arith")
        row, half = arith.RemUIOp(lane, emit(Linear(16))).result, arith.DivUIOp(lane, emit(Linear(16))).result
        return [self.chunk(row, arith.AddIOp(half, emit(Linear(2 * quarter))).result) for quarter in range(4)]

    def fill(self, slot: int, pieces: dict[Key, Any]) -> None:
        """Four 8 x 8 matrices an instruction: 16 rows of each warp, 16 columns."""
        parse = ir.Attribute.parse
        for quarter, address in enumerate(self.chunks):
            words = [word(pieces[i % 2, 2 * quarter + i // 2]) for i in range(4)]
            mlir.dialect("nvvm").StMatrixOp(
                self.pointer(address, slot * ROWS * ROW_BYTES), words, parse("#nvvm.mma_layout<row>"),
                parse("#nvvm.ld_st_matrix_shape<m = 8, n = 8>"), parse("#nvvm.ld_st_matrix_elt_type<b16>"),
            )  # fmt: skip


class Pairs(Place):
    """Blocks of 32-bit elements, eight bytes a thread.

    Of eight columns the 16 threads of one access have two chunks in four rows, which the exchange puts into four places
    of eight. So threads of odd rows are 16 columns ahead: then all eight are met, each bank once.
    """

    def addresses(self, lane: Any) -> list[Any]:
        """Of a lane's two columns in its upper row, for every eight columns."""
        arith = mlir.dialect("arith")
        row, place = arith.DivUIOp(lane, emit(Linear(4))).result, arith.RemUIOp(lane, emit(Linear(4))).result
        odd = arith.RemUIOp(row, emit(Linear(2))).result
        self.odd = arith.CmpIOp(arith.CmpIPredicate.eq, odd, emit(Linear(1))).result
        half, rest = arith.DivUIOp(place, emit(Linear(2))).result, arith.RemUIOp(place, emit(Linear(2))).result
        found: list[Any] = []
        for eight in range(4):
            own = arith.XOrIOp(emit(Linear(eight)), times(odd, 2)).result
            chunk = self.chunk(row, arith.AddIOp(times(own, 2), half).result)
            found.append(arith.AddIOp(chunk, times(rest, CHUNK // 2)).result)
        return found

    def fill(self, slot: int, pieces: dict[Key, Any]) -> None:
        """Two columns of each of two rows, for every eight columns."""
        arith, llvm = mlir.dialect("arith"), mlir.dialect("llvm")
        for eight, address in enumerate(self.chunks):
            for half in range(2):
                own = arith.SelectOp(self.odd, flat(pieces[half, eight ^ 2]), flat(pieces[half, eight])).result
                llvm.StoreOp(own, self.pointer(address, (slot * ROWS + half * 8) * ROW_BYTES), alignment=8)


def behind(op: Any) -> Any:
    """The op that follows another."""
    ops = [each.operation for each in op.block.operations]
    return ops[ops.index(op.operation) + 1]


def drain(lane: Any) -> None:
    """Waits for the copies of all tiles: the memory goes with the workgroup."""
    arith = mlir.dialect("arith")
    with only(arith.CmpIOp(arith.CmpIPredicate.eq, lane, emit(Linear(0))).result):
        mlir.dialect("nvvm").CpAsyncBulkWaitGroupOp(0)


def times(value: Any, factor: int) -> Any:
    """A product with a constant."""
    return mlir.dialect("arith").MulIOp(value, emit(Linear(factor))).result


@contextmanager
def only(condition: Any) -> Generator[None]:
    """Ops for the threads of which a condition holds."""
    scf = mlir.dialect("scf")
    branch = scf.IfOp(condition)
    with ir.InsertionPoint(branch.then_block):
        yield
        scf.YieldOp([])
