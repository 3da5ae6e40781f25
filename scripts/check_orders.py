"""Leaves out each step of a default schedule, exchanges each two that are side by side, and runs what comes of it.

usage: python scripts/check_orders.py --target sm_90 --shape 1000x1048x320 --dtype bf16 --layout nt
           [--knobs "block_m=64 block_n=64"] [--workers 4] [--json scripts/results/sm_90_orders.json]

Steps that make another binary when they are left out alone are left out together, too. Each distinct binary is
verified through the one loop, on its witness with every check and at full size; what is refused has its words.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from lowering import neighbours, problem, search, targets, toolchain
from lowering.agent.default import Given
from lowering.core import Failure, Problem, Schedule, Target
from lowering.lower import lower, split
from lowering.passes import pipeline
from lowering.targets.families import FAMILIES
from lowering.targets.nvidia.runtime import Cuda, device_name
from lowering.targets.space import chosen


@dataclass(frozen=True)
class Case:
    """A schedule, what makes it of the default one, and the digest of its binary or why there is none."""

    change: str
    schedule: str
    alone: int = 0  # the step that is left out, where it is the only one
    digest: str = ""
    refused: str = ""


def singles(schedule: Schedule) -> Iterator[Case]:
    """The schedule itself, without each step, and with each two exchanged."""
    names = called(schedule)
    yield Case("as it is", str(schedule))
    for number, found in neighbours.left_out(schedule):
        yield Case(f"without {names[number]}", str(found), number)
    for number, found in neighbours.exchanged(schedule):
        yield Case(f"{names[number + 1]} before {names[number]}", str(found))


def together(schedule: Schedule, done: list[Case]) -> Iterator[Case]:
    """Without several of the steps that make a difference when they are left out alone."""
    names, whole = called(schedule), done[0].digest
    wanted = [case.alone for case in done if case.alone and case.digest not in ("", whole)]
    for numbers, found in neighbours.several_left_out(schedule, wanted):
        yield Case(f"without {', '.join(names[n] for n in numbers)}", str(found))


def called(schedule: Schedule) -> dict[int, str]:
    """The names of the steps by their numbers; with the number where a name stands there twice."""
    names = [step.name for step in split(schedule)[0]]
    return {n: f"{name} ({n})" if names.count(name) > 1 else name for n, name in enumerate(names, start=1)}


def built(case: Case, of: Problem, target: Target) -> Case:
    """A case with its binary's digest, or with the words of the refusal."""
    outcome = lower(of, pipeline.parse(case.schedule), target).outcome
    if isinstance(outcome, Failure):
        return replace(case, refused=f"{outcome.stage}: {outcome.kind}: {outcome.reason}")
    return replace(case, digest=hashlib.sha256(outcome.image).hexdigest()[:16])


def verified(case: Case, of: Problem, target: Target, options: search.Options) -> dict[str, Any]:
    """What a run of a case's binary says."""
    (record,) = search.run(of, target, Given(pipeline.parse(case.schedule)), options)
    kernel = record.kernels[0] if record.kernels else None
    return {
        "digest": case.digest,
        "outcome": record.outcome,
        "reason": record.failure.reason if record.failure else "",
        "checks": len(record.checks),
        "registers": kernel.registers if kernel else None,
        "spills": kernel.spills if kernel else None,
        "notes": kernel.notes if kernel else [],
    }


def main() -> int:
    """0 where every binary is verified."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", required=True)
    parser.add_argument("--shape", default="1000x1048x320")
    parser.add_argument("--dtype", default="bf16")
    parser.add_argument("--layout", default="nt")
    parser.add_argument("--knobs", nargs="*", default=[])
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    target, (m, n, k, batch) = targets.load(given.target), problem.parse_shape(given.shape)
    of = problem.from_shape(m, n, k, given.dtype, given.layout, batch=batch)
    space = FAMILIES[target.family].space
    schedule = space.schedule(space.full(chosen(given.knobs, space.KNOBS), of, target), of, target)
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(given.workers, get_context("spawn")) as pool,
    ):
        cases = list(pool.map(partial(built, of=of, target=target), singles(schedule)))
        cases += pool.map(partial(built, of=of, target=target), together(schedule, cases))
        distinct = {case.digest: case for case in reversed(cases) if case.digest}
        options = search.Options(runs=Path(folder), texts=(), timed=False)
        run = partial(verified, of=of, target=target, options=options)
        binaries = list(pool.map(run, reversed(distinct.values())))
    for each in binaries:
        changes = [case.change for case in cases if case.digest == each["digest"]]
        each["changes"] = changes
        print(f"{each['digest']} {each['outcome']}: {len(changes)} schedules, first {changes[0]}; {each['reason']}")
    device = "this machine" if Cuda().unavailable() else device_name()
    good = sum(str(each["outcome"]).startswith("verified") for each in binaries)
    optional = sum(1 for case in cases if case.alone and case.digest)
    print(
        f"{good} of {len(binaries)} binaries verified on {device}; {len(cases)} schedules, "
        f"{sum(1 for case in cases if case.refused)} refused; {optional} steps can be left out"
    )
    if given.json:
        content = {
            "versions": toolchain.versions(),
            "device": device,
            "target": target.name,
            "problem": of.name,
            "schedule": str(schedule),
            "binaries": binaries,
            "refused": {case.change: case.refused for case in cases if case.refused},
        }
        given.json.write_text(json.dumps(content, indent=1) + "\n")
    return 0 if good == len(binaries) else 1


if __name__ == "__main__":
    sys.exit(main())
