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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, ClassVar, Literal

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir
from lowering.passes.amdgpu.matrix_layout import DEPTHS, LANES, QUAD, Layout
from lowering.passes.amdgpu.shuffled_writes import shuffled
from lowering.passes.common.slices import apply
from lowering.passes.gpu.index import launch_of

Axes = tuple[str | None, ...]  # what each dimension of a wave's vector runs along: m, n, k; None for one of size 1
PLAIN = ("arith.", "math.")


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
            Wave(contract, self, self.layout(contract)).rewrite()
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


def sizes(contract: Any) -> tuple[int, int, int]:
    """The extents of a contraction's m, n and k."""
    dims = find.contraction_dims(contract)
    extents: dict[int | None, int] = {}
    for affine_map, operand in zip(find.maps(contract), list(contract.operands)[:3], strict=True):
        extents |= dict(zip(find.positions(affine_map), find.shape(operand), strict=True))
    return extents[dims.m[0]], extents[dims.n[0]], extents[dims.k[0]]


def source(value: Any) -> Any:
    """The value behind the widening casts and the transpositions of an operand."""
    op = find.defining(value)
    while op is not None and (op.name in find.WIDENING or op.name == "vector.transpose"):
        value = op.operands[0]
        op = find.defining(value)
    return value


@dataclass
class Wave:
    """One contraction on its way to lanes. Pieces are made where they are needed, each once."""

    contract: Any
    how: MapLanes
    layout: Layout
    lane: Any = None
    pieces: dict[tuple[Any, Axes, int, int], Any] = field(default_factory=dict[Any, Any])
    accumulators: dict[tuple[int, int], Any] = field(default_factory=dict[tuple[int, int], Any])
    result: Any = None

    def __post_init__(self) -> None:
        self.m, self.n, self.k = sizes(self.contract)
        along, across = (self.m, self.n) if self.how.first == "a" else (self.n, self.m)
        self.along, self.across = ("m", "n") if self.how.first == "a" else ("n", "m")
        self.first_tiles, self.second_tiles = along // self.layout.tile, across // self.layout.tile
        self.runs = along // self.layout.span

    def rewrite(self) -> None:
        """Rebuilds the loops around the contraction, then what uses their result."""
        launch = launch_of(self.contract)
        assert launch is not None
        body = launch.regions[0].blocks[0]
        with ir.InsertionPoint.at_block_begin(body):
            expression = ir.AffineExpr.get_mod(ir.AffineExpr.get_dim(0), LANES)
            self.lane = apply(expression, [body.arguments[3]])
        loops = self.loops()
        outermost = loops[-1] if loops else None
        written = find.positions(find.maps(self.contract)[2])
        dims = find.contraction_dims(self.contract)
        self.axes: Axes = tuple("m" if each == dims.m[0] else "n" for each in written)
        self.result = (outermost or self.contract).results[0]
        origin = self.contract.operands[2] if outermost is None else list(outermost.operands)[3]
        with ir.InsertionPoint(outermost or self.contract):
            start = self.started(origin)
        self.accumulators = self.rebuilt(list(reversed(loops)), start)
        for op in users(self.result):
            self.write(op)
        # the old loops were emptied, but hold values that what was moved out of them still names
        for inner in loops[:-1]:
            inner.operands[3] = origin
        self.contract.operands[2] = origin
        for old in (*reversed(loops), self.contract):
            old.erase()

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
            piece = vector.ShapeCastOp(flat, self.piece(origin, self.axes, run, tile)).result
            for n, (instruction, quad) in enumerate(self.layout.quads_of(run)):
                quads[instruction, tile, quad] = part(piece, QUAD * n, QUAD)
        return {(i, j): joined([quads[i, j, n] for n in range(self.layout.quads)]) for i, j in keys}

    def where(self) -> str:
        """The contraction's place."""
        return str(self.contract.location)

    def loops(self) -> list[Any]:
        """The loops that carry the accumulator, innermost first."""
        found: list[Any] = []
        value, inner = self.contract.operands[2], self.contract.results[0]
        while isinstance(value, ir.BlockArgument):
            owner = ir.BlockArgument(value).owner.owner.operation
            block = owner.regions[0].blocks[0]
            if owner.name != "scf.for" or len(owner.results) != 1 or list(block.operations)[-1].operands[0] != inner:
                raise PassError("the accumulator is carried by something other than loops of its own", self.where())
            found.append(owner)
            value, inner = list(owner.operands)[3], owner.results[0]
        return found

    def rebuilt(self, loops: list[Any], start: dict[tuple[int, int], Any]) -> dict[tuple[int, int], Any]:
        """The accumulators behind some loops, outermost first: each loop anew, with a value for every accumulator."""
        if not loops:
            return self.multiplied(start)
        old, keys = loops[0], list(start)
        scf, block = mlir.dialect("scf"), old.regions[0].blocks[0]
        with ir.InsertionPoint(old):
            new = scf.ForOp(*list(old.operands)[:3], [start[key] for key in keys])
        for name in list(old.attributes):
            new.operation.attributes[name] = old.attributes[name]
        with ir.InsertionPoint(new.body):
            end = scf.YieldOp(list(new.inner_iter_args))
        block.arguments[0].replace_all_uses_with(new.induction_variable)
        for op in list(block.operations)[:-1]:
            op.operation.move_before(end.operation)
        inner = self.rebuilt(loops[1:], dict(zip(keys, new.inner_iter_args, strict=True)))
        for index, key in enumerate(keys):
            end.operation.operands[index] = inner[key]
        return dict(zip(keys, new.results, strict=True))

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

    def read(self, op: Any, axes: Axes, at: dict[str, tuple[Any, int]]) -> Any:
        """A part of a wave's read: `at` says where along each axis, as an expression of the lane, and how many."""
        indices, shape = self.moved(op, 1, axes, at, op.results[0].type.shape)
        kind = ir.VectorType.get(shape, op.results[0].type.element_type)
        rank = len(indices)
        if len(op.operands) != rank + 2:
            raise PassError("a masked read cannot be given to lanes", str(op.location))
        return mlir.dialect("vector").TransferReadOp(
            kind, op.operands[0], indices, op.attributes["permutation_map"], op.operands[1 + rank],
            op.attributes["in_bounds"],
        ).result  # fmt: skip

    def moved(
        self, op: Any, first: int, axes: Axes, at: dict[str, tuple[Any, int]], shape: Sequence[int]
    ) -> tuple[list[Any], list[int]]:
        """The indices and the vector's shape of a part of a transfer; its indices begin at operand `first`."""
        positions = find.positions(op.attributes["permutation_map"].value)
        rank = len(find.shape(op.operands[first - 1]))
        indices = list(op.operands)[first : first + rank]
        sizes_: list[int] = []
        for dim, axis, extent in zip(positions, axes, shape, strict=True):
            if axis is None:
                sizes_.append(extent)
                continue
            expression, count = at[axis]
            sizes_.append(count)
            if dim is not None:
                indices[dim] = apply(ir.AffineExpr.get_dim(1) + expression, [self.lane, indices[dim]])
        return indices, sizes_

    # --- what uses the result

    def piece_at(self, run: int, tile: int) -> dict[str, tuple[Any, int]]:
        """Where a piece of the result lies."""
        lane = ir.AffineExpr.get_dim(0)
        along = (self.layout.run_start(run, lane), self.layout.width)
        across = (self.layout.second_row(tile, lane), 1)
        return {"m": along, "n": across} if self.how.first == "a" else {"m": across, "n": along}

    def write(self, op: Any) -> None:
        """Follows a use of the result to the writes, which are done in pieces."""
        if op.name == "vector.transfer_write":
            self.write_pieces(op)
            erase(op, self.contract)
            return
        if not op.name.startswith(PLAIN) and op.name not in ("vector.transpose", "vector.broadcast"):
            raise PassError(f"{op.name} uses the contraction's result, and has no form for lanes", str(op.location))
        for user in users(op.results[0]):
            self.write(user)

    def write_pieces(self, op: Any) -> None:
        """One write a piece, or whole rows by way of workgroup memory."""
        axes = self.axes_of(op.operands[0])
        if len(op.operands) != 2 + len(find.shape(op.operands[1])):
            raise PassError("a masked write cannot be given to lanes", str(op.location))
        if self.how.shuffle:
            shuffled(self, op)
            return
        with ir.InsertionPoint(op):
            for tile, run in product(range(self.second_tiles), range(self.runs)):
                self.write_piece(op, self.piece(op.operands[0], axes, run, tile), axes, self.piece_at(run, tile))

    def write_piece(self, op: Any, value: Any, axes: Axes, at: dict[str, tuple[Any, int]]) -> None:
        """Writes a part of what a write is of; `at` says where along each axis, as an expression of the lane."""
        indices, shape = self.moved(op, 2, axes, at, find.shape(op.operands[0]))
        kind = ir.VectorType.get(shape, value.type.element_type)
        vector = mlir.dialect("vector")
        shaped = value if value.type == kind else vector.ShapeCastOp(kind, value).result
        vector.TransferWriteOp(
            None, shaped, op.operands[1], indices, op.attributes["permutation_map"], op.attributes["in_bounds"]
        )

    def axes_of(self, value: Any) -> Axes:
        """What the dimensions of a value that is computed from the result run along."""
        if value == self.result:
            return self.axes
        op = find.defining(value)
        if op is not None and op.name == "vector.transpose":
            inner = self.axes_of(op.operands[0])
            return tuple(inner[n] for n in op.attributes["permutation"])
        for operand in [] if op is None else op.operands:
            if isinstance(operand.type, ir.VectorType) and find.reaching(operand, launch_of(op)) & {self.result}:
                return self.axes_of(operand)
        raise PassError("cannot tell what a vector's dimensions are", self.where())

    def piece(self, value: Any, axes: Axes, run: int, tile: int) -> Any:
        """A lane's part of a wave's value."""
        key = (value, axes, run, tile)
        if key not in self.pieces:
            self.pieces[key] = self.made(value, axes, run, tile)
        return self.pieces[key]

    def made(self, value: Any, axes: Axes, run: int, tile: int) -> Any:
        """The ops of a piece, at the insertion point."""
        vector, at = mlir.dialect("vector"), self.piece_at(run, tile)
        shape = [1 if axis is None else at[axis][1] for axis in axes]
        if value == self.result:
            return vector.ShapeCastOp(ir.VectorType.get(shape, value.type.element_type), self.joined(run, tile)).result
        op = find.defining(value)
        if op is None or not isinstance(value.type, ir.VectorType):
            return value
        kind = ir.VectorType.get(shape, value.type.element_type)
        number = splat(value)
        if number is not None:
            return mlir.dialect("arith").ConstantOp(kind, ir.DenseElementsAttr.get_splat(kind, number)).result
        if op.name == "vector.transfer_read":
            return self.read(op, axes, at)
        if op.name == "vector.transpose":
            inner = self.piece(op.operands[0], transposed(op, axes), run, tile)
            return vector.TransposeOp(kind, inner, op.attributes["permutation"]).result
        if op.name == "vector.broadcast":
            operand = op.operands[0]
            if isinstance(operand.type, ir.VectorType):
                inner_shape = find.shape(operand)
                kept = axes[len(axes) - len(inner_shape) :]
                kept = tuple(
                    None if size == 1 and full != 1 else axis
                    for axis, size, full in zip(kept, inner_shape, find.shape(value)[-len(inner_shape) :], strict=True)
                )
                operand = self.piece(operand, kept, run, tile)
            return vector.BroadcastOp(kind, operand).result
        if not op.name.startswith(PLAIN) or len(op.results) != 1:
            raise PassError(f"{op.name} has no form for lanes", str(op.location))
        operands = [
            self.piece(each, axes, run, tile) if isinstance(each.type, ir.VectorType) else each for each in op.operands
        ]
        attributes = {name: op.attributes[name] for name in list(op.attributes)}
        return ir.Operation.create(op.name, [kind], operands, attributes).results[0]

    def joined(self, run: int, tile: int) -> Any:
        """A run of the result: its quads side by side."""
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


def transposed(op: Any, axes: Axes) -> Axes:
    """The axes of what a transposition takes, from those of what it gives."""
    found: list[str | None] = [None] * len(axes)
    for to, source_ in enumerate(op.attributes["permutation"]):
        found[source_] = axes[to]
    return tuple(found)


def splat(value: Any) -> Any | None:
    """The attribute that every element of a constant has; None for anything else."""
    op = find.defining(value)
    if op is None or op.name != "arith.constant" or not isinstance(value.type, ir.VectorType):
        return None
    attribute = ir.DenseElementsAttr(op.attributes["value"])
    return attribute.get_splat_value() if attribute.is_splat else None


def users(value: Any) -> list[Any]:
    """The ops that use a value, each once."""
    found: list[Any] = []
    for use in value.uses:
        op = use.owner.operation
        if op not in found and op.name != "scf.yield":
            found.append(op)
    return found


def erase(op: Any, kept: Any) -> None:
    """Erases an op without uses, and what made only its operands; not what is kept."""
    operands = list(op.operands)
    op.erase()
    for value in operands:
        made = find.defining(value)
        unused = made is not None and not any(list(result.uses) for result in made.results)
        if made is not None and unused and made != kept.operation and not made.regions:
            erase(made, kept)
