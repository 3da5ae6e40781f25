"""Going on from a stored state: `lower --from runs/7/03-vectorize.mlir`.

The file's number says how many passes are behind it; problem, target and schedule come from the run's own files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from lowering import mlir, problem, store
from lowering.core import Problem, Schedule, UserError
from lowering.lower import split
from lowering.passes import pipeline
from lowering.source import Source, read_text


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
    number = re.fullmatch(r"(\d{2,})-.*\.mlir", file.name)
    if not number:
        raise UserError(f"'{file}' is no stored state: expected a file such as runs/7/03-tile.mlir")
    state, payload = read_text(file), read_text(file.parent / "00-input.mlir")
    Source(state, str(file)).parse()
    record = store.read_record(file.parent)
    done = int(number[1])
    stored = {stage.index: stage.digest for stage in record.stages}
    # The payload is in normal form already: read again without `strict`, an f16 sum would become an f32 one.
    found = problem.from_text(payload, record.problem.name, strict_semantics=True)
    return Resumed(
        replace(found, notes=tuple(record.problem.notes)),
        record.target,
        pipeline.parse(record.schedule),
        (done, state),
        stored.get(done) != mlir.digest(state),
    )


def continued(found: Resumed, rest: Schedule) -> Schedule:
    """The whole schedule where `rest` follows the state: first what led there."""
    return Schedule((*split(found.schedule)[0][: found.start[0]], *rest))
