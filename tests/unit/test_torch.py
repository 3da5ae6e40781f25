"""Torch programs: their contractions, cut out with the values that torch computes them on."""

import importlib.util

import numpy as np
import pytest

from lowering import torch_program
from lowering.core import UserError
from lowering.reference import evaluate

HERE = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not HERE, reason="torch is not installed (extra `torch`)")

MODEL = """
import torch
from torch import nn

class Tail(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 32), nn.GELU(), nn.Linear(32, 16))
        self.register_buffer("shift", torch.ones(16))

    def forward(self, x):
        return torch.relu(self.layers(x) + self.shift)

class Attention(nn.Module):
    def forward(self, q, k, v):
        return torch.softmax(q @ k.transpose(-1, -2) / 8.0, -1) @ v

class Product(nn.Module):
    def forward(self, x, y):
        return torch.matmul(x, y)

def mlp(): return Tail()
def half(): return nn.Linear(64, 32).to(torch.bfloat16)
def attention(): return Attention()
def product(): return Product()
def convolution(): return nn.Conv2d(3, 8, 3)
def broken(): raise ValueError("oops")
def number(): return 3
"""


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.py"
    path.write_text(MODEL)
    return str(path)


def check_values(candidate, tolerance):
    found = evaluate(candidate.problem, candidate.inputs)
    for value, expected in zip(found, candidate.expected, strict=True):
        assert np.abs(value - expected.astype(float)).max() <= tolerance * np.abs(expected.astype(float)).max()
    shapes = [each.shape for each in candidate.problem.arguments if each.role == "input"]
    assert [value.shape for value in candidate.inputs] == shapes


@needs_torch
@pytest.mark.slow
def test_an_mlp_is_two_problems(model):
    first, second = torch_program.from_torch(model, "mlp", ["8x64xf32"])
    assert (first.share, second.share) == (0.8, 0.2)
    assert first.problem.contraction.layout == second.problem.contraction.layout == "nt"
    assert first.problem.epilogue[0] == second.problem.epilogue[0] == "bias"
    assert (first.by_torch, second.by_torch) == (False, True)
    assert first.error < 1e-6
    check_values(first, 1e-6)
    check_values(second, 1e-6)
    assert torch_program.agreement([first, second]).startswith("the program as it was read agrees with torch to ")
    lines = list(torch_program.listing([first, second]))
    assert lines[0].startswith("  1:  80.0% of the FLOPs, 8x32x64 f32 nt, then bias, ")


@needs_torch
@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "inputs", "sizes", "tolerance"),
    [
        ("half", ["8x64xbf16"], [(0, 8, 32, 64)], 2**-7),
        ("product", ["3x4x5xf32", "3x5x6xf32"], [(3, 4, 6, 5)], 1e-6),
        ("product", ["3x4x5xf32", "5x6xf32"], [(0, 12, 6, 5)], 1e-6),
        ("product", ["4x5xf16", "5x6xf16"], [(0, 4, 6, 5)], 2**-10),
    ],
)
def test_single_products_agree_with_torch(model, function, inputs, sizes, tolerance):
    found = torch_program.from_torch(model, function, inputs)
    shapes = [each.problem.contraction for each in found]
    assert [(c.batch, c.m, c.n, c.k) for c in shapes] == sizes
    assert found[0].by_torch
    assert found[0].error <= tolerance
    check_values(found[0], tolerance)


@needs_torch
@pytest.mark.slow
def test_attention_is_cut_at_the_softmax(model):
    first, second = torch_program.from_torch(model, "attention", ["2x10x64xf32"] * 3)
    assert [each.role for each in first.problem.arguments] == ["input", "input", "output"]
    check_values(first, 1e-6)
    assert second.problem.contraction.batch == 2
    assert second.inputs is None
    assert torch_program.agreement([first, second]).startswith("not compared with torch as a whole")
    assert torch_program.picked([first, second], 2) == [second]
    with pytest.raises(UserError, match=r"there is no contraction 3; --pick takes one of these:\n  1: "):
        torch_program.picked([first, second], 3)


@needs_torch
@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "inputs", "message"),
    [
        ("mpl", [], r"has no function 'mpl'; it has mlp"),
        ("mlp", [], r"takes 1 inputs \(x\), 0 given: --input 128x512xf32"),
        ("mlp", ["8x64xq"], r"'8x64xq' is not an input: write its sizes and type, e\.g\. 128x512xf32"),
        ("mlp", ["8x65xf32"], r"running mlp\(\) of .* failed: RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
        ("broken", [], r"broken\(\) of .*model\.py failed: ValueError: oops \(.*model\.py:\d+\)"),
        ("number", [], r"number\(\) of .* returned int; return a torch\.nn\.Module"),
        ("convolution", ["1x3x8x8xf32"], "no contraction"),
    ],
)
def test_mistakes(model, function, inputs, message):
    with pytest.raises(UserError, match=message):
        torch_program.from_torch(model, function, inputs)


@needs_torch
def test_a_missing_file():
    with pytest.raises(UserError, match=r"there is no file 'none\.py'"):
        torch_program.from_torch("none.py", "f", [])


@pytest.mark.skipif(HERE, reason="torch is installed")
def test_without_torch_the_error_names_the_extra():
    with pytest.raises(UserError, match=r"needs the package torch: pip install 'lower\[torch\]'"):
        torch_program.from_torch("model.py", "mlp", ["8x64xf32"])
