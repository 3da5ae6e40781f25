"""A contraction whose parts the lanes of a group hold, on its way to matrix instructions: what all instructions share.

The group is a wave or a warpgroup; its contraction is of vectors that no lane holds. An instruction set says which
parts a lane has and how they are multiplied; here the loop's accumulator becomes the lane's accumulators, and whatever
elementwise operations lie between the loop and the writes are done, and what they read is read, in the same pieces.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lowering import find, mlir
from lowering.core import PassError
from lowering.mlir import ir
from lowering.passes.common.slices import apply
from lowering.passes.gpu.index import launch_of

Axes = tuple[str | None, ...]  # what each dimension of a group's vector runs along: m, n, k; None for one of size 1
Key = tuple[int, int]
PLAIN = ("arith.", "math.")


@dataclass
class Fragments(ABC):
    """One contraction. Pieces are made where they are needed, each once.

    An accumulator is what one instruction adds to, a piece what a lane has side by side of the result; both have a pair
    of numbers for a name.
    """

    contract: Any
    lane: Any = None
    made_pieces: dict[tuple[Any, Axes, Key], Any] = field(default_factory=dict[Any, Any])
    accumulators: dict[Key, Any] = field(default_factory=dict[Key, Any])
    result: Any = None

    # --- what an instruction set says

    @property
    @abstractmethod
    def lanes(self) -> int:
        """Lanes of the group."""

    @abstractmethod
    def started(self, origin: Any) -> dict[Key, Any]:
        """The accumulators before the first product, of the whole group's vector."""

    @abstractmethod
    def multiplied(self, accumulators: dict[Key, Any]) -> dict[Key, Any]:
        """The instructions of one contraction."""

    @abstractmethod
    def keys(self) -> Iterable[Key]:
        """The pieces of the result, in the order in which they are written."""

    @abstractmethod
    def piece_at(self, key: Key) -> dict[str, tuple[Any, int]]:
        """Where a piece lies along m and n: its first element, an expression of the lane, and how many."""

    @abstractmethod
    def held(self, key: Key) -> Any:
        """A piece of the result as a vector of one dimension."""

    # --- the loops

    def rewrite(self) -> None:
        """Rebuilds the loops around the contraction, then what uses their result."""
        launch = launch_of(self.contract)
        assert launch is not None
        body = launch.regions[0].blocks[0]
        with ir.InsertionPoint.at_block_begin(body):
            expression = ir.AffineExpr.get_mod(ir.AffineExpr.get_dim(0), self.lanes)
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
        for op in self.writes():
            self.write_pieces(op, self.axes_of(op.operands[0]))
            erase(op, self.contract)
        # the old loops were emptied, but hold values that what was moved out of them still names
        for inner in loops[:-1]:
            inner.operands[3] = origin
        self.contract.operands[2] = origin
        for old in (*reversed(loops), self.contract):
            old.erase()

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

    # --- pieces of reads and writes

    def read(self, op: Any, axes: Axes, at: dict[str, tuple[Any, int]]) -> Any:
        """A part of a group's read: `at` says where along each axis, as an expression of the lane, and how many."""
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

    def writes(self) -> list[Any]:
        """The writes that the result ends in."""
        found, waiting, seen = list[Any](), [self.result], set[Any]()
        while waiting:
            for op in users(waiting.pop()):
                if op in seen:
                    continue
                seen.add(op)
                if op.name == "vector.transfer_write":
                    if len(op.operands) != 2 + len(find.shape(op.operands[1])):
                        raise PassError("a masked write cannot be given to lanes", str(op.location))
                    found.append(op)
                elif op.name.startswith(PLAIN) or op.name in ("vector.transpose", "vector.broadcast"):
                    waiting.append(op.results[0])
                else:
                    reason = f"{op.name} uses the contraction's result, and has no form for lanes"
                    raise PassError(reason, str(op.location))
        return found

    def write_pieces(self, op: Any, axes: Axes) -> None:
        """One write a piece."""
        with ir.InsertionPoint(op):
            for key in self.keys():
                self.write_piece(op, self.piece(op.operands[0], axes, key), axes, self.piece_at(key))

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

    def piece(self, value: Any, axes: Axes, key: Key) -> Any:
        """A lane's part of a value of the group's."""
        name = (value, axes, key)
        if name not in self.made_pieces:
            self.made_pieces[name] = self.made(value, axes, key)
        return self.made_pieces[name]

    def made(self, value: Any, axes: Axes, key: Key) -> Any:
        """The ops of a piece, at the insertion point."""
        vector, at = mlir.dialect("vector"), self.piece_at(key)
        shape = [1 if axis is None else at[axis][1] for axis in axes]
        if value == self.result:
            return vector.ShapeCastOp(ir.VectorType.get(shape, value.type.element_type), self.held(key)).result
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
            inner = self.piece(op.operands[0], transposed(op, axes), key)
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
                operand = self.piece(operand, kept, key)
            return vector.BroadcastOp(kind, operand).result
        if not op.name.startswith(PLAIN) or len(op.results) != 1:
            raise PassError(f"{op.name} has no form for lanes", str(op.location))
        operands = [
            self.piece(each, axes, key) if isinstance(each.type, ir.VectorType) else each for each in op.operands
        ]
        attributes = {name: op.attributes[name] for name in list(op.attributes)}
        return ir.Operation.create(op.name, [kind], operands, attributes).results[0]


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
    waiting = [op]
    while waiting:
        op = waiting.pop()
        makers = dict.fromkeys(find.defining(value) for value in op.operands)
        op.erase()
        for made in makers:  # without uses only now, so that none waits twice
            unused = made is not None and not any(list(result.uses) for result in made.results)
            if made is not None and unused and made != kept.operation and not made.regions:
                waiting.append(made)
