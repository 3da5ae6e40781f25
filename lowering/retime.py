"""Two binaries timed in turn, a, b, a, b, ..., in one process: is the one really that much slower than the other?

Both were verified and timed before, each in a run of its own, and a machine may have been busy in one of the two. They
are lowered again here, and timed only where that gives the very images that were verified.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from lowering import inputs
from lowering.core import Binary, Failure, PassError, Problem, Target
from lowering.lower import lower
from lowering.passes import pipeline
from lowering.state_check import available
from lowering.targets.executor import Program
from lowering.timing import LEAST, Timer, exclusive, poison, rotation, samples, warm


@dataclass(frozen=True)
class PairJob:
    """Two schedules of one problem, and the SHA-256 of the image that was verified of each; picklable."""

    problem: Problem
    target: Target
    schedules: tuple[str, str]
    images: tuple[str, str]
    seed: int = 0
    seconds: float = 0.5  # about how long to sample


@dataclass(frozen=True)
class Retimed:
    """Two binaries that were timed in turn: medians in seconds a call, and the second's over the first's.

    `low` to `high` is what the ratio can be where each time is one of the middle half of its samples.
    """

    first: float
    second: float
    ratio: float
    low: float
    high: float
    samples: int  # of each, at least


def time_in_turn(job: PairJob, at: Callable[[str], None]) -> Retimed:
    """Builds and times a pair; for the worker. Raises PassError where an image is another one, DeviceError."""
    executor = available(job.target)
    binaries = [rebuilt(job, text, image, at) for text, image in zip(job.schedules, job.images, strict=True)]
    at("time")
    with ExitStack() as stack:
        stack.enter_context(exclusive(job.target.family))
        programs = [stack.enter_context(executor.load(binary)) for binary in binaries]
        return judged(*in_turn([timer(job, program) for program in programs], job.seconds))


def rebuilt(job: PairJob, schedule: str, image: str, at: Callable[[str], None]) -> Binary:
    """The binary of a schedule. Raises PassError where it is not the one that was verified."""
    found = lower(job.problem, pipeline.parse(schedule), job.target, at=at).outcome
    if isinstance(found, Failure):
        raise PassError(f"{found.stage}: {found.reason}")
    if hashlib.sha256(found.image).hexdigest() != image:
        raise PassError("its schedule gives another image than the one that was verified")
    return found


def timer(job: PairJob, program: Program) -> Timer:
    """What times a program on buffers of its own, always the same ones."""
    values = [each.tobytes() for each in inputs.normals(job.problem, job.seed)]
    pointers = rotation(program, job.problem, values, 0)[0]
    poison(program, job.problem, pointers)
    return lambda repeats: program.time([pointers], repeats)


def in_turn(timers: Sequence[Timer], seconds: float) -> list[list[float]]:
    """The samples of each: a block of the first, a block of the second, ..., until `seconds` have gone."""
    once = [warm(each) for each in timers]
    found: list[list[float]] = [[] for _ in timers]
    began = time.perf_counter()
    while len(found[0]) < LEAST or time.perf_counter() - began < seconds:
        for each, took, mine in zip(timers, once, found, strict=True):
            mine.extend(samples(each, took))
    return found


def judged(first: Sequence[float], second: Sequence[float]) -> Retimed:
    """What the samples of both say."""
    (low, middle, high), (bottom, median, top) = (statistics.quantiles(each, n=4) for each in (first, second))
    return Retimed(middle, median, median / middle, bottom / high, top / low, min(len(first), len(second)))
