"""A program with several contractions is cut into problems that fit together again."""

import numpy as np
import pytest

from lowering.core import UserError
from lowering.reference import evaluate
from lowering.split import as_argument, split

RELU = """linalg.map ins({0} : tensor<4x4xf32>) outs(%e : tensor<4x4xf32>) (%x: f32, %o: f32) {{
    %y = arith.maximumf %x, %zero : f32
    linalg.yield %y : f32
  }}"""


def matmul(name, a, b, start="%z"):
    types = "tensor<4x4xf32>, tensor<4x4xf32>"
    return f"{name} = linalg.matmul ins({a}, {b} : {types}) outs({start} : tensor<4x4xf32>) -> tensor<4x4xf32>"


def add(name, a, b):
    return f"{name} = arith.addf {a}, {b} : tensor<4x4xf32>"


def program(*lines, result="%r"):
    body = "\n  ".join(lines)
    return f"""func.func @f(%a: tensor<4x4xf32>, %b: tensor<4x4xf32>, %c: tensor<4x4xf32>) -> tensor<4x4xf32> {{
  %zero = arith.constant 0.0 : f32
  %z = arith.constant dense<0.0> : tensor<4x4xf32>
  %e = tensor.empty() : tensor<4x4xf32>
  {body}
  return {result} : tensor<4x4xf32>
}}"""


RNG = np.random.default_rng(0)
ARGUMENTS = [RNG.integers(-3, 4, (4, 4)).astype(np.float64) for _ in range(3)]
CHAIN = program(matmul("%p", "%a", "%b"), "%q = " + RELU.format("%p"), matmul("%s", "%q", "%c"), add("%r", "%s", "%q"))


def check(parts, expected):
    """The pieces, evaluated one by one on the values of the whole, give the values of the whole."""
    values = parts.values(ARGUMENTS)
    np.testing.assert_array_equal(values[id(parts.whole.outputs[0])], expected)
    for piece in parts.pieces:
        inputs = [as_argument(values[id(node)], node.dtype) for node in piece.inputs]
        for node, found in zip(piece.outputs, evaluate(piece.problem, inputs), strict=True):
            np.testing.assert_array_equal(found, values[id(node)])


def test_a_chain_is_cut_at_the_second_contraction():
    parts = split(CHAIN, "m")
    first, second = parts.pieces
    assert (first.problem.epilogue, second.problem.epilogue) == (("relu",), ("residual",))
    assert [each.name for each in first.problem.arguments] == ["a", "b", "out"]
    assert [each.name for each in second.problem.arguments] == ["a", "b", "in2", "out"]
    a, b, c = ARGUMENTS
    hidden = np.maximum(a @ b, 0)
    check(parts, hidden @ c + hidden)
    assert first.flops == second.flops == 2 * 4**3


def test_a_value_that_two_contractions_need_is_an_output_once():
    parts = split(
        program(matmul("%p", "%a", "%b"), matmul("%q", "%p", "%c"), matmul("%s", "%c", "%p"), add("%r", "%q", "%s")),
        "m",
    )
    assert [len(piece.outputs) for piece in parts.pieces] == [1, 1, 1]
    a, b, c = ARGUMENTS
    check(parts, a @ b @ c + c @ (a @ b))


def test_nothing_depends_on_its_own_result():
    """What a softmax makes of a product is no part of that product's problem, nor is what follows."""
    softmax = "linalg.softmax dimension(1) ins(%p : tensor<4x4xf32>) outs(%e : tensor<4x4xf32>) -> tensor<4x4xf32>"
    parts = split(
        program(matmul("%p", "%a", "%b"), f"%q = {softmax}", add("%s", "%p", "%q"), matmul("%r", "%s", "%c")), "m"
    )
    first, second = parts.pieces
    assert first.problem.epilogue == second.problem.epilogue == ()
    assert [each.role for each in first.problem.arguments] == ["input", "input", "output"]
    assert id(second.outputs[0]) not in parts.values(ARGUMENTS)


def test_reshapes_cut_and_keep_their_values():
    parts = split(
        program(
            matmul("%p", "%a", "%b"),
            "%q = tensor.collapse_shape %p [[0, 1]] : tensor<4x4xf32> into tensor<16xf32>",
            "%u = arith.addf %q, %q : tensor<16xf32>",
            "%s = tensor.expand_shape %u [[0, 1]] output_shape [4, 4] : tensor<16xf32> into tensor<4x4xf32>",
            add("%t", "%s", "%p"),
            matmul("%r", "%t", "%c"),
        ),
        "m",
    )
    a, b, c = ARGUMENTS
    assert [piece.problem.epilogue for piece in parts.pieces] == [(), ()]
    check(parts, 3 * (a @ b) @ c)


def test_what_a_contraction_starts_from_can_be_a_contraction():
    parts = split(program(matmul("%p", "%a", "%b"), matmul("%r", "%a", "%c", "%p")), "m")
    assert [each.name for each in parts.pieces[1].problem.arguments] == ["a", "b", "c", "out"]
    a, b, c = ARGUMENTS
    check(parts, a @ c + a @ b)


def test_an_op_that_no_problem_may_have_leaves_the_contraction():
    lines = [
        matmul("%p", "%a", "%b"),
        """%i = linalg.map ins(%p : tensor<4x4xf32>) outs(%j : tensor<4x4xi64>) (%x: f32, %o: i64) {
          %y = arith.fptosi %x : f32 to i64
          linalg.yield %y : i64
        }""",
        "%r = arith.sitofp %i : tensor<4x4xi64> to tensor<4x4xf32>",
    ]
    (piece,) = split(program("%j = tensor.empty() : tensor<4x4xi64>", *lines), "m").pieces
    assert piece.problem.epilogue == ()
    assert "i64" in piece.reason


def test_a_contraction_that_cannot_be_lowered_says_why():
    text = """func.func @f(%a: tensor<4x4xi32>, %b: tensor<4x4xi32>, %c: tensor<4x4xi32>) -> tensor<4x4xi32> {
      %r = linalg.matmul ins(%a, %b : tensor<4x4xi32>, tensor<4x4xi32>) outs(%c : tensor<4x4xi32>) -> tensor<4x4xi32>
      return %r : tensor<4x4xi32>
    }"""
    with pytest.raises(UserError, match="no contraction"):
        split(text, "m")


def test_no_contraction():
    with pytest.raises(UserError, match="no contraction"):
        split(program(add("%r", "%a", "%b")), "m")
