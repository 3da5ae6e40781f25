"""Passes that take their process down, or fail: for tests of the boundary around it.

before:  a process that runs a schedule
after:   test-crash: it died of SIGSEGV; test-hang: it never comes back; test-eat-memory: it grows until it is stopped;
         test-fail: it goes on, with a PassError

Only `lowering.worker` puts a limit on time and memory: anywhere else `test-eat-memory` takes all there is.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import Any, ClassVar

from lowering.core import PassError
from lowering.passes.faults.fault import Fault

CHUNK = 100 << 20  # bytes


@dataclass(frozen=True)
class Crash(Fault):
    """Dies of SIGSEGV, as a malformed request to MLIR can."""

    name: ClassVar[str] = "test-crash"

    def apply(self, module: Any) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)


@dataclass(frozen=True)
class Hang(Fault):
    """Never comes back."""

    name: ClassVar[str] = "test-hang"

    def apply(self, module: Any) -> None:
        while True:
            time.sleep(1)


@dataclass(frozen=True)
class EatMemory(Fault):
    """Allocates and touches memory without end, 100 MiB at a time."""

    name: ClassVar[str] = "test-eat-memory"

    def apply(self, module: Any) -> None:
        hoard: list[bytearray] = []
        while True:
            hoard.append(bytearray(b"\x01") * CHUNK)


@dataclass(frozen=True)
class Fail(Fault):
    """Fails on every state."""

    name: ClassVar[str] = "test-fail"

    def apply(self, module: Any) -> None:
        raise PassError("test-fail fails on every state", module.operation.name)
