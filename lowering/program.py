"""A payload as a small dataflow graph, and how it is written as the one normal form.

Reading (`payload.py`) turns whatever the user wrote into these nodes; `emit` writes them as
`@main(inputs..., outputs...)` with every result tied to its own last argument. Resizing and the reference interpreter
work on the same nodes, so what is lowered, shrunk and checked cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lowering import find, mlir

Positions = tuple[int | None, ...]  # for each dimension of a tensor the loop that indexes it; None: always element 0


@dataclass(frozen=True, eq=False)
class Input:
    """A read-only argument of `@main`."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, eq=False)
class Fill:
    """A tensor whose elements are all one constant, the MLIR attribute `value`."""

    value: Any
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, eq=False)
class Map:
    """An elementwise op: `body` on one element of each input gives one element of the result.

    `positions[i]` says which dimension of the result indexes each dimension of input i. `bound[j]` is what argument j
    of the body stands for: the number of an input, or a constant's attribute.
    """

    body: Any  # a live block that ends in linalg.yield
    home: Any  # the module of the body: an op does not keep its module alive
    inputs: tuple[Node, ...]
    positions: tuple[Positions, ...]
    bound: tuple[Any, ...]
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, eq=False)
class Contract:
    """sum over the reduction loops of A * B, added to `start` (zero where it is None), in the accumulator type `dtype`.

    Loops are numbered batch, m, n, k, each in the order in which C (for k: A) is indexed by them.
    """

    a: Node
    b: Node
    start: Node | None
    dims: find.Dims
    sizes: tuple[int, ...]  # of the loops
    positions: tuple[Positions, Positions, Positions]  # of A, B, C
    dtype: str
    multiplied: str = ""  # tf32, where f32 operands may be multiplied so

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of C."""
        return tuple(self.sizes[p] for p in self.positions[2] if p is not None)


Node = Input | Fill | Map | Contract


@dataclass(frozen=True, eq=False)
class Program:
    """Inputs in the order of the arguments, and the nodes whose values are the outputs."""

    inputs: tuple[Input, ...]
    outputs: tuple[Node, ...]

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes in an order in which each comes after what it reads."""
        found: dict[int, Node] = {}

        def visit(node: Node) -> None:
            if id(node) not in found:
                for each in sources(node):
                    visit(each)
                found[id(node)] = node

        for node in self.outputs:
            visit(node)
        return tuple(found.values())

    @property
    def contract(self) -> Contract:
        """The one contraction."""
        return next(node for node in self.nodes if isinstance(node, Contract))

    @property
    def epilogue(self) -> tuple[Map, ...]:
        """The elementwise ops, in order."""
        return tuple(node for node in self.nodes if isinstance(node, Map))


def sources(node: Node) -> tuple[Node, ...]:
    """What a node reads."""
    if isinstance(node, Map):
        return node.inputs
    if isinstance(node, Contract):
        return (node.a, node.b) if node.start is None else (node.a, node.b, node.start)
    return ()


def layout(contract: Contract) -> str:
    """nn, nt, tn or tt as of the design; 'other' where the op is none of these (it stays a linalg.generic)."""
    dims, (a, b, c) = contract.dims, contract.positions
    if max(map(len, (dims.m, dims.n, dims.k))) > 1 or len(dims.batch) > 1:
        return "other"
    batch, m, n, k = dims.batch, *dims.m, *dims.n, *dims.k
    first = {(*batch, m, k): "n", (*batch, k, m): "t"}.get(tuple(a))  # pyright: ignore[reportCallIssue, reportArgumentType]
    second = {(*batch, k, n): "n", (*batch, n, k): "t"}.get(tuple(b))  # pyright: ignore[reportCallIssue, reportArgumentType]
    return f"{first}{second}" if first and second and c == (*batch, m, n) else "other"


MULTIPLIED = "lower.multiplied"  # on a contraction whose operands may be rounded, and a tensor map that does: "tf32"


# --- writing ---------------------------------------------------------------------------------------------------------


def emit(program: Program) -> str:
    """The normal form of a program as MLIR text."""
    with mlir.scope():
        module = mlir.ir.Module.create()
        func = mlir.dialect("func")
        types = [memref(node) for node in (*program.inputs, *program.outputs)]
        with mlir.ir.InsertionPoint(module.body):
            main = func.FuncOp("main", mlir.ir.FunctionType.get(types, []))
        block = main.add_entry_block()
        with mlir.ir.InsertionPoint(block):
            Writer(program, list(block.arguments)).write()
            func.ReturnOp([])
        module.operation.verify()
    return mlir.text(module)


class Writer:
    """Writes the nodes of one program at the current insertion point; `values` holds what is already written."""

    def __init__(self, program: Program, arguments: Sequence[Any]) -> None:
        self.program, self.arguments = program, arguments
        self.values: dict[int, Any] = {}

    def write(self) -> None:
        inputs, outputs = self.program.inputs, self.program.outputs
        for node, argument in zip(inputs, self.arguments, strict=False):
            restrict = {"restrict": mlir.ir.UnitAttr.get()}
            self.values[id(node)] = create("bufferization.to_tensor", [tensor(node)], [argument], restrict).result
        for node in self.program.nodes:
            self.node(node)
        for node, argument in zip(outputs, self.arguments[len(inputs) :], strict=True):
            flags = {"restrict": mlir.ir.UnitAttr.get(), "writable": mlir.ir.UnitAttr.get()}
            create("bufferization.materialize_in_destination", [], [self.values[id(node)], argument], flags)

    def node(self, node: Node) -> None:
        if isinstance(node, Map):
            self.values[id(node)] = self.elementwise(node)
        elif isinstance(node, Contract):
            self.values[id(node)] = self.contract(node)

    def contract(self, node: Contract) -> Any:
        linalg = mlir.dialect("linalg")
        a, b = self.values[id(node.a)], self.values[id(node.b)]
        start = self.zeros(node) if node.start is None else self.values[id(node.start)]
        maps = [affine(positions, len(node.sizes)) for positions in node.positions]
        if layout(node) == "other":
            result = self.generic_contract(node, [a, b, start], maps)
        else:
            op = linalg.batch_matmul if node.dims.batch else linalg.matmul
            result = op(a, b, outs=[start], indexing_maps=maps)
        if node.multiplied:
            result.owner.attributes[MULTIPLIED] = mlir.ir.StringAttr.get(node.multiplied)
        return result

    def generic_contract(self, node: Contract, operands: list[Any], maps: list[Any]) -> Any:
        kinds = ["reduction" if dim in node.dims.k else "parallel" for dim in range(len(node.sizes))]
        op = generic(tensor(node), operands, maps, kinds, inputs=2)
        block = op.regions[0].blocks[0]
        with mlir.ir.InsertionPoint(block):
            floats = node.dtype.startswith(("f", "bf"))
            into = [mlir.ir.Type.parse(node.dtype)]
            a, b, c = block.arguments
            if find.element(a) != node.dtype:
                a, b = (create("arith.extf" if floats else "arith.extsi", into, [value]).result for value in (a, b))
            product = create("arith.mulf" if floats else "arith.muli", into, [a, b]).result
            total = create("arith.addf" if floats else "arith.addi", into, [c, product]).result
            create("linalg.yield", [], [total])
        return op.result

    def zeros(self, node: Contract) -> Any:
        scalar = mlir.ir.Type.parse(node.dtype)
        zero = mlir.ir.Attribute.parse(f"0.0 : {scalar}" if node.dtype.startswith(("f", "bf")) else f"0 : {scalar}")
        constant = create("arith.constant", [scalar], attributes={"value": zero}).result
        empty = create("tensor.empty", [tensor(node)]).result
        return mlir.dialect("linalg").fill(constant, outs=[empty])

    def elementwise(self, node: Map) -> Any:
        constants = self.constants(node)
        empty = create("tensor.empty", [tensor(node)]).result
        rank = len(node.shape)
        maps = [affine(positions, rank) for positions in (*node.positions, tuple(range(rank)))]
        operands = [*(self.values[id(each)] for each in node.inputs), empty]
        op = generic(tensor(node), operands, maps, ["parallel"] * rank, inputs=len(node.inputs))
        block = op.regions[0].blocks[0]
        known = {
            argument: block.arguments[bound] if isinstance(bound, int) else constants[bound]
            for argument, bound in zip(node.body.arguments, node.bound, strict=False)
        }
        with mlir.ir.InsertionPoint(block):
            copy_body(node.body, known | {value: constants[attribute] for value, attribute in captured(node.body)})
        return op.result

    def constants(self, node: Map) -> dict[Any, Any]:
        """The constants that a body uses, each written once, in the order of their use."""
        written: dict[Any, Any] = {}
        for attribute in used_constants(node):
            if attribute not in written:
                value = {"value": attribute}
                written[attribute] = create("arith.constant", [attribute.type], attributes=value).result
        return written


def used_constants(node: Map) -> list[Any]:
    """The attributes of the constants that the body of a node uses, in the order of their use."""
    bound = {argument: what for argument, what in zip(node.body.arguments, node.bound, strict=False)}
    outside = dict(captured(node.body))
    found: list[Any] = []
    for op in node.body.operations:
        for value in op.operation.operands:
            attribute = bound.get(value, outside.get(value))
            if attribute is not None and not isinstance(attribute, int):
                found.append(attribute)
    return found


def captured(body: Any) -> list[tuple[Any, Any]]:
    """The constants from outside that a body uses, with their attributes."""
    inside = {result for op in body.operations for result in op.operation.results} | set(body.arguments)
    values = [value for op in body.operations for value in op.operation.operands if value not in inside]
    return [(value, value.owner.operation.attributes["value"]) for value in values]


def copy_body(body: Any, known: dict[Any, Any]) -> None:
    """Copies the ops of a body to the insertion point, with the values in `known` replaced."""
    for op in body.operations:
        copied = op.operation.clone()
        for index, value in enumerate(op.operation.operands):
            copied.operands[index] = known[value]
        known.update(zip(op.operation.results, copied.results, strict=True))


def create(name: str, results: Sequence[Any], operands: Sequence[Any] = (), attributes: Any = None) -> Any:
    """An op without regions at the insertion point."""
    return mlir.ir.Operation.create(name, list(results), list(operands), attributes or {})


def generic(result: Any, operands: list[Any], maps: list[Any], kinds: list[str], inputs: int) -> Any:
    """A linalg.generic with one output and an empty body block."""
    ir = mlir.ir
    attributes = {
        "indexing_maps": ir.ArrayAttr.get([ir.AffineMapAttr.get(each) for each in maps]),
        "iterator_types": ir.ArrayAttr.get([ir.Attribute.parse(f"#linalg.iterator_type<{kind}>") for kind in kinds]),
        "operandSegmentSizes": ir.DenseI32ArrayAttr.get([inputs, 1]),
    }
    op = ir.Operation.create("linalg.generic", [result], operands, attributes, regions=1)
    op.regions[0].blocks.append(*(operand.type.element_type for operand in operands))
    return op


def affine(positions: Positions, loops: int) -> Any:
    """The indexing map of positions."""
    expr = mlir.ir.AffineExpr
    results = [expr.get_constant(0) if p is None else expr.get_dim(p) for p in positions]
    return mlir.ir.AffineMap.get(loops, 0, results)


def tensor(node: Node) -> Any:
    """The tensor type of a node."""
    return mlir.ir.RankedTensorType.get(node.shape, mlir.ir.Type.parse(node.dtype))


def memref(node: Node) -> Any:
    """The memref type of a node: row-major, default memory space."""
    return mlir.ir.MemRefType.get(node.shape, mlir.ir.Type.parse(node.dtype))
