"""Says which thread of a warpgroup holds what: its contraction becomes wgmma, and what belongs to it follows.

before:  %r = scf.for %k = .. iter_args(%acc = %zero : vector<64x256xf32>) {          // a whole warpgroup's
           %a = vector.transfer_read %wa[64 * %y, 0] : vector<64x64xf16>
           %b = vector.transfer_read %wb[0, 0] : vector<256x64xf16>
           vector.contract (arith.extf %a), (arith.extf %b), %acc
         }
         vector.transfer_write (arith.truncf %r), %C[%i, %j]
after:   %r = scf.for %k = .. iter_args(%acc = ZERO : !llvm.struct<(f32 x 128)>) {    // a thread's
           nvvm.wgmma.fence.aligned
           %d = nvvm.wgmma.mma_async DESCRIPTOR(%wa, %y, k), DESCRIPTOR(%wb, 0, k), %acc, <m = 64, n = 256, k = 16>, ..
           ..                                                                          // every 16 elements along K
           nvvm.wgmma.commit.group.sync.aligned;  nvvm.wgmma.wait.group.sync.aligned 0
         }
         transfer_write (arith.truncf [%r[0], %r[1]]), %C[ROW(%i, %thread), COLUMN(%j, %thread)] : vector<1x2xf16>

Tensor cores read the tiles where `promote-tma` has put them, by descriptors of our own; what was copied in plain rows
is now permuted by the copies: 16-byte chunks are exchanged within 128-byte rows, so that no read conflicts. Rows of a
buffer may run along K or across it, where elements have 16 bits. (The nvgpu dialect's op of the same name gives wrong
results for rows along K.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from math import prod
from typing import Any, ClassVar

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.gpu.fragments import Axes, Fragments, Key, sizes, splat, transposed
from lowering.passes.gpu.index import Linear, emit, launch_of, linear
from lowering.passes.nvidia.promote_tma import ROW_BYTES
from lowering.passes.nvidia.staged_writes import staged

LANES = 128  # threads of a warpgroup
ROWS = 64  # of A in one instruction
MOST_COLUMNS = 256
# (PTX ISA, wgmma.mma_async) K of an instruction by element, and what the element is called in the dialect
DEPTHS = {"f16": 16, "bf16": 16, "tf32": 8, "f8E4M3FN": 32, "f8E5M2": 32, "i8": 32}
NAMES = {"f8E4M3FN": "e4m3", "f8E5M2": "e5m2", "i8": "s8", "i32": "s32"}
WIDENED = ("arith.extf", "arith.extsi")  # how operands come to the accumulator's type, which the instruction does
REGISTERS, FILE = 255, 65536  # of a thread, of a workgroup (CUDA C++ Programming Guide, compute capability 9.0)
ATOM = 8 * ROW_BYTES  # bytes of eight rows, what the permutation repeats after
SWIZZLED = 1 << 62  # of a descriptor: 128 bytes
ADDRESS = 0x3FFFF  # of a shared address, what is one: above it a cluster's number of the block


@dataclass(frozen=True)
class Wgmma(Pass):
    """Takes the one vector contraction in a launch, of a warpgroup on tiles that `promote-tma` has copied.

    `truncate`: f32 is multiplied as tf32, whose 13 bits less are cut off.
    `blocks`: results are written by tensor copies, so many blocks of 64 rows of 128 bytes at a time
    (`staged_writes.py`); 0: by the threads that hold them.
    """

    name: ClassVar[str] = "wgmma"
    truncate: bool = False
    blocks: int = 0

    def __post_init__(self) -> None:
        if self.blocks < 0:
            raise ValueError(f"blocks is a number of blocks, at least 0, found {self.blocks}")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The one instance, where the tiles are there."""
        found = find.vector_contracts(state)
        if target.family == "nvidia" and len(found) == 1 and not (objection(found[0]) or shortage(found[0])):
            yield cls()

    def apply(self, module: Any) -> None:
        contract = find.vector_contract(module)
        reason = objection(contract, self.truncate)
        if reason is not None:
            raise PassError(reason, str(contract.location))
        if (reason := shortage(contract)) is not None:
            raise PassError(reason, str(contract.location), kind="resources")
        with mlir.scope():
            warpgroup = Warpgroup(contract, blocks=self.blocks)
            for each in warpgroup.operands:
                permute(each.buffer)
            launch = launch_of(contract)
            warpgroup.rewrite()
            elect(launch, warpgroup.lane)
        mlir.run(module, "canonicalize,cse")


@dataclass(frozen=True)
class Operand:
    """Where an operand lies in workgroup memory: the read of it, and what each dimension of the buffer runs along."""

    read: Any
    axes: Axes  # row or k

    @property
    def buffer(self) -> Any:
        """The workgroup buffer: rows of at most 128 bytes, perhaps several boxes of them."""
        return self.read.operands[0]

    @property
    def along_k(self) -> bool:
        """Whether the rows of the buffer run along K."""
        return self.axes[-1] == "k"

    @property
    def nbytes(self) -> int:
        """Bytes of an element."""
        return self.buffer.type.element_type.width // 8

    @property
    def indices(self) -> list[Any]:
        """Where the warpgroup's tile begins in the buffer, or in a place of it."""
        last = 1 + len(self.buffer.type.shape)
        return list(self.read.operands)[last - len(self.axes) : last]

    @property
    def place(self) -> Any | None:
        """Which of several places of a buffer is read; None where it has no dimension for them."""
        return self.read.operands[1] if len(self.buffer.type.shape) > len(self.axes) else None

    @property
    def place_bytes(self) -> int:
        """Bytes of a place."""
        return prod(self.buffer.type.shape[1:]) * self.nbytes

    @property
    def elements(self) -> int:
        """Elements of a place."""
        shape = self.buffer.type.shape
        return prod(shape if self.place is None else shape[1:])

    @property
    def box(self) -> int:
        """Bytes of a box."""
        return prod(self.buffer.type.shape[-2:]) * self.nbytes

    def offset(self, row: int, k: int) -> int:
        """Where an element of the warpgroup's tile lies behind its first, in bytes."""
        across, along = (row, k) if self.along_k else (k, row)
        width = self.buffer.type.shape[-1]
        return along // width * self.box + across * ROW_BYTES + along % width * self.nbytes

    @property
    def pattern(self) -> int:
        """The constant part of its descriptors (PTX ISA, "Matrix-descriptor format"), less the address.

        The stride is that of eight rows. The leading offset is read of rows across K only: where the next box lies.
        """
        leading = 1 if self.along_k else self.box >> 4
        return SWIZZLED | (ATOM >> 4) << 32 | leading << 16


def objection(contract: Any, truncate: bool = False) -> str | None:
    """Why a contraction cannot become wgmma; None where it can. `truncate`: f32 may be cut to tf32."""
    if launch_of(contract) is None:
        return "looked for a vector.contract in a gpu.launch; map-blocks and map-waves make the launch"
    dims = find.contraction_dims(contract)
    if dims.batch or any(len(each) != 1 for each in (dims.m, dims.n, dims.k)):
        return "a contraction of other than one m, one n and one k: tile and fold what is beside them"
    operands = [operand_of(contract, number) for number in (0, 1)]
    for name, each in zip("ab", operands, strict=True):
        if each is None or not filled_by_tma(each.buffer):
            return f"input {name} is not read from a tile that the tensor memory accelerator fills; promote-tma does"
        if find.shape(each.buffer)[-1] * each.nbytes != ROW_BYTES:
            return f"input {name} has rows of {find.shape(each.buffer)[-1] * each.nbytes} bytes, not of {ROW_BYTES}"
        if not each.along_k and each.nbytes != 2:
            return f"input {name} has K across its rows, which wgmma takes of 16-bit elements only"
    left, right = (str(each.buffer.type.element_type) for each in operands if each is not None)
    accumulator = str(contract.operands[2].type.element_type)
    if left == right == "f32" and not truncate:
        return "there is no wgmma for f32; truncate=true multiplies it as tf32"
    if left != right or multiplied_as(left) not in DEPTHS or accumulator != accumulated_in(left):
        return f"there is no wgmma for {left} by {right} into {accumulator}"
    m, n, k = sizes(contract)
    depth = DEPTHS[multiplied_as(left)]
    if m % ROWS or n % step_of_columns(left) or n > MOST_COLUMNS or k % depth:
        return f"{m}x{n}x{k} is not made of wgmma, {ROWS} rows by at most {MOST_COLUMNS} columns by {depth}"
    return None


def shortage(contract: Any) -> str | None:
    """Why there are too few registers for what becomes of a contraction to which nothing is objected."""
    m, n, k = sizes(contract)
    operands = [operand_of(contract, number) for number in (0, 1)]
    rows, columns = (each.elements // k for each in operands if each is not None)
    if m * n // LANES > REGISTERS:
        return f"{m}x{n} results of {LANES} threads take {m * n // LANES} registers of each, of {REGISTERS}"
    if rows * columns >= FILE:
        return f"{rows}x{columns} results of a workgroup take {rows * columns} registers, of {FILE} with all others"
    return None


def multiplied_as(element: str) -> str:
    """What an element is to the instruction: f32 is cut to tf32."""
    return "tf32" if element == "f32" else element


def accumulated_in(element: str) -> str:
    """What products of an element are added up in."""
    return "i32" if element == "i8" else "f32"


def step_of_columns(element: str) -> int:
    """What an instruction's columns are a multiple of: PTX ISA, "wgmma.mma_async", shapes (of i8 also 8 and 24)."""
    return 16 if element == "i8" else 8


def operand_of(contract: Any, number: int) -> Operand | None:
    """Where an input of the contraction lies; None where it is not read from a buffer in rows."""
    k = find.contraction_dims(contract).k[0]
    axes: Axes = tuple("k" if each == k else "row" for each in find.positions(find.maps(contract)[number]))
    op = find.defining(contract.operands[number])
    while op is not None and op.name != "vector.transfer_read":
        if op.name == "vector.transpose":
            axes = transposed(op, axes)
        elif op.name == "vector.shape_cast" and len(find.shape(op.operands[0])) == len(axes) + 1:
            axes = (*axes[:-1], axes[-1], axes[-1])  # boxes side by side
        elif op.name not in WIDENED:
            return None
        op = find.defining(op.operands[0])
    if op is None or not isinstance(op.operands[0].type, ir.MemRefType):
        return None
    rank = len(find.shape(op.operands[0]))
    between = find.shape(op.operands[0])[1 : rank - len(axes)]  # places and the tile
    if prod(between) > 1 or find.positions(op.attributes["permutation_map"].value) != list(range(rank))[-len(axes) :]:
        return None
    return Operand(op, axes)


def copies_to(buffer: Any) -> list[Any]:
    """The tensor copies that fill a buffer, or parts of it."""
    found: list[Any] = []
    for use in buffer.uses:
        op = use.owner.operation
        if op.name in ("memref.subview", "memref.cast"):
            found += copies_to(op.results[0])
        elif op.name == "nvgpu.tma.async.load" and op.operands[0] == buffer:
            found.append(op)
    return found


def filled_by_tma(buffer: Any) -> bool:
    """Whether tensor copies in plain rows fill a buffer."""
    copies = copies_to(buffer)
    return bool(copies) and all("swizzle = none" in str(map_of(op).type) for op in copies)


def map_of(copy: Any) -> Any:
    """The tensor map of a copy."""
    return next(value for value in copy.operands if "tensormap" in str(value.type))


def permute(buffer: Any) -> None:
    """Lets the copies to a buffer exchange chunks."""
    for copy in copies_to(buffer):
        value = map_of(copy)
        value.set_type(ir.Type.parse(str(value.type).replace("swizzle = none", "swizzle = swizzle_128b")))


@dataclass
class Warpgroup(Fragments):
    """A warpgroup's contraction; an accumulator is named by its 64 rows, a piece by its row and its pair of columns.

    Of 64 x n results a thread holds, for every eight columns, two of its warp's row lane / 4 and two of the row eight
    further down (PTX ISA, "wgmma.mma_async: register fragments and shared memory layouts").
    """

    starts: dict[int, Any] = field(default_factory=dict[int, Any])
    blocks: int = 0

    def __post_init__(self) -> None:
        self.m, self.n, self.k = sizes(self.contract)

    @property
    def lanes(self) -> int:
        """A warpgroup's threads."""
        return LANES

    @cached_property
    def operands(self) -> list[Operand]:
        """Where A and B lie."""
        found = [operand_of(self.contract, number) for number in (0, 1)]
        return [each for each in found if each is not None]

    @property
    def element(self) -> str:
        """What is multiplied."""
        return multiplied_as(str(self.operands[0].buffer.type.element_type))

    @property
    def accumulator(self) -> Any:
        """What is added up in."""
        return self.contract.operands[2].type.element_type

    @property
    def struct(self) -> str:
        """The type of an accumulator."""
        return f"!llvm.struct<({', '.join([str(self.accumulator)] * (self.n // 2))})>"

    def keys(self) -> Iterable[Key]:
        """Row by row."""
        return product(range(self.m // ROWS * 2), range(self.n // 8))

    def piece_at(self, key: Key) -> dict[str, tuple[Any, int]]:
        """A row, and two columns."""
        lane, (row, pair) = ir.AffineExpr.get_dim(0), key
        warp = ir.AffineExpr.get_floor_div(lane, 32)
        quarter = ir.AffineExpr.get_floor_div(ir.AffineExpr.get_mod(lane, 32), 4)
        m = warp * 16 + quarter + (row // 2 * ROWS + row % 2 * 8)
        return {"m": (m, 1), "n": (ir.AffineExpr.get_mod(lane, 4) * 2 + 8 * pair, 2)}

    def write_pieces(self, op: Any, axes: Axes) -> None:
        """One write a pair, or tensor copies of whole blocks."""
        if self.blocks:
            staged(self, op, axes, self.blocks)
        else:
            super().write_pieces(op, axes)

    def held(self, key: Key) -> Any:
        """Two values of the row's accumulator."""
        (row, pair), llvm, kind = key, mlir.dialect("llvm"), self.accumulator
        values = [
            llvm.ExtractValueOp(kind, self.accumulators[row // 2, 0], [4 * pair + row % 2 * 2 + n]).result
            for n in range(2)
        ]
        return mlir.dialect("vector").FromElementsOp(ir.VectorType.get([2], kind), values).result

    def started(self, origin: Any) -> dict[Key, Any]:
        """Zeros."""
        number = splat(origin)
        if number is None or number.value != 0:
            raise PassError(
                "the sum does not start from zero; start-from-zero adds what is there at the end", self.where()
            )
        self.starts = {number: self.start(each) for number, each in enumerate(self.operands) if self.stays(each)}
        zero = mlir.dialect("llvm").ZeroOp(ir.Type.parse(self.struct)).result
        return {(tile, 0): zero for tile in range(self.m // ROWS)}

    def multiplied(self, accumulators: dict[Key, Any]) -> dict[Key, Any]:
        """The instructions of one contraction, one group."""
        nvvm, found = mlir.dialect("nvvm"), dict(accumulators)
        with ir.InsertionPoint(self.contract):
            here = [self.here(number, each) for number, each in enumerate(self.operands)]
            nvvm.WgmmaFenceAlignedOp()
            for k in range(0, self.k, DEPTHS[self.element]):
                right = moved(here[1], self.operands[1].offset(0, k))
                for tile in range(self.m // ROWS):
                    left = moved(here[0], self.operands[0].offset(tile * ROWS, k))
                    found[tile, 0] = self.product(left, right, found[tile, 0])
            nvvm.WgmmaGroupSyncAlignedOp()
            nvvm.WgmmaWaitGroupSyncOp(0)
        return found

    def product(self, left: Any, right: Any, addend: Any) -> Any:
        """One instruction."""
        kind, sum_ = (f"#nvvm.wgmma_type<{NAMES.get(name, name)}>" for name in (self.element, str(self.accumulator)))
        layouts = ["row" if self.operands[0].along_k else "col", "col" if self.operands[1].along_k else "row"]
        parse = ir.Attribute.parse
        return mlir.dialect("nvvm").WgmmaMmaAsyncOp(
            addend.type, addend, left, right,
            parse(f"#nvvm.shape<m = {ROWS}, n = {self.n}, k = {DEPTHS[self.element]}>"),
            parse(kind), parse(kind), parse(sum_), parse("#nvvm.wgmma_scale_out<one>"),
            *[parse("#nvvm.wgmma_scale_in<one>")] * 2, *(parse(f"#nvvm.mma_layout<{each}>") for each in layouts),
        ).results_  # fmt: skip

    def here(self, number: int, each: Operand) -> Any:
        """The descriptor of the warpgroup's own tile of an operand in this step."""
        start = self.starts[number] if number in self.starts else self.start(each)
        if each.place is None:
            return start
        arith, i64 = mlir.dialect("arith"), ir.IntegerType.get_signless(64)
        size = arith.ConstantOp(ir.IndexType.get(), each.place_bytes >> 4).result
        behind = arith.IndexCastOp(i64, arith.MulIOp(each.place, size).result).result
        return arith.AddIOp(start, behind).result

    def stays(self, each: Operand) -> bool:
        """Whether the warpgroup's tile of an operand is the same in every step."""
        loops = self.loops()
        leaves = [leaf for index in each.indices for leaf in linear(index).terms]
        return not any(loop in find.parents(leaf_owner(leaf)) for loop in loops for leaf in leaves)

    def start(self, each: Operand) -> Any:
        """The descriptor of the warpgroup's own tile of an operand.

        The same for all threads of a warp, which a shuffle tells the compiler: it stays out of vector registers.
        """
        arith, i32, i64 = mlir.dialect("arith"), ir.IntegerType.get_signless(32), ir.IntegerType.get_signless(64)

        def number(value: int) -> Any:
            return arith.ConstantOp(i32, ir.IntegerAttr.get(i32, value)).result

        base = mlir.dialect("memref").ExtractAlignedPointerAsIndexOp(each.buffer).result
        width = each.buffer.type.shape[-1]
        *boxes, across, along = [linear(index) for index in each.indices]
        place = boxes[0].scaled(each.box) if boxes else along.scaled(each.nbytes)
        if along.terms or along.constant % width:
            raise PassError("a warpgroup's tile begins within a row of workgroup memory", self.where())
        inside = emit(place + across.scaled(ROW_BYTES))
        address = arith.IndexCastOp(i32, arith.AddIOp(base, inside).result).result
        address = arith.ShRUIOp(arith.AndIOp(address, number(ADDRESS)).result, number(4)).result
        address = (
            mlir.dialect("nvvm")
            .ShflOp(
                number(-1), address, number(0), number(31), ir.Attribute.parse("#nvvm<shfl_kind idx>"), results=[i32]
            )
            .result
        )
        return arith.OrIOp(arith.ExtUIOp(i64, address).result, arith.ConstantOp(i64, each.pattern).result).result


def elect(launch: Any, lane: Any) -> None:
    """Lets one thread tell that its warpgroup has used a tile: products are waited for by all of it together."""
    arith, scf, nvgpu = mlir.dialect("arith"), mlir.dialect("scf"), mlir.dialect("nvgpu")
    started: set[Any] = set()
    for arrive in mlir.walk(launch, lambda op: op.operation.name == "nvgpu.mbarrier.arrive"):
        barrier, place = list(arrive.operands)
        for start in [use.owner.operation for use in barrier.uses if use.owner.operation.name == "nvgpu.mbarrier.init"]:
            if start not in started:
                started.add(start)
                with ir.InsertionPoint(start):
                    start.operands[1] = emit(Linear(linear(start.operands[1]).constant // LANES))
        with ir.InsertionPoint(arrive):
            first = scf.IfOp(arith.CmpIOp(arith.CmpIPredicate.eq, lane, emit(Linear(0))).result)
            with ir.InsertionPoint(first.then_block):
                nvgpu.MBarrierArriveOp(barrier, place)
                scf.YieldOp([])
        arrive.erase()


def moved(descriptor: Any, nbytes: int) -> Any:
    """The descriptor of what lies so many bytes further."""
    arith, i64 = mlir.dialect("arith"), ir.IntegerType.get_signless(64)
    return arith.AddIOp(descriptor, arith.ConstantOp(i64, nbytes >> 4).result).result


def leaf_owner(value: Any) -> Any:
    """The first op of the block that an argument belongs to, or the op that makes a value."""
    if isinstance(value, ir.BlockArgument):
        return ir.BlockArgument(value).owner.operations[0].operation
    return find.defining(value)
