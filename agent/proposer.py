"""What proposes candidates: the one interface. A new proposer is one file beside this one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from lowering.core import Problem, Schedule, Target


@dataclass(frozen=True)
class Proposal:
    """A schedule, and the knobs it was made from where it came out of the space."""

    schedule: Schedule
    knobs: dict[str, Any] | None = None


class Proposer(Protocol):
    """Names schedules to try. It sees the problem, the target and the records so far, and never compiles."""

    name: ClassVar[str]

    def propose(self, problem: Problem, target: Target, records: Sequence[Any], n: int) -> Sequence[Proposal]:
        """At most `n` proposals; none when it has nothing left to say."""
        ...
