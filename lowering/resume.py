"""Going on from a stored state: `lower --from runs/7/03-vectorize.mlir`.

The file's number says how many passes are behind it; problem, target and schedule come from the run's own files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lowering import mlir, problem, store
from lowering.core import Problem, Schedule, UserError
from lowering.passes import pipeline


@dataclass(frozen=True)
class Resumed:
    """A run taken up again: `start` is (passes already applied, the state's text)."""

    problem: Problem
    target: str
    schedule: Schedule
    start: tuple[int, str]
    edited: bool  # the state is not the one that the run wrote, so the witness cannot be taken through the same passes


def resume(file: Path) -> Resumed:
    """What a state's file belongs to. Raises UserError where it is no state of a run."""
    number = re.fullmatch(r"(\d\d)-.*\.mlir", file.name)
    if not number:
        raise UserError(f"'{file}' is no stored state: expected a file such as runs/7/03-tile.mlir")
    try:
        state, payload = file.read_text(), (file.parent / "00-input.mlir").read_text()
    except OSError as error:
        raise UserError(f"cannot read '{error.filename}': {error.strerror}") from None
    record = store.read_record(file.parent)
    done = int(number[1])
    stored = {stage.index: stage.digest for stage in record.stages}
    return Resumed(
        problem.from_text(payload, record.problem.name),
        record.target,
        pipeline.parse(record.schedule),
        (done, state),
        stored.get(done) != mlir.digest(state),
    )
