"""The reference: exact integers, float64 sums, NaN and rounding as the arith and math dialects say."""

import math

import ml_dtypes
import numpy as np
import pytest

from lowering.core import PassError
from lowering.problem import from_shape, from_text
from lowering.reference import evaluate, magnitude

RNG = np.random.default_rng(0)


def elementwise(body, kind="f32", result="f32"):
    """The problem whose output is `body` (which defines %y of %x) of a 2x2 matrix times the identity."""
    zero = "0.0" if kind[0] in "fb" else "0"
    element = {"f32": "f32", "i32": "i8"}[kind]
    return from_text(f"""func.func @f(%a: tensor<2x2x{element}>, %b: tensor<2x4x{element}>) -> tensor<2x4x{result}> {{
      %z = arith.constant dense<{zero}> : tensor<2x4x{kind}>
      %r = linalg.matmul ins(%a, %b : tensor<2x2x{element}>, tensor<2x4x{element}>)
          outs(%z : tensor<2x4x{kind}>) -> tensor<2x4x{kind}>
      %e = tensor.empty() : tensor<2x4x{result}>
      %s = linalg.map ins(%r : tensor<2x4x{kind}>) outs(%e : tensor<2x4x{result}>) (%x: {kind}, %o: {result}) {{
        {body}
        linalg.yield %y : {result}
      }}
      return %s : tensor<2x4x{result}>
    }}""")


def value(body, x, kind="f32", result="f32", rounding=False):
    return evaluate(elementwise(body, kind, result), [np.eye(2), x], rounding)[0]


@pytest.mark.parametrize(
    ("body", "function"),
    [
        ("%y = math.exp %x : f32", np.exp),
        ("%y = math.tanh %x : f32", np.tanh),
        ("%y = math.erf %x : f32", np.vectorize(math.erf)),
        ("%y = math.absf %x : f32", np.abs),
        ("%y = arith.negf %x : f32", np.negative),
        ("%c = arith.constant 0.0 : f32\n %y = arith.maximumf %x, %c : f32", lambda x: np.maximum(x, 0)),
        ("%c = arith.constant 2.0 : f32\n %y = arith.divf %c, %x : f32", lambda x: 2 / x),
        ("%c = arith.constant 2.0 : f32\n %y = arith.subf %c, %x : f32", lambda x: 2 - x),
        ("%w = math.absf %x : f32\n %y = math.rsqrt %w : f32", lambda x: 1 / np.sqrt(np.abs(x))),
        (
            "%c = arith.constant 0.5 : f32\n %p = arith.cmpf ogt, %x, %c : f32\n %y = arith.select %p, %c, %x : f32",
            lambda x: np.where(x > 0.5, 0.5, x),
        ),
        (
            "%c = arith.constant 0.5 : f32\n %p = arith.cmpf ule, %x, %c : f32\n %y = arith.select %p, %c, %x : f32",
            lambda x: np.where(~(x > 0.5), 0.5, x),
        ),
        ("%i = arith.fptosi %x : f32 to i32\n %y = arith.sitofp %i : i32 to f32", np.trunc),
    ],
)
def test_float_ops(body, function):
    finite = np.array([[-3.5, -0.25, 0.125, 0.25], [1.0, 7.75, -2.0, 100.0]])
    np.testing.assert_allclose(value(body, finite), function(finite), rtol=1e-15)


def test_maximumf_propagates_nan_and_maxnumf_does_not():
    x = np.array([[np.nan, 1, 2, 3], [0, 0, 0, 0]])
    zero = "%c = arith.constant 0.0 : f32\n"
    # 0 * NaN is NaN too, so the second row of the product is NaN in column 0
    found = value(zero + "%y = arith.maximumf %x, %c : f32", x)
    np.testing.assert_array_equal(np.isnan(found), [[True, False, False, False], [True, False, False, False]])
    np.testing.assert_array_equal(value(zero + "%y = arith.maxnumf %x, %c : f32", x), [[0, 1, 2, 3], [0, 0, 0, 0]])


@pytest.mark.parametrize(
    ("body", "function"),
    [
        ("%c = arith.constant 3 : i32\n %y = arith.divsi %x, %c : i32", lambda x: np.trunc(x / 3)),
        ("%c = arith.constant 3 : i32\n %y = arith.remsi %x, %c : i32", lambda x: np.fmod(x, 3)),
        ("%c = arith.constant 3 : i32\n %y = arith.maxsi %x, %c : i32", lambda x: np.maximum(x, 3)),
        (
            "%c = arith.constant 2147483647 : i32\n %y = arith.addi %x, %c : i32",
            lambda x: (x + 2**31 - 1 + 2**31) % 2**32 - 2**31,
        ),
        ("%t = arith.trunci %x : i32 to i8\n %y = arith.extsi %t : i8 to i32", lambda x: (x + 128) % 256 - 128),
        ("%t = arith.trunci %x : i32 to i8\n %y = arith.extui %t : i8 to i32", lambda x: x % 256),
        (
            "%c = arith.constant 3 : i32\n %p = arith.cmpi slt, %x, %c : i32\n %y = arith.extsi %p : i1 to i32",
            lambda x: -(x < 3).astype(int),
        ),
        (
            "%c = arith.constant 3 : i32\n %p = arith.cmpi sge, %x, %c : i32\n %y = arith.extui %p : i1 to i32",
            lambda x: (x >= 3).astype(int),
        ),
        (
            "%c = arith.constant 3 : i32\n %p = arith.cmpi sge, %x, %c : i32\n %t = arith.constant true\n"
            "%q = arith.xori %p, %t : i1\n %y = arith.extsi %q : i1 to i32",
            lambda x: -(x < 3).astype(int),
        ),
        ("%t = arith.constant true\n %w = arith.extsi %t : i1 to i32\n %y = arith.addi %x, %w : i32", lambda x: x - 1),
    ],
)
def test_integer_ops(body, function):
    x = np.array([[-128, -3, -1, 0], [1, 2, 3, 127]])
    np.testing.assert_array_equal(value(body, x, "i32", "i32"), function(x))


def test_integers_are_exact_and_wrap():
    problem = from_shape(3, 4, 200, "i8", "nt")
    a, b = (RNG.integers(-128, 128, (rows, 200), np.int8) for rows in (3, 4))
    np.testing.assert_array_equal(evaluate(problem, [a, b])[0], a.astype(int) @ b.astype(int).T)
    long = from_shape(1, 1, 2**18, "i8")
    most = np.full((1, 2**18), -128, np.int8)
    assert evaluate(long, [most, most.T])[0].item() == ((2**14 * 2**18 + 2**31) % 2**32) - 2**31


@pytest.mark.parametrize(("dtype", "numpy_type"), [("f16", np.float16), ("bf16", ml_dtypes.bfloat16)])
def test_rounding_is_one_rounding_at_the_end(dtype, numpy_type):
    problem = from_shape(5, 7, 999, dtype)
    a, b = (RNG.integers(-16, 17, shape).astype(numpy_type) for shape in ((5, 999), (999, 7)))
    exact = a.astype(float) @ b.astype(float)
    np.testing.assert_array_equal(evaluate(problem, [a, b])[0], exact)
    rounded = evaluate(problem, [a, b], rounding=True)[0]
    assert (rounded != exact).any()
    np.testing.assert_array_equal(rounded, exact.astype(np.float32).astype(numpy_type).astype(float))


@pytest.mark.parametrize("layout", ["nn", "nt", "tn", "tt"])
@pytest.mark.parametrize("batch", [0, 2])
def test_magnitude(layout, batch):
    problem = from_shape(3, 4, 5, "f32", layout, batch=batch)
    a, b = (RNG.standard_normal(each.shape) for each in problem.arguments[:2])
    np.testing.assert_array_equal(magnitude(problem, [a, b]), evaluate(problem, [abs(a), abs(b)])[0])
    assert (magnitude(problem, [a, b]) >= abs(evaluate(problem, [a, b])[0])).all()


def test_magnitude_counts_what_is_accumulated_into():
    problem = from_text("""func.func @f(%a: memref<2x2xf32>, %b: memref<2x2xf32>, %c: memref<2x2xf32>) {
      linalg.matmul ins(%a, %b : memref<2x2xf32>, memref<2x2xf32>) outs(%c : memref<2x2xf32>)
      return
    }""")
    ones = np.ones((2, 2))
    np.testing.assert_array_equal(magnitude(problem, [ones, -ones, -5 * ones]), 7 * ones)


def test_an_unknown_op_is_not_checkable():
    problem = elementwise("%i = arith.bitcast %x : f32 to i32\n %y = arith.bitcast %i : i32 to f32")
    with pytest.raises(PassError, match=r"not checkable: the reference does not know arith\.bitcast"):
        evaluate(problem, [np.eye(2), np.zeros((2, 4))])


def test_broadcast_positions():
    problem = from_text("""func.func @f(%a: tensor<2x3xf32>, %b: tensor<3x4xf32>, %row: tensor<4xf32>,
        %column: tensor<1x2xf32>, %old: tensor<4x2xf32>) -> tensor<2x4xf32> {
      %z = arith.constant dense<0.0> : tensor<2x4xf32>
      %r = linalg.matmul ins(%a, %b : tensor<2x3xf32>, tensor<3x4xf32>) outs(%z : tensor<2x4xf32>) -> tensor<2x4xf32>
      %e = tensor.empty() : tensor<2x4xf32>
      %s = linalg.generic {indexing_maps = [affine_map<(j, i) -> (i, j)>, affine_map<(j, i) -> (j)>,
          affine_map<(j, i) -> (0, i)>, affine_map<(j, i) -> (j, i)>, affine_map<(j, i) -> (i, j)>],
          iterator_types = ["parallel", "parallel"]} ins(%r, %row, %column, %old
          : tensor<2x4xf32>, tensor<4xf32>, tensor<1x2xf32>, tensor<4x2xf32>) outs(%e : tensor<2x4xf32>) {
      ^bb0(%x: f32, %y: f32, %w: f32, %u: f32, %o: f32):
        %p = arith.mulf %x, %y : f32
        %q = arith.addf %p, %w : f32
        %t = arith.addf %q, %u : f32
        linalg.yield %t : f32
      } -> tensor<2x4xf32>
      return %s : tensor<2x4xf32>
    }""")
    a, b, row, column, old = inputs = [RNG.standard_normal(each.shape) for each in problem.arguments[:5]]
    np.testing.assert_allclose(evaluate(problem, inputs)[0], a @ b * row + column.T + old.T, rtol=1e-13)
