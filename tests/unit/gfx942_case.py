"""A case of a vector instruction: kinds of its sources, and for each result a kind and a function.

Kinds: i16, i32, i64 are bits without a sign to flip, f16, f32, f64 floats, m a mask; `d:` marks the old destination.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from lane_oracle import ir

Oracle = Callable[..., np.ndarray]


@dataclass(frozen=True)
class Case:
    """One instruction. `clamped`: its result with clamp, where that is no float's; `ulps`: how near it must be."""

    name: str
    sources: tuple[str, ...]
    results: tuple[tuple[str, Oracle], ...]
    clamped: Oracle | None = None
    ulps: int = 0


CASES: dict[str, Case] = {}


def case(name: str, signature: str, *oracles: Oracle | str, clamped: Oracle | str | None = None, ulps: int = 0) -> None:
    """Adds a case; an oracle given as text is LLVM IR."""
    left, _, right = signature.partition("->")
    sources, kinds = left.split(), right.split()
    plain = [each.removeprefix("d:") for each in sources]

    def function(oracle: Oracle | str, kind: str) -> Oracle:
        return ir(f"{' '.join(plain)} -> {kind}", oracle) if isinstance(oracle, str) else oracle

    results = tuple((kind, function(each, kind)) for kind, each in zip(kinds, oracles, strict=True))
    limit = None if clamped is None else function(clamped, kinds[0])
    CASES[name] = Case(name, tuple(sources), results, limit, ulps)
