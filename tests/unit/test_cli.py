"""The command line as a user meets it: words in, exit code, stdout and stderr out."""

import os
import signal
import subprocess
import sys
import time
from importlib import metadata

import pytest

from lowering import cli
from lowering.core import UserError

LOWER = [sys.executable, "-P", "-m", "lowering.cli"]
MODULE = "func.func @main(%i: index) {\n  %0 = arith.addi %i, %i : index\n  return\n}\n"


def run(*words, cwd=None, stdin=""):
    """A finished command."""
    return subprocess.run(
        [*LOWER, *words], input=stdin, capture_output=True, text=True, cwd=cwd, timeout=120, check=False
    )


def test_help_shows_the_main_options_and_the_commands():
    done = run("--help")
    assert done.returncode == 0
    for word in (
        "--target",
        "--shape",
        "--emit",
        "--from",
        "--print-schedule",
        "opt ",
        "targets ",
        "passes ",
        "doctor ",
        "report ",
    ):
        assert word in done.stdout
    assert "Traceback" not in done.stderr


def test_version():
    assert run("--version").stdout == f"lower {metadata.version('lower')}\n"


def test_the_main_command_is_put_in_front():
    group = cli.typer.main.get_command(cli.app)
    for words in ([], ["--target", "x"], ["-", "--json"]):
        with group.make_context("lower", list(words)) as context:
            assert context._protected_args[0] == cli.MAIN
    with group.make_context("lower", ["report", "7"]) as context:
        assert context._protected_args[0] == "report"


@pytest.mark.parametrize("word", ["reprot", "no/such/file", "gone.mlir"])
def test_a_first_word_that_is_nothing(word):
    with pytest.raises(UserError):
        cli.check_source(word, ["report"])


@pytest.mark.parametrize("word", ["", "-", "model.py:make", __file__])
def test_a_first_word_that_is_a_source(word):
    cli.check_source(word, ["report"])


def test_opt_reads_stdin_and_writes_stdout():
    done = run("opt", "-", "--pass-pipeline=builtin.module(canonicalize)", stdin=MODULE)
    assert done.returncode == 0
    assert "func.func @main" in done.stdout
    assert "arith.addi" not in done.stdout


def test_opt_shows_each_state_on_stderr(tmp_path):
    done = run(
        "opt",
        "-",
        "--pass-pipeline=cse,canonicalize",
        "--mlir-print-ir-after-all",
        "-o",
        str(tmp_path / "o"),
        stdin=MODULE,
    )
    assert done.stdout == ""
    assert done.stderr.index("IR Dump After cse") < done.stderr.index("IR Dump After canonicalize")
    assert "func.func @main" in (tmp_path / "o").read_text()


def test_a_broken_pipe_is_quiet():
    reader = subprocess.Popen([*LOWER, "passes"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert reader.stdout is not None
    reader.stdout.close()
    _, stderr = reader.communicate(timeout=60)
    assert (reader.returncode, stderr) == (cli.BROKEN_PIPE, b"")


def test_ctrl_c_is_130(tmp_path):
    words = [*LOWER, "--shape", "900x900x900", "--runs", str(tmp_path)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    while not list(tmp_path.glob("*/00-input.mlir")) and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, b"error: interrupted\n")


def test_a_bug_of_ours_is_one_line_and_a_log(tmp_path):
    code = "import lowering.cli as c; c.run = lambda a: 1 // 0; c.main()"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    (log,) = tmp_path.glob("lower-*.log")
    assert str(log) in done.stderr
    assert "ZeroDivisionError" in log.read_text()
