"""Makes nodes out of linalg.generic ops: canonical loops, copies and casts folded away, sums in the wide type."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lowering import find, mlir
from lowering.dtypes import DTYPES, ELEMENTS, ROUNDED
from lowering.program import MULTIPLIED, Contract, Fill, Input, Map, Node, Positions
from lowering.source import Source


def positions(op: Any, source: Source) -> list[Positions]:
    """The indexing maps of an op as positions. Raises UserError for a map that is no projected permutation."""
    maps = find.maps(op)
    for each in maps:
        if not find.simple(each):
            message = f"the indexing map {each} is not supported: each result must be a loop, none twice, or 0"
            raise source.error(message, op.location)
    return [tuple(find.positions(each)) for each in maps]


# --- elementwise -----------------------------------------------------------------------------------------------------


def elementwise(op: Any, home: Any, nodes: list[Node], source: Source) -> Node:
    """The node of an elementwise generic. `nodes`: its inputs, then its output's old value where the body reads it."""
    *maps, out = positions(op, source)
    if sorted(-1 if p is None else p for p in out) != list(range(find.maps(op)[-1].n_dims)):
        message = "this linalg op is neither a contraction nor elementwise: every loop must index its output"
        raise source.error(message, op.location)
    body = op.regions[0].blocks[0]
    check_body(body, source, op)
    rename = {loop: dim for dim, loop in enumerate(out)}
    used = [tuple(None if p is None else rename[p] for p in each) for each in (*maps, out)[: len(nodes)]]
    *_, result = op.operands
    made = Map(
        body, home, tuple(nodes), tuple(used), tuple(range(len(nodes))), find.shape(result), find.element(result)
    )
    return simplified(made, source, op)


def check_body(body: Any, source: Source, op: Any) -> None:
    """That a body is scalar arithmetic on its arguments and on constants."""
    for inner in body.operations:
        name = inner.operation.name
        if not name.startswith(("arith.", "math.")) and name != "linalg.yield":
            message = f"{name} in the body of an elementwise op is not supported: arith and math ops are"
            raise source.error(message, inner.operation.location)
    inside = {result for inner in body.operations for result in inner.operation.results} | set(body.arguments)
    for inner in body.operations:
        for value in inner.operation.operands:
            if value not in inside and not is_constant(value):
                raise source.error("the body reads a scalar that is no constant; make it a tensor", op.location)


def is_constant(value: Any) -> bool:
    """Whether a scalar comes from an arith.constant."""
    op = find.defining(value)
    return op is not None and op.name == "arith.constant"


def simplified(node: Map, source: Source, op: Any) -> Node:
    """A map with constants bound into its body and copies read through; a Fill where nothing else is left."""
    inputs: list[Node] = []
    maps: list[Positions] = []
    bound: list[Any] = []
    for each, where in zip(node.inputs, node.positions, strict=True):
        each, where = through_copies(each, where)
        if isinstance(each, Fill):
            bound.append(each.value)
            continue
        known = list(zip(inputs, maps, strict=True))
        bound.append(known.index((each, where)) if (each, where) in known else len(known))
        if bound[-1] == len(known):
            inputs.append(each)
            maps.append(where)
    if len(inputs) == 1 and copied(node) is not None and maps[0] == tuple(range(len(node.shape))):
        return inputs[0]
    if not inputs:
        if copied(node) is None:
            raise source.error("this op computes a constant; use linalg.fill or arith.constant", op.location)
        return Fill(bound[0], node.shape, node.dtype)
    return replace(node, inputs=tuple(inputs), positions=tuple(maps), bound=tuple(bound))


def copied(node: Map) -> int | None:
    """The number of the body's argument that a body yields as it is; None for one that computes."""
    ops = list(node.body.operations)
    arguments = list(node.body.arguments)
    value = ops[-1].operation.operands[0]
    return arguments.index(value) if len(ops) == 1 and value in arguments else None


def through_copies(node: Node, where: Positions) -> tuple[Node, Positions]:
    """A node and its positions, with transposes and broadcasts that it is read through composed into the positions."""
    while isinstance(node, Map) and copied(node) is not None:
        node, where = node.inputs[0], compose(node.positions[0], where)
    return node, where


def compose(inner: Positions, outer: Positions) -> Positions:
    """The positions of an input of a map, when the result of the map is indexed by `outer`."""
    return tuple(None if p is None else outer[p] for p in inner)


# --- contractions ----------------------------------------------------------------------------------------------------


def contract(op: Any, nodes: list[Node], strict: bool, source: Source, notes: list[str]) -> Node:
    """The node of a contraction: folded operands, canonical loops, accumulated in the wide type and narrowed after."""
    a, b, c = positions(op, source)
    left, a = through_casts(nodes[0], a)
    right, b = through_casts(nodes[1], b)
    check_operand("A", left, op, source)
    check_operand("B", right, op, source)
    check_sign(op, source)
    sizes = find.loop_sizes(op)
    first, second = (left, a), (right, b)
    if swapped(a, b, c):
        first, second = second, first
    dims = classified(first[1], second[1], c, op, source)
    dtype = accumulator(left.dtype, right.dtype, find.element(op.operands[2]), strict, op, source, notes)
    order = loop_order(dims, first[1], c)
    node = Contract(
        first[0],
        second[0],
        None,
        find.Dims(*renumbered((dims.batch, dims.m, dims.n, dims.k), order)),
        tuple(sizes[loop] for loop in order),
        (moved(first[1], order), moved(second[1], order), moved(c, order)),
        dtype,
        multiplied(op, left.dtype, source),
    )
    return finished(node, nodes[2], find.element(op.operands[2]), notes, source, op)


def multiplied(op: Any, element: str, source: Source) -> str:
    """In what the operands may be multiplied, as the contraction's attribute says. Raises UserError."""
    attributes = op.operation.attributes
    if MULTIPLIED not in attributes:
        return ""
    wanted = str(attributes[MULTIPLIED].value)
    if wanted not in ROUNDED or element != "f32":
        known = ", ".join(ROUNDED)
        message = f'{MULTIPLIED} = "{wanted}" of {element}: f32 may be multiplied as {known}, and nothing else'
        raise source.error(message, op.location)
    return wanted


def through_casts(node: Node, where: Positions) -> tuple[Node, Positions]:
    """A node read through copies and widening casts, which the contraction does itself."""
    while True:
        node, where = through_copies(node, where)
        if not isinstance(node, Map) or len(node.inputs) != 1 or not widens(node.body):
            return node, where
        node, where = node.inputs[0], compose(node.positions[0], where)


def widens(body: Any) -> bool:
    """Whether a body is a single lossless cast that a contraction does itself."""
    names = [op.operation.name for op in body.operations]
    return names in (["arith.extf", "linalg.yield"], ["arith.extsi", "linalg.yield"])


def check_operand(letter: str, node: Node, op: Any, source: Source) -> None:
    """UserError for an operand that is not an argument, seen through transposes and casts."""
    if isinstance(node, Fill):
        raise source.error(f"operand {letter} of the contraction is a constant; make it an argument", op.location)
    if not isinstance(node, Input):
        message = f"operand {letter} of the contraction is computed by an elementwise op"
        raise source.error(f"{message}; only a transpose or a widening cast may come before it", op.location)


def check_sign(op: Any, source: Source) -> None:
    """UserError for a contraction that widens its operands as unsigned numbers, or from integers to floats."""
    for inner in op.regions[0].blocks[0].operations:
        if inner.operation.name in ("arith.extui", "arith.uitofp", "arith.sitofp"):
            raise source.error(f"a contraction with {inner.operation.name} is not supported yet", op.location)


def swapped(a: Positions, b: Positions, c: Positions) -> bool:
    """Whether B indexes C's row and A its column: then C is the product the other way round."""
    rows = [p for p in c if p is not None and (p in a) != (p in b)]
    return bool(rows) and rows[0] in b and any(p in a for p in rows)


def classified(a: Positions, b: Positions, c: Positions, op: Any, source: Source) -> find.Dims:
    """The loops by class. UserError where a class is empty, which makes it no matrix product."""
    loops = [p for p in dict.fromkeys((*c, *a, *b)) if p is not None]
    dims = find.Dims(
        batch=tuple(p for p in loops if p in a and p in b and p in c),
        m=tuple(p for p in loops if p in a and p not in b and p in c),
        n=tuple(p for p in loops if p not in a and p in b and p in c),
        k=tuple(p for p in loops if p in a and p in b and p not in c),
    )
    if None in (*a, *b, *c) or len(loops) != sum(map(len, (dims.batch, dims.m, dims.n, dims.k))):
        raise source.error("the contraction broadcasts a dimension or sums over one operand only", op.location)
    for letter, found in (("M (of A and C)", dims.m), ("N (of B and C)", dims.n)):
        if not found:
            message = f"the contraction has no dimension {letter}: give it one of size 1 to make it a matrix product"
            raise source.error(message, op.location)
    return dims


def loop_order(dims: find.Dims, a: Positions, c: Positions) -> list[int]:
    """The loops as batch, m, n in C's order, then k in A's."""
    parallel = [p for group in (dims.batch, dims.m, dims.n) for p in c if p is not None and p in group]
    return [*parallel, *(p for p in a if p is not None and p in dims.k)]


def renumbered(groups: tuple[tuple[int, ...], ...], order: list[int]) -> list[tuple[int, ...]]:
    return [tuple(sorted(order.index(loop) for loop in group)) for group in groups]


def moved(where: Positions, order: list[int]) -> Positions:
    return tuple(None if p is None else order.index(p) for p in where)


def accumulator(a: str, b: str, c: str, strict: bool, op: Any, source: Source, notes: list[str]) -> str:
    """The type to accumulate in. UserError for elements that no target has."""
    if a != b:
        raise source.error(f"operands of different element types ({a} and {b}) are not supported yet", op.location)
    if a not in ELEMENTS:
        raise source.error(f"a contraction of {a} is not supported yet; {', '.join(ELEMENTS)} are", op.location)
    wide = DTYPES[a].accumulator
    if c == wide:
        return wide
    if c not in ("f16", "bf16", "i8") or DTYPES[c].kind != DTYPES[a].kind or DTYPES[c].bits > DTYPES[a].bits:
        raise source.error(f"{a} accumulated in {c} is not supported yet; {wide} is", op.location)
    if strict:
        return c
    if DTYPES[c].kind == "float":
        notes.append(
            f"the sums are accumulated in {wide} and rounded to {c} once at the end; "
            f"a linalg op with a result of {c} means {c} accumulation (--strict-semantics keeps it)"
        )
    return wide


def finished(node: Contract, start: Node, result: str, notes: list[str], source: Source, op: Any) -> Node:
    """The contraction with what it starts from, and its result in the type that the op gave."""
    start, where = through_copies(start, node.positions[2])
    plain = where == node.positions[2] and start.dtype == node.dtype and isinstance(start, Input)
    if isinstance(start, Fill) and is_zero(start.value):
        return node if result == node.dtype else narrowed(node, result)
    if plain and result == node.dtype:
        return replace(node, start=start)
    notes.append("what the contraction starts from is added to its sum at the end")
    c = node.positions[2]
    dims = tuple(None if p is None else c.index(p) for p in where)
    return plus(node, start, dims, result, source, op)


def is_zero(attribute: Any) -> bool:
    """Whether a constant is zero (either sign)."""
    return attribute.value == 0


def narrowed(node: Contract, dtype: str) -> Map:
    """The contraction's result rounded (an integer: wrapped) to a narrower type."""
    cast = "arith.truncf" if DTYPES[dtype].kind == "float" else "arith.trunci"
    body = f"%r = {cast} %a : {node.dtype} to {dtype}"
    return synthetic(node, [(node, tuple(range(len(node.shape))))], [node.dtype], body, dtype)


def plus(node: Contract, start: Node, where: Positions, result: str, source: Source, op: Any) -> Node:
    """The contraction's result plus what it starts from, in the accumulator type, then in `result`."""
    floats = DTYPES[node.dtype].kind == "float"
    lines = [f"%w = arith.{'extf' if floats else 'extsi'} %b : {start.dtype} to {node.dtype}"]
    wide = "%w" if start.dtype != node.dtype else "%b"
    total = "%s" if result != node.dtype else "%r"
    lines = lines if start.dtype != node.dtype else []
    lines.append(f"{total} = arith.{'addf' if floats else 'addi'} %a, {wide} : {node.dtype}")
    if result != node.dtype:
        lines.append(f"%r = arith.{'truncf' if floats else 'trunci'} %s : {node.dtype} to {result}")
    identity = tuple(range(len(node.shape)))
    made = synthetic(node, [(node, identity), (start, where)], [node.dtype, start.dtype], "\n".join(lines), result)
    return simplified(made, source, op)


def synthetic(node: Contract, inputs: list[tuple[Node, Positions]], types: list[str], body: str, dtype: str) -> Map:
    """A map whose body is MLIR text over %a, %b that defines %r."""
    letters = "ab"[: len(types)]
    arguments = ", ".join(f"%{letter}: {each}" for letter, each in zip(letters, types, strict=True))
    parameters = ", ".join(f"%t{letter}: tensor<{each}>" for letter, each in zip(letters, types, strict=True))
    operands = ", ".join(f"%t{letter}" for letter in letters)
    tensors = ", ".join(f"tensor<{each}>" for each in types)
    maps = ", ".join(["affine_map<()->()>"] * (len(types) + 1))
    module = mlir.parse(f"""func.func @f({parameters}) {{
      %e = tensor.empty() : tensor<{dtype}>
      %t = linalg.generic {{indexing_maps = [{maps}], iterator_types = []}} ins({operands} : {tensors})
          outs(%e : tensor<{dtype}>) {{
      ^bb0({arguments}, %o: {dtype}):
        {body}
        linalg.yield %r : {dtype}
      }} -> tensor<{dtype}>
      return
    }}""")
    block = mlir.walk(module, lambda op: op.operation.name == "linalg.generic")[0].regions[0].blocks[0]
    nodes, where = tuple(each for each, _ in inputs), tuple(each for _, each in inputs)
    return Map(block, module, nodes, where, tuple(range(len(nodes))), node.shape, dtype)
