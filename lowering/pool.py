"""Several worker processes for many small jobs; what comes back is in the order of the jobs, whoever did them."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import TypeVar

from lowering.worker import Limits, Worker

Job = TypeVar("Job")
Result = TypeVar("Result")
AHEAD = 4  # jobs a process that are handed out before the first result is taken


class Pool:
    """`count` workers, each driven by a thread of this process. A context manager."""

    def __init__(self, count: int, limits: Limits) -> None:
        self.count, self.limits = count, limits
        self.threads = ThreadPoolExecutor(count)
        self.local = threading.local()
        self.workers: list[Worker] = []

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the workers; after an error or Ctrl-C in the middle of their jobs."""
        if error is not None:
            for worker in self.workers:
                worker.retired = True
                if worker.process is not None:
                    with suppress(ProcessLookupError):
                        os.killpg(worker.process.pid, signal.SIGKILL)
        self.threads.shutdown(wait=True, cancel_futures=True)
        for worker in self.workers:
            worker.close()

    def worker(self) -> Worker:
        """The worker of the thread that asks."""
        found: Worker | None = getattr(self.local, "worker", None)
        if found is None:
            found = self.local.worker = Worker(self.limits)
            self.workers.append(found)
        return found

    def map(
        self,
        attempt: Callable[[Worker, Job], Result],
        jobs: Iterable[Job],
        left: Callable[[Result], Iterable[Job]] = lambda _: (),
    ) -> Iterator[tuple[Job, Result]]:
        """Each job with what `attempt(worker, job)` gave, in order. `left`: what a result leaves to do comes next."""
        waiting: deque[tuple[Job, Future[Result]]] = deque()

        def submitted(job: Job) -> tuple[Job, Future[Result]]:
            return job, self.threads.submit(lambda: attempt(self.worker(), job))

        def first() -> tuple[Job, Result]:
            job, future = waiting.popleft()
            result = future.result()
            waiting.extendleft(reversed([submitted(more) for more in left(result)]))
            return job, result

        for job in jobs:
            waiting.append(submitted(job))
            while len(waiting) >= AHEAD * self.count:
                yield first()
        while waiting:
            yield first()
