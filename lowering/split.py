"""A program with several contractions -> one problem a contraction, each with the elementwise ops that follow it.

The program is read as one graph. Where a problem would reach into the next contraction, or into an op that is no
part of a problem (a softmax, a reshape), it is cut: the value becomes an input of the one and an output of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lowering import find, mlir, reference
from lowering.accepted import one_function
from lowering.core import PassError, Problem, UserError
from lowering.dtypes import DTYPES
from lowering.fold import through_casts
from lowering.payload import Reader
from lowering.problem import from_text
from lowering.program import Contract, Input, Map, Node, Program, emit, sources
from lowering.source import Source

Array = reference.Array
RESHAPES = ("tensor.collapse_shape", "tensor.expand_shape", "tensor.cast")


@dataclass(frozen=True, eq=False)
class Piece:
    """One contraction of a program. `problem` is None where it cannot be lowered, and `reason` says why."""

    contract: Contract
    problem: Problem | None
    reason: str
    inputs: tuple[Node, ...]  # what the problem's inputs are in the whole program
    outputs: tuple[Node, ...]

    @property
    def flops(self) -> int:
        """Multiply-adds times two."""
        return 2 * int(np.prod(self.contract.sizes, dtype=np.int64))


@dataclass
class Whole(Reader):
    """Reads a function with any number of contractions; ops that are no part of a problem give unknown values."""

    cuts: dict[int, Node] = field(default_factory=dict)  # id of an Input -> the node whose value (reshaped) it is
    opaque: dict[int, tuple[Node, ...]] = field(default_factory=dict)  # id of an Input -> what an unknown op read
    outputs: list[Node] = field(default_factory=list)
    order: list[Contract] = field(default_factory=list)
    kept: list[Node] = field(default_factory=list)  # ids are good only while their nodes live

    def execute(self, module: Any) -> Program:
        """The program, whose inputs are the function's arguments."""
        self.module = module
        mlir.run(module, "inline,symbol-dce,func.func(convert-elementwise-to-linalg,linalg-generalize-named-ops)")
        main = one_function(module, self.source)
        block = main.regions[0].blocks[0]
        for argument in block.arguments:
            self.values[argument] = self.new_input(argument)
        arguments = tuple(self.inputs)
        for op in block.operations:
            if op.operation.name == "func.return":
                self.outputs = [self.known(value) for value in op.operation.operands]
            else:
                self.tolerant_step(op.operation)
        return Program(arguments, tuple(self.outputs))

    def tolerant_step(self, op: Any) -> None:
        """Executes one op; the results of one that is no part of a problem are inputs of what follows."""
        try:
            self.step(op)
        except UserError:
            read = tuple(self.known(value) for value in op.operands if value in self.values)
            for result in op.results:
                made = self.values[result] = self.unknown(result)
                if op.name in RESHAPES:
                    self.cuts[id(made)] = read[0]
                else:
                    self.opaque[id(made)] = read

    def unknown(self, value: Any) -> Input:
        """A value that no node of the graph computes."""
        shaped = isinstance(value.type, mlir.ir.ShapedType)
        made = Input(find.shape(value), find.element(value)) if shaped else Input((), str(value.type))
        self.kept.append(made)
        return made

    def known(self, value: Any) -> Node:
        """The node of a value; an unknown input where it has none."""
        node = self.values.get(value)
        if node is None:
            node = self.values[value] = self.unknown(value)
        return node

    def generic(self, op: Any) -> None:
        """A linalg.generic; what a contraction reads is cut where another op computes it."""
        if not find.is_contraction(op):
            super().generic(op)
            return
        was = dict(self.values)
        a, b, start = op.operands
        self.values[a], self.values[b] = self.cut(self.value(a, op)), self.cut(self.value(b, op))
        if contractions_below(was.get(start)):
            self.values[start] = self.cut(self.value(start, op))
        super().generic(op)
        made = self.values[op.results[0]]
        self.values = was | {op.results[0]: made}
        self.order.append(contractions_below(made)[-1])

    def cut(self, node: Node) -> Node:
        """An input that stands for a computed node; an argument that is only cast or transposed stays."""
        seen, _ = through_casts(node, tuple(range(len(node.shape))))
        if isinstance(seen, Input):
            return node
        made = Input(node.shape, node.dtype)
        self.cuts[id(made)] = node
        self.kept.append(made)
        return made


def contractions_below(node: Node | None) -> list[Contract]:
    """The contractions that a node depends on, in order."""
    return [] if node is None else [each for each in Program((), (node,)).nodes if isinstance(each, Contract)]


@dataclass(frozen=True, eq=False)
class Split:
    """A program and its pieces, in program order."""

    whole: Whole
    program: Program
    pieces: tuple[Piece, ...]

    def values(self, arguments: Sequence[Array]) -> dict[int, Array]:
        """The value of every node that the arguments determine, by the node's id, in float64 or int64."""
        found = {
            id(node): reference.widened(value, node.dtype)
            for node, value in zip(self.program.inputs, arguments, strict=True)
        }
        with np.errstate(all="ignore"):
            for node in everything(self.whole):
                value = evaluated(node, found, self.whole.cuts)
                if value is not None:
                    found[id(node)] = value
        return found


def evaluated(node: Node, known: dict[int, Array], cuts: dict[int, Node]) -> Array | None:
    """A node's value, where what it reads is known."""
    if id(node) in known:
        return known[id(node)]
    if isinstance(node, Input):
        value = known.get(id(cuts[id(node)])) if id(node) in cuts else None
        return None if value is None else value.reshape(node.shape)
    parts = [known.get(id(each)) for each in sources(node)]
    ready = [part for part in parts if part is not None]
    if len(ready) < len(parts):
        return None
    if isinstance(node, Contract):
        return reference.contract(node, ready[0], ready[1], ready[2] if node.start is not None else None)
    if isinstance(node, Map):
        return known_elementwise(node, ready)
    return None


def known_elementwise(node: Map, inputs: list[Array]) -> Array | None:
    """An elementwise op's value; None where the reference does not know an op."""
    try:
        return reference.elementwise(node, inputs, rounding=False)
    except (PassError, KeyError):
        return None


def everything(whole: Whole) -> list[Node]:
    """All nodes of a program, each after what it reads or stands for."""
    found: dict[int, Node] = {}

    def visit(node: Node) -> None:
        if id(node) in found:
            return
        for each in behind(node, whole):
            visit(each)
        found[id(node)] = node

    for node in (*whole.outputs, *whole.order):
        visit(node)
    return list(found.values())


def split(text: str, name: str, strict_semantics: bool = False) -> Split:
    """The problems of a module with any number of contractions. Raises UserError where there is none."""
    source = Source(text, name)
    whole = Whole(source, strict=True)
    program = whole.read(source.parse())
    if not whole.order:
        raise source.error("the program has no contraction")
    nodes = everything(whole)
    owners = owned(nodes, whole)
    users = read_outside(nodes, owners, whole)
    pieces = [
        piece(
            contract,
            number,
            [n for n in nodes if owners[id(n)] == number],
            users,
            f"{name}#{number + 1}",
            strict_semantics,
        )
        for number, contract in enumerate(whole.order)
    ]
    return Split(whole, program, tuple(pieces))


def behind(node: Node, whole: Whole) -> tuple[Node, ...]:
    """What a node is computed from, also where the graph is cut or an op is unknown."""
    if id(node) in whole.cuts:
        return (whole.cuts[id(node)],)
    return whole.opaque.get(id(node), sources(node))


def owned(nodes: Sequence[Node], whole: Whole) -> dict[int, int]:
    """The number of the contraction whose problem each node belongs to; -1 for none.

    That is the last contraction it depends on, unless it depends on it through a reshape or an unknown op: such a
    value exists only when the problem is done.
    """
    numbers = {id(contract): number for number, contract in enumerate(whole.order)}
    last: dict[int, int] = {}
    done: set[int] = set()  # nodes that come after the problem of their last contraction
    for node in nodes:
        below = behind(node, whole)
        last[id(node)] = numbers.get(id(node), max((last[id(each)] for each in below), default=-1))
        late = any(id(each) in done and last[id(each)] == last[id(node)] for each in below)
        if id(node) not in numbers and (not isinstance(node, Map) or late):
            done.add(id(node))
    return {id(node): -1 if id(node) in done else last[id(node)] for node in nodes}


def read_outside(nodes: Sequence[Node], owners: dict[int, int], whole: Whole) -> set[int]:
    """The nodes whose values are needed outside the problem they belong to."""
    needed = {id(node) for node in whole.outputs}
    for node in nodes:
        needed |= {id(each) for each in behind(node, whole) if owners[id(each)] != owners[id(node)]}
    return needed


def piece(
    contract: Contract, number: int, mine: Sequence[Node], needed: set[int], name: str, strict_semantics: bool
) -> Piece:
    """The problem of one contraction: with all its elementwise ops if that is a problem, else alone."""
    reason = ""
    for nodes in (mine, [contract]):
        outputs = tuple(node for node in nodes if id(node) in needed) or (nodes[-1],)
        inputs, program = extracted(nodes, outputs if len(nodes) > 1 else (contract,))
        try:
            problem = from_text(emit(program), name, strict_semantics)
        except UserError as error:
            reason = reason or str(error).splitlines()[0]
            continue
        return Piece(contract, problem, reason, inputs, outputs if len(nodes) > 1 else (contract,))
    return Piece(contract, None, reason, (), ())


def extracted(nodes: Sequence[Node], outputs: Sequence[Node]) -> tuple[tuple[Node, ...], Program]:
    """A program of some nodes of a larger one; what they read besides each other becomes an input."""
    made: dict[int, Node] = {}
    inputs: list[Node] = []

    def part(node: Node) -> Node:
        if id(node) not in made:
            made[id(node)] = Input(node.shape, node.dtype)
            inputs.append(node)
        return made[id(node)]

    for node in nodes:
        if isinstance(node, Contract):
            a, b = part(node.a), part(node.b)
            made[id(node)] = replace(node, a=a, b=b, start=None if node.start is None else part(node.start))
        elif isinstance(node, Map):
            made[id(node)] = replace(node, inputs=tuple(part(each) for each in node.inputs))
    program = Program((), tuple(made[id(node)] for node in outputs))
    used = {id(node) for node in program.nodes}
    kept = [node for node in inputs if id(made[id(node)]) in used]
    leaves = tuple(each for node in kept if isinstance(each := made[id(node)], Input))
    return tuple(kept), replace(program, inputs=leaves)


def as_argument(value: Array, dtype: str) -> Array:
    """A value in the type of an argument."""
    return value.astype(DTYPES[dtype].numpy)
