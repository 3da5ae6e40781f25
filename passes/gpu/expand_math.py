"""Writes out the functions that a device has no instruction and no library for, in multiply-adds.

before:  %y = math.exp %x : vector<4xf32>
after:   %n = (%x * log2(e)), rounded to an integer
         %r = (%x - %n * ln2), in two parts
         %y = 2^%n * (1 + %r + %r^2 * polynomial(%r))

The polynomials are those of the Cephes library (S. L. Moshier, netlib.org/cephes, single precision), erf's are fitted
here, so that it costs few instructions; sqrt is Newton's iteration. Over random bit patterns the errors are at most 3
units in the last place of float32. Narrower types are computed in float32 and rounded once. Rounding to integers and
the like stay; for anything else there is an error here instead of an abort in the code generator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.mlir import ir

NATIVE = frozenset(
    f"math.{name}" for name in ("absi", "ceil", "copysign", "floor", "fma", "round", "roundeven", "trunc")
)
EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
LOG = (7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
       2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1)  # fmt: skip
TANH = (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)
# erf(x) / x in x^2 up to 0.8, log2(erfc(x)) in x up to 4, 2^x up to a half: scripts/fit_erf.py
ERF = (-6.535236939e-4, 5.085130975e-3, -2.682080732e-2, 1.128311284e-1, -3.761260139e-1, 1.128379164)
LOG2_ERFC = (-1.957204972e-3, 2.361548046e-2, -1.347721570e-1, -9.341134287e-1, -1.619360860, -1.828892218e-3)
EXP2 = (1.327647670e-03, 9.675542966e-03, 5.550713275e-02, 2.402211969e-01, 6.931469671e-01, 1.000000072e00)
ROUND = 12582912.0  # 1.5 * 2^23: adding it leaves no bits below the point
MAGNITUDE = 0x7FFFFFFF  # all bits but the sign
LN2 = (0.693359375, -2.12194440e-4)  # in two parts, so that n * LN2[0] is exact


@dataclass(frozen=True)
class ExpandMath(Pass):
    """Takes exp, log, tanh, erf, sqrt, rsqrt and absf; what neither it nor the device can do is a PassError."""

    name: ClassVar[str] = "expand-math"

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The default, where there is something to expand."""
        if mlir.walk(state, lambda op: op.operation.name in EXPANSIONS):
            yield cls()

    def apply(self, module: Any) -> None:
        with mlir.scope():
            for op in mlir.walk(module, lambda op: op.operation.name.startswith("math.")):
                if op.name not in NATIVE:
                    expand(op)


def expand(op: Any) -> None:
    """Replaces one op."""
    kind = op.results[0].type
    element = kind.element_type if isinstance(kind, ir.VectorType) else kind
    if op.name not in EXPANSIONS or str(element) not in ("f32", "f16", "bf16"):
        raise PassError(f"{op.name} on {element} has no lowering on a GPU", str(op.location), kind="unsupported")
    arith, wide = mlir.dialect("arith"), like(kind, ir.F32Type.get())
    with ir.InsertionPoint(op):
        value = op.operands[0] if kind == wide else arith.ExtFOp(wide, op.operands[0]).result
        result = EXPANSIONS[op.name](Real(value)).value
        result = result if kind == wide else arith.TruncFOp(kind, result).result
    op.results[0].replace_all_uses_with(result)
    op.erase()


def like(kind: Any, element: Any) -> Any:
    """The type of another element with the shape of `kind`."""
    return ir.VectorType.get(kind.shape, element) if isinstance(kind, ir.VectorType) else element


@dataclass(frozen=True)
class Real:
    """An f32 value (or vector of them) under construction; the operators build ops."""

    value: Any

    def make(self, number: float) -> Real:
        """A constant of the same type."""
        kind, attribute = self.value.type, ir.FloatAttr.get(ir.F32Type.get(), number)
        splat = ir.DenseElementsAttr.get_splat(kind, attribute) if isinstance(kind, ir.VectorType) else attribute
        return Real(mlir.dialect("arith").ConstantOp(kind, splat).result)

    def of(self, other: Real | float) -> Real:
        return other if isinstance(other, Real) else self.make(other)

    def binary(self, op: str, other: Real | float) -> Real:
        return Real(getattr(mlir.dialect("arith"), op)(self.value, self.of(other).value).result)

    def __add__(self, other: Real | float) -> Real:
        return self.binary("AddFOp", other)

    def __sub__(self, other: Real | float) -> Real:
        return self.binary("SubFOp", other)

    def __mul__(self, other: Real | float) -> Real:
        return self.binary("MulFOp", other)

    def __truediv__(self, other: Real | float) -> Real:
        return self.binary("DivFOp", other)

    def over(self, number: float) -> Real:
        """number / self."""
        return self.make(number) / self

    def fma(self, factor: Real | float, term: Real | float) -> Real:
        """self * factor + term; of vectors rounded once, of scalars twice, which the constants here allow for."""
        if not isinstance(self.value.type, ir.VectorType):
            return self * factor + term
        return Real(mlir.dialect("vector").FMAOp(self.value, self.of(factor).value, self.of(term).value).result)

    def masked(self, keep: int, sign_of: Real | None = None) -> Real:
        """The bits in `keep`; with the sign of another value where one is given."""
        arith = mlir.dialect("arith")
        kind, constant = integers(self)
        bits = arith.AndIOp(arith.BitcastOp(kind, self.value).result, constant(keep)).result
        if sign_of is not None:
            other = arith.BitcastOp(kind, sign_of.value).result
            bits = arith.OrIOp(bits, arith.AndIOp(other, constant(-(2**31))).result).result
        return Real(arith.BitcastOp(self.value.type, bits).result)

    def below(self, other: Real | float) -> Any:
        """Whether self < other; false for NaN."""
        arith = mlir.dialect("arith")
        return arith.CmpFOp(arith.CmpFPredicate.OLT, self.value, self.of(other).value).result

    def choose(self, condition: Any, other: Real | float) -> Real:
        """Self where the condition holds, else the other."""
        return Real(mlir.dialect("arith").SelectOp(condition, self.value, self.of(other).value).result)

    def clamp(self, low: float, high: float) -> Real:
        """Between two numbers; NaN stays."""
        return self.binary("MaximumFOp", low).binary("MinimumFOp", high)


def polynomial(x: Real, coefficients: Sequence[float]) -> Real:
    """Horner's rule, the highest power first."""
    result = x.make(coefficients[0])
    for coefficient in coefficients[1:]:
        result = result.fma(x, coefficient)
    return result


def integers(x: Real) -> tuple[Any, Callable[[int], Any]]:
    """The i32 type of x's shape, and its constants."""
    kind = like(x.value.type, ir.IntegerType.get_signless(32))

    def constant(number: int) -> Any:
        attribute = ir.IntegerAttr.get(ir.IntegerType.get_signless(32), number)
        splat = ir.DenseElementsAttr.get_splat(kind, attribute) if isinstance(kind, ir.VectorType) else attribute
        return mlir.dialect("arith").ConstantOp(kind, splat).result

    return kind, constant


def power_of_two(n: Real) -> tuple[Real, Real]:
    """Two factors whose product is 2^n, for an integer n from -254 to 254: one alone may be out of range."""
    arith = mlir.dialect("arith")
    kind, constant = integers(n)
    whole = arith.FPToSIOp(kind, n.value).result
    half = arith.ShRSIOp(whole, constant(1)).result
    factors: list[Real] = []
    for part in (half, arith.SubIOp(whole, half).result):
        bits = arith.ShLIOp(arith.AddIOp(part, constant(127)).result, constant(23)).result
        factors.append(Real(arith.BitcastOp(n.value.type, bits).result))
    return factors[0], factors[1]


def exp(x: Real) -> Real:
    """e^x: 0 below -104, infinity above 89, NaN of NaN."""
    inside = x.clamp(-104.0, 89.0)
    n = inside * 1.4426950408889634 + ROUND - ROUND
    r = n.fma(-LN2[1], n.fma(-LN2[0], inside))
    near = polynomial(r, EXP).fma(r * r, r) + 1.0
    first, second = power_of_two(n.choose(ordered(x), 0.0))
    return near * first * second


def log(x: Real) -> Real:
    """ln x: minus infinity at 0, NaN below."""
    arith = mlir.dialect("arith")
    kind, constant = integers(x)
    small = x.below(1.1754943508222875e-38)
    bits = arith.BitcastOp(kind, (x * 8388608.0).choose(small, x).value).result
    # Subtracting the bits of sqrt(1/2) puts the exponent's step there, so that the mantissa is in [sqrt(1/2), sqrt(2)).
    shifted = arith.SubIOp(bits, constant(0x3F3504F3)).result
    exponent = arith.ShRSIOp(shifted, constant(23)).result
    mantissa = arith.SubIOp(bits, arith.ShLIOp(exponent, constant(23)).result).result
    n = Real(arith.SIToFPOp(x.value.type, exponent).result) - x.make(23.0).choose(small, 0.0)
    z = Real(arith.BitcastOp(x.value.type, mantissa).result) - 1.0
    square = z * z
    y = n.fma(LN2[1], polynomial(z, LOG) * z * square)
    result = n.fma(LN2[0], square.fma(-0.5, y) + z)
    infinity = x.make(float("inf"))
    result = result.choose(x.below(infinity), x)  # infinity and NaN are their own
    result = result.choose(x.make(0.0).below(x), x.make(float("-inf")))
    return x.make(float("nan")).choose(x.below(0.0), result).choose(ordered(x), x)


def ordered(x: Real) -> Any:
    """Whether x is not NaN."""
    arith = mlir.dialect("arith")
    return arith.CmpFOp(arith.CmpFPredicate.ORD, x.value, x.value).result


def tanh(x: Real) -> Real:
    """A polynomial up to 0.625, beyond it 1 - 2 / (e^(2 |x|) + 1)."""
    size = absolute(x)
    square = x * x
    near = (polynomial(square, TANH) * square).fma(x, x)
    far = (exp(size + size) + 1.0).over(-2.0) + 1.0
    far = far.masked(MAGNITUDE, x)
    return near.choose(size.below(0.625), far)


def erf(x: Real) -> Real:
    """A polynomial up to 0.8, beyond it 1 - 2^p(|x|)."""
    size = absolute(x)
    near = polynomial(x * x, ERF) * x
    far = x.make(1.0) - exp2(polynomial(size.choose(size.below(4.0), 4.0), LOG2_ERFC))
    return near.choose(size.below(0.8), far.masked(MAGNITUDE, x)).choose(ordered(x), x)


def exp2(x: Real) -> Real:
    """2^x to 3e-7 of it, for x from -126 to 126: adding ROUND leaves the whole part in the lowest bits."""
    arith = mlir.dialect("arith")
    kind, constant = integers(x)
    rounded = x + ROUND
    part = polynomial(x - (rounded - ROUND), EXP2)
    whole = arith.ShLIOp(arith.BitcastOp(kind, rounded.value).result, constant(23)).result
    bits = arith.AddIOp(arith.BitcastOp(kind, part.value).result, whole).result
    return Real(arith.BitcastOp(x.value.type, bits).result)


def absolute(x: Real) -> Real:
    """x without its sign."""
    return x.masked(MAGNITUDE)


def sqrt(x: Real) -> Real:
    """Newton's iteration for 1 / sqrt(x) from a guess by its exponent, and one step for the root; NaN below 0."""
    arith = mlir.dialect("arith")
    kind, constant = integers(x)
    small = x.below(1.1754943508222875e-38)
    scaled = (x * 16777216.0).choose(small, x)
    bits = arith.ShRUIOp(arith.BitcastOp(kind, scaled.value).result, constant(1)).result
    guess = Real(arith.BitcastOp(x.value.type, arith.SubIOp(constant(0x5F375A86), bits).result).result)
    for _ in range(3):
        guess = guess * (scaled * -0.5).fma(guess * guess, 1.5)
    root = scaled * guess
    root = (guess * 0.5).fma((root * -1.0).fma(root, scaled), root)
    root = (root * (1 / 4096)).choose(small, root)
    root = root.choose(x.make(0.0).below(x), x).choose(x.below(float("inf")), x)  # 0, infinity and NaN are their own
    return x.make(float("nan")).choose(x.below(0.0), root)


def rsqrt(x: Real) -> Real:
    """1 / sqrt(x)."""
    return sqrt(x).over(1.0)


EXPANSIONS: dict[str, Callable[[Real], Real]] = {
    "math.absf": absolute,
    "math.erf": erf,
    "math.exp": exp,
    "math.log": log,
    "math.rsqrt": rsqrt,
    "math.sqrt": sqrt,
    "math.tanh": tanh,
}
