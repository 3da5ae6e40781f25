"""A shape or an MLIR module -> Problem: the payload in its one normal form, before any pass.

The normal form is `@main(inputs..., outputs...)` with every result tied to its own last argument by
`bufferization.materialize_in_destination ... restrict writable`, so that the signature is the same from linalg to
memref and bufferisation allocates nothing for the results. Accumulation is f32 (i32 for i8, f64 for f64), and a
narrower output is rounded once at the end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from math import prod

from lowering import dtypes, sizes
from lowering.core import Argument, Contraction, Problem, UserError
from lowering.payload import Reader
from lowering.program import MULTIPLIED, Input, Map, Program, emit, layout, used_constants
from lowering.source import Source

LAYOUTS = ("nn", "nt", "tn", "tt")
MOST_ELEMENTS = 2**40  # of one matrix; more is a slip of the finger


# --- a shape ---------------------------------------------------------------------------------------------------------


def from_shape(
    m: int, n: int, k: int, dtype: str = "f16", layout: str = "nn", out_dtype: str | None = None, batch: int = 0
) -> Problem:
    """C[m,n] = sum_k A[m,k] B[k,n] of a given size.

    `layout` is the row-major storage of A and B: first letter A (n: MxK, t: KxM), second B (n: KxN, t: NxK). `batch`
    0 means no batch dimension. Raises UserError for a size, a layout or a type that does not exist.
    """
    if min(m, n, k) < 1 or batch < 0 or max(m * n, m * k, n * k) * max(batch, 1) > MOST_ELEMENTS:
        raise UserError(
            f"a shape of {m}x{n}x{k} (MxNxK) is not possible: sizes are positive, and a matrix fits in memory"
        )
    if layout not in LAYOUTS:
        raise UserError(
            f"there is no layout '{layout}'; it is one of {', '.join(LAYOUTS)} (n: as written, t: transposed)"
        )
    multiplied = dtype if dtype in dtypes.ROUNDED else ""
    element = dtypes.element("f32" if multiplied else dtype)
    output = result_type(element, out_dtype)
    shape = f"{m}x{n}x{k}" if not batch else f"{batch}x{m}x{n}x{k}"
    name = f"matmul_{shape}_{dtype}_{layout}" + (f"_{output}" if output != element.output else "")
    return from_text(matmul_text(m, n, k, element, layout, output, batch, multiplied), name)


def result_type(element: dtypes.Dtype, wanted: str | None) -> str:
    """The type of the result. Raises UserError for one that the accumulator cannot be rounded to."""
    if wanted is None:
        return element.output
    output = dtypes.lookup(wanted)
    wide = dtypes.DTYPES[element.accumulator]
    if output.name == wide.name:
        return wanted
    if output.name not in dtypes.OUTPUTS or output.kind != wide.kind or output.bits >= wide.bits or wide.kind == "int":
        possible = [name for name in dtypes.OUTPUTS if narrower(dtypes.DTYPES[name], wide)]
        raise UserError(f"{element.name} cannot give a result of {wanted}; it can give {', '.join(possible)}")
    return wanted


def narrower(output: dtypes.Dtype, wide: dtypes.Dtype) -> bool:
    """Whether the accumulator is the output or can be rounded to it."""
    return output == wide or (output.kind == wide.kind == "float" and output.bits < wide.bits)


def matmul_text(
    m: int, n: int, k: int, element: dtypes.Dtype, layout: str, output: str, batch: int, multiplied: str = ""
) -> str:
    """A module with the matmul of a shape, as a user would write it."""
    wide = element.accumulator
    loops, lead, op = ("b, m, n, k", "b, ", "batch_matmul") if batch else ("m, n, k", "", "matmul")
    extent = {"b": batch, "m": m, "n": n, "k": k}
    a = f"{lead}{'m, k' if layout[0] == 'n' else 'k, m'}"
    b = f"{lead}{'k, n' if layout[1] == 'n' else 'n, k'}"
    c = f"{lead}m, n"
    maps = ", ".join(f"affine_map<({loops}) -> ({each})>" for each in (a, b, c))
    marks = f"indexing_maps = [{maps}]" + (f' {{{MULTIPLIED} = "{multiplied}"}}' if multiplied else "")

    def tensor(dims: str, dtype: str) -> str:
        return f"tensor<{'x'.join(str(extent[dim]) for dim in dims.split(', '))}x{dtype}>"

    types = f"{tensor(a, element.name)}, {tensor(b, element.name)}"
    zero = "0.0" if element.kind == "float" else "0"
    narrow, result = "", "%r"
    if output != wide:
        narrow, result = f"%t = arith.truncf %r : {tensor(c, wide)} to {tensor(c, output)}", "%t"
    return f"""
    func.func @main(%a: {tensor(a, element.name)}, %b: {tensor(b, element.name)}) -> {tensor(c, output)} {{
      %z = arith.constant {zero} : {wide}
      %e = tensor.empty() : {tensor(c, wide)}
      %f = linalg.fill ins(%z : {wide}) outs(%e : {tensor(c, wide)}) -> {tensor(c, wide)}
      %r = linalg.{op} {marks} ins(%a, %b : {types}) outs(%f : {tensor(c, wide)}) -> {tensor(c, wide)}
      {narrow}
      return {result} : {tensor(c, output)}
    }}"""


def parse_shape(text: str) -> tuple[int, int, int, int]:
    """(m, n, k, batch) of `MxNxK` or `BxMxNxK`; batch is 0 where there is none. Raises UserError."""
    parts = text.lower().replace("×", "x").split("x")
    if not all(re.fullmatch(r"[0-9]+", part) for part in parts) or len(parts) not in (3, 4):
        raise UserError(f"'{text}' is not a shape: write MxNxK, e.g. 1024x333x77, or BxMxNxK with a batch")
    numbers = [int(part) for part in parts]
    if 0 in numbers:
        raise UserError(f"'{text}' is not a shape: every size is at least 1")
    batch, m, n, k = numbers if len(numbers) == 4 else (0, *numbers)
    return m, n, k, batch


# --- a module --------------------------------------------------------------------------------------------------------


def from_text(text: str, name: str = "-", strict_semantics: bool = False) -> Problem:
    """The problem of an MLIR module with one contraction in its one public function.

    A contraction with an f16 or bf16 result is accumulated in f32 and a note says so; `strict_semantics` keeps MLIR's
    meaning. Raises UserError, which points into the text, for whatever is no such problem.
    """
    source = Source(text, name)
    reader = Reader(source, strict_semantics)
    written = emit(reader.read(source.parse()))
    return of_program(program(written), name, tuple(dict.fromkeys(reader.notes)))


@lru_cache(maxsize=8)
def program(normal: str) -> Program:
    """The nodes of a problem's normal form. The last few are kept: verification asks thirty times for the same one."""
    source = Source(normal, "normal form")
    return Reader(source, strict=True).read(source.parse())


def of_program(given: Program, name: str, notes: tuple[str, ...] = ()) -> Problem:
    """The problem of a program."""
    epilogue = tuple(elementwise_name(each) for each in given.epilogue)
    return Problem(name, emit(given), contraction(given), arguments(given), epilogue, notes)


def contraction(given: Program) -> Contraction:
    """The contraction's sizes, storage and types."""
    node = given.contract
    m, n, k = (prod(node.sizes[loop] for loop in loops) for loops in (node.dims.m, node.dims.n, node.dims.k))
    batch = prod(node.sizes[loop] for loop in node.dims.batch) if node.dims.batch else 0
    types = (node.a.dtype, node.dtype, given.outputs[0].dtype)
    return Contraction(
        m, n, k, batch, layout(node), *types, accumulates=node.start is not None, multiplied=node.multiplied
    )


def arguments(given: Program) -> tuple[Argument, ...]:
    """The arguments of `@main`: a, b, c (accumulated into), other inputs by number, then the results."""
    node = given.contract
    known = {id(node.start): "c", id(node.b): "b", id(node.a): "a"}
    inputs = [
        Argument(known.get(id(each), f"in{number}"), "input", each.shape, each.dtype)
        for number, each in enumerate(given.inputs)
    ]
    several = len(given.outputs) > 1
    outputs = [
        Argument(f"out{number}" if several else "out", "output", each.shape, each.dtype)
        for number, each in enumerate(given.outputs)
    ]
    return (*inputs, *outputs)


def elementwise_name(node: Map) -> str:
    """What an elementwise op does: bias, residual, relu, cast, copy, or the names of its ops."""
    names = [op.operation.name.split(".")[1] for op in node.body.operations][:-1]
    others = [each for each in node.inputs if isinstance(each, Input)]
    if not names:
        return "copy"
    if names in (["addf"], ["addi"]) and len(others) == 1 and len(node.inputs) == 2:
        return "bias" if len(others[0].shape) < len(node.shape) else "residual"
    if len(names) == 1 and names[0] in ("truncf", "extf", "trunci", "extsi", "sitofp", "fptosi"):
        return "cast"
    if names in (["maximumf"], ["maxsi"], ["maxnumf"]) and [each.value for each in used_constants(node)] == [0]:
        return "relu"
    return "+".join(names)


# --- other sizes -----------------------------------------------------------------------------------------------------


def resize(problem: Problem, m: int, n: int, k: int, batch: int | None = None) -> Problem:
    """The same program with other sizes; `batch` None keeps the batch.

    Raises UserError where a class has several loops, or where the program ties two sizes together (say, A is also B).
    """
    given = program(problem.ir)
    dims = given.contract.dims
    wanted: dict[int, int] = {}
    for loops, size, letter in ((dims.m, m, "M"), (dims.n, n, "N"), (dims.k, k, "K"), (dims.batch, batch, "batch")):
        if size is None or (not loops and not size):
            continue
        if len(loops) != 1 or size < 1:
            raise UserError(f"cannot make {letter} {size}: it has {len(loops)} loops")
        wanted[loops[0]] = size
    return resize_loops(problem, wanted)


def resize_loops(problem: Problem, loops: Mapping[int, int]) -> Problem:
    """The same program with the given sizes of some of the contraction's loops. Raises UserError if they contradict."""
    return of_program(sizes.resized(program(problem.ir), loops), problem.name, problem.notes)
