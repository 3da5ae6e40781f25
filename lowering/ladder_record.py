"""The record of a ladder: all that its report says, and `ladder.json`. Each rung's own record is under `run` there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from lowering import store
from lowering.core import UserError
from lowering.ladder import Step
from lowering.targets.tile_model import Prediction

FILE = "ladder.json"


@dataclass(frozen=True)
class RungRecord:
    """One rung: the step, what of the schedule changed since the rung below, and what came of it.

    `run` is its run's number, 0 where it was `skipped`. `seconds` a call on `device`; `baseline` in turn with it.
    `predicted`: operations a second by the `model` of tiles. `registers` of the kernel that has most.
    """

    name: str
    changes: tuple[str, ...]
    why: tuple[str, ...]
    skipped: str = ""
    run: int = 0
    knobs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    schedule: str = ""
    outcome: str = ""
    reason: str = ""  # of a failure, in one line
    word: Literal["measured", "emulated", "none"] = "none"
    seconds: float | None = None
    baseline: float | None = None
    baseline_name: str = ""
    device: str = ""
    registers: int | None = None
    spills: int | None = None
    shared_bytes: int | None = None
    notes: tuple[str, ...] = ()
    counted: tuple[str, ...] = ()
    bounds: tuple[str, ...] = ()
    predicted: float | None = None
    model: str = ""


@dataclass(frozen=True)
class LadderRecord:
    """One ladder's whole story, the lowest rung first."""

    run: int
    folder: str
    command: str
    problem: str
    target: str
    flops: int
    integer: bool
    rungs: tuple[RungRecord, ...]
    toolchain: dict[str, str] = field(default_factory=dict[str, str])


def skipped(step: Step) -> RungRecord:
    """A rung that was not built."""
    return RungRecord(step.name, (), (), step.skipped, knobs=dict(step.knobs))


def built(step: Step, record: store.Record, predicted: Prediction | None) -> RungRecord:
    """A rung with what its run's record says."""
    failure, timing = record.failure, record.timing
    launched = {launch.kernel: launch.shared_bytes for launch in record.launches}
    counts = [each.vgprs if each.registers is None else each.registers for each in record.kernels]
    shared = [(each.shared_bytes or 0) + launched.get(each.name, 0) for each in record.kernels]
    return RungRecord(
        step.name,
        step.changes,
        step.why,
        run=record.run,
        knobs=dict(step.knobs),
        schedule=record.schedule,
        outcome=record.outcome,
        reason=f"{failure.stage}: {failure.kind}: {failure.reason}" if failure else "",
        word=record.word,
        seconds=timing.hot if timing else None,
        baseline=timing.baseline_hot if timing else None,
        baseline_name=timing.baseline_name if timing else "",
        device=timing.device if timing else "",
        registers=largest(counts),
        spills=largest([each.spills for each in record.kernels]),
        shared_bytes=largest(shared) or None,
        notes=tuple(dict.fromkeys(note for each in record.kernels for note in each.notes)),
        counted=tuple(record.counted),
        bounds=tuple(record.predicted),
        predicted=predicted.rate if predicted else None,
        model=predicted.version if predicted else "",
    )


def largest(counts: Sequence[int | None]) -> int | None:
    """The largest of those that are known."""
    return max((count for count in counts if count is not None), default=None)


def as_json(record: LadderRecord) -> str:
    """The record as it is stored."""
    return TypeAdapter(LadderRecord).dump_json(record, indent=1).decode()


def read(folder: Path) -> LadderRecord:
    """The ladder of a folder. Raises UserError where its file is damaged."""
    try:
        return TypeAdapter(LadderRecord).validate_json((folder / FILE).read_text())
    except (OSError, ValidationError) as error:
        raise UserError(f"cannot read '{folder / FILE}': {str(error).splitlines()[0]}; run the command again") from None
