"""Whatever a machine may do within the rules stays between the limits: any order of sums, any op, any rounding."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowering import intervals
from lowering.arithmetic import TABLE, rounded, wrap
from lowering.body import RULES
from lowering.bounds import limits
from lowering.dtypes import lookup
from lowering.intervals import Interval
from lowering.problem import from_shape

quick = settings(max_examples=60, deadline=None)


def summed(products: np.ndarray, order: str) -> np.float32:
    """A float32 sum of the products in some order, each step rounded."""
    values = [np.float32(p) for p in products]
    if order == "tree":
        while len(values) > 1:
            values = [sum(values[i : i + 2], np.float32(0)) for i in range(0, len(values), 2)]
        return values[0]
    if order == "backwards":
        values.reverse()
    if order == "sorted":
        values.sort(key=abs, reverse=True)
    lanes = 4 if order == "lanes" else 1
    parts = [sum(values[i::lanes], np.float32(0)) for i in range(lanes)]
    return sum(parts, np.float32(0))


@quick
@given(
    dtype=st.sampled_from(["f32", "f16", "bf16"]),
    k=st.integers(1, 80),
    scale=st.sampled_from([1e-3, 1.0, 30.0]),
    order=st.sampled_from(["forwards", "backwards", "sorted", "tree", "lanes"]),
    fused=st.booleans(),
    cancelling=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_order_of_summation(
    dtype: str, k: int, scale: float, order: str, fused: bool, cancelling: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    a = (rng.standard_normal((1, k)) * scale).astype(lookup(dtype).numpy)
    b = rng.standard_normal((k, 1)).astype(lookup(dtype).numpy)
    if cancelling:
        a[0, : k // 2] = -a[0, k - k // 2 :][::-1]
        b[: k // 2, 0] = b[k - k // 2 :, 0][::-1]
    exact = a[0].astype(np.float64) * b[:, 0].astype(np.float64)
    products = exact.astype(np.float32)
    total = summed(products, order)
    if fused and order == "forwards":
        total = np.float32(0)
        for product in exact:
            total = np.float32(np.float64(total) + product)
    problem = from_shape(1, 1, k, dtype, out_dtype="f32")
    found = limits(problem, (a, b))[0]
    assert found.low[0, 0] <= total <= found.high[0, 0]
    narrow = limits(from_shape(1, 1, k, dtype), (a, b))[0]
    assert narrow.low[0, 0] <= np.float64(total.astype(lookup(dtype).numpy)) <= narrow.high[0, 0]


ends = st.floats(-50, 50, width=32).map(lambda x: 0.0 if abs(x) < 1e-30 else x)
FLOAT_RULES = sorted(
    name for name in RULES if name in TABLE and name not in ("arith.trunci", "arith.sitofp", "math.absi")
)
OPERANDS = {"math.fma": 3, "math.clampf": 3}
TWO = {
    "addf",
    "subf",
    "mulf",
    "divf",
    "maximumf",
    "minimumf",
    "maxnumf",
    "minnumf",
    "remf",
    "powf",
    "atan2",
    "copysign",
}
FLOAT_RULES = [name for name in FLOAT_RULES if not name.endswith(("i", "si", "extsi"))]


@pytest.mark.parametrize("name", FLOAT_RULES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_every_rule_holds_what_float32_gives(name: str, data: st.DataObject) -> None:
    """Points inside the operands' intervals, the op rounded to f32: the result is inside the rule's interval."""
    count = OPERANDS.get(name, 2 if name.split(".")[1] in TWO else 1)
    operands, points = [], []
    for _ in range(count):
        x, y, share = data.draw(ends), data.draw(ends), data.draw(st.floats(0, 1))
        low, high = min(x, y), max(x, y)
        inside = np.float64(np.float32(low + share * (high - low)))
        points.append(np.array(min(max(inside, low), high)))
        operands.append(Interval(np.array(low), np.array(high)))
    with np.errstate(all="ignore"):
        found = RULES[name](*operands, "f32")
        value = float(rounded(np.asarray(TABLE[name](*points), np.float64), "f32"))
    if np.isnan(value):
        return  # outside of the function's domain
    assert found.low <= value <= found.high


INTEGER_RULES = ("divsi", "floordivsi", "ceildivsi", "remsi", "shli", "shrsi")
small = st.tuples(st.integers(-40, 40), st.integers(-40, 40)).map(sorted)


@quick
@given(name=st.sampled_from(INTEGER_RULES), a=small, b=small, data=st.data())
def test_every_integer_rule_holds_every_defined_result(
    name: str, a: list[int], b: list[int], data: st.DataObject
) -> None:
    x, y = data.draw(st.integers(*a)), data.draw(st.integers(*b))
    operands = (Interval(np.array(float(pair[0])), np.array(float(pair[1]))) for pair in (a, b))
    with np.errstate(all="ignore"):
        found = RULES[f"arith.{name}"](*operands, "i32")
    if not 0 <= y < 32 if name.startswith("sh") else y == 0:
        assert (found.low, found.high) == (-(2.0**31), 2.0**31 - 1)
        return
    value = wrap(TABLE[f"arith.{name}"](np.array(x), np.array(y)), 32)
    assert found.low <= value <= found.high


@quick
@given(a=small, data=st.data())
def test_whole_exponents_of_negative_numbers(a: list[int], data: st.DataObject) -> None:
    x, n = data.draw(st.integers(*a)), data.draw(st.integers(-4, 4))
    base = Interval(np.array(a[0] / 4), np.array(a[1] / 4))
    with np.errstate(all="ignore"):
        found = RULES["math.powf"](base, intervals.point(float(n)), "f32")
        value = np.float64(np.float32(np.power(x / 4, float(n))))
    assert found.low <= value <= found.high
    if n in (0, 2, 4):
        assert found.low >= -1e-30


@quick
@given(value=st.floats(-1e5, 1e5), dtype=st.sampled_from(["f16", "bf16", "f8E4M3FN"]), width=st.floats(0, 1))
def test_narrowing_covers_rounding_to_nearest(value: float, dtype: str, width: float) -> None:
    low, high = np.array([value - width]), np.array([value + width])
    found = intervals.narrow(Interval(low, high), dtype)
    with np.errstate(over="ignore"):
        direct = np.array([value]).astype(np.float32).astype(lookup(dtype).numpy).astype(np.float64)
    inside = (found.low <= direct) & (direct <= found.high) | np.isnan(direct)
    assert inside.all()
    point = intervals.narrow(intervals.point(np.array([value])), dtype)
    steps = np.float64(ml_dtypes.finfo(lookup(dtype).numpy).eps) * 2 * max(abs(value), 1e-3)
    finite = np.isfinite(point.high) & np.isfinite(point.low)
    assert np.all(point.high[finite] - point.low[finite] <= steps)


@quick
@given(a=st.tuples(ends, ends), b=st.tuples(ends, ends), kind=st.sampled_from(["gt", "ge", "lt", "le", "eq", "ne"]))
def test_comparisons_are_certain_only_where_they_are(a: tuple[float, float], b: tuple[float, float], kind: str) -> None:
    x, y = (Interval(np.array(min(pair)), np.array(max(pair))) for pair in (a, b))
    found = intervals.compare(f"o{kind}", x, y)
    op = {
        "gt": np.greater,
        "ge": np.greater_equal,
        "lt": np.less,
        "le": np.less_equal,
        "eq": np.equal,
        "ne": np.not_equal,
    }
    answers = [bool(op[kind](p, q)) for p in a for q in b]
    assert found.low <= min(answers)
    assert found.high >= max(answers)


@quick
@given(value=st.integers(-(2**40), 2**40), bits=st.sampled_from(["i8", "i32"]))
def test_integers_wrap_like_the_machine(value: int, bits: str) -> None:
    wide = np.array([float(value)])
    found = intervals.wrap(wide, wide, bits)
    assert found.low[0] == found.high[0] == int(np.int64(value).astype(lookup(bits).numpy))


def test_unordered_predicates_are_true_on_nan() -> None:
    nan, one = intervals.point(np.nan), intervals.point(1.0)
    for predicate, answer in (
        ("ogt", 0),
        ("ugt", 1),
        ("one", 0),
        ("une", 1),
        ("ord", 0),
        ("uno", 1),
        ("oeq", 0),
        ("ueq", 1),
    ):
        found = intervals.compare(predicate, nan, one)
        assert found.low == found.high == answer
    assert intervals.compare("ord", one, one).low == 1
    assert intervals.compare("uno", one, one).high == 0
