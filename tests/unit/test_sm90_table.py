"""The table of sm_90's measured results: how a row stands to its bar, and that README.md has the file's."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "scripts" / "results" / "h100.json"


def script(name):
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sm90_table = script("sm90_table")


def row(**changes):
    """A row of 1000^3 that takes 10 us, on a device that copies 3000 GB/s."""
    fields = {
        "problem": "1000x1000x1000", "dtype": "bf16", "layout": "nn", "epilogue": "", "ms": 0.010, "tflops": 200.0,
        "ratio_to_cublas": 1.0, "ratio_to_triton": None, "bar": 1.02, "aim": 1.1, "bytes": 6_000_000, "copy_gb_s": 3000,
    }  # fmt: skip
    return {**fields, **changes}


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"ratio_to_cublas": 1.1}, "aim"),
        ({"ratio_to_cublas": 1.02}, "met"),
        ({"ratio_to_cublas": 1.01}, "missed"),
        ({"bytes": 30_000_000}, "roof"),
        ({"ms": None}, "failed"),
    ],
)
def test_how_a_row_stands_to_its_bar(changes, word):
    fast = row(problem="4096x4096x4096", ms=0.2, tflops=687.0)
    assert sm90_table.verdict(row(**changes), [row(**changes), fast]) == word


def test_the_roof_is_the_best_rate_of_either_library_in_the_run():
    slow = row(problem="2000x2000x2000", ms=0.08, tflops=200.0, ratio_to_cublas=0.5)  # cuBLASLt ran at 400
    assert sm90_table.roof(row(), [row(), slow]) == pytest.approx(0.005)
    assert sm90_table.verdict(row(ms=0.0053, tflops=2 / 0.0053), [row(), slow]) == "roof"


def test_the_readme_has_the_table_of_the_file():
    text = (ROOT / "README.md").read_text().split(sm90_table.MARK + "\n")[1]
    assert text == "\n".join((*sm90_table.page(json.loads(RESULTS.read_text())), ""))
