"""Contenders timed on an NVIDIA GPU with a cold L2: each once a round, in random order, in one queue.

What is timed one after the other meets another clock and another temperature; what is timed in turn does not. The L2 is
overwritten before every call, so operands come from memory, as they do where a product is one of many.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lowering.targets.nvidia import runtime

FLUSH = 256 << 20  # bytes, four times the L2


@dataclass(frozen=True)
class Contender:
    """What is timed: a name, and what puts one call on the stream."""

    name: str
    call: Callable[[], None]


class Rounds:
    """A stream, and the memory that is overwritten to empty the cache."""

    def __init__(self, stream: Any) -> None:
        self.cu, self.stream = runtime.bindings(), stream
        self.waste = int(runtime.ok(self.cu.cuMemAlloc(FLUSH)))

    def flush(self) -> None:
        """Overwrites the L2."""
        runtime.ok(self.cu.cuMemsetD8Async(self.waste, 0, FLUSH, self.stream))

    def medians(self, contenders: Sequence[Contender], rounds: int) -> list[float]:
        """Seconds of each: all once a round, in random order."""
        order = [n for _ in range(rounds) for n in random.sample(range(len(contenders)), len(contenders))]
        found: list[list[float]] = [[] for _ in contenders]
        seconds = runtime.timed(self.cu, self.stream, [contenders[n].call for n in order], self.flush)
        for n, each in zip(order, seconds, strict=True):
            found[n].append(each)
        return [statistics.median(each) for each in found]

    def bandwidth(self) -> float:
        """Bytes a second of a copy on the device, read and written: the best of several."""
        half, copy = FLUSH // 2, self.cu.cuMemcpyDtoDAsync
        calls = [lambda: runtime.ok(copy(self.waste, self.waste + half, half, self.stream))] * 8
        return 2 * half / min(runtime.timed(self.cu, self.stream, calls))
