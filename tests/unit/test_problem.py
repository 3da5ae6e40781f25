"""A shape or a module becomes the one normal form, and what it computes does not change on the way."""

import dataclasses

import numpy as np
import pytest

from lowering import find, mlir
from lowering.core import UserError
from lowering.problem import from_shape, from_text, parse_shape, resize
from lowering.reference import evaluate

MATMUL = """
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4x6xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<4x6xf32>) -> tensor<4x6xf32>
  %r = linalg.matmul ins(%a, %b : tensor<4x8xf32>, tensor<8x6xf32>) outs(%f : tensor<4x6xf32>) -> tensor<4x6xf32>
"""
TENSORS = f"""func.func @f(%a: tensor<4x8xf32>, %b: tensor<8x6xf32>) -> tensor<4x6xf32> {{
  {MATMUL}
  return %r : tensor<4x6xf32>
}}"""
DESTINATION = """func.func @f(%a: tensor<4x8xf32>, %b: tensor<8x6xf32>, %c: tensor<4x6xf32>) -> tensor<4x6xf32> {
  %z = arith.constant 0.0 : f32
  %f = linalg.fill ins(%z : f32) outs(%c : tensor<4x6xf32>) -> tensor<4x6xf32>
  %r = linalg.matmul ins(%a, %b : tensor<4x8xf32>, tensor<8x6xf32>) outs(%f : tensor<4x6xf32>) -> tensor<4x6xf32>
  return %r : tensor<4x6xf32>
}"""
BUFFERS = """func.func public @f(%a: memref<4x8xf32>, %b: memref<8x6xf32>, %c: memref<4x6xf32>) {
  %z = arith.constant 0.0 : f32
  linalg.fill ins(%z : f32) outs(%c : memref<4x6xf32>)
  linalg.matmul ins(%a, %b : memref<4x8xf32>, memref<8x6xf32>) outs(%c : memref<4x6xf32>)
  return
}"""
MIXED = """func.func @f(%a: memref<4x8xf32>, %b: tensor<8x6xf32>, %c: memref<4x6xf32>) {
  %z = arith.constant 0.0 : f32
  %t = memref.alloc() : memref<4x6xf32>
  linalg.fill ins(%z : f32) outs(%t : memref<4x6xf32>)
  %A = bufferization.to_tensor %a : memref<4x8xf32> to tensor<4x8xf32>
  %T = bufferization.to_tensor %t restrict : memref<4x6xf32> to tensor<4x6xf32>
  %r = linalg.matmul ins(%A, %b : tensor<4x8xf32>, tensor<8x6xf32>) outs(%T : tensor<4x6xf32>) -> tensor<4x6xf32>
  bufferization.materialize_in_destination %r in writable %t : (tensor<4x6xf32>, memref<4x6xf32>) -> ()
  memref.copy %t, %c : memref<4x6xf32> to memref<4x6xf32>
  memref.dealloc %t : memref<4x6xf32>
  return
}"""
CALLED = f"""func.func private @mm(%a: tensor<4x8xf32>, %b: tensor<8x6xf32>) -> tensor<4x6xf32> {{
  {MATMUL}
  return %r : tensor<4x6xf32>
}}
func.func @f(%a: tensor<4x8xf32>, %b: tensor<8x6xf32>) -> tensor<4x6xf32> {{
  %r = func.call @mm(%a, %b) : (tensor<4x8xf32>, tensor<8x6xf32>) -> tensor<4x6xf32>
  return %r : tensor<4x6xf32>
}}"""
GENERIC = """func.func @f(%a: tensor<4x8xf32>, %b: tensor<8x6xf32>) -> tensor<4x6xf32> {
  %z = arith.constant dense<0.0> : tensor<4x6xf32>
  %r = linalg.generic {indexing_maps = [affine_map<(i, k, j) -> (i, k)>, affine_map<(i, k, j) -> (k, j)>,
      affine_map<(i, k, j) -> (i, j)>], iterator_types = ["parallel", "reduction", "parallel"]}
      ins(%a, %b : tensor<4x8xf32>, tensor<8x6xf32>) outs(%z : tensor<4x6xf32>) {
  ^bb0(%x: f32, %y: f32, %o: f32):
    %p = arith.mulf %y, %x : f32
    %s = arith.addf %p, %o : f32
    linalg.yield %s : f32
  } -> tensor<4x6xf32>
  return %r : tensor<4x6xf32>
}"""
TRANSPOSED = """func.func @f(%a: tensor<4x8xf32>, %b: tensor<6x8xf32>) -> tensor<4x6xf32> {
  %z = arith.constant dense<0.0> : tensor<4x6xf32>
  %e = tensor.empty() : tensor<8x6xf32>
  %t = linalg.transpose ins(%b : tensor<6x8xf32>) outs(%e : tensor<8x6xf32>) permutation = [1, 0]
  %r = linalg.matmul ins(%a, %t : tensor<4x8xf32>, tensor<8x6xf32>) outs(%z : tensor<4x6xf32>) -> tensor<4x6xf32>
  return %r : tensor<4x6xf32>
}"""
OTHER_WAY_ROUND = """func.func @f(%a: tensor<8x4xf32>, %b: tensor<8x6xf32>) -> tensor<6x4xf32> {
  %z = arith.constant dense<0.0> : tensor<6x4xf32>
  %r = linalg.contract indexing_maps = [affine_map<(i, j, k) -> (k, i)>, affine_map<(i, j, k) -> (k, j)>,
      affine_map<(i, j, k) -> (j, i)>] ins(%a, %b : tensor<8x4xf32>, tensor<8x6xf32>)
      outs(%z : tensor<6x4xf32>) -> tensor<6x4xf32>
  return %r : tensor<6x4xf32>
}"""
ACCUMULATES = """func.func @f(%a: memref<4x8xf32>, %b: memref<8x6xf32>, %c: memref<4x6xf32>) {
  linalg.matmul ins(%a, %b : memref<4x8xf32>, memref<8x6xf32>) outs(%c : memref<4x6xf32>)
  return
}"""
EPILOGUE = """func.func @f(%a: tensor<4x8xf32>, %b: tensor<8x6xf32>, %bias: tensor<6xf32>, %old: tensor<4x6xf32>)
    -> (tensor<4x6xf32>, tensor<4x6xf16>) {
  %e = tensor.empty() : tensor<4x6xf32>
  %c = linalg.broadcast ins(%bias : tensor<6xf32>) outs(%e : tensor<4x6xf32>) dimensions = [0]
  %r = linalg.matmul ins(%a, %b : tensor<4x8xf32>, tensor<8x6xf32>) outs(%c : tensor<4x6xf32>) -> tensor<4x6xf32>
  %s = linalg.map { arith.addf } ins(%r, %old : tensor<4x6xf32>, tensor<4x6xf32>) outs(%e : tensor<4x6xf32>)
  %zero = arith.constant dense<0.0> : tensor<4x6xf32>
  %m = linalg.max ins(%zero, %s : tensor<4x6xf32>, tensor<4x6xf32>) outs(%e : tensor<4x6xf32>) -> tensor<4x6xf32>
  %h = arith.truncf %m : tensor<4x6xf32> to tensor<4x6xf16>
  return %m, %h : tensor<4x6xf32>, tensor<4x6xf16>
}"""
HEADS = """func.func @f(%a: tensor<2x3x4x5xf32>, %b: tensor<2x3x6x5xf32>) -> tensor<2x3x4x6xf32> {
  %z = arith.constant dense<0.0> : tensor<2x3x4x6xf32>
  %r = linalg.contract indexing_maps = [affine_map<(b, h, i, j, k) -> (b, h, i, k)>,
      affine_map<(b, h, i, j, k) -> (b, h, j, k)>, affine_map<(b, h, i, j, k) -> (b, h, i, j)>]
      ins(%a, %b : tensor<2x3x4x5xf32>, tensor<2x3x6x5xf32>) outs(%z : tensor<2x3x4x6xf32>) -> tensor<2x3x4x6xf32>
  return %r : tensor<2x3x4x6xf32>
}"""
MOVED_BATCH = """func.func @f(%a: tensor<2x4x5xbf16>, %b: tensor<2x5x6xbf16>) -> tensor<4x2x6xf32> {
  %z = arith.constant dense<0.0> : tensor<4x2x6xf32>
  %r = linalg.contract indexing_maps = [affine_map<(b, i, j, k) -> (b, i, k)>, affine_map<(b, i, j, k) -> (b, k, j)>,
      affine_map<(b, i, j, k) -> (i, b, j)>]
      ins(%a, %b : tensor<2x4x5xbf16>, tensor<2x5x6xbf16>) outs(%z : tensor<4x2x6xf32>) -> tensor<4x2x6xf32>
  return %r : tensor<4x2x6xf32>
}"""
HALF = """func.func @f(%a: tensor<4x8xf16>, %b: tensor<8x6xf16>, %c: tensor<4x6xf16>) -> tensor<4x6xf16> {
  %r = linalg.matmul ins(%a, %b : tensor<4x8xf16>, tensor<8x6xf16>) outs(%c : tensor<4x6xf16>) -> tensor<4x6xf16>
  return %r : tensor<4x6xf16>
}"""
WIDENED = """func.func @f(%a: tensor<4x8xf16>, %b: tensor<8x6xf16>) -> tensor<4x6xf32> {
  %A = arith.extf %a : tensor<4x8xf16> to tensor<4x8xf32>
  %B = arith.extf %b : tensor<8x6xf16> to tensor<8x6xf32>
  %z = arith.constant dense<0.0> : tensor<4x6xf32>
  %r = linalg.matmul ins(%A, %B : tensor<4x8xf32>, tensor<8x6xf32>) outs(%z : tensor<4x6xf32>) -> tensor<4x6xf32>
  return %r : tensor<4x6xf32>
}"""
WEIGHTS = """memref.global "private" constant @w : memref<2x2xf32> = dense<[[1.0, 2.0], [3.0, 4.0]]>
func.func @f(%a: memref<2x2xf32>, %c: memref<2x2xf32>) {
  %w = memref.get_global @w : memref<2x2xf32>
  linalg.matmul ins(%a, %w : memref<2x2xf32>, memref<2x2xf32>) outs(%c : memref<2x2xf32>)
  return
}"""


def random_inputs(problem, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(-4, 5, each.shape).astype(float) for each in problem.arguments if each.role == "input"]


def check_round_trip(problem):
    assert from_text(problem.ir, problem.name) == dataclasses.replace(problem, notes=())
    find.contraction(mlir.parse(problem.ir))


def product(a, b):
    return [a @ b]


def epilogue(a, b, bias, old):
    out = np.maximum(a @ b + bias + old, 0)
    return [out, out]


@pytest.mark.parametrize(
    ("text", "layout", "names", "expected"),
    [
        (TENSORS, "nn", "a b out", product),
        (DESTINATION, "nn", "a b out", product),
        (BUFFERS, "nn", "a b out", product),
        (MIXED, "nn", "a b out", product),
        (CALLED, "nn", "a b out", product),
        (GENERIC, "nn", "a b out", product),
        (WIDENED, "nn", "a b out", product),
        (TRANSPOSED, "nt", "a b out", lambda a, b: [a @ b.T]),
        (OTHER_WAY_ROUND, "tn", "b a out", lambda b, a: [a.T @ b]),
        (ACCUMULATES, "nn", "a b c out", lambda a, b, c: [a @ b + c]),
        (EPILOGUE, "nn", "a b in2 in3 out0 out1", epilogue),
        (HEADS, "other", "a b out", lambda a, b: [np.einsum("bhik,bhjk->bhij", a, b)]),
        (MOVED_BATCH, "other", "a b out", lambda a, b: [np.einsum("bik,bkj->ibj", a, b)]),
        (HALF, "nn", "a b in2 out", lambda a, b, c: [a @ b + c]),
        (WEIGHTS, "nn", "a c b out", lambda a, c, w: [a @ w + c]),
    ],
    ids=[
        "tensors",
        "destination",
        "buffers",
        "mixed",
        "called",
        "generic",
        "widened",
        "transposed",
        "otherway",
        "accumulates",
        "epilogue",
        "heads",
        "moved batch",
        "half",
        "weights",
    ],
)
def test_modules_become_the_normal_form(text, layout, names, expected):
    problem = from_text(text, "m.mlir")
    assert problem.contraction.layout == layout
    assert [each.name for each in problem.arguments] == names.split()
    inputs = random_inputs(problem)
    for found, wanted in zip(evaluate(problem, inputs), expected(*inputs), strict=True):
        np.testing.assert_array_equal(found, wanted)
    check_round_trip(problem)


def test_the_normal_form_of_a_matmul():
    problem = from_text(TENSORS)
    assert problem.ir == from_text(BUFFERS).ir == from_text(GENERIC).ir == from_shape(4, 6, 8, "f32").ir
    assert "linalg.matmul ins(%0, %1" in problem.ir
    assert "func.func @main(%arg0: memref<4x8xf32>, %arg1: memref<8x6xf32>, %arg2: memref<4x6xf32>) {" in problem.ir
    assert "in restrict writable %arg2" in problem.ir


def test_copies_leave_no_trace():
    copy = "%y = linalg.copy ins(%r : tensor<4x6xf32>) outs(%e : tensor<4x6xf32>) -> tensor<4x6xf32>\n  return %y"
    assert from_text(TENSORS.replace("return %r", copy)).ir == from_text(TENSORS).ir


def test_a_start_that_is_not_zero_is_added():
    problem = from_text(TENSORS.replace("0.0", "2.5"))
    a, b = random_inputs(problem)
    np.testing.assert_array_equal(evaluate(problem, [a, b])[0], a @ b + 2.5)
    assert problem.epilogue == ("addf",)


def test_the_elementwise_ops_are_named():
    problem = from_text(EPILOGUE)
    assert problem.epilogue == ("bias", "residual", "relu", "cast")
    assert not problem.contraction.accumulates
    assert problem.notes == ("what the contraction starts from is added to its sum at the end",)


def test_half_precision_results_are_accumulated_in_f32():
    problem = from_text(HALF)
    assert problem.contraction.accumulator == "f32"
    assert problem.contraction.output == "f16"
    assert "--strict-semantics" in problem.notes[0]
    strict = from_text(HALF, strict_semantics=True)
    assert strict.contraction.accumulator == "f16"
    assert strict.contraction.accumulates
    assert strict.notes == ()


def test_constants_are_arguments_and_a_note_says_so():
    problem = from_text(WEIGHTS)
    assert problem.contraction.accumulates
    assert any("constant of shape 2x2" in note for note in problem.notes)


@pytest.mark.parametrize("layout", ["nn", "nt", "tn", "tt"])
@pytest.mark.parametrize("batch", [0, 3])
def test_shapes_in_all_layouts(layout, batch):
    problem = from_shape(4, 6, 8, "f32", layout, batch=batch)
    a, b = random_inputs(problem)
    left = a if layout[0] == "n" else np.swapaxes(a, -1, -2)
    right = b if layout[1] == "n" else np.swapaxes(b, -1, -2)
    np.testing.assert_array_equal(evaluate(problem, [a, b])[0], left @ right)
    assert problem.contraction.layout == layout
    assert problem.contraction.batch == batch
    assert ("batch_matmul" in problem.ir) == bool(batch)
    check_round_trip(problem)


@pytest.mark.parametrize(
    ("dtype", "out", "accumulator", "output"),
    [
        ("f32", None, "f32", "f32"),
        ("f16", None, "f32", "f16"),
        ("f16", "f32", "f32", "f32"),
        ("bf16", None, "f32", "bf16"),
        ("bf16", "f16", "f32", "f16"),
        ("i8", None, "i32", "i32"),
        ("f64", None, "f64", "f64"),
        ("f64", "f32", "f64", "f32"),
    ],
)
def test_accumulator_and_output_types(dtype, out, accumulator, output):
    problem = from_shape(1, 1, 1, dtype, out_dtype=out)
    assert problem.contraction.accumulator == accumulator
    assert problem.contraction.output == output == problem.arguments[-1].dtype
    assert problem.epilogue == (("cast",) if accumulator != output else ())
    check_round_trip(problem)


def test_parse_shape():
    assert parse_shape("1024x333x77") == (1024, 333, 77, 0)
    assert parse_shape("5X1024x333x77") == (1024, 333, 77, 5)


@pytest.mark.parametrize("text", ["", "12", "12x13", "1x2x3x4x5", "axbxc", "1x-2x3", "0x1x1", "1.5x2x3"])
def test_shapes_that_are_none(text):
    with pytest.raises(UserError, match="is not a shape"):
        parse_shape(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1, 1), "sizes are positive"),
        ((1, 1, 1, "f12"), r"no element type 'f12'; did you mean f32"),
        ((1, 1, 1, "i16"), "not available yet"),
        ((1, 1, 1, "i32"), "cannot be the element type"),
        ((1, 1, 1, "f32", "nx"), "nn, nt, tn, tt"),
        ((1, 1, 1, "f32", "nn", "f64"), "f32 cannot give a result of f64; it can give f32, f16, bf16"),
        ((1, 1, 1, "i8", "nn", "i8"), "it can give i32"),
    ],
)
def test_shapes_that_cannot_be(arguments, message):
    with pytest.raises(UserError, match=message):
        from_shape(*arguments)


def test_resize_reaches_every_tensor():
    resized = resize(from_text(EPILOGUE), 40, 60, 80)
    shapes = [each.shape for each in resized.arguments]
    assert shapes == [(40, 80), (80, 60), (60,), (40, 60), (40, 60), (40, 60)]
    inputs = random_inputs(resized)
    np.testing.assert_array_equal(evaluate(resized, inputs)[0], epilogue(*inputs)[0])


def test_resize_refuses_what_is_tied():
    square = TENSORS.replace("%b: tensor<8x6xf32>", "%b: tensor<8x8xf32>").replace("4x8", "8x8").replace("8x6", "8x8")
    square = square.replace("4x6", "8x8").replace("ins(%a, %b", "ins(%a, %a")
    problem = from_text(square)
    assert [each.name for each in problem.arguments] == ["a", "out"]
    assert resize(problem, 5, 5, 5).contraction.m == 5
    with pytest.raises(UserError, match="must not differ"):
        resize(problem, 5, 6, 7)
