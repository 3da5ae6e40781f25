"""`lower passes`, `targets` and `doctor`; the file of upstream's passes; the script that makes a new pass."""

import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lowering import doctor, listing, targets
from lowering.core import UserError
from lowering.passes import pipeline
from lowering.passes.table import FAULTS, PASSES, TABLE
from lowering.passes.upstream import manager_text

ROOT = Path(__file__).resolve().parents[2]
UPSTREAM = pipeline.upstream_names()


def anchored(name):
    """A pipeline of one upstream pass, on the op that the file says it needs."""
    anchor = UPSTREAM[name].rpartition("[")[2].rstrip("]") if UPSTREAM[name].endswith("]") else ""
    return f"{anchor}({name})" if anchor else name


def test_every_listed_upstream_pass_is_registered_and_none_is_ours():
    assert len(UPSTREAM) > 250
    for name in UPSTREAM:
        manager_text(anchored(name))
    assert set(UPSTREAM) & set(PASSES) == set()


def test_the_file_is_what_the_script_finds(tmp_path):
    command = [sys.executable, "-P", str(ROOT / "scripts" / "upstream_passes.py"), str(tmp_path / "found.tsv")]
    subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "found.tsv").read_text() == (ROOT / "passes" / "upstream.tsv").read_text()


def test_our_passes_say_what_they_do_and_their_options(capsys):
    assert listing.passes("tile") == 0
    text = capsys.readouterr().out
    assert "before" in text
    assert "tile-sizes" in text
    assert "list of integers" in text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("convert-gpu-to-rocdl", ["Generate ROCDL operations", "chipset", "default gfx000"]),
        ("gpu-async-region", ["[func.func]", "No options."]),
        ("buffer-deallocation-pipeline", ["it expands to several passes"]),
    ],
)
def test_upstream_passes_show_their_options(name, words, capsys):
    assert listing.passes(name) == 0
    text = capsys.readouterr().out
    assert all(word in text for word in words)


def test_an_unknown_pass_gets_the_nearest_names():
    with pytest.raises(UserError, match="did you mean canonicalize"):
        listing.passes("canonicalise")


def test_all_passes_are_listed(capsys):
    listing.passes("")
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line]
    listed = {line[0] for line in lines}
    assert {*(cls.name for cls in TABLE), *UPSTREAM} <= listed
    assert not listed & {cls.name for cls in FAULTS}
    assert all(len(line) == 2 for line in lines)


def test_all_targets_are_listed_with_what_can_run(capsys):
    assert listing.targets() == 0
    text = capsys.readouterr().out
    assert all(name in text for name in targets.names())
    assert "built and run (cpu, measured)" in text


def test_doctor_finds_what_every_installation_has(capsys):
    assert doctor.main() == 0
    found = {finding.name: finding for finding in doctor.look()}
    assert "LLVM version" in found["MLIR"].found
    assert "without" not in found["LLVM"].found
    assert "LLD" in found["ld.lld"].found
    assert all(finding.found or finding.remedy for finding in found.values())


def test_doctor_fails_where_a_need_is_missing(monkeypatch, capsys):
    monkeypatch.setattr(
        doctor, "look", lambda: iter([doctor.Finding("MLIR", "", "pip install torch-mlir", needed=True)])
    )
    assert doctor.main() == 1
    assert "pip install torch-mlir" in capsys.readouterr().out


def test_a_new_pass_is_three_pieces_that_fit(tmp_path, monkeypatch, capsys):
    for part in ("passes", "scripts"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests" / "passes").mkdir(parents=True)
    monkeypatch.setattr(sys, "argv", ["new_pass.py", "common", "hoist-loads"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(tmp_path / "scripts" / "new_pass.py"), run_name="__main__")
    table = (tmp_path / "passes" / "table.py").read_text()
    assert "from lowering.passes.common.hoist_loads import HoistLoads\n" in table
    assert "    HoistLoads,\n" in table
    compile(table, "table.py", "exec")
    made = runpy.run_path(str(tmp_path / "passes" / "common" / "hoist_loads.py"))["HoistLoads"]
    assert str(made()) == "hoist-loads"
    assert "hoist-loads" in (tmp_path / "tests" / "passes" / "hoist-loads.mlir").read_text()
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(str(tmp_path / "scripts" / "new_pass.py"), run_name="__main__")
    assert "is there already" in capsys.readouterr().err
