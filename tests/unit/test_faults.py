"""The passes that misbehave on purpose: each process fault is contained, each miscompile leaves a wrong program."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

import pytest
from faults.positions import CHIPS, EVEN, MISCOMPILES, RAGGED, default, planted, positions

from lowering import codegen, completion, mlir, search, verify
from lowering.agent.proposer import Proposal
from lowering.agent.rungs import Rungs
from lowering.bounds import arithmetic_of
from lowering.candidate import Job, evaluate
from lowering.core import Binary, PassError, Problem, Schedule
from lowering.lower import lower, split
from lowering.passes import pipeline
from lowering.passes.table import FAULTS
from lowering.problem import from_shape
from lowering.targets import load
from lowering.targets.x86.runtime import CPU
from lowering.witness import witness_of
from lowering.worker import Casualty, Limits, Worker

# --- faults of the process -------------------------------------------------------------------------------------------


def job(fault: str, folder: Path) -> Job:
    """A small problem whose schedule is the fault alone."""
    return Job(from_shape(8, 8, 8, "f32"), None, load("x86_64"), fault, folder)


@pytest.mark.parametrize(
    ("fault", "limits", "kind"),
    [
        ("test-crash", Limits(), "crash"),
        ("test-hang", Limits(seconds=1), "timeout"),
        ("test-eat-memory", Limits(memory=1 << 30), "memory"),
    ],
)
def test_the_process_boundary_holds(fault: str, limits: Limits, kind: str, tmp_path: Path) -> None:
    with Worker() as worker:
        failed = worker.call(evaluate, job("test-fail", tmp_path))  # the child has started and read a schedule by now
        assert (failed.failure.kind, failed.failure.step, failed.failure.pass_text) == ("illegal", 1, "test-fail")
        worker.limits = limits
        result = worker.call(evaluate, job(fault, tmp_path))
        assert isinstance(result, Casualty)
        assert (result.kind, result.at) == (kind, f"1: {fault}")


def test_a_store_to_no_memory_is_named_by_the_emulator_and_costs_one_candidate(tmp_path: Path) -> None:
    problem, target = from_shape(16, 16, 16, "f32"), load("gfx942")
    good = str(default(problem, "gfx942"))
    wild = good.replace("reconcile-unrealized-casts", "reconcile-unrealized-casts,test-wild-store")
    proposals = tuple(Proposal(pipeline.parse(text)) for text in (wild, good))
    first, second = search.run(problem, target, Rungs(proposals), search.Options(tmp_path, budget=2))
    assert "out of bounds: address 0x10, 8 bytes" in first.outcome
    assert second.outcome == "verified (witness+full)"


# --- miscompiles -----------------------------------------------------------------------------------------------------


def is_wrong(problem: Problem, module: object) -> bool:
    """Whether a state, completed to this machine's CPU, fails a check of the witness."""
    state = mlir.clone(module)
    completion.complete_to_cpu(state)
    target = load("x86_64")
    with CPU().load(codegen.build(state, problem.arguments, target)) as program:
        return not all(check.ok for check in verify.verify_witness(problem, program, arithmetic_of(target)))


def strikes(problem: Problem, schedule: Schedule, fault: str, at: int) -> None:
    """Before the fault the state is right, after it valid and wrong."""
    witness = witness_of(problem, schedule)
    module = mlir.parse(witness.ir)
    for step in schedule.passes[:at]:
        step.apply(module)
    assert not is_wrong(witness, module)
    for step in pipeline.parse(fault):
        step.apply(module)
    assert module.operation.verify()
    assert is_wrong(witness, module)


@pytest.mark.parametrize("fault", MISCOMPILES)
def test_a_miscompile_is_wrong_and_valid(fault: str) -> None:
    schedule = default(EVEN, "gfx942")
    strikes(EVEN, schedule, fault, positions(schedule, fault)[-1])


@pytest.mark.slow
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("fault", MISCOMPILES)
def test_a_miscompile_is_wrong_in_three_places(fault: str, chip: str) -> None:
    schedule = default(RAGGED, chip)
    for at in positions(schedule, fault):
        strikes(RAGGED, schedule, fault, at)


@pytest.mark.slow
@pytest.mark.parametrize(("chip", "output"), [("x86_64", "bf16"), ("gfx942", "f16")])
def test_a_rounding_to_a_narrow_result_is_wrong(chip: str, output: str) -> None:
    problem = from_shape(100, 83, 77, "f32", out_dtype=output)
    schedule = default(problem, chip)
    for at in positions(schedule, "test-fold-rounding"):
        strikes(problem, schedule, "test-fold-rounding", at)


@pytest.mark.slow
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("fault", MISCOMPILES)
def test_a_schedule_with_a_miscompile_builds_and_stays_wrong(fault: str, chip: str) -> None:
    schedule = default(RAGGED, chip)
    for at in positions(schedule, fault):
        whole = planted(schedule, fault, at)
        witness = witness_of(RAGGED, whole)
        assert isinstance(lower(witness, whole, load(chip)).outcome, Binary), at
        module = mlir.parse(witness.ir)
        for step in takewhile(lambda each: each.name != "map-blocks", split(whole)[0]):
            step.apply(module)
        assert is_wrong(witness, module), at


@pytest.mark.parametrize("fault", MISCOMPILES)
def test_a_miscompile_needs_a_product(fault: str) -> None:
    (step,) = pipeline.parse(fault)
    with pytest.raises(PassError, match=r"looked for .* and found none") as caught:
        step.apply(mlir.parse("func.func @main(%x: f32) -> f32 { return %x : f32 }"))
    assert caught.value.kind == "illegal"


def test_no_fault_is_ever_proposed() -> None:
    problem, target = from_shape(8, 8, 8, "f32"), load("x86_64")
    assert all(cls.name.startswith("test-") for cls in FAULTS)
    assert not [step for cls in FAULTS for step in cls.choices(mlir.parse(problem.ir), problem, target)]
