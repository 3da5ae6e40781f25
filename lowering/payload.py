"""Reads a user's module into a `Program`: tensors or buffers, named ops or generics, one contraction.

The function is executed symbolically: every tensor value, and the content of every buffer, is a node. So buffer
semantics, fills, transposes and casts of operands need no cases downstream. What cannot be a node is the user's
mistake, named with its place.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from lowering import find, mlir
from lowering.dtypes import DTYPES, ELEMENTS, OUTPUTS
from lowering.fold import contract, elementwise
from lowering.program import Contract, Fill, Input, Node, Program
from lowering.source import Source

MOST_DIMENSIONS = 6


@dataclass
class Reader:
    """The symbolic state: which node each tensor value is, and which node each buffer holds."""

    source: Source
    strict: bool
    module: Any = None
    values: dict[Any, Node | None] = field(default_factory=dict)  # None: not yet written
    written: list[Any] = field(default_factory=list)  # buffers, in the order of their first write
    inputs: list[Input] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def read(self, module: Any) -> Program:
        """The program of a module. Raises UserError with the place of what is not understood."""
        with mlir.scope():
            return self.execute(module)

    def execute(self, module: Any) -> Program:
        self.module = module
        one_function(module, self.source)
        if len(mlir.walk(module, is_function)) > 1:
            mlir.run(module, "inline,symbol-dce")
        main = one_function(module, self.source)
        check_contractions(main, self.source)
        check_types(main, self.source)
        mlir.run(module, "func.func(convert-elementwise-to-linalg,linalg-generalize-named-ops)")
        main = one_function(module, self.source)
        block = main.regions[0].blocks[0]
        for argument in block.arguments:
            self.values[argument] = self.new_input(argument)
        returned: list[Node] = []
        for op in block.operations:
            if op.operation.name == "func.return":
                returned = [self.value(value, op) for value in op.operation.operands]
            else:
                self.step(op.operation)
        return self.finish(main, returned)

    def new_input(self, value: Any) -> Input:
        node = Input(find.shape(value), find.element(value))
        self.inputs.append(node)
        return node

    def value(self, value: Any, op: Any) -> Node:
        """The node of a value that an op reads."""
        node = self.values.get(value)
        if node is None:
            message = f"this op reads a {value.type} that nothing was written to: start it with linalg.fill"
            raise self.source.error(message, op.location)
        return node

    def step(self, op: Any) -> None:
        """Executes one op."""
        handler = STEPS.get(op.name)
        if handler is None:
            raise self.source.error(f"{op.name} is not supported here{remedy(op.name)}", op.location, (ALLOWED,))
        getattr(self, handler)(op)

    def write(self, target: Any, node: Node) -> None:
        """A store of a whole tensor to a buffer."""
        self.values[target] = node
        if target not in self.written:
            self.written.append(target)

    # --- ops -----------------------------------------------------------------------------------------------------

    def constant(self, op: Any) -> None:
        self.define_constant(op, op.results[0], op.attributes["value"])

    def get_global(self, op: Any) -> None:
        name = op.attributes["name"].value
        root = list(find.parents(op))[-1]
        wanted = mlir.walk(root, lambda each: symbol(each) == name and each.operation.name == "memref.global")
        self.define_constant(op, op.results[0], wanted[0].attributes["initial_value"])

    def define_constant(self, op: Any, result: Any, attribute: Any) -> None:
        if not isinstance(result.type, mlir.ir.ShapedType):
            self.values[result] = Fill(attribute, (), str(result.type))
        elif isinstance(attribute, mlir.ir.DenseElementsAttr) and attribute.is_splat:
            self.values[result] = Fill(attribute.get_splat_value(), find.shape(result), find.element(result))
        else:
            self.values[result] = self.new_input(result)
            shape = "x".join(map(str, find.shape(result)))
            self.notes.append(f"the constant of shape {shape} is an argument: its values are not part of the problem")

    def uninitialised(self, op: Any) -> None:
        self.values[op.results[0]] = None

    def nothing(self, op: Any) -> None:
        pass

    def to_tensor(self, op: Any) -> None:
        self.values[op.results[0]] = self.values.get(op.operands[0])

    def materialize(self, op: Any) -> None:
        node = self.value(op.operands[0], op)
        if op.results:
            self.values[op.results[0]] = node
        else:
            self.write(op.operands[1], node)

    def copy(self, op: Any) -> None:
        self.write(op.operands[1], self.value(op.operands[0], op))

    def generic(self, op: Any) -> None:
        if (
            len(op.results) > 1
            or len(find.maps(op)) != len(op.operands)
            or op.attributes["operandSegmentSizes"][1] != 1
        ):
            raise self.source.error("a linalg op with several results is not supported", op.location, (ALLOWED,))
        *inputs, out = list(op.operands)
        reads_out = bool(list(op.regions[0].blocks[0].arguments[-1].uses))
        nodes = [self.value(value, op) for value in (*inputs, *([out] if reads_out else ()))]
        if find.is_contraction(op):
            node = contract(op, nodes, self.strict, self.source, self.notes)
        else:
            node = elementwise(op, self.module, nodes, self.source)
        if op.results:
            self.values[op.results[0]] = node
        else:
            self.write(out, node)

    # --- the end -------------------------------------------------------------------------------------------------

    def finish(self, main: Any, returned: list[Node]) -> Program:
        arguments = list(main.regions[0].blocks[0].arguments)
        stored = [value for value in arguments if value in self.written]
        outputs = [*(self.value(value, main) for value in stored), *returned]
        if not outputs:
            raise self.source.error("the function returns nothing and writes to no argument", main.location)
        program = Program((), tuple(outputs))
        for number, output in enumerate(outputs):
            if not any(isinstance(node, Contract) for node in Program((), (output,)).nodes):
                raise self.source.error(f"result {number} does not depend on the contraction", main.location)
            if output.dtype not in OUTPUTS:
                known = ", ".join(OUTPUTS)
                message = (
                    f"result {number} has the element type {output.dtype}, which is not supported yet; {known} are"
                )
                raise self.source.error(message, main.location)
        used = {id(node) for node in program.nodes}
        read = {argument for argument, node in zip(arguments, self.inputs, strict=False) if id(node) in used}
        if not read.union(stored).issuperset(arguments):
            self.notes.append("arguments that nothing reads were dropped")
        return replace(program, inputs=tuple(node for node in self.inputs if id(node) in used))


STEPS: dict[str, str] = {  # op -> the method of Reader that executes it
    "arith.constant": "constant",
    "memref.get_global": "get_global",
    "tensor.empty": "uninitialised",
    "bufferization.alloc_tensor": "uninitialised",
    "memref.alloc": "uninitialised",
    "memref.alloca": "uninitialised",
    "memref.dealloc": "nothing",
    "memref.copy": "copy",
    "bufferization.to_tensor": "to_tensor",
    "bufferization.materialize_in_destination": "materialize",
    "linalg.generic": "generic",
}
ALLOWED = (
    "a problem is one contraction (linalg.matmul, linalg.batch_matmul, a linalg.generic) with a linalg.fill or a\n"
    "linalg.transpose before it and elementwise linalg ops after it, on tensors or on buffers"
)


def remedy(name: str) -> str:
    """What to do about an op that is often met."""
    if name.endswith(("expand_shape", "collapse_shape", "reshape")):
        return ": give the arguments the shape that the contraction uses"
    if name.startswith(("scf.", "affine.", "vector.", "gpu.")):
        return ": this module is partly lowered; `lower opt` runs passes on it"
    return ""


def symbol(op: Any) -> str:
    """The symbol name of an op; empty where it has none."""
    attributes = op.operation.attributes
    return attributes["sym_name"].value if "sym_name" in attributes else ""


def visibility(op: Any) -> str:
    """public, private or nested; public where an op says nothing."""
    attributes = op.attributes
    return attributes["sym_visibility"].value if "sym_visibility" in attributes else "public"


def is_function(op: Any) -> bool:
    """Whether an op is a function, whatever its visibility."""
    return op.operation.name == "func.func"


def one_function(module: Any, source: Source) -> Any:
    """The one public function with a body."""
    functions = [op for op in mlir.walk(module, is_function) if op.regions[0].blocks]
    public = [op for op in functions if visibility(op) == "public"]
    if not public:
        raise source.error("expected one public func.func, found none")
    if len(public) > 1:
        names = ", ".join(f"@{symbol(op)}" for op in public)
        message = f"expected one public function, found {len(public)} ({names}); make the others private"
        raise source.error(message, public[1].location)
    if len(public[0].regions[0].blocks) > 1:
        raise source.error("the function has control flow; a problem is straight-line code", public[0].location)
    return public[0]


def check_contractions(main: Any, source: Source) -> None:
    """That there is exactly one contraction; the error lists what was found."""
    found = find.contractions(main)
    if len(found) == 1:
        return
    if not found:
        ops = [op for op in mlir.walk(main, lambda op: op.operation.name.startswith("linalg.")) if op.regions]
        names = ", ".join(f"{op.name} (line {source.line(op.location)})" for op in ops)
        detail = f"its linalg ops are {names}" if names else "it has no linalg op"
        raise source.error(f"@{symbol(main)} has no contraction: {detail}", main.location, (ALLOWED,))
    listed = [f"  line {source.line(op.location)}: {op.name} {describe(op)}" for op in found]
    raise source.error(f"expected one contraction, found {len(found)}:", "", tuple(listed))


def describe(op: Any) -> str:
    """The shape of a contraction, `BxMxNxK` as `--shape` takes it, and its element type."""
    dims, sizes = find.contraction_dims(op), find.loop_sizes(op)
    letters = {"B": dims.batch, "M": dims.m, "N": dims.n, "K": dims.k}
    used = {letter: loops for letter, loops in letters.items() if loops}
    shape = "x".join("?" if sizes[loop] < 0 else str(sizes[loop]) for loops in used.values() for loop in loops)
    return (
        f"{shape} ({'x'.join(letter for letter, loops in used.items() for _ in loops)}), {find.element(op.operands[0])}"
    )


def check_types(main: Any, source: Source) -> None:
    """That every tensor is ranked, static, not empty, of a supported element type, and buffers are row-major."""
    block = main.regions[0].blocks[0]
    for number, argument in enumerate(block.arguments):
        check_type(argument.type, f"argument {number}", argument.location, source)
    for op in mlir.walk(main, lambda op: op.operation.parent.operation == main):
        for result in op.results:
            check_type(result.type, f"the result of {op.name}", op.location, source)


def check_type(kind: Any, what: str, where: Any, source: Source) -> None:
    """UserError where a type is not one that a problem can have."""
    ir = mlir.ir
    if not isinstance(kind, ir.ShapedType):
        return
    if not kind.has_rank:
        raise source.error(f"{what} is {kind}: its rank must be known", where)
    for dim, size in enumerate(kind.shape):
        if kind.is_dynamic_dim(dim):
            raise source.error(f"dimension {dim} of {what} ({kind}) is dynamic: give it a size", where)
        if size == 0:
            raise source.error(f"dimension {dim} of {what} ({kind}) is zero: there is nothing to compute", where)
    if kind.rank > MOST_DIMENSIONS:
        raise source.error(
            f"{what} ({kind}) has {kind.rank} dimensions; at most {MOST_DIMENSIONS} are supported", where
        )
    dtype = str(kind.element_type)
    if dtype not in (*OUTPUTS, "i1"):
        why = DTYPES[dtype].not_yet if dtype in DTYPES else f"use {', '.join(ELEMENTS)}"
        raise source.error(f"the element type {dtype} of {what} ({kind}) is not supported yet: {why}", where)
    if isinstance(kind, ir.MemRefType) and not plain(kind):
        raise source.error(f"{what} ({kind}) must be row-major, without a layout or a memory space", where)


def plain(kind: Any) -> bool:
    """Whether a memref is row-major in the default memory space."""
    return kind.memory_space is None and kind.affine_map == mlir.ir.AffineMap.get_identity(kind.rank)
