"""The .mlir tests of this folder, through lit, as one pytest test a file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
LIT = [sys.executable, "-P", "-c", "from lit.main import main; main()"]
FILES = sorted(f for f in FOLDER.rglob("*.mlir") if f.parent.name not in ("Inputs", "Output"))


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    """lit's output, run once on all files: lit runs them side by side."""
    scratch = tmp_path_factory.mktemp("lit")
    command = [*LIT, "-v", "--no-progress-bar", f"--workers={os.cpu_count()}", str(FOLDER)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "LIT_SCRATCH": str(scratch)}, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_mlir(file, results):
    name = f"passes :: {file.relative_to(FOLDER)}"
    assert f"PASS: {name} (" in results, results[results.find(name) :][:4000] if name in results else results[-2000:]


def test_lit_sees_a_failure(tmp_path):
    (tmp_path / "lit.cfg.py").write_text((FOLDER / "lit.cfg.py").read_text())
    (tmp_path / "wrong.mlir").write_text(
        "// RUN: lower opt %s --pass-pipeline=cse | filecheck %s\n// CHECK: no such text\n"
    )
    done = subprocess.run([*LIT, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "FAIL: passes :: wrong.mlir" in done.stdout
