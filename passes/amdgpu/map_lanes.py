"""Says which lane of a wave holds what: its contraction becomes matrix instructions, and what belongs to it follows.

before:  %r = scf.for %k = .. iter_args(%acc = %zero : vector<64x64xf32>) {           // a whole wave's
           %a = vector.transfer_read %A[%i, %k] : vector<64x64xf16>
           %b = vector.transfer_read %B[%j, %k] : vector<64x64xf16>
           vector.contract (arith.extf %a), (arith.extf %b), %acc
         }
         vector.transfer_write (arith.truncf %r), %C[%i, %j]
after:   %r:16 = scf.for %k = .. iter_args(%acc0 = %zero : vector<4xf32>, ..) {       // a lane's
           %a0 = vector.transfer_read %A[%i + %lane mod 16, %k + 8 * (%lane floordiv 16)] : vector<1x8xf16>
           ..
           %d0 = amdgpu.mfma 16x16x16 %b0 * %a0 + %acc0 : vector<4xf16>, vector<4xf16>, vector<4xf32>
           ..
         }
         vector.transfer_write (arith.truncf [%r#0, %r#1]), %C[%i + .., %j + 8 * ..] : vector<1x8xf16>

`first` is the operand whose rows run along a lane's registers: with b, a lane has neighbouring columns of C, `run`
quads of them side by side, so that its stores are wide. The epilogue is whatever elementwise operations lie between the
loop and the writes; what they read is read in the same pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any, ClassVar, Literal

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.amdgpu.matrix_layout import DEPTHS, LANES, QUAD, Layout
from lowering.passes.amdgpu.shuffled_writes import shuffled
from lowering.passes.gpu.fragments import Axes, Fragments, Key, sizes, source, splat, transposed
from lowering.passes.gpu.index import launch_of


@dataclass(frozen=True)
class MapLanes(Pass):
    """`size` is the instruction's: 16 x 16 or 32 x 32. `truncate`: f32 is multiplied as xf32.

    `shuffle`: results are written through workgroup memory, as whole rows.
    """

    name: ClassVar[str] = "map-lanes"
    size: Literal["16", "32"] = "16"
    first: Literal["a", "b"] = "b"
    run: int = 1
    truncate: bool = False
    shuffle: bool = False

    def __post_init__(self) -> None:
        if self.run not in (1, 2, 4):
            raise ValueError(f"run is a number of quads, 1, 2 or 4, found {self.run}")

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """Both tiles with wide stores, where a launch holds one contraction of a wave on rows that divide."""
        found = find.vector_contracts(state)
        if target.family != "amdgpu" or len(found) != 1 or launch_of(found[0]) is None:
            return
        for tile in ("16", "32"):
            for run in (2, 1, 4):
                made = cls(tile, "b", run)
                if made.objection(found[0]) is None:
                    yield made

    def apply(self, module: Any) -> None:
        contract = find.vector_contract(module)
        reason = self.objection(contract)
        if reason is not None:
            raise PassError(reason, str(contract.location))
        with mlir.scope():
            Wave(contract, how=self).rewrite()
        mlir.run(module, "canonicalize,cse")

    def layout(self, contract: Any) -> Layout:
        """Where things lie, for the elements of a contraction."""
        element = str(source(contract.operands[0]).type.element_type)
        return Layout(int(self.size), self.run, "xf32" if element == "f32" and self.truncate else element)

    def objection(self, contract: Any) -> str | None:
        """Why a contraction cannot become matrix instructions; None where it can."""
        if launch_of(contract) is None:
            return "looked for a vector.contract in a gpu.launch; map-blocks and map-waves make the launch"
        for operand in list(contract.operands)[:2]:
            read = find.defining(source(operand))
            if read is not None and any(of_a_lane(each, launch_of(contract)) for each in list(read.operands)[1:]):
                return "the contraction is a single thread's: map-waves gives it to a whole wave"
        dims = find.contraction_dims(contract)
        if dims.batch or any(len(each) != 1 for each in (dims.m, dims.n, dims.k)):
            return "a contraction of other than one m, one n and one k: tile and fold what is beside them"
        left, right = (str(source(operand).type.element_type) for operand in list(contract.operands)[:2])
        layout, accumulator = self.layout(contract), str(contract.operands[2].type.element_type)
        wanted = "i32" if left == "i8" else "f64" if left == "f64" else "f32"
        if left != right or (layout.element, layout.tile) not in DEPTHS or accumulator != wanted:
            return f"there is no {self.size}x{self.size} matrix instruction for {left} by {right} into {accumulator}"
        m, n, k = sizes(contract)
        along, across = (m, n) if self.first == "a" else (n, m)
        if along % layout.span or along % layout.tile:
            return f"{along} rows of the first operand are no multiple of {max(layout.span, layout.tile)}"
        if across % layout.tile:
            return f"{across} rows of the second operand are no multiple of {layout.tile}"
        if k % layout.depth:
            return f"{k} elements along K are no multiple of the instruction's {layout.depth}"
        return None


def of_a_lane(value: Any, launch: Any) -> bool:
    """Whether an index differs between the lanes of a wave: it depends on the thread by more than the wave's number."""
    thread = launch.regions[0].blocks[0].arguments[3]
    pending, seen = [value], set[Any]()
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        if current == thread:
            return True
        op = find.defining(current)
        if op is None or launch not in find.parents(op):
            continue
        if op.name == "affine.delinearize_index" and op.operands[0] == thread:
            whole = list(op.attributes["static_basis"])[-1] == LANES and current != list(op.results)[-1]
            if whole:
                continue
        pending.extend(op.operands)
    return False


@dataclass
class Wave(Fragments):
    """A wave's contraction; an accumulator is named by the tiles of the first and the second operand, a piece by its
    run and the second operand's tile."""

    how: MapLanes = field(default_factory=MapLanes)

    def __post_init__(self) -> None:
        self.m, self.n, self.k = sizes(self.contract)
        along, across = (self.m, self.n) if self.how.first == "a" else (self.n, self.m)
        self.along, self.across = ("m", "n") if self.how.first == "a" else ("n", "m")
        self.first_tiles, self.second_tiles = along // self.layout.tile, across // self.layout.tile
        self.runs = along // self.layout.span

    @property
    def lanes(self) -> int:
        """A wave's."""
        return LANES

    @property
    def layout(self) -> Layout:
        """Which lane holds what."""
        return self.how.layout(self.contract)

    def keys(self) -> Iterable[Key]:
        """Tile by tile."""
        return ((run, tile) for tile, run in product(range(self.second_tiles), range(self.runs)))

    def started(self, origin: Any) -> dict[tuple[int, int], Any]:
        """The accumulators before the first product: a constant, or pieces of what is added to."""
        keys = list(product(range(self.first_tiles), range(self.second_tiles)))
        kind = ir.VectorType.get([QUAD * self.layout.quads], self.contract.results[0].type.element_type)
        number = splat(origin)
        if number is not None:
            constant = mlir.dialect("arith").ConstantOp(kind, ir.DenseElementsAttr.get_splat(kind, number)).result
            return dict.fromkeys(keys, constant)
        vector, quads = mlir.dialect("vector"), dict[tuple[int, int, int], Any]()
        flat = ir.VectorType.get([self.layout.width], kind.element_type)
        for run, tile in product(range(self.runs), range(self.second_tiles)):
            piece = vector.ShapeCastOp(flat, self.piece(origin, self.axes, (run, tile))).result
            for n, (instruction, quad) in enumerate(self.layout.quads_of(run)):
                quads[instruction, tile, quad] = part(piece, QUAD * n, QUAD)
        return {(i, j): joined([quads[i, j, n] for n in range(self.layout.quads)]) for i, j in keys}

    # --- the contraction

    def multiplied(self, accumulators: dict[tuple[int, int], Any]) -> dict[tuple[int, int], Any]:
        """The instructions of one contraction."""
        layout, found = self.layout, dict(accumulators)
        element = source(self.contract.operands[0]).type.element_type
        width = layout.read_width(self.k, element.width // 8)
        names = ("a", "b") if self.how.first == "a" else ("b", "a")
        with ir.InsertionPoint(self.contract):
            for k in range(0, self.k, layout.groups * width):
                parts: list[list[Any]] = []
                for name, count in zip(names, (self.first_tiles, self.second_tiles), strict=True):
                    parts.append([self.fragment(name, tile, k, width, name == names[0]) for tile in range(count)])
                for at in range(0, width, layout.per_lane):
                    cut = [[part(each, at, layout.per_lane) for each in side] for side in parts]
                    for i, j in product(range(self.first_tiles), range(self.second_tiles)):
                        found[i, j] = self.mfma(cut[0][i], cut[1][j], found[i, j])
        return found

    def mfma(self, first: Any, second: Any, addend: Any) -> Any:
        """One instruction."""
        if self.layout.per_lane == 1:
            vector = mlir.dialect("vector")
            first, second = (vector.ExtractOp(each, [], [0]).result for each in (first, second))
        tile, truncate = self.layout.tile, True if self.how.truncate else None
        i32 = ir.IntegerType.get_signless(32)
        numbers = {name: ir.IntegerAttr.get(i32, n) for name, n in (("m", tile), ("n", tile), ("k", self.layout.depth))}
        return mlir.dialect("amdgpu").MFMAOp(
            **numbers, sourceA=first, sourceB=second, destC=addend, blocks=1, reducePrecision=truncate,
            results=[addend.type],
        ).result  # fmt: skip

    def fragment(self, name: str, tile: int, k: int, width: int, is_first: bool) -> Any:
        """What a lane holds of an operand for `width` elements along K."""
        operand = "ab".index(name)
        dims = find.contraction_dims(self.contract)
        positions = find.positions(find.maps(self.contract)[operand])
        axes: Axes = tuple("k" if each == dims.k[0] else "row" for each in positions)
        lane = ir.AffineExpr.get_dim(0)
        row = self.layout.first_row(tile, lane) if is_first else self.layout.second_row(tile, lane)
        group = ir.AffineExpr.get_floor_div(lane, self.layout.tile)
        at = {"row": (row, 1), "k": (group * width + k, width)}
        value, op = self.contract.operands[operand], find.defining(self.contract.operands[operand])
        while op is not None and (op.name in find.WIDENING or op.name == "vector.transpose"):
            if op.name == "vector.transpose":
                axes = transposed(op, axes)
            value = op.operands[0]
            op = find.defining(value)
        if op is None or op.name != "vector.transfer_read":
            raise PassError(f"looked for a vector.transfer_read behind input {name}", self.where())
        read = self.read(op, axes, at)
        vector = mlir.dialect("vector")
        return vector.ShapeCastOp(ir.VectorType.get([width], read.type.element_type), read).result

    # --- what uses the result

    def piece_at(self, key: Key) -> dict[str, tuple[Any, int]]:
        """Where a run lies."""
        lane, (run, tile) = ir.AffineExpr.get_dim(0), key
        along = (self.layout.run_start(run, lane), self.layout.width)
        across = (self.layout.second_row(tile, lane), 1)
        return {"m": along, "n": across} if self.how.first == "a" else {"m": across, "n": along}

    def write_pieces(self, op: Any, axes: Axes) -> None:
        """One write a run, or whole rows by way of workgroup memory."""
        if self.how.shuffle:
            shuffled(self, op, axes)
        else:
            super().write_pieces(op, axes)

    def held(self, key: Key) -> Any:
        """A run of the result: its quads side by side."""
        run, tile = key
        quads = [
            part(self.accumulators[instruction, tile], QUAD * quad, QUAD)
            for instruction, quad in self.layout.quads_of(run)
        ]
        return joined(quads)


def joined(parts: list[Any]) -> Any:
    """Vectors of one dimension and size, a power of two of them, side by side."""
    while len(parts) > 1:
        size = list(range(2 * parts[0].type.shape[0]))
        parts = [mlir.dialect("vector").ShuffleOp(parts[n], parts[n + 1], size).result for n in range(0, len(parts), 2)]
    return parts[0]


def part(value: Any, first: int, count: int) -> Any:
    """Neighbouring elements of a vector of one dimension."""
    if count == value.type.shape[0]:
        return value
    return mlir.dialect("vector").ShuffleOp(value, value, list(range(first, first + count))).result
