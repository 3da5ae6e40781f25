"""Every mistake a user can make: the exit code and the exact words, each in a file of its own beside this one.

A case is a text file: `$ command`, `exit N`, then what stderr says. `{log}` stands for the path of a log file. After a
change of words: `python tests/errors/test_cli_errors.py` writes the files anew, and the diff is what to read.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
CASES = sorted(FOLDER.glob("*.txt"))


def run(command, folder):
    """Exit code, stdout and stderr of a command line, run beside the inputs in an own folder."""
    shutil.copytree(FOLDER / "inputs", folder, dirs_exist_ok=True)
    words, _, stdin = command.removeprefix("lower ").partition(" < ")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "lowering.cli", *shlex.split(words)],
        input=(folder / stdin).read_text() if stdin else "",
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "COLUMNS": "200"},
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, re.sub(r"[\w./-]+\.log\b", "{log}", done.stderr)


def read(case):
    """Command and expected text of a case."""
    first, rest = case.read_text().split("\n", 1)
    return first.removeprefix("$ "), rest


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_mistake(case, tmp_path):
    if case.stem == "torch_missing" and find_spec("torch"):
        pytest.skip("torch is installed here")
    command, expected = read(case)
    code, stdout, stderr = run(command, tmp_path)
    assert "Traceback" not in stdout + stderr
    assert f"exit {code}\n{stderr}" == expected
    assert stdout == ""


def test_there_are_cases():
    assert len(CASES) > 20


if __name__ == "__main__":
    import tempfile

    for each in CASES:
        with tempfile.TemporaryDirectory() as scratch:
            line, _ = read(each)
            status, _, said = run(line, Path(scratch))
            each.write_text(f"$ {line}\nexit {status}\n{said}")
