"""The kernels of tests/kernels: inputs, references and bounds.

Integer inputs are small, so that every sum is exact and the result must be equal bit for bit. On random inputs a matrix
product may differ from the float64 reference by the rounding of K sums in f32 (2^-24 each, of the sum of magnitudes)
and by that of the result; the other functions by a few units of f32 (or of the result's type) relative to the largest
value.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from lowering.targets.amdgpu.emulator.emulator import Argument, Value

Array = np.ndarray[Any, Any]
FOLDER = Path(__file__).parent.parent / "kernels"


@dataclass(frozen=True)
class TestKernel:
    """One code object and how it is launched."""

    __test__ = False

    file: str
    kernel: str | None
    compiler: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    lds: int
    arguments: list[dict[str, Any]]
    function: str

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return Path(self.file).stem

    @property
    def image(self) -> bytes:
        """The code object."""
        return (FOLDER / self.file).read_bytes()

    def values(self, integers: bool, seed: int = 0) -> list[Argument]:
        """Arguments of a launch; outputs hold a pattern."""
        rng = np.random.default_rng(seed)
        return [self.value(each, integers, rng) for each in self.arguments]

    def value(self, one: dict[str, Any], integers: bool, rng: np.random.Generator) -> Argument:
        """One argument."""
        if one["kind"] == "null":
            return None
        if one["kind"] not in ("in", "out", "inout"):
            return Value(one["kind"], one["value"])
        dtype = np.dtype(getattr(ml_dtypes, one["dtype"], None) or one["dtype"])
        if one["kind"] == "out":
            return np.full(one["shape"], 77, dtype)
        if one["kind"] == "inout":
            return np.zeros(one["shape"], dtype)
        if self.function == "histogram":
            return rng.integers(0, 16, one["shape"]).astype(dtype)
        if integers or dtype.kind == "i":
            return rng.integers(-3, 4, one["shape"]).astype(dtype)
        return rng.standard_normal(one["shape"]).astype(dtype)

    def buffers(self, values: list[Argument]) -> list[Array]:
        """The buffers among the arguments."""
        return [each for each in values if isinstance(each, np.ndarray)]

    def expected(self, values: list[Argument]) -> Array:
        """The reference in float64."""
        inputs = [each.astype(np.float64) for each in self.buffers(values)]
        return REFERENCES[self.function](inputs)

    def bound(self, values: list[Argument]) -> Array | float:
        """How far a result on random inputs may be from the reference."""
        inputs = [each.astype(np.float64) for each in self.buffers(values)]
        out = self.buffers(values)[-1].dtype
        unit = float(ml_dtypes.finfo(out).eps) if out.kind != "i" else 0.0
        expected = self.expected(values)
        if self.function == "matmul":
            a, b = inputs[:2]
            inputs_cut = 2.0**-9 if "xf32" in self.name else 0.0  # to 10 bits of mantissa, both of them
            return (inputs_cut + (a.shape[1] + 2) * 2.0**-23) * (np.abs(a) @ np.abs(b)) + unit * np.abs(expected)
        rough = 2.0**-9 if self.function == "attention" else 2.0**-20  # the weights are rounded to f16 there
        return (rough + unit) * float(np.abs(expected).max())


def softmax(x: Array) -> Array:
    """Along the last axis."""
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def layer_norm(x: Array, weight: Array, bias: Array) -> Array:
    """Along the last axis."""
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * weight + bias


REFERENCES = {
    "add": lambda v: v[0] + v[1],
    "matmul": lambda v: v[0] @ v[1],
    "softmax": lambda v: softmax(v[0]),
    "layer_norm": lambda v: layer_norm(*v[:3]),
    "attention": lambda v: softmax(v[0] @ v[1].T * 0.125) @ v[2],
    "histogram": lambda v: np.bincount(v[0].astype(np.int64), minlength=16),
}
EXACT = ("add", "matmul", "histogram")  # on integers


def kernels() -> list[TestKernel]:
    """All of them."""
    rows = json.loads((FOLDER / "kernels.json").read_text())
    return [TestKernel(**{**row, "grid": tuple(row["grid"]), "block": tuple(row["block"])}) for row in rows]
