"""Run folders and the records in them: everything a report says is read from here.

`runs/<id>/` holds `00-input.mlir ... NN-<pass>.mlir`, `kernel.*`, `record.json` and `report.md`. Ids count up from 1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from lowering.core import UserError

OTHERS = {
    "bisect.json": "bisection",
    "graph.json": "pass graph",
    "ladder.json": "ladder",
}  # what else a folder of `runs` can hold a record of
OF_ITS_OWN = {
    "bisection": "",
    "pass graph": ", and its binaries have runs, under 'run' there",
    "ladder": ", and its rungs have runs, under 'run' there",
}


class Value(BaseModel):
    """A frozen part of a record; an unknown field is an error, so that a damaged file is seen."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ProblemRecord(Value):
    """The problem, as a reader needs it; its payload is `00-input.mlir`."""

    name: str
    digest: str
    m: int
    n: int
    k: int
    batch: int
    layout: str
    element: str
    accumulator: str
    output: str
    accumulates: bool
    multiplied: str = ""  # tf32, where f32 may be multiplied so
    epilogue: list[str]
    notes: list[str]
    flops: int
    witness: str = ""  # the witness problem's sizes, e.g. 130x130x32


class StageRecord(Value):
    """One state of the lowering."""

    index: int
    text: str
    seconds: float
    digest: str
    bytes: int
    file: str


class KernelRecord(Value):
    """What the code object says of a kernel, and how it is launched."""

    name: str
    grid: tuple[int, int, int] | None = None
    block: tuple[int, int, int] | None = None
    vgprs: int | None = None
    agprs: int | None = None
    sgprs: int | None = None
    registers: int | None = None
    spills: int | None = None
    shared_bytes: int | None = None
    scratch_bytes: int | None = None
    notes: list[str] = []


class LaunchRecord(Value):
    """One kernel launch: `arguments` are the kernel's parameters in order, as `buffer 0 + 0`, `i64 = 3`, ..."""

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    cluster: tuple[int, int, int]
    shared_bytes: int  # dynamic
    arguments: list[str]


class CheckRecord(Value):
    """One check of the verification: on which problem, what it compared, and the figure against its bound."""

    name: str
    scope: Literal["witness", "full"]
    ok: bool
    detail: str = ""
    figure: float | None = None
    bound: float | None = None
    note: str = ""


class TimingRecord(Value):
    """Seconds a call, measured on `device`: every sample in order, hot and with buffers rotated past the last cache."""

    device: str
    hot: float
    rotated: float
    baseline_name: str
    baseline_hot: float | None = None
    drift: float | None = None  # baseline after / baseline before
    hot_samples: list[float] = []
    rotated_samples: list[float] = []
    baseline_samples: list[float] = []
    stopped: bool = False  # early, since it was far from the best


class OccupancyRecord(Value):
    """How many workgroups of the main kernel a compute unit holds at once, their waves, and what ends that."""

    groups: int
    waves: int
    limited_by: str


class FeedbackRecord(Value):
    """What the time says (`feedback.py`): rates, shares of the chip's roofs, and the binding resource in one word."""

    flops: float  # FLOP/s
    bandwidth: float  # bytes/s: every argument once
    of_peak: float | None = None
    of_bandwidth: float | None = None
    binding: str
    occupancy: OccupancyRecord | None = None


class FailureRecord(Value):
    """Why the schedule gave nothing."""

    stage: str
    kind: str
    reason: str
    step: int | None = None
    pass_text: str = ""
    where: str = ""
    log: str = ""
    reproduce: str = ""  # one command


class Record(Value):
    """One candidate's whole story."""

    version: int = 1
    run: int
    folder: str
    command: str
    problem: ProblemRecord
    target: str
    cpu: str
    proposer: str
    knobs: dict[str, Any] | None
    schedule: str
    stages: list[StageRecord] = []
    seconds: dict[str, float] = {}  # lower, build, verify, time
    format: str = ""
    image: str = ""  # file name in the folder
    image_digest: str = ""
    files: list[str] = []
    kernels: list[KernelRecord] = []
    outcome: str  # 'verified (...)', 'built, not executed: ...', 'WRONG: ...' or 'failed'
    word: Literal["measured", "emulated", "none"] = "none"
    counted: list[str] = []  # what an emulated run executed
    predicted: list[str] = []  # what that bounds its time by on a device
    launches: list[LaunchRecord] = []
    checks: list[CheckRecord] = []
    timing: TimingRecord | None = None
    feedback: FeedbackRecord | None = None  # None where nothing was timed, and in records of before there was any
    failure: FailureRecord | None = None
    toolchain: dict[str, str] = {}
    seed: int = 0


def create_run(root: Path) -> tuple[int, Path]:
    """The next run's id and its new folder. Raises UserError where the folder cannot be written."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        number = max(run_ids(root), default=0) + 1
        while True:
            try:
                (root / str(number)).mkdir()
            except FileExistsError:  # another process took it
                number += 1
                continue
            return number, root / str(number)
    except OSError as error:
        raise UserError(
            f"cannot write the runs folder '{root}': {error.strerror}; name another one with --runs"
        ) from None


def run_ids(root: Path) -> list[int]:
    """The ids of the runs under a folder, in order."""
    return sorted(int(p.name) for p in root.iterdir() if p.name.isdigit()) if root.is_dir() else []


def latest(root: Path) -> Path | None:
    """The folder of the run, bisection, pass graph or ladder that was finished last; None where there is none."""
    files = (file for name in ("record.json", *OTHERS) for file in root.glob(f"*/{name}"))
    newest = max(files, key=lambda file: file.stat().st_mtime_ns, default=None)
    return newest and newest.parent


def find_run(run: str, root: Path) -> Path:
    """The folder of RUN: a number, a path or `last`. Raises UserError naming the runs there are."""
    if run == "last":
        done = [i for i in run_ids(root) if (root / str(i) / "record.json").is_file()]
        if not done:
            raise UserError(f"there is no run in '{root}' yet: `lower` makes one")
        return root / str(done[-1])
    for folder in (root / run, Path(run)):
        if (folder / "record.json").is_file():
            return folder
    for folder in (root / run, Path(run)):
        for file, kind in OTHERS.items():
            if (folder / file).is_file():
                raise UserError(f"'{run}' is a {kind}, and no run: `lower report {run}` shows it{OF_ITS_OWN[kind]}")
    ids = run_ids(root)
    known = f"there are {ids[0]} to {ids[-1]} in '{root}'" if ids else f"'{root}' holds none"
    raise UserError(f"no run '{run}': expected a number, a run's folder or 'last'; {known}")


def write_record(record: Record, folder: Path) -> None:
    """Stores a record; the file appears whole or not at all."""
    part = folder / "record.json.part"
    part.write_text(record.model_dump_json(indent=1) + "\n")
    part.replace(folder / "record.json")


def read_record(folder: Path) -> Record:
    """The record of a run's folder. Raises UserError where the file is damaged."""
    file = folder / "record.json"
    try:
        return Record.model_validate_json(file.read_text())
    except (OSError, ValidationError) as error:
        raise UserError(f"cannot read '{file}': {str(error).splitlines()[0]}; run the command again") from None
