"""The proposer behind `lower ladder`: given schedules, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering.agent.proposer import Proposal
from lowering.core import Problem, Target


@dataclass(frozen=True)
class Rungs:
    """Proposes the schedules of a ladder, from the lowest on."""

    name: ClassVar[str] = "ladder"
    proposals: tuple[Proposal, ...]

    def propose(self, problem: Problem, target: Target, records: Sequence[Any], n: int) -> Sequence[Proposal]:
        return self.proposals[len(records) :][:n]
