"""Problems survive their own text, and sizes can be changed there and back."""

import dataclasses

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lowering.problem import from_shape, from_text, resize
from lowering.reference import evaluate
from lowering.witness import witness

SIZES = st.integers(1, 40)
STEPS = {
    "bias": "%y = arith.addf %x, %v : f32",
    "scale": "%y = arith.mulf %x, %v : f32",
    "relu": "%c = arith.constant 0.0 : f32\n %y = arith.maximumf %x, %c : f32",
    "half": "%c = arith.constant 0.5 : f32\n %y = arith.mulf %c, %x : f32",
    "tanh": "%y = math.tanh %x : f32",
}
VECTORS = ("bias", "scale")


def with_epilogue(problem, steps):
    """A module: a matmul of f32 accumulation, then elementwise steps, some of which read a vector along N."""
    a, b, out = problem.arguments
    shape, width = "x".join(map(str, out.shape)), out.shape[-1]
    rank = len(out.shape)
    loops = ", ".join(f"d{dim}" for dim in range(rank))
    full, last = f"affine_map<({loops}) -> ({loops})>", f"affine_map<({loops}) -> (d{rank - 1})>"
    kinds = ", ".join(['"parallel"'] * rank)
    head, body = problem.ir.split("func.func @main")[0], problem.ir.split("func.func @main")[1]
    lines = [line for line in body.splitlines()[1:] if "materialize" not in line]
    result = next(line.split(" = ")[0].strip() for line in reversed(lines) if "matmul" in line)
    code = lines[: lines.index(next(line for line in lines if "matmul" in line)) + 1]
    vectors = []
    for number, step in enumerate(steps):
        extra = step in VECTORS
        vectors += [f"%v{number}: tensor<{width}xf32>"] if extra else []
        maps = ", ".join([full, *([last] if extra else []), full])
        ins = f"{result}{f', %v{number}' if extra else ''}"
        types = f"tensor<{shape}xf32>{f', tensor<{width}xf32>' if extra else ''}"
        code.append(f"""%e{number} = tensor.empty() : tensor<{shape}xf32>
        %s{number} = linalg.generic {{indexing_maps = [{maps}], iterator_types = [{kinds}]}} ins({ins} : {types})
            outs(%e{number} : tensor<{shape}xf32>) {{
        ^bb0(%x: f32, {"%v: f32, " if extra else ""}%o: f32):
          {STEPS[step]}
          linalg.yield %y : f32
        }} -> tensor<{shape}xf32>""")
        result = f"%s{number}"
    types = [f"memref<{'x'.join(map(str, each.shape))}x{each.dtype}>" for each in (a, b)]
    signature = ", ".join([f"%arg0: {types[0]}", f"%arg1: {types[1]}", *vectors])
    text = "\n".join(code)
    return f"""{head}func.func @f({signature}) -> tensor<{shape}xf32> {{
      {text}
      return {result} : tensor<{shape}xf32>
    }} }}"""


shapes = st.builds(
    from_shape,
    SIZES,
    SIZES,
    SIZES,
    dtype=st.sampled_from(["f32", "f16", "bf16", "i8", "f64"]),
    layout=st.sampled_from(["nn", "nt", "tn", "tt"]),
    batch=st.integers(0, 3),
)
float_shapes = st.builds(
    from_shape,
    SIZES,
    SIZES,
    SIZES,
    dtype=st.sampled_from(["f32", "f16", "bf16"]),
    layout=st.sampled_from(["nn", "nt", "tn", "tt"]),
    out_dtype=st.just("f32"),
    batch=st.integers(0, 3),
)
steps = st.lists(st.sampled_from(sorted(STEPS)), max_size=4)
problems = st.one_of(
    shapes, st.builds(lambda each, done: from_text(with_epilogue(each, done), "m"), float_shapes, steps)
)


@settings(max_examples=60, deadline=None)
@given(problems)
def test_text_and_back(problem):
    assert from_text(problem.ir, problem.name) == dataclasses.replace(problem, notes=())


@settings(max_examples=60, deadline=None)
@given(problems, SIZES, SIZES, SIZES, st.integers(1, 4))
def test_resizing_there_and_back(problem, m, n, k, batch):
    was = problem.contraction
    other = resize(problem, m, n, k, batch if was.batch else None)
    now = other.contraction
    assert (now.m, now.n, now.k, now.batch) == (m, n, k, batch if was.batch else 0)
    assert (now.layout, now.element, other.epilogue) == (was.layout, was.element, problem.epilogue)
    assert resize(other, was.m, was.n, was.k, was.batch or None) == problem


@settings(max_examples=30, deadline=None)
@given(float_shapes, steps)
def test_the_epilogue_means_what_was_written(product, done):
    problem = from_text(with_epilogue(product, done), "m")
    rng = np.random.default_rng(0)
    a, b, *vectors = inputs = [rng.standard_normal(each.shape) for each in problem.arguments[:-1]]
    (expected,) = evaluate(product, [a, b])
    for step in done:
        vector = vectors.pop(0) if step in VECTORS else 0
        expected = {
            "bias": lambda x, v=vector: x + v,
            "scale": lambda x, v=vector: x * v,
            "relu": lambda x: np.maximum(x, 0),
            "half": lambda x: 0.5 * x,
            "tanh": np.tanh,
        }[step](expected)
    np.testing.assert_allclose(evaluate(problem, inputs)[0], expected, rtol=1e-10, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(problems, st.sampled_from([(4, 4, 2), (8, 16, 4), (64, 64, 16)]))
def test_the_witness_is_the_same_program(problem, tile):
    small = witness(problem, tile)
    was, now = problem.contraction, small.contraction
    for size, shrunk, step in zip((was.m, was.n, was.k), (now.m, now.n, now.k), tile, strict=True):
        assert 1 <= shrunk <= size
        assert shrunk % step == size % step
    assert small.epilogue == problem.epilogue
    assert resize(small, was.m, was.n, was.k, was.batch or None) == problem
