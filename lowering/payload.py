"""Reads a user's module into a `Program`: tensors or buffers, named ops or generics, one contraction.

The function is executed symbolically: every tensor value, and the content of every buffer, is a node. So buffer
semantics, fills, transposes and casts of operands need no cases downstream. What cannot be a node is the user's
mistake, named with its place.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from lowering import find, mlir
from lowering.accepted import ALLOWED, check_contractions, check_types, is_function, one_function, symbol
from lowering.core import PassError
from lowering.dtypes import OUTPUTS
from lowering.fold import contract, elementwise
from lowering.program import Contract, Fill, Input, Node, Program
from lowering.source import Source


@dataclass
class Reader:
    """The symbolic state: which node each tensor value is, and which node each buffer holds."""

    source: Source
    strict: bool
    module: Any = None
    values: dict[Any, Node | None] = field(default_factory=dict)  # None: not yet written
    written: set[Any] = field(default_factory=set)  # buffers
    inputs: list[Input] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def read(self, module: Any) -> Program:
        """The program of a module. Raises UserError with the place of what is not understood."""
        with mlir.scope():
            try:
                return self.execute(module)
            except PassError as error:  # upstream's inliner or generalisation
                raise self.source.error(error.reason, error.where) from None

    def execute(self, module: Any) -> Program:
        self.module = module
        no_script(module, self.source)
        one_function(module, self.source)
        if len(mlir.walk(module, is_function)) > 1:
            mlir.run(module, "inline,symbol-dce")
        main = one_function(module, self.source)
        check_types(main, self.source)
        check_contractions(main, self.source)
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
        self.written.add(target)

    # --- ops -----------------------------------------------------------------------------------------------------

    def constant(self, op: Any) -> None:
        self.define_constant(op, op.results[0], op.attributes["value"])

    def get_global(self, op: Any) -> None:
        name = op.attributes["name"].value
        root = list(find.parents(op))[-1]
        wanted = mlir.walk(root, lambda each: symbol(each) == name and each.operation.name == "memref.global")
        attributes = wanted[0].attributes
        value = attributes["initial_value"] if "initial_value" in attributes and "constant" in attributes else None
        if not isinstance(value, (mlir.ir.DenseElementsAttr, mlir.ir.DenseResourceElementsAttr)):
            raise self.source.error(f"the memref.global @{name} is no constant; make it an argument", op.location)
        self.define_constant(op, op.results[0], value)

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


def no_script(module: Any, source: Source) -> None:
    """That no transform script stands beside the payload: it would get lost, as the normal form has no place for it."""
    found = [op for op in mlir.walk(module, is_transform) if not is_transform(op.parent)]
    if not found:
        return
    name = f" @{symbol(found[0])}" if symbol(found[0]) else ""
    advice = "move it to a file of its own, s.mlir, and run it as a pass: --schedule 'transform{script=s.mlir},...'"
    raise source.error(f"the transform script{name} is no part of a problem: {advice}", found[0].location)


def is_transform(op: Any) -> bool:
    """Whether an op is of the transform dialect."""
    return op.operation.name.startswith("transform.")


def remedy(name: str) -> str:
    """What to do about an op that is often met."""
    if name.endswith(("expand_shape", "collapse_shape", "reshape")):
        return ": give the arguments the shape that the contraction uses"
    if name.startswith(("scf.", "affine.", "vector.", "gpu.")):
        return ": this module is partly lowered; `lower opt` runs passes on it"
    return ""
