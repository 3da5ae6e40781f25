"""The record of a pass graph: all that its report says, so that the report needs neither compiler nor device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from lowering.core import UserError
from lowering.findings import PairFinding, PassFinding
from lowering.learned import Condition
from lowering.miscompiles import Verdicts
from lowering.order_findings import OrderFinding
from lowering.store import ProblemRecord

FILE = "graph.json"


@dataclass(frozen=True)
class BinaryRecord:
    """One distinct binary: the end states that give it, the shortest way to it, and what was seen of it.

    `run` is the run that verified it, 0 where none did; `seconds` a call, measured on `device`. `image` is the SHA-256
    of what was run, `change` what distinguishes the schedule from the one that was explored around.
    """

    digest: str
    states: tuple[int, ...]
    schedule: str
    figures: Mapping[str, int]
    completed: bool = False  # by the standard tail, which is part of `schedule`
    run: int = 0
    outcome: str = ""
    seconds: float | None = None
    baseline: float | None = None
    baseline_name: str = ""
    device: str = ""
    image: str = ""
    change: str = ""

    @property
    def relative(self) -> float | None:
        """What its time is compared by: in units of the baseline that was timed beside it, where there was one."""
        if self.seconds is None:
            return None
        return self.seconds / self.baseline if self.baseline else self.seconds


@dataclass(frozen=True)
class GraphRecord:
    """One exploration's whole story. `bound` and `orders` are decimal texts: they are larger than a float is exact.

    `bound`: orders of the plan; `orders`: those of them that the graph stands for, no pass of which fails.
    """

    name: str
    folder: str
    command: str
    problem: ProblemRecord
    target: str
    plan: str
    bound: str
    orders: str
    states: int
    edges: Mapping[str, int]
    cut: bool
    pruned: int
    seconds: Mapping[str, float]  # of each stage, in all calls together
    passes: tuple[PassFinding, ...]
    unoffered: tuple[str, ...]  # passes whose `choices` named no instance on any state
    pairs: tuple[PairFinding, ...]
    conditions: tuple[Condition, ...]
    ends: int
    unbuilt: tuple[tuple[str, int], ...]
    not_tried: int  # end states beyond the number that was to be built
    binaries: tuple[BinaryRecord, ...]
    order: tuple[OrderFinding, ...]
    checks: Verdicts | None
    toolchain: Mapping[str, str]
    unexecuted: str = ""  # why no binary was run
    exports: tuple[str, ...] = ()  # files that this call wrote beside the folder
    version: int = 1


ADAPTER: TypeAdapter[GraphRecord] = TypeAdapter(GraphRecord)


def write(record: GraphRecord, folder: Path) -> None:
    """Stores a record; the file appears whole or not at all."""
    part = folder / f"{FILE}.part"
    part.write_bytes(as_json(record))
    part.replace(folder / FILE)


def as_json(record: GraphRecord) -> bytes:
    """The record itself."""
    return ADAPTER.dump_json(record, indent=1) + b"\n"


def read(folder: Path) -> GraphRecord:
    """The record of a graph's folder. Raises UserError where the file is damaged."""
    file = folder / FILE
    try:
        return ADAPTER.validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise UserError(f"cannot read '{file}': {str(error).splitlines()[0]}; run the command again") from None


def is_graph(folder: Path) -> bool:
    """Whether a folder holds a graph's record."""
    return (folder / FILE).is_file()
