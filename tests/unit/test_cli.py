"""The command line as a user meets it: words in, exit code, stdout and stderr out."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest

from lowering import cli
from lowering.core import UserError

LOWER = [sys.executable, "-P", "-m", "lowering.cli"]
MODULE = "func.func @main(%i: index) {\n  %0 = arith.addi %i, %i : index\n  return\n}\n"
MATMUL = """
func.func @main(%a: tensor<8x4xf32>, %b: tensor<4x6xf32>, %c: tensor<8x6xf32>) -> tensor<8x6xf32> {
  %r = linalg.matmul ins(%a, %b : tensor<8x4xf32>, tensor<4x6xf32>) outs(%c : tensor<8x6xf32>) -> tensor<8x6xf32>
  return %r : tensor<8x6xf32>
}
"""


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


def test_a_full_disk_is_no_bug():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*LOWER, "passes"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: cannot write the output: No space left on device\n")


@pytest.mark.parametrize(("number", "word"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_an_interrupt_has_a_word_and_a_code(tmp_path, number, word):
    words = [*LOWER, "--shape", "900x900x900", "--runs", str(tmp_path)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    while not list(tmp_path.glob("*/00-input.mlir")) and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, number)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (128 + number, f"error: {word}\n".encode())


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


def test_a_crash_of_mlir_is_one_line_and_exit_code_1():
    code = "import os; from lowering import cli, opt; opt.apply = lambda *_: os.kill(os.getpid(), 11); cli.main()"
    words = [sys.executable, "-P", "-c", code, "opt", "-", "--pass-pipeline=cse"]
    done = subprocess.run(words, input=MODULE, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: MLIR crashed (SIGSEGV)")
    assert len(done.stderr.splitlines()) == 1


# --- the main command, end to end on a small problem ------------------------------------------------------------------

SMALL = ("--shape", "20x18x17", "--dtype", "f32", "--no-time")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One run of the main command, and the folder it ran in."""
    folder = tmp_path_factory.mktemp("main")
    return run(*SMALL, "--verify", "witness", cwd=folder), folder


def test_a_run_says_what_happened(done):
    finished, folder = done
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    for word in ("run 1", "20x18x17", "01-", "kernel.o", "verified (witness only)", "runs/1"):
        assert word in finished.stdout
    assert len(finished.stdout.splitlines()) < 40
    assert "verified (witness only)" in (folder / "runs" / "1" / "report.md").read_text()


def test_a_report_is_made_from_the_record(done):
    finished, folder = done
    again = run("report", "last", cwd=folder)
    assert (again.returncode, again.stdout) == (0, finished.stdout)
    record = json.loads(run("report", "1", "--json", cwd=folder).stdout)
    assert record["outcome"] == "verified (witness only)"
    assert run("report", str(folder / "runs" / "1"), "--markdown", cwd="/").stdout.startswith("# Run 1: ")


def test_from_goes_on_from_a_state(done):
    _, folder = done
    state = sorted((folder / "runs" / "1").glob("1?-*.mlir"))[0]
    again = run("--from", str(state), "--no-time", "--runs", "others", cwd=folder)
    assert again.returncode == 0, again.stderr
    assert "verified" in again.stdout
    assert not list((folder / "others" / "1").glob("01-*.mlir"))


def test_json_holds_only_the_record(tmp_path):
    finished = run(*SMALL, "--verify", "none", "--json", cwd=tmp_path)
    assert json.loads(finished.stdout)["outcome"] == "not verified: --verify none"
    assert "run 1" in finished.stderr


def test_emit_holds_only_the_assembly(tmp_path):
    finished = run("-", "--verify", "none", "--no-time", "--emit", "asm", cwd=tmp_path, stdin=MATMUL)
    assert finished.returncode == 0
    assert finished.stdout == (tmp_path / "runs" / "1" / "kernel.s").read_text()
    assert "run 1" in finished.stderr


def test_emit_writes_a_file(tmp_path):
    finished = run(*SMALL, "--verify", "none", "--emit", "obj", "-o", "k.o", cwd=tmp_path)
    assert finished.stdout == ""
    assert (tmp_path / "k.o").read_bytes()[:4] == b"\x7fELF"


def test_a_printed_schedule_can_be_given_back(tmp_path):
    printed = run(*SMALL, "--print-schedule", cwd=tmp_path)
    assert not (tmp_path / "runs").exists()
    (tmp_path / "mine.txt").write_text(printed.stdout)
    for schedule in ("mine.txt", printed.stdout):
        assert run(*SMALL, "--schedule", schedule, "--print-schedule", cwd=tmp_path).stdout == printed.stdout
    finished = run(*SMALL, "--schedule", "mine.txt", cwd=tmp_path)
    assert finished.returncode == 0
    assert "given, for" in finished.stdout


def test_a_schedule_that_stops_too_early_names_op_and_pass(tmp_path):
    finished = run(*SMALL, "--schedule", "cse", cwd=tmp_path)
    assert finished.returncode == 1
    assert "failure   codegen: " in finished.stdout
    assert "bufferize" in finished.stdout
    assert "Traceback" not in finished.stdout + finished.stderr


def test_a_failing_pass_prints_the_command_that_repeats_it(tmp_path):
    finished = run(*SMALL, "--schedule", "canonicalize,gpu-kernel-outlining,transform{script=none.mlir}", cwd=tmp_path)
    assert finished.returncode == 1
    assert "03-transform" in finished.stdout
    assert "cannot read the transform script 'none.mlir'" in finished.stdout
    (again,) = [line.split("again: ")[1] for line in finished.stdout.splitlines() if "again: " in line]
    repeated = run(*shlex.split(again)[1:], cwd=tmp_path)
    assert repeated.returncode == 1
    assert "cannot read the transform script 'none.mlir'" in repeated.stderr
