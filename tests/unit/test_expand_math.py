"""The functions that `expand-math` writes out, run on this machine's CPU against numpy in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lowering import codegen, completion, mlir
from lowering.core import Argument, PassError
from lowering.passes.gpu.expand_math import ExpandMath
from lowering.targets import load
from lowering.targets.x86.runtime import CPU

COUNT = 1 << 14
SPECIAL = (
    0.0,
    -0.0,
    math.inf,
    -math.inf,
    math.nan,
    88.7,
    88.8,
    -87.3,
    -103.9,
    -105.0,
    1e-45,
    1e-39,
    0.625,
    1.0,
    2.0,
    4.0,
)
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "absf": np.abs,
    "erf": np.vectorize(math.erf, otypes=[float]),
    "exp": np.exp,
    "log": np.log,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sqrt": np.sqrt,
    "tanh": np.tanh,
}
LOOP = """
func.func @main(%a: memref<{n}xf32>, %out: memref<{n}xf32>) {{
  %c0 = arith.constant 0 : index
  %c4 = arith.constant 4 : index
  %n = arith.constant {n} : index
  %any = ub.poison : f32
  scf.for %i = %c0 to %n step %c4 {{
    %x = vector.transfer_read %a[%i], %any {{in_bounds = [true]}} : memref<{n}xf32>, vector<4xf32>
    %y = math.{function} %x : vector<4xf32>
    vector.transfer_write %y, %out[%i] {{in_bounds = [true]}} : vector<4xf32>, memref<{n}xf32>
  }}
  return
}}"""


def numbers() -> np.ndarray:
    """Random bit patterns, normal numbers, a sweep over where exp is finite, and the values where cases meet."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, COUNT, dtype=np.uint64).astype(np.uint32).view(np.float32)
    sweep = np.linspace(-106, 90, COUNT, dtype=np.float32)
    return np.concatenate([bits, 3 * rng.standard_normal(COUNT, np.float32), sweep, np.float32(SPECIAL)])


def expanded(function: str, x: np.ndarray) -> np.ndarray:
    """The function of every element, through the pass and LLVM."""
    module, target = mlir.parse(LOOP.format(n=len(x), function=function)), load("x86_64")
    ExpandMath().apply(module)
    assert "math." not in mlir.text(module)
    completion.complete_to_cpu(module)
    arguments = (Argument("a", "input", x.shape, "f32"), Argument("out", "output", x.shape, "f32"))
    with CPU().load(codegen.build(module, arguments, target)) as program:
        pointers = [program.allocate(x.nbytes) for _ in arguments]
        program.write(pointers[0], x)
        program.run(pointers)
        return np.frombuffer(program.read(pointers[1], x.nbytes), np.float32)


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_a_function_is_within_three_units_in_the_last_place(function: str) -> None:
    x = numbers()
    with np.errstate(all="ignore"):
        exact = FUNCTIONS[function](x.astype(np.float64))
        rounded = exact.astype(np.float32)
    found = expanded(function, x)
    assert np.array_equal(np.isnan(found), np.isnan(rounded))
    assert np.array_equal(np.isinf(found), np.isinf(rounded))
    finite = np.isfinite(rounded)
    unit = np.maximum(np.spacing(np.abs(rounded[finite])).astype(np.float64), 2.0**-149)
    assert np.max(np.abs(found[finite] - exact[finite]) / unit) <= 3


def test_what_cannot_be_expanded_is_named() -> None:
    module = mlir.parse("func.func @f(%x: f32) -> f32 {\n %y = math.tan %x : f32\n return %y : f32\n}")
    with pytest.raises(PassError, match=r"math\.tan on f32 has no lowering on a GPU"):
        ExpandMath().apply(module)
