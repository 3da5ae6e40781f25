"""`lower opt`: passes on any MLIR module, ours and upstream's; what the tests of the passes and the reproducers run."""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from lowering import mlir
from lowering.core import Pass, PassError, Schedule, UserError
from lowering.passes import pipeline
from lowering.source import Source, read_text


def main(source: str, pass_pipeline: str, output: str, print_after_all: bool) -> int:
    """The exit code of `lower opt`: 1 where a pass failed. Raises UserError for a text that does not parse."""
    code = child_exit_code()
    if code is not None:
        return code
    text = read_source(source)
    schedule = pipeline.parse(pass_pipeline)
    module = text.parse()
    try:
        apply(module, schedule, print_after_all)
    except PassError as error:
        where = re.sub(r"^-:", f"{text.name}:", error.where)
        print(f"error: {text.error(error.reason, where)}{logged(error.log)}", file=sys.stderr)
        return 1
    write(f"{mlir.text(module).rstrip()}\n".encode(), output)
    return 0


def child_exit_code() -> int | None:
    """Forks: None in the child, which goes on; in the parent the child's exit code, once it has one.

    A pass can crash the process, as mlir-opt can be crashed; then this says so. (Candidates run in `worker.py`; here a
    fork costs nothing, and one is made for every test of a pass.)
    """
    child = os.fork()
    if child == 0:
        return None
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the child too, and is its to report
    _, status = os.waitpid(child, 0)
    signal.signal(signal.SIGINT, before)
    if not os.WIFSIGNALED(status):
        return os.waitstatus_to_exitcode(status)
    name = signal.Signals(os.WTERMSIG(status)).name
    hint = "--mlir-print-ir-after-all shows the last good state"
    print(f"error: MLIR crashed ({name}) on this module with this pipeline; {hint}", file=sys.stderr)
    return 1


def read_source(source: str) -> Source:
    """The text of a file, or of stdin for `-`. Raises UserError where it cannot be read."""
    file = None if source == "-" else Path(source)
    return Source(read_text(file), "<stdin>" if file is None else source)


def apply(module: Any, schedule: Schedule, print_after_all: bool) -> None:
    """Runs each pass and verifies what it left. Raises PassError that names the pass."""
    for step in schedule:
        try:
            step.apply(module)
            mlir.verify(module)
        except PassError as error:
            raise PassError(f"'{step}' failed: {error.reason}", error.where, error.log) from None
        if print_after_all:
            print(dump(module, step), file=sys.stderr)


def dump(module: Any, step: Pass) -> str:
    """A state as mlir-opt's --mlir-print-ir-after-all shows it."""
    return f"// -----// IR Dump After {step} //----- //\n{mlir.text(module)}"


def logged(log: str) -> str:
    """Puts the long text of a failure into a file and says where."""
    if not log:
        return ""
    with tempfile.NamedTemporaryFile("w", prefix="lower-opt-", suffix=".log", delete=False) as file:
        file.write(log)
    return f"\n  the whole message is in {file.name}"


def write(data: bytes, output: str) -> None:
    """Writes to a file, or to stdout where `output` is empty or `-`. Raises UserError where it cannot be written."""
    if output in ("", "-"):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        Path(output).write_bytes(data)
    except OSError as error:
        raise UserError(f"cannot write '{output}': {error.strerror}") from None
