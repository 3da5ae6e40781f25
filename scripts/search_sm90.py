"""Looks for the fastest knobs of sm_90 problems on this GPU: builds, verifies on the witness, times in turn, tries on.

usage: python scripts/search_sm90.py --problems "bf16 4096x4096x4096 nn" ... [--budget 150] [--write FILE]
       python scripts/search_sm90.py --problems ... --only "stages=3" "cluster=2 stages=4"

First every legal tile with the default's other knobs, then each other knob changed at the three best tiles, then pairs
of those changes that helped: at most `--budget` candidates a problem. Whatever is timed was verified with every check
on its witness; the winner is verified at full size too, timed once more beside the default and cuBLASLt (with a
cold L2, medians), and written (to targets/sm_90.best.toml) where it is more than a per cent faster
than what the default's rule says. `--only` times these knobs beside the default, and searches nothing.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lowering import problem as problems
from lowering import targets
from lowering.candidate import Job, Outcome, evaluate
from lowering.core import Binary, Problem
from lowering.targets import best
from lowering.targets.nvidia import rivals, runtime, space
from lowering.targets.nvidia.rounds import Contender, Rounds
from lowering.targets.space import chosen
from lowering.witness import witness_of
from lowering.worker import Limits, Worker

Knobs = dict[str, Any]
CHIP = targets.load("sm_90")
TILE = ("block_m", "block_n", "block_k", "wave_m", "wave_n")
FEW, MANY, FINALISTS = 7, 40, 6  # rounds
GAIN = 1.01  # over the rule's default, from which on a result is kept


@dataclass(frozen=True)
class Candidate:
    """Full knobs with what came of them: a verified binary, or the reason why not."""

    knobs: Knobs
    binary: Binary | None = None
    reason: str = ""


def load(text: str) -> Problem:
    """The problem of `bf16 4096x4096x4096 nn`."""
    dtype, shape, layout = text.split()
    m, n, k, batch = problems.parse_shape(shape)
    return problems.from_shape(m, n, k, dtype, layout, batch=batch)


# --- which -----------------------------------------------------------------------------------------------------------


def legal(task: Problem, wanted: Iterable[Mapping[str, Any]]) -> Iterator[Knobs]:
    """Those of some knobs that are legal, completed by the rule."""
    for knobs in wanted:
        if space.illegal(knobs, task, CHIP) is None:
            yield space.by_rule(knobs, task, CHIP)


def tiles(own: Sequence[Any]) -> Iterator[Knobs]:
    """Every tile."""
    values = [knob.values for knob in own if knob.name in TILE]
    names = [knob.name for knob in own if knob.name in TILE]
    yield from (dict(zip(names, each, strict=True)) for each in itertools.product(*values))


def changes(own: Sequence[Any], knobs: Knobs) -> Iterator[Knobs]:
    """One other knob changed."""
    for knob in own:
        if knob.name not in TILE:
            yield from ({**knobs, knob.name: value} for value in knob.values if knobs.get(knob.name) != value)


def pairs(base: Knobs, better: Sequence[Knobs]) -> Iterator[Knobs]:
    """Two changes of the same knobs together."""
    moved = [{name: value for name, value in each.items() if base.get(name) != value} for each in better]
    for one, other in itertools.combinations(moved, 2):
        if not set(one) & set(other):
            yield {**base, **one, **other}


# --- built and verified ----------------------------------------------------------------------------------------------


class Builders:
    """Workers that take candidates to verified binaries, several at a time."""

    def __init__(self, count: int, folder: Path) -> None:
        self.folder, self.here, self.all = folder, threading.local(), list[Worker]()
        self.pool, self.number = ThreadPoolExecutor(count), itertools.count()

    def verified(self, task: Problem, wanted: Sequence[Knobs], checks: str = "witness") -> list[Candidate]:
        """What came of each, in their order."""
        jobs: list[Job] = []
        for knobs in wanted:
            schedule = space.schedule(knobs, task, CHIP)
            folder = self.folder / str(next(self.number))
            folder.mkdir()
            small = witness_of(task, schedule)
            jobs.append(Job(task, small, CHIP, str(schedule), folder, (), checks=checks, timed=False))
        return list(self.pool.map(self.one, wanted, jobs))

    def one(self, knobs: Knobs, job: Job) -> Candidate:
        """One candidate, in this thread's worker."""
        if not hasattr(self.here, "worker"):
            self.here.worker = Worker(Limits(120.0, 48 << 30))
            self.all.append(self.here.worker)
        found = self.here.worker.call(evaluate, job)
        if not isinstance(found, Outcome):
            return Candidate(knobs, None, found.reason)
        if found.failure or not found.words.startswith("verified"):
            return Candidate(knobs, None, found.failure.reason if found.failure else found.words)
        return Candidate(knobs, found.binary)

    def close(self) -> None:
        """Ends the workers."""
        self.pool.shutdown()
        for each in self.all:
            each.close()


# --- timed -----------------------------------------------------------------------------------------------------------


def times(task: Problem, binaries: Sequence[Binary], count: int, beside: bool) -> list[float]:
    """Seconds of each binary, and of cuBLASLt where asked for; in a process of its own: a kernel may take it down."""
    torch: Any = importlib.import_module("torch")
    tensors = rivals.data(task)
    pointers = [each.data_ptr() for each in tensors]
    stream = runtime.new_stream()
    clock = Rounds(stream)
    programs = [runtime.CudaProgram(each, stream) for each in binaries]
    contenders = [Contender(str(n), partial(run, each.calls(pointers))) for n, each in enumerate(programs)]
    held: Any = None
    if beside:
        peer, held = rivals.cublas(task, clock, tensors)
        contenders.append(peer)
    clock.medians(contenders, 2)
    found = clock.medians(contenders, count)
    torch.cuda.synchronize()
    del held
    return found


def run(calls: Sequence[Any]) -> None:
    """Puts a program's calls on its stream."""
    for each in calls:
        each.enqueue()


def timed(task: Problem, found: Sequence[Candidate], count: int, beside: bool = False) -> list[float]:
    """The same from here; endless for those without a binary, and for all where the process falls."""
    able = [each.binary for each in found if each.binary is not None]
    with ProcessPoolExecutor(1, get_context("spawn")) as one:
        figures = one.submit(times, task, able, count, beside)
        if figures.exception() is not None:
            print(f"timing failed: {str(figures.exception())[:300]}")
            return [float("inf")] * (len(found) + beside)
        seconds = iter(figures.result())
    out = [next(seconds) if each.binary is not None else float("inf") for each in found]
    return [*out, next(seconds)] if beside else out


# --- the search ------------------------------------------------------------------------------------------------------


def search(task: Problem, builders: Builders, budget: int) -> list[tuple[float, Candidate]]:
    """Candidates with their times, fastest first."""
    start = space.by_rule({}, task, CHIP)
    own, known = space.OWN[start["cores"]], dict[str, tuple[float, Candidate]]()

    def try_(wanted: Iterable[Knobs], most: int) -> None:
        fresh = {name(each): each for each in wanted if name(each) not in known}
        chosen = list(itertools.islice(fresh.values(), max(0, min(most, budget - len(known)))))
        found = builders.verified(task, chosen)
        for each, seconds in zip(found, timed(task, found, FEW), strict=True):
            known[name(each.knobs)] = seconds, each

    def ranked() -> list[tuple[float, Candidate]]:
        return sorted(known.values(), key=lambda each: each[0])

    try_([start], 1)
    try_(legal(task, tiles(own)), budget // 2)
    for _, each in ranked()[:3]:
        try_(legal(task, changes(own, each.knobs)), budget // 7)
    (least, top), *rest = ranked()
    near = [each.knobs for seconds, each in rest[:12] if seconds < 1.03 * least]
    try_(legal(task, pairs(top.knobs, near)), budget)
    return ranked()


def name(knobs: Knobs) -> str:
    """What an instance is known by."""
    return " ".join(f"{key}={value}" for key, value in sorted(knobs.items()))


def difference(knobs: Knobs, other: Knobs) -> str:
    """The knobs that are not another's."""
    return " ".join(f"{key}={value}" for key, value in knobs.items() if other.get(key) != value) or "the same"


def report(text: str, task: Problem, finalists: Sequence[Candidate], builders: Builders) -> best.Entry | None:
    """Times the finalists beside the default and cuBLASLt; the entry to keep, if any."""
    found = [each for each in builders.verified(task, [each.knobs for each in finalists], "full") if each.binary]
    if not found:
        print(f"{text}: none is verified at full size")
        return None
    seconds = timed(task, found, MANY, beside=True)
    *own, peer = seconds
    rule = own[0]
    for each, took in sorted(zip(found, own, strict=True), key=lambda pair: pair[1]):
        mark = "the rule's default" if each is found[0] else difference(each.knobs, found[0].knobs)
        print(f"{text}: {1e6 * took:.2f} us, {peer / took:.3f} of cuBLASLt: {mark}", flush=True)
    least, winner = min(zip(own, found, strict=True), key=lambda pair: pair[0])
    if rule < GAIN * least:
        return None
    return best.Entry(text, winner.knobs, round(1e6 * least, 2), round(1e6 * rule, 2), round(1e6 * peer, 2))


def main() -> int:
    """Always 0: that nothing better was found is an answer."""
    parser = argparse.ArgumentParser(description="looks for the fastest knobs of sm_90 problems on this GPU")
    parser.add_argument("--problems", nargs="+", required=True)
    parser.add_argument("--budget", type=int, default=150)
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 2))
    parser.add_argument("--only", nargs="*", help="knobs to time beside the default, instead of a search")
    parser.add_argument("--write", type=Path, help="a file of entries, which new ones are put into")
    given = parser.parse_args()
    kept: list[best.Entry] = []
    with TemporaryDirectory() as folder:
        builders = Builders(given.workers, Path(folder))
        for text in given.problems:
            task = load(text)
            start = space.by_rule({}, task, CHIP)
            if given.only is not None:
                asked = [chosen([each], space.KNOBS) for each in given.only]
                for knobs in asked:
                    reason = space.illegal(knobs, task, CHIP)
                    if reason is not None:
                        print(f"{text}: {name(knobs)}: illegal: {reason}")
                wanted = [start, *legal(task, asked)]
            else:
                ranked = search(task, builders, given.budget)
                good = sum(each.binary is not None for _, each in ranked)
                print(f"{text}: {good} of {len(ranked)} candidates verified on the witness")
                for reason in sorted({each.reason for _, each in ranked if each.reason})[:3]:
                    print(f"{text}: not verified: {reason[:160]}")
                wanted = [start, *(each.knobs for _, each in ranked[:FINALISTS] if each.knobs != start)]
            entry = report(text, task, [Candidate(knobs) for knobs in wanted], builders)
            if entry is not None:
                kept.append(entry)
        builders.close()
    if given.write:
        command = ["python", "scripts/search_sm90.py", *sys.argv[1:]]
        best.write(given.write, kept, runtime.device_name(), command)
    return 0


if __name__ == "__main__":
    sys.exit(main())
