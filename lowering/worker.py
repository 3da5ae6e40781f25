"""The one process boundary. What may crash, hang, fault a device or eat memory runs in here, and costs one candidate.

`Worker.call(function, argument)` runs a picklable function in a child process that lives on from call to call. The
child has a process group of its own, which is killed on a time-out; the next call starts a new child. The function gets
a second argument, `at`, and says through it what it is doing, so that a crash or a time-out can be named.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

At = Callable[[str], None]
PR_SET_PDEATHSIG = 1  # prctl(2): a signal for the child when the thread that started it ends
LARGEST_FILE = 1 << 30  # bytes: of a state, and of all that a pass prints


@dataclass(frozen=True)
class Limits:
    """What one call may take: wall-clock seconds and bytes of resident memory."""

    seconds: float = 300.0
    memory: int = 12 << 30


@dataclass(frozen=True)
class Casualty:
    """A call that did not come back: how it ended, what it was doing, and the tail of what it wrote to stderr."""

    kind: Literal["timeout", "crash", "memory", "exception"]
    reason: str
    at: str
    log: str


class Worker:
    """A child process that runs functions one at a time. Use as a context manager."""

    def __init__(self, limits: Limits | None = None, threads: int = 1) -> None:
        self.limits, self.threads = limits or Limits(), threads
        self.process: subprocess.Popen[bytes] | None = None
        self.connection: Connection | None = None
        self.retired = False  # its owner is ending: no new child is started
        self.stderr = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the worker)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> Connection:
        """The connection to a living child; starts one where there is none."""
        if self.connection is not None and self.process is not None and self.process.poll() is None:
            return self.connection
        if self.retired:
            raise RuntimeError("this worker takes no more calls")
        self.close()
        os.ftruncate(self.stderr.fileno(), 0)
        ours, theirs = socket.socketpair()
        # BLAS reads its thread count when numpy is imported, so it is set before the child starts.
        pinned = {name: str(self.threads) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "lowering.worker", str(theirs.fileno()), str(os.getpid())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self.stderr,  # a kernel's or a pass's own printing must never reach our stdout
            stderr=self.stderr,
            start_new_session=True,
            env={**os.environ, **pinned},
        )
        theirs.close()
        self.connection = Connection(ours.detach())
        return self.connection

    def call(
        self, function: Callable[[Any, At], Any], argument: Any, on_step: At | None = None, each_step: bool = False
    ) -> Any:
        """What `function(argument, at)` returns, or a Casualty. `on_step` is told the steps as they are reported.

        `each_step`: the seconds of the limits are for each step, not for the whole call.
        """
        connection = self.start()
        deadline, step = time.monotonic() + self.limits.seconds, "starting"
        try:
            connection.send_bytes(pickle.dumps((function, argument)))
            while True:
                if connection.poll(0.05):
                    kind, value = pickle.loads(connection.recv_bytes())
                    if each_step and kind in ("step", "alive"):
                        deadline = time.monotonic() + self.limits.seconds
                    if kind == "alive":
                        continue
                    if kind == "step":
                        step = value
                        if on_step is not None:
                            on_step(value)
                        continue
                    return value if kind == "done" else Casualty("exception", value[0], step, value[1])
                if time.monotonic() > deadline:
                    return self.kill("timeout", f"no result after {self.limits.seconds:g} s", step)
                if self.resident() > self.limits.memory:
                    return self.kill("memory", f"more than {self.limits.memory >> 20} MiB of memory", step)
        except (EOFError, OSError):
            return self.kill("crash", self.death(), step)

    def resident(self) -> int:
        """The child's resident bytes; 0 where the system does not say."""
        assert self.process is not None
        try:
            pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        except (OSError, IndexError):
            return 0
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def death(self) -> str:
        """How the child ended, in words."""
        assert self.process is not None
        try:
            code = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "the connection to the worker broke"
        if code < 0:
            return f"the process died of {signal.Signals(-code).name}"
        return f"the process exited with {code}"

    def kill(self, kind: Literal["timeout", "crash", "memory"], reason: str, step: str) -> Casualty:
        """Ends the child and all it started, and says why."""
        log = self.log_tail()
        self.close()
        return Casualty(kind, reason, step, log)

    def log_tail(self, most: int = 20_000) -> str:
        """The end of what the child wrote to stdout and stderr."""
        size = os.fstat(self.stderr.fileno()).st_size
        return os.pread(self.stderr.fileno(), most, max(0, size - most)).decode(errors="replace")

    def close(self) -> None:
        """Ends the child, if there is one."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None


def serve(connection: Connection) -> None:
    """The child's loop: receive a function and its argument, run it, send what came of it."""

    def at(step: str) -> None:
        connection.send_bytes(pickle.dumps(("step", step)))

    while True:
        try:
            function, argument = pickle.loads(connection.recv_bytes())
        except EOFError:
            return
        try:
            connection.send_bytes(pickle.dumps(("alive", None)))  # what the process took to start is behind it
            reply = ("done", function(argument, at))
        except Exception as error:  # noqa: BLE001  (the process boundary: whatever a candidate raises is its own failure)
            reply = ("raised", (f"{type(error).__name__}: {error}".splitlines()[0][:300], traceback.format_exc()))
        connection.send_bytes(pickle.dumps(reply))


def guard() -> None:
    """Ties this process to the one that started it, and bounds what it writes: nobody else watches over it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle: it ends this process group
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[2]):
        sys.exit("the parent is gone")
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))


if __name__ == "__main__":
    guard()
    serve(Connection(int(sys.argv[1])))
