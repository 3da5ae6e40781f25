"""Is a state in the middle of a lowering right? 'right', 'wrong', or 'not checkable' with the op or reason named.

A state without device ops is completed to this machine's CPU (completion.py), whatever its target; any other runs on
its own target, where it can be built as it stands and a device is there. It is then tried with every check of a
witness (verify.py). `check` runs in a worker, since a wrong state may do anything; `ask` calls it there.

It is made for thousands of states of one problem:
  * LLVM does little by default (`CHEAP`): a witness is small, and most of the time would go into optimising it;
  * states that complete to one text are built and run once a process;
  * what is expected is computed once a process, after the first run. It stays in memory that no state's allocation can
    be given, and fresh memory is poisoned, so that a state cannot find an answer that an earlier run left behind.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any, Literal

from lowering import codegen, completion, mlir, targets, verify
from lowering.bounds import Arithmetic, arithmetic_of
from lowering.core import Binary, PassError, Problem, Target
from lowering.lower import check_entry
from lowering.passes import pipeline
from lowering.targets.executor import DeviceError, Executor
from lowering.targets.families import FAMILIES
from lowering.targets.host import process
from lowering.worker import Casualty, Worker

CHEAP = "llvm{opt=0},codegen{opt=1}"  # tried: the least in total, of all levels up to 1
M_PERTURB = -6  # glibc's mallopt: what malloc returns is filled with the complement of a byte
POISON = 0x80  # filled with 0x7F: 3.4e38 in f32 and bf16, NaN in f16
RUNNING = "run"
HARM = ("guard bands", "inputs unchanged")  # the checks that a state fails which writes outside of its outputs


@dataclass(frozen=True)
class StateJob:
    """A state of a problem that is to be checked. `steps` are the steps of code generation, as a schedule's text.

    `last`: it is a schedule's last state, and is built for its target as it stands.
    """

    state: str
    problem: Problem
    target: Target
    steps: str = CHEAP
    seeds: tuple[int, ...] = verify.SEEDS
    last: bool = False


@dataclass(frozen=True)
class StateVerdict:
    """What is known of a state, with a one-line reason; `executor` and the number of checks where it was run.

    `remembered`: an equal one had been run before in the same process. `binary` is the SHA-256 of what was run.
    `cause`: what a wrong one did besides: it wrote outside of its outputs (harm), or did not end in time (time-out).
    """

    word: Literal["right", "wrong", "not checkable"]
    reason: str
    executor: str = ""
    checks: int = 0
    binary: str = ""
    remembered: bool = False
    cause: Literal["", "harm", "time-out"] = ""


def ask(worker: Worker, job: StateJob, on_step: Callable[[str], None] | None = None) -> StateVerdict:
    """The verdict of a state, by way of a worker.

    A wrong state or a crash counts where the process was a fresh one: one that was run before may have damaged its
    memory. For the same reason a process that ran a harmful state is not used again.
    """
    used = worker.process is not None
    found = worker.call(check, job, on_step)
    if used and isinstance(found, Casualty) and found.kind == "crash":
        found = worker.call(check, job, on_step)
    verdict = fallen(found) if isinstance(found, Casualty) else found
    if used and verdict.word == "wrong" and verdict.cause != "time-out":
        worker.close()
        found = worker.call(check, job, on_step)
        verdict = fallen(found) if isinstance(found, Casualty) else found
    if verdict.cause == "harm" and not verdict.remembered:
        worker.close()
    return verdict


def fallen(casualty: Casualty) -> StateVerdict:
    """The verdict of a state that took its process down: wrong where it did so while running, else not checkable."""
    if casualty.at == RUNNING and casualty.kind != "exception":
        ended = f"{casualty.kind} while running: {casualty.reason}"
        return StateVerdict("wrong", ended, cause="time-out" if casualty.kind == "timeout" else "")
    return unchecked(f"{casualty.kind} in '{casualty.at}': {casualty.reason}")


def check(job: StateJob, at: Callable[[str], None]) -> StateVerdict:
    """Completes, builds, runs and checks one state; for the worker."""
    try:
        at("complete")
        module = mlir.parse(job.state)
        check_entry(module, job.problem.arguments)
        target, executor = (job.target, available(job.target)) if job.last else completed(module, job.target)
        return judged(module, target, executor, job, at)
    except PassError as error:
        return unchecked(error.reason)
    except DeviceError as error:
        if error.sticky:
            sys.exit(error.reason)  # the context is lost, and with it the process
        return unchecked(error.reason)


def unchecked(reason: str) -> StateVerdict:
    """The verdict of a state that cannot be checked; the words of the verdict are not said twice."""
    return StateVerdict("not checkable", reason.removeprefix("not checkable").removeprefix(" on the CPU").lstrip(": "))


def completed(module: Any, target: Target) -> tuple[Target, Executor]:
    """Completes a state in place for what can run it. Raises PassError that names the op or says what is missing."""
    op = completion.device_op(module)
    if op is None:
        completion.complete_to_cpu(module)
        host = targets.this_machine()
        return host, available(host)
    try:
        return target, available(target)
    except PassError as error:
        raise PassError(f"{op.name} needs a device: {error.reason}", op.name, kind="no device") from None


def available(target: Target) -> Executor:
    """The first executor of a target's family that can be used here. Raises PassError with the reasons of all."""
    reasons: list[str] = []
    for executor in FAMILIES[target.family].executors:
        reason = executor.unavailable()
        if reason is None:
            return executor
        reasons.append(reason)
    raise PassError("; ".join(reasons), kind="no device")


KNOWN: dict[tuple[object, ...], StateVerdict] = {}  # by the digest of a completed state, and what it is checked for


def judged(module: Any, target: Target, executor: Executor, job: StateJob, at: Callable[[str], None]) -> StateVerdict:
    """The verdict of a completed state; the one of before where an equal one was judged in this process."""
    text = module.operation.get_asm(assume_verified=True)
    key = (mlir.digest(text), job.problem, target, job.steps, job.seeds)
    if key in KNOWN:
        return replace(KNOWN[key], remembered=True)
    at("build")
    binary = codegen.build(module, job.problem.arguments, target, pipeline.parse(job.steps).passes)
    at(RUNNING)
    found = tried(binary, executor, job.problem, arithmetic_of(target), job.seeds)
    KNOWN[key] = replace(found, executor=executor.name, binary=hashlib.sha256(binary.image).hexdigest())
    return KNOWN[key]


def tried(
    binary: Binary, executor: Executor, problem: Problem, arithmetic: Arithmetic, seeds: tuple[int, ...]
) -> StateVerdict:
    """Runs a binary with every check of a witness."""
    sets = input_sets(problem, arithmetic, seeds)
    with poisoned_heap(), executor.load(binary) as program:
        found = verify.verify_witness(problem, program, sets=sets)
    failed = next((each for each in found if not each.ok), None)
    if failed is not None:
        cause = "harm" if failed.name.startswith(HARM) else ""
        return StateVerdict("wrong", f"{failed.name}: {failed.detail}", checks=len(found), cause=cause)
    notes = dict.fromkeys(each.note for each in found if each.note)
    return StateVerdict("right", ", ".join((f"{len(found)} checks", *notes)), checks=len(found))


@lru_cache(maxsize=4)
def input_sets(problem: Problem, arithmetic: Arithmetic, seeds: tuple[int, ...]) -> tuple[verify.InputSet, ...]:
    """The input sets of a problem, which remember what is expected of them once it was asked for."""
    made = verify.input_sets(problem, arithmetic, seeds)
    return tuple(replace(each, expected=cache(each.expected)) for each in made)


@contextmanager
def poisoned_heap() -> Generator[None]:
    """Buffers of more than a kilobyte that malloc returns hold no old values, where the C library is glibc."""
    mallopt = getattr(process(), "mallopt", lambda *_: 0)
    mallopt(M_PERTURB, POISON)
    try:
        yield
    finally:
        mallopt(M_PERTURB, 0)
