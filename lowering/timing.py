"""How long does it take? The timing protocol, with its guards.

A timing holds the device's lock, warms up, and then goes round: the candidate on the same buffers (hot), the
candidate on buffers that rotate past the last cache (rotated), the baseline. Each block begins with a call that is
not counted, so nobody pays for what ran before. All samples are kept in order; medians are reported. The baseline is
also timed before and after, and its drift says how far the machine can be trusted. A candidate is dropped after three
samples if even its fastest is more than three times the best known.

Afterwards: a median below the roofline floor is WRONG, and so is a timed call that left another result than an
untimed one.
"""

from __future__ import annotations

import fcntl
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lowering import baselines, inputs, roofline
from lowering.checks import Check
from lowering.core import Problem, Target
from lowering.targets.executor import Program

LEAST = 3  # hot samples at least, also before a candidate may be dropped
MOST = 200  # hot samples that are enough
SLOW = 0.5  # seconds a call: caches no longer matter, and every call costs
WORSE = 3.0  # times the best known at which it is
BLOCK_SECONDS = 0.005  # what a block of calls should last
WARM_SECONDS = 0.03  # how long to warm up
BLOCK_MOST = 20  # calls in a block
ALIGN = 256  # bytes: what device pointers are aligned to
CACHES = ("last_level_cache_bytes", "l3_bytes", "l2_bytes")

Timer = Callable[[int], list[float]]  # repeats -> seconds of each


@dataclass(frozen=True)
class Timing:
    """Seconds a call: medians, every sample in order, the baseline's, and what the guards found."""

    device: str
    hot: float
    rotated: float
    baseline_name: str = ""
    baseline_hot: float | None = None
    drift: float | None = None  # the baseline's median after over before
    hot_samples: tuple[float, ...] = ()
    rotated_samples: tuple[float, ...] = ()
    baseline_samples: tuple[float, ...] = ()
    stopped: bool = False  # early, since it was far from the best
    checks: tuple[Check, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether the figures may be believed."""
        return all(check.ok for check in self.checks)


@dataclass(frozen=True)
class Samples:
    """What the rounds gave, in order."""

    hot: tuple[float, ...]
    rotated: tuple[float, ...]
    baseline: tuple[float, ...]
    drift: float | None
    stopped: bool


def measure(
    problem: Problem,
    program: Program,
    target: Target,
    seed: int = 0,
    best: float | None = None,
    seconds: float = 1.0,
    threads: int = 1,
) -> Timing:
    """Times a verified program on its problem. `best` is the best known time, `seconds` about how long to sample."""
    with exclusive(target.family):
        values = inputs.normals(problem, seed)
        sets = rotation(program, problem, [each.tobytes() for each in values], 2 * last_cache(target))
        before = result(program, problem, sets[0])
        poison(program, problem, sets[0])
        rotate = Rotation(program, sets)
        peer = baselines.baseline(problem, target, seed, threads)
        found = interleave(lambda n: program.time(sets[:1], n), rotate.time, peer.time if peer else None, best, seconds)
        agree = [result(program, problem, sets[i], run=False) == before for i in (0, rotate.last)]
    hot, rotated = statistics.median(found.hot), statistics.median(found.rotated)
    same = Check("timed calls give the same result", all(agree), "" if all(agree) else "they do not", scope="full")
    return Timing(
        target.name,
        hot,
        rotated,
        peer.name if peer else "",
        statistics.median(found.baseline) if found.baseline else None,
        found.drift,
        found.hot,
        found.rotated,
        found.baseline,
        found.stopped,
        (roofline.check(problem, target, hot, rotated, threads), same),
    )


# --- the rounds ------------------------------------------------------------------------------------------------------


def interleave(
    hot: Timer, rotated: Timer, baseline: Timer | None = None, best: float | None = None, seconds: float = 1.0
) -> Samples:
    """Rounds of hot, rotated and baseline blocks until `seconds` have gone and three hot samples are there.

    Something slower than half a second a call is not run to warm up, and its rotated time is a single sample.
    """
    first, peer = warm(hot), warm(baseline) if baseline else 0.0
    before = samples(baseline, peer) if baseline else []
    found: tuple[list[float], list[float], list[float]] = ([first] if first > SLOW else [], [], [])
    began, stopped = time.perf_counter(), False
    while not stopped and (len(found[0]) < LEAST or (time.perf_counter() - began < seconds and len(found[0]) < MOST)):
        found[0].extend(samples(hot, first))
        if first <= SLOW or not found[1]:
            found[1].extend(samples(rotated, first))
        if baseline:
            found[2].extend(samples(baseline, peer))
        stopped = best is not None and len(found[0]) >= LEAST and min(found[0]) > WORSE * best
    after = samples(baseline, peer) if baseline else []
    drift = statistics.median(after) / statistics.median(before) if baseline else None
    return Samples(tuple(found[0]), tuple(found[1]), tuple(found[2]), drift, stopped)


def warm(timer: Timer) -> float:
    """Calls until clocks and caches have settled; the seconds of the last call. A slow one is called only once."""
    began = time.perf_counter()
    last = timer(1)[0]
    while last < WARM_SECONDS and time.perf_counter() - began < WARM_SECONDS:
        last = timer(max(1, min(BLOCK_MOST, int(BLOCK_SECONDS / max(last, 1e-9)))))[-1]
    return last


def samples(timer: Timer, once: float) -> list[float]:
    """A block of samples of something that takes `once` seconds, without the first, which pays for what ran before."""
    if once > SLOW:
        return timer(1)
    return timer(1 + max(1, min(BLOCK_MOST, int(BLOCK_SECONDS / max(once, 1e-9)))))[1:]


# --- buffers ---------------------------------------------------------------------------------------------------------


class Rotation:
    """Times a program on pointer sets in turn, going on where the last block ended."""

    def __init__(self, program: Program, sets: Sequence[Sequence[int]]) -> None:
        self.program, self.sets, self.next, self.last = program, sets, 0, 0

    def time(self, repeats: int) -> list[float]:
        """Seconds of each call."""
        count = len(self.sets)
        chosen = [self.sets[(self.next + i) % count] for i in range(min(repeats, count))]
        self.last = (self.next + min(repeats, count) - 1) % count
        self.next = (self.next + repeats) % count
        return self.program.time(chosen, repeats)


def rotation(program: Program, problem: Problem, values: Sequence[bytes], span: int) -> list[list[int]]:
    """Pointer sets of one allocation that covers at least `span` bytes, each with the same inputs; at least two sets.

    Outputs hold NaN (0xFF) at first, so that a call that writes nothing is seen.
    """
    sizes = [roofline.nbytes(argument) for argument in problem.arguments]
    offsets = np.cumsum([0, *(-(-size // ALIGN) * ALIGN for size in sizes)]).tolist()
    stride = offsets.pop()
    count = max(2, -(-span // stride))
    base = program.allocate(count * stride)
    image = bytearray(b"\xff" * stride)
    for offset, data in zip(offsets, values, strict=False):
        image[offset : offset + len(data)] = data
    for number in range(count):
        program.write(base + number * stride, bytes(image))
    return [[base + number * stride + offset for offset in offsets] for number in range(count)]


def result(program: Program, problem: Problem, pointers: Sequence[int], run: bool = True) -> list[bytes]:
    """The outputs' bytes, after one untimed call or as they stand."""
    if run:
        program.run(pointers)
    pairs = zip(problem.arguments, pointers, strict=True)
    found = [program.read(at, roofline.nbytes(each)) for each, at in pairs if each.role == "output"]
    return found


def last_cache(target: Target) -> int:
    """Bytes of the last cache: this machine's where the system says, else the chip's."""
    sizes = [path.read_text().strip() for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")]
    stated = max((int(target.facts[name]) for name in CACHES if name in target.facts), default=0)
    if target.cpu == "host":
        stated = max([stated, *(int(size[:-1]) << 10 for size in sizes if size.endswith("K"))])
    return stated


def poison(program: Program, problem: Problem, pointers: Sequence[int]) -> None:
    """Fills the outputs with NaN."""
    for argument, at in zip(problem.arguments, pointers, strict=True):
        if argument.role == "output":
            program.write(at, b"\xff" * roofline.nbytes(argument))


@contextmanager
def exclusive(device: str) -> Generator[None]:
    """Holds the device's lock: one timing at a time on this machine, whoever runs it."""
    lock = lock_file(Path(tempfile.gettempdir()) / f"lower-{device}.lock")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def lock_file(path: Path) -> int:
    """A file to lock, open for reading, which is enough for that and what any user may do.

    It is created only where it is not there: some systems let nobody create over another's file in a shared folder.
    One that another user keeps to himself is left to him, and this user gets one of his own.
    """
    with suppress(FileExistsError):
        lock = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.fchmod(lock, 0o644)  # whatever the umask says
        return lock
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except PermissionError:
        return os.open(path.with_stem(f"{path.stem}-{os.geteuid()}"), os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
