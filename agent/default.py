"""The proposer behind a plain `lower`: the target's default schedule, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from lowering.agent.proposer import Proposal
from lowering.core import Problem, Schedule, Target
from lowering.targets.families import FAMILIES


@dataclass(frozen=True)
class Default:
    """Proposes what the target's space calls its default for this problem, with the knobs that are given."""

    name: ClassVar[str] = "default"
    knobs: Mapping[str, Any] = field(default_factory=dict[str, Any])  # those that the user set

    def propose(self, problem: Problem, target: Target, records: Sequence[Any], n: int) -> Sequence[Proposal]:
        if records or n < 1:
            return ()
        space = FAMILIES[target.family].space
        knobs = space.full(self.knobs, problem, target)
        return (Proposal(space.schedule(knobs, problem, target), dict(knobs)),)


@dataclass(frozen=True)
class Given:
    """Proposes the one schedule that the user gave."""

    name: ClassVar[str] = "given"
    schedule: Schedule

    def propose(self, problem: Problem, target: Target, records: Sequence[Any], n: int) -> Sequence[Proposal]:
        return () if records or n < 1 else (Proposal(self.schedule),)
