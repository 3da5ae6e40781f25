"""The bound is Higham's, is zero where sums are exact, and is not so wide that a wrong kernel fits in."""

from __future__ import annotations

import re

import numpy as np
import pytest

from lowering import bounds, inputs, reference
from lowering.body import RULES
from lowering.bounds import Arithmetic, arithmetic_of, gamma, limits
from lowering.core import PassError, Problem, Target, UserError
from lowering.dtypes import lookup
from lowering.intervals import Interval, point
from lowering.problem import from_shape, from_text
from lowering.targets import load

U = 2.0**-24


def width(problem: Problem, values: tuple[np.ndarray, ...], how: Arithmetic | None = None) -> np.ndarray:
    """Half the distance between the limits of the one output."""
    found = limits(problem, values, how)[0]
    return (found.high - found.low) / 2


def test_gamma_is_highams() -> None:
    assert gamma(100, U) == 100 * U / (1 - 100 * U)
    assert gamma(0, U) == 0.0
    assert gamma(2**24, U) == float("inf")


@pytest.mark.parametrize(("dtype", "steps"), [("f32", 100), ("f16", 99), ("bf16", 99)])
def test_the_bound_of_a_sum(dtype: str, steps: int) -> None:
    """K steps for f32, whose products round; K - 1 for types whose products are exact in the accumulator."""
    problem = from_shape(3, 4, 100, dtype, out_dtype="f32")
    values = inputs.normals(problem, 0)
    a, b = (np.abs(x.astype(np.float64)) for x in values)
    expected = gamma(steps, U) * (a @ b)
    found = width(problem, values)
    assert np.all(found >= expected)
    assert np.all(found <= expected * 1.001 + 1e-40)


def test_matrix_instructions_double_the_unit() -> None:
    problem = from_shape(3, 4, 100, "f16", out_dtype="f32")
    values = inputs.normals(problem, 0)
    assert np.allclose(width(problem, values, Arithmetic(ulps=1.0)), 2 * width(problem, values), rtol=1e-3)


def tensor_core(a: np.ndarray, b: np.ndarray, bits: int) -> np.ndarray:
    """A.B^T as scripts/sum_bits.py finds it: 32 products and the sum so far are cut where the largest ends."""

    def cut(values: np.ndarray, largest: np.ndarray) -> np.ndarray:
        unit = 2.0 ** (np.floor(np.log2(np.maximum(largest, 2.0**-60))) - bits)
        return np.trunc(values / unit) * unit

    total = np.zeros((a.shape[0], b.shape[0]))
    for k in range(0, a.shape[1], 32):
        terms = a[:, None, k : k + 32] * b[None, :, k : k + 32]
        terms = np.concatenate([terms, total[:, :, None]], axis=2)
        total = cut(terms, np.abs(terms).max(axis=2, keepdims=True)).sum(axis=2)
        total = cut(total, np.abs(total))
    return total


@pytest.mark.parametrize("dtype", ["f8E4M3FN", "f8E5M2"])
def test_sums_of_8_bit_floats_may_keep_14_bits(dtype) -> None:
    problem = from_shape(32, 48, 64, dtype, "nt", out_dtype="f32")
    values = inputs.normals(problem, 0)
    (found,) = limits(problem, values, Arithmetic(ulps=1.0))
    right, wrong = (tensor_core(*(each.astype(np.float64) for each in values), bits) for bits in (13, 6))
    assert np.all((found.low <= right) & (right <= found.high))
    assert np.any((found.low > wrong) | (wrong > found.high))
    exact = values[0].astype(np.float64) @ values[1].astype(np.float64).T
    assert np.abs(right - exact).max() > 64 * 2.0**-23 * np.abs(exact).max()  # f32 is closer


@pytest.mark.parametrize(("k", "seed"), [(32, 0), (129, 1), (1152, 0), (1152, 1), (4096, 0)])
def test_integers_of_8_bit_floats_are_exact_in_14_bits(k, seed) -> None:
    problem = from_shape(16, 16, k, "f8E4M3FN", "nt")
    values = inputs.integers(problem, seed)
    a, b = (each.astype(np.float64) for each in values)
    assert np.array_equal(tensor_core(a, b, 13), a @ b.T)
    (found,) = limits(problem, values, Arithmetic(ulps=1.0))
    assert np.array_equal(found.low, found.high)
    if k >= 1152:
        assert not np.array_equal(tensor_core(a, b, 5), a @ b.T)


def kept(values: np.ndarray, mantissa: int) -> np.ndarray:
    """f32 values cut to so many bits of mantissa."""
    return (values.view(np.uint32) & np.uint32(0xFFFFFFFF << (23 - mantissa) & 0xFFFFFFFF)).view(np.float32)


@pytest.mark.parametrize("make", [inputs.normals, inputs.specials])
def test_operands_may_be_rounded_to_tf32_and_no_further(make) -> None:
    problem = from_shape(20, 30, 8, "tf32")
    assert problem.contraction.multiplied == "tf32"
    values = make(problem, 0)
    (found,) = limits(problem, values)
    right, wrong = (
        reference.evaluate(problem, tuple(kept(each, mantissa) for each in values))[0] for mantissa in (10, 6)
    )
    with np.errstate(invalid="ignore"):
        inside = (found.low <= right) & (right <= found.high) | ~np.isfinite(right)
        outside = (found.low > wrong) | (wrong > found.high)
    assert inside.all()
    assert outside.any()


def test_integers_that_tf32_holds_are_exact() -> None:
    problem = from_shape(20, 30, 64, "tf32")
    values = inputs.integers(problem, 0)
    assert max(float(np.abs(each).max()) for each in values) <= 2**11
    (found,) = limits(problem, values)
    assert np.array_equal(found.low, found.high)
    large = tuple(np.where(each == each.max(), np.float32(2**12 + 1), each) for each in values)
    assert not np.array_equal(*(getattr(limits(problem, large)[0], end) for end in ("low", "high")))


def test_only_f32_is_multiplied_as_tf32() -> None:
    text = """func.func @main(%a: tensor<2x9xf16>, %b: tensor<9x2xf16>, %c: tensor<2x2xf32>) -> tensor<2x2xf32> {
      %r = linalg.matmul {lower.multiplied = "tf32"} ins(%a, %b : tensor<2x9xf16>, tensor<9x2xf16>)
        outs(%c : tensor<2x2xf32>) -> tensor<2x2xf32>
      return %r : tensor<2x2xf32>
    }"""
    with pytest.raises(UserError, match="f32 may be multiplied as tf32, and nothing else"):
        from_text(text)


def test_a_given_start_costs_a_step() -> None:
    text = """func.func @main(%a: tensor<2x9xf32>, %b: tensor<9x2xf32>, %c: tensor<2x2xf32>) -> tensor<2x2xf32> {
      %r = linalg.matmul ins(%a, %b : tensor<2x9xf32>, tensor<9x2xf32>) outs(%c : tensor<2x2xf32>) -> tensor<2x2xf32>
      return %r : tensor<2x2xf32>
    }"""
    problem = from_text(text)
    a, b, c = inputs.normals(problem, 0)
    expected = gamma(10, U) * (np.abs(a.astype(np.float64)) @ np.abs(b) + np.abs(c))
    assert np.allclose(width(problem, (a, b, c)), expected, rtol=1e-3)


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "i8", "f64"])
@pytest.mark.parametrize("k", [1, 2, 3, 31, 64, 1000, 4096, 40000])
@pytest.mark.parametrize("seed", [0, 1])
def test_integer_inputs_leave_no_room(dtype: str, k: int, seed: int) -> None:
    """The limits meet in one number, which the output type holds: equality bit for bit, in any order of summation."""
    problem = from_shape(5, 6, k, dtype)
    values = inputs.integers(problem, seed)
    found = limits(problem, values)[0]
    assert np.array_equal(found.low, found.high)
    exact = reference.evaluate(problem, values)[0]
    assert np.array_equal(found.low, exact), "no rounding into the output type either"
    if k > 1:
        assert np.unique(exact).size > 5, "and the outputs differ"


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
@pytest.mark.parametrize("k", [8, 200, 2000])
def test_integer_inputs_are_exact_in_an_accumulator_that_is_narrow_itself(dtype: str, k: int) -> None:
    text = f"""func.func @main(%a: tensor<5x{k}x{dtype}>, %b: tensor<{k}x6x{dtype}>) -> tensor<5x6x{dtype}> {{
      %z = arith.constant 0.0 : {dtype}
      %e = tensor.empty() : tensor<5x6x{dtype}>
      %f = linalg.fill ins(%z : {dtype}) outs(%e : tensor<5x6x{dtype}>) -> tensor<5x6x{dtype}>
      %r = linalg.matmul ins(%a, %b : tensor<5x{k}x{dtype}>, tensor<{k}x6x{dtype}>)
        outs(%f : tensor<5x6x{dtype}>) -> tensor<5x6x{dtype}>
      return %r : tensor<5x6x{dtype}>
    }}"""
    problem = from_text(text, strict_semantics=True)
    assert problem.contraction.accumulator == dtype
    values = inputs.integers(problem, 0)
    found = limits(problem, values)[0]
    assert np.array_equal(found.low, found.high)
    assert np.unique(found.low).size > 5


@pytest.mark.parametrize("output", ["f16", "bf16"])
@pytest.mark.parametrize("k", [64, 1024])
def test_integer_inputs_overflow_a_narrow_accumulator(output: str, k: int) -> None:
    """Summing in the output's own type, even with one rounding a step, gives another result almost everywhere."""
    problem = from_shape(8, 8, k, output)
    a, b = (x.astype(np.float64) for x in inputs.integers(problem, 0))
    total = np.zeros((8, 8))
    for i in range(k):
        with np.errstate(over="ignore"):
            total = (total + np.outer(a[:, i], b[i])).astype(lookup(output).numpy).astype(np.float64)
    assert np.mean(total != reference.evaluate(problem, inputs.integers(problem, 0))[0]) > 0.5


@pytest.mark.parametrize("k", [32, 256, 4096])
def test_one_missing_term_is_outside(k: int) -> None:
    problem = from_shape(6, 6, k, "f16", out_dtype="f32")
    a, b = inputs.normals(problem, 0)
    short = a.astype(np.float64)[:, :-1] @ b.astype(np.float64)[:-1]
    found = limits(problem, (a, b))[0]
    assert np.mean((short < found.low) | (short > found.high)) > 0.5


def test_f64_leaves_room_for_the_reference() -> None:
    problem = from_shape(3, 3, 50, "f64")
    values = inputs.normals(problem, 0)
    a, b = (np.abs(x) for x in values)
    assert np.all(width(problem, values) >= (gamma(50, 2.0**-53) * (a @ b)))


def test_subnormals_are_kept_unless_the_target_flushes_them() -> None:
    problem = from_shape(2, 2, 4, "f32")
    a = np.full((2, 4), 1e-40, np.float32)
    b = np.ones((4, 2), np.float32)
    kept = limits(problem, (a, b))[0]
    assert np.all(kept.low > 3.9e-40)
    flushed = limits(problem, (a, b), Arithmetic(denormals="flushed"))[0]
    assert np.all(flushed.low <= 0)
    assert np.all(flushed.high >= 0)


def test_what_a_target_says() -> None:
    assert arithmetic_of(load("x86_64")) == Arithmetic(0.5, "preserved")
    assert arithmetic_of(load("gfx942")).ulps == 1.0
    flushing = Target("t", "x86", "x86_64", "host", "", {"denormals": "flushed"})
    assert arithmetic_of(flushing).denormals == "flushed"


def with_op(problem: Problem, lines: str) -> Problem:
    """The f16 problem with other ops before its narrowing: from %in to %x."""
    odd, count = re.subn(r"(%\d+) = arith.truncf %in ", rf"{lines}\n\1 = arith.truncf %x ", problem.ir)
    assert count == 1
    return Problem(problem.name, odd, problem.contraction, problem.arguments)


def test_an_op_without_a_rule_says_so() -> None:
    problem = from_shape(2, 2, 2, "f16")
    cast = "%i = arith.bitcast %in : f32 to i32\n%x = arith.bitcast %i : i32 to f32"
    with pytest.raises(PassError, match="not checkable: no error bound is known for arith"):
        limits(with_op(problem, cast), inputs.normals(problem, 0))


UNARY = ("round", "roundeven", "floor", "ceil", "trunc", "sin", "cos", "tan", "cosh", "asinh", "log2", "exp2", "cbrt")
LINES = [f"%x = math.{name} %in : f32" for name in (*UNARY, "atan")] + [
    "%two = arith.constant 2.0 : f32\n%x = math.powf %in, %two : f32",
    "%half = arith.constant 0.5 : f32\n%p = math.absf %in : f32\n%x = math.powf %p, %half : f32",
    "%y = arith.constant 0.75 : f32\n%x = arith.remf %in, %y : f32",
    "%y = arith.constant 0.75 : f32\n%x = math.atan2 %in, %y : f32",
    "%y = arith.constant 0.75 : f32\n%x = math.copysign %y, %in : f32",
    "%i = arith.fptosi %in : f32 to i8\n%x = arith.uitofp %i : i8 to f32",
    "%y = arith.constant 3 : i32\n%i = arith.fptosi %in : f32 to i32\n%j = arith.floordivsi %i, %y : i32\n"
    "%x = arith.sitofp %j : i32 to f32",
]


@pytest.mark.parametrize("lines", LINES)
def test_common_ops_have_a_rule_that_holds_the_reference(lines: str) -> None:
    problem = from_shape(24, 24, 9, "f16")
    changed = with_op(problem, lines)
    for values in (inputs.normals(problem, 0), inputs.integers(problem, 0), inputs.specials(problem, 0)):
        found, exact = limits(changed, values)[0], reference.evaluate(changed, values)[0]
        with np.errstate(over="ignore", invalid="ignore"):
            inside = (found.low <= exact.astype(np.float16)) & (exact.astype(np.float16) <= found.high)
        finite = np.isfinite(values[0].astype(float)).all(axis=1)[:, None] & np.isfinite(values[1].astype(float)).all(0)
        assert np.mean(inside[finite] | np.isnan(exact[finite]) | ~np.isfinite(found.high[finite])) == 1
    width = limits(changed, inputs.normals(problem, 0))[0].high - limits(changed, inputs.normals(problem, 0))[0].low
    assert np.median(width[np.isfinite(width)]) < 0.1, "and says something"


def test_a_float_that_fits_no_integer_may_become_any() -> None:
    found = RULES["arith.fptosi"](point([2.7, -2.7, np.nan, np.inf, -np.inf, 3e9, 127.9]), "i8")
    assert found.low.tolist() == [2, -2, -128, -128, -128, -128, 127]
    assert found.high.tolist() == [2, -2, 127, 127, 127, 127, 127]


def test_a_function_of_anything_is_still_within_its_range() -> None:
    anything = Interval(np.array(-np.inf), np.array(np.inf))
    with np.errstate(invalid="ignore"):
        found = RULES["math.sin"](anything, "f32")
    assert (found.low, found.high) == (-1, 1)


def test_the_product_of_every_layout_is_numpys() -> None:
    for layout in ("nn", "nt", "tn", "tt"):
        problem = from_shape(3, 4, 5, "f64", layout, batch=2)
        a, b = inputs.normals(problem, 0)
        a = a if layout[0] == "n" else a.swapaxes(-1, -2)
        b = b if layout[1] == "n" else b.swapaxes(-1, -2)
        found = limits(problem, inputs.normals(problem, 0))[0]
        assert np.all((found.low <= a @ b) & (a @ b <= found.high))


def test_inputs_are_what_they_should_be() -> None:
    problem = from_shape(16, 12, 40, "f16")
    a, b = inputs.specials(problem, 0)
    assert np.isnan(a).sum() == 1
    assert np.isinf(a).sum() == 2
    least = np.float16(6.104e-05)
    assert (np.all(np.abs(a) < least, axis=1) & np.all(a != 0, axis=1)).any(), "one row is subnormal throughout"
    assert np.isnan(b).sum() == 1
    clean = np.isfinite(a).all(axis=1).sum() * np.isfinite(b).all(axis=0).sum()
    assert clean >= 0.5 * 16 * 12
    again = inputs.specials(problem, 0)
    assert all(np.array_equal(x, y, equal_nan=True) for x, y in zip((a, b), again, strict=True))
    assert not np.array_equal(a, inputs.specials(problem, 1)[0], equal_nan=True)


def test_a_perturbation_changes_one_element() -> None:
    problem = from_shape(4, 4, 4, "i8")
    values = inputs.normals(problem, 0)
    for index in (0, 1):
        changed = inputs.perturbed(values, index, 0)
        assert (changed[index] != values[index]).sum() == 1
        assert np.array_equal(changed[1 - index], values[1 - index])
    lowest = (np.full((4, 4), -128, np.int8), values[1])
    assert (inputs.perturbed(lowest, 0, 0)[0] == -126).sum() == 1


def test_one_tensor_as_both_operands() -> None:
    text = """func.func @main(%a: tensor<4x9xf32>) -> tensor<4x4xf32> {
      %z = arith.constant 0.0 : f32
      %e = tensor.empty() : tensor<4x4xf32>
      %f = linalg.fill ins(%z : f32) outs(%e : tensor<4x4xf32>) -> tensor<4x4xf32>
      %r = linalg.matmul indexing_maps = [affine_map<(m,n,k)->(m,k)>, affine_map<(m,n,k)->(n,k)>,
        affine_map<(m,n,k)->(m,n)>] ins(%a, %a : tensor<4x9xf32>, tensor<4x9xf32>) outs(%f : tensor<4x4xf32>)
        -> tensor<4x4xf32>
      return %r : tensor<4x4xf32>
    }"""
    problem = from_text(text)
    assert inputs.operands(problem) is None
    (a,) = inputs.integers(problem, 0)
    found = limits(problem, (a,))[0]
    assert np.array_equal(found.low, a.astype(np.float64) @ a.T.astype(np.float64))
    assert bounds.integral(found.low)
