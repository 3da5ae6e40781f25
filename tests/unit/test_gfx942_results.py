"""The committed figures of gfx942's default schedules: there for every one, as they are now, and within their bars."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module")
def bench():
    """The script that makes them."""
    spec = importlib.util.spec_from_file_location("bench_gfx942", SCRIPTS / "bench_gfx942.py")
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["bench_gfx942"] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def results():
    """What it wrote."""
    return json.loads((SCRIPTS / "results" / "gfx942.json").read_text())


def test_every_default_schedule_is_the_one_that_was_counted(bench, results):
    stale = [row.name for row in bench.rows() if results.get(row.name, {}).get("digest") != bench.digest(row.problem)]
    assert not stale, f"make bench-gfx942 counts them anew: {stale[:5]}"


def test_all_rows_were_verified_and_hold_their_bars(bench, results):
    wrong = {row.name: found for row in bench.rows() if (found := bench.complaints(row, results[row.name]))}
    assert not wrong
    assert all(found["verdict"].startswith("emulated, verified") for found in results.values())


DOZEN = (
    "512x512x512 f16 nt", "512x512x512 i8 tn", "512x512x512 f8E4M3FNUZ nn", "1024x1024x1024 bf16 tt",
    "1024x1024x1024 i8 nt", "2048x2048x2048 f16 nn", "2048x2048x2048 f8E4M3FNUZ nt", "4096x4096x4096 bf16 nt",
    "4096x4096x4096 f16 tn", "16x12288x4096 bf16 nt", "4000x4100x4104 bf16 nn", "1000x333x77 bf16 nn",
)  # fmt: skip


@pytest.mark.parametrize("name", DOZEN)
def test_a_dozen_are_counted_again(bench, results, name):
    row = next(each for each in bench.rows() if each.name == name)
    found = bench.measured(row, {})
    assert not bench.complaints(row, found)
    for key in ("registers", "spills", "LDS", "occupancy", "conflicts", "lines", "loop"):
        assert found.get(key) == results[name].get(key), key
