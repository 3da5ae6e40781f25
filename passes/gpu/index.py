"""Index arithmetic read back as linear forms. Not a pass: what promotion and bounds checks are built on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import gcd
from typing import Any

from lowering import find, mlir
from lowering.mlir import ir


@dataclass(frozen=True)
class Linear:
    """constant + sum of coefficient * value; the values are leaves, opaque to this file."""

    constant: int = 0
    terms: Mapping[Any, int] = field(default_factory=dict)

    def __add__(self, other: Linear) -> Linear:
        terms = dict(self.terms)
        for value, factor in other.terms.items():
            terms[value] = terms.get(value, 0) + factor
        return Linear(self.constant + other.constant, {v: f for v, f in terms.items() if f})

    def scaled(self, factor: int) -> Linear:
        return Linear(self.constant * factor, {v: f * factor for v, f in self.terms.items() if f * factor})


def linear(value: Any) -> Linear:
    """An index as a linear form over leaves: looks through constants, affine.apply, and arith's sums and products."""
    op = find.defining(value)
    if op is None:
        return Linear(0, {value: 1})
    if op.name == "arith.constant":
        return Linear(op.attributes["value"].value)
    operands = (
        [linear(operand) for operand in op.operands] if op.name in ("affine.apply", "arith.addi", "arith.muli") else []
    )
    form: Linear | None = None
    if op.name == "affine.apply":
        form = expression(op.attributes["map"].value.results[0], operands, op.attributes["map"].value.n_dims)
    elif op.name == "arith.addi":
        form = operands[0] + operands[1]
    elif op.name == "arith.muli":
        form = product(*operands)
    return form or Linear(0, {value: 1})


def product(a: Linear, b: Linear) -> Linear | None:
    """The product of two forms, where one of them is a constant."""
    if not a.terms:
        return b.scaled(a.constant)
    return a.scaled(b.constant) if not b.terms else None


def expression(expr: Any, operands: list[Linear], dims: int) -> Linear | None:
    """An affine expression over forms; None for a division or a remainder."""
    if isinstance(expr, ir.AffineConstantExpr):
        return Linear(expr.value)
    if isinstance(expr, ir.AffineDimExpr):
        return operands[expr.position]
    if isinstance(expr, ir.AffineSymbolExpr):
        return operands[dims + expr.position]
    if not isinstance(expr, (ir.AffineAddExpr, ir.AffineMulExpr)):
        return None
    a, b = expression(expr.lhs, operands, dims), expression(expr.rhs, operands, dims)
    if a is None or b is None:
        return None
    return a + b if isinstance(expr, ir.AffineAddExpr) else product(a, b)


def number(value: int) -> Any:
    """A constant index."""
    return mlir.dialect("arith").ConstantOp(ir.IndexType.get(), value).result


def emit(form: Linear) -> Any:
    """The value of a form, built at the insertion point: one affine.apply (or a constant, or the leaf itself)."""
    if not form.terms:
        return mlir.dialect("arith").ConstantOp(ir.IndexType.get(), form.constant).result
    if form.constant == 0 and list(form.terms.values()) == [1]:
        return next(iter(form.terms))
    result: Any = ir.AffineExpr.get_constant(form.constant)
    for i, factor in enumerate(form.terms.values()):
        result = result + ir.AffineExpr.get_dim(i) * factor
    apply = ir.AffineMap.get(len(form.terms), 0, [result])
    return mlir.dialect("affine").AffineApplyOp(apply, list(form.terms)).result


def launch_of(op: Any) -> Any | None:
    """The launch around an op."""
    return next((each for each in find.parents(op) if each.name == "gpu.launch"), None)


CLUSTER = 7  # the number of the operand group of gpu.launch that is the clusters' first size


def cluster_of(launch: Any) -> int:
    """How many workgroups of a launch are in a cluster; 1 where there are none."""
    has = list(launch.attributes["operandSegmentSizes"])[CLUSTER]
    return linear(list(launch.operands)[6]).constant if has else 1


def head(launch: Any) -> int:
    """Arguments of a launch's body before its buffers: ids and sizes of workgroups, threads and perhaps clusters."""
    return 18 if list(launch.attributes["operandSegmentSizes"])[CLUSTER] else 12


def largest(value: Any, launch: Any) -> int | None:
    """The largest value a leaf takes (the smallest is 0): thread and block ids, delinearised ids, static loops."""
    op = find.defining(value)
    if op is not None:
        if op.name != "affine.delinearize_index":
            return None
        basis = list(op.attributes["static_basis"])
        position = list(op.results).index(value)
        outer = len(op.results) - len(basis)
        return basis[position - outer] - 1 if position >= outer else None
    block = ir.BlockArgument(value)
    owner = block.owner.owner.operation
    if owner == launch and block.arg_number < 6:
        count = linear(launch.operands[block.arg_number])
        return None if count.terms else count.constant - 1
    if owner.name == "scf.for" and block.arg_number == 0:
        low, high, step = (linear(operand) for operand in list(owner.operands)[:3])
        if low.terms or high.terms or step.terms or low.constant or high.constant <= 0:
            return None
        return (high.constant - 1) // step.constant * step.constant
    return None


def divisor(form: Linear) -> int:
    """A number that divides every value of a form: a loop's variable that starts at 0 is a multiple of its step."""
    return gcd(form.constant, *(factor * step_of(value) for value, factor in form.terms.items()))


def known_divisor(value: Any) -> int:
    """A number that divides every value of an index, read off the affine expressions that make it; 0 divides by any."""
    op = find.defining(value)
    if op is not None and op.name == "affine.apply":
        affine_map = op.attributes["map"].value
        return expression_divisor(affine_map.results[0], list(op.operands), affine_map.n_dims)
    return divisor(linear(value))


def expression_divisor(expr: Any, operands: list[Any], dims: int) -> int:
    """A number that divides every value of an affine expression."""
    if isinstance(expr, ir.AffineConstantExpr):
        return abs(expr.value)
    if isinstance(expr, ir.AffineDimExpr):
        return known_divisor(operands[expr.position])
    if isinstance(expr, ir.AffineSymbolExpr):
        return known_divisor(operands[dims + expr.position])
    left, right = (expression_divisor(each, operands, dims) for each in (expr.lhs, expr.rhs))
    if isinstance(expr, ir.AffineMulExpr):
        return left * right
    if isinstance(expr, (ir.AffineAddExpr, ir.AffineModExpr)):
        return gcd(left, right)
    return left // right if isinstance(expr, ir.AffineFloorDivExpr) and right and left % right == 0 else 1


def step_of(value: Any) -> int:
    """The constant step of the `scf.for` from 0 whose induction variable a value is; 1 for anything else."""
    if find.defining(value) is not None:
        return 1
    block = ir.BlockArgument(value)
    owner = block.owner.owner.operation
    if owner.name != "scf.for" or block.arg_number:
        return 1
    low, _, step = (linear(operand) for operand in list(owner.operands)[:3])
    return step.constant if not (low.terms or low.constant or step.terms) else 1


def from_threads(value: Any, launch: Any) -> bool:
    """Whether a value depends on the thread: on a thread id of the launch, through any ops."""
    body = launch.regions[0].blocks[0]
    threads = set(list(body.arguments)[3:6])
    return bool(find.reaching(value, launch) & threads)
