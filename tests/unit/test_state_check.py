"""Which executor can run a state, and whether it is right: real states, completed, built and run in a worker."""

import ctypes
import os
from pathlib import Path

import pytest

from lowering import mlir, problem, state_check, targets
from lowering.passes import pipeline
from lowering.state_check import StateJob, ask
from lowering.targets.families import FAMILIES
from lowering.worker import Casualty, Limits, Worker

HOST = targets.this_machine()
PROBLEM = problem.from_shape(9, 7, 21, "f32")
LOOPS = (
    "generalize-contraction,one-shot-bufferize{bufferize-function-boundaries=true "
    "function-boundary-type-conversion=identity-layout-map},func.func(convert-linalg-to-loops)"
)


def state(passes, given=PROBLEM):
    """The problem after some passes."""
    module = mlir.parse(given.ir)
    for step in pipeline.parse(passes):
        step.apply(module)
    return mlir.text(module)


def changed(text, old, new):
    """A state with a fault planted in it."""
    assert old in text
    return text.replace(old, new, 1)


@pytest.fixture(scope="module")
def worker():
    with Worker(Limits(seconds=60)) as found:
        yield found


@pytest.mark.parametrize("passes", ["", "generalize-contraction", LOOPS, f"{LOOPS},convert-scf-to-cf"])
def test_a_right_state_is_right_at_every_level(worker, passes):
    verdict = ask(worker, StateJob(state(passes), PROBLEM, HOST))
    assert (verdict.word, verdict.reason, verdict.executor, verdict.checks) == ("right", "36 checks", "cpu", 36)


def test_what_a_right_verdict_does_not_claim_is_said(worker):
    """So long a sum in f16 has no bound."""
    narrow = problem.from_text(
        """func.func @main(%a: tensor<2x4096xf16>, %b: tensor<4096x2xf16>, %c: tensor<2x2xf16>) -> tensor<2x2xf16> {
          %r = linalg.matmul ins(%a, %b : tensor<2x4096xf16>, tensor<4096x2xf16>) outs(%c : tensor<2x2xf16>)
            -> tensor<2x2xf16>
          return %r : tensor<2x2xf16>
        }""",
        strict_semantics=True,
    )
    verdict = ask(worker, StateJob(narrow.ir, narrow, HOST))
    assert (verdict.word, verdict.reason.split(", ", 1)[1]) == ("right", "random: no bound")


def test_the_states_of_a_device_run_here_as_long_as_they_have_no_device_op(worker):
    chip = next(chip for chip in map(targets.load, targets.names()) if chip.family == "amdgpu")
    text = state("tile{mapping=block tile-sizes=4,4}")
    assert ask(worker, StateJob(text, PROBLEM, chip)).word == "right"


@pytest.mark.parametrize(
    ("passes", "old", "new"),
    [
        ("generalize-contraction", "arith.mulf", "arith.addf"),
        (LOOPS, "arith.addf", "arith.subf"),
        (LOOPS, "scf.for %arg5 = %c0 to %c21", "scf.for %arg5 = %c1 to %c21"),
    ],
)
def test_a_wrong_state_is_wrong_and_says_which_element(worker, passes, old, new):
    verdict = ask(worker, StateJob(changed(state(passes), old, new), PROBLEM, HOST))
    assert verdict.word == "wrong"
    assert verdict.reason.startswith("integers, seed 0: ")
    assert "first at [0, 0]: got" in verdict.reason


def test_a_device_op_needs_its_device(worker):
    text = state(LOOPS).replace("    return", "    gpu.barrier\n    return")
    chips = {chip.family: chip for chip in map(targets.load, targets.names())}
    if FAMILIES["nvidia"].executors[0].unavailable() is not None:
        verdict = ask(worker, StateJob(text, PROBLEM, chips["nvidia"]))
        assert verdict.word == "not checkable"
        assert verdict.reason.startswith("gpu.barrier needs a device: ")
    verdict = ask(worker, StateJob(text, PROBLEM, chips["amdgpu"]))  # there is an emulator
    assert verdict.reason == "the state has no gpu.module: run gpu-kernel-outlining"


def test_an_op_that_no_pass_of_the_tail_takes_is_named(worker):
    text = state(LOOPS).replace("    return", "    transform.print\n    return")
    verdict = ask(worker, StateJob(text, PROBLEM, HOST))
    assert (verdict.word, verdict.reason) == ("not checkable", "transform.print is left after the standard tail")


def test_what_the_tail_says_is_told(worker):
    text = state("generalize-contraction").replace("    return", '    emitc.verbatim "x"\n    return')
    verdict = ask(worker, StateJob(text, PROBLEM, HOST))
    assert (verdict.word, verdict.reason.startswith("the standard tail: ")) == ("not checkable", True)


def test_a_state_with_other_arguments_is_not_run(worker):
    other = problem.from_shape(9, 7, 20, "f32")
    verdict = ask(worker, StateJob(PROBLEM.ir, other, HOST))
    assert (verdict.word, "changed the arguments" in verdict.reason) == ("not checkable", True)


def test_a_state_that_is_no_ir_is_not_checkable(worker):
    assert ask(worker, StateJob("func.func @main(", PROBLEM, HOST)).word == "not checkable"


OUTSIDE = """    %zero = arith.constant 0 : index
    %at = arith.constant {at} : index
    %one = arith.constant 1.0 : f32
    memref.store %one, %arg2[%zero, %at] : memref<9x7xf32>
    return"""
FOREVER = """    %t = arith.constant true
    %zero = arith.constant 0 : index
    %one = arith.constant 1.0 : f32
    scf.while : () -> () { scf.condition(%t) } do { memref.store %one, %arg2[%zero, %zero] : memref<9x7xf32> scf.yield }
    return"""


def test_a_state_that_writes_far_outside_is_wrong_and_the_next_one_is_judged_as_ever(worker):
    assert ask(worker, StateJob(PROBLEM.ir, PROBLEM, HOST)).word == "right"
    verdict = ask(worker, StateJob(state(LOOPS).replace("    return", OUTSIDE.format(at=2**40)), PROBLEM, HOST))
    assert (verdict.word, verdict.reason) == ("wrong", "crash while running: the process died of SIGSEGV")
    assert ask(worker, StateJob(PROBLEM.ir, PROBLEM, HOST)).word == "right"


def test_a_crash_in_a_process_that_was_used_before_is_not_believed(monkeypatch):
    folder = Path(__file__).parent / "faults"
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    import worker_faults

    with Worker() as worker:
        worker.call(worker_faults.damages_the_next_check, None)
        assert ask(worker, StateJob(PROBLEM.ir, PROBLEM, HOST)).word == "right"


def test_a_process_that_ran_a_state_which_writes_outside_is_not_used_again(worker):
    assert ask(worker, StateJob(PROBLEM.ir, PROBLEM, HOST)).word == "right"
    verdict = ask(worker, StateJob(state(LOOPS).replace("    return", OUTSIDE.format(at=63)), PROBLEM, HOST))
    assert (verdict.word, verdict.reason) == ("wrong", "guard bands, integers, seed 0: wrote outside of out")
    assert worker.process is None


def test_a_state_that_hangs_is_wrong():
    with Worker(Limits(seconds=4)) as worker:
        verdict = ask(worker, StateJob(state(LOOPS).replace("    return", FOREVER), PROBLEM, HOST))
    assert (verdict.word, verdict.reason) == ("wrong", "timeout while running: no result after 4 s")
    assert verdict.cause == "time-out"


@pytest.mark.parametrize("step", ["complete", "build"])
def test_what_dies_before_it_runs_is_not_checkable(step):
    verdict = state_check.fallen(Casualty("crash", "the process died of SIGSEGV", step, ""))
    assert (verdict.word, verdict.reason) == ("not checkable", f"crash in '{step}': the process died of SIGSEGV")


def test_states_that_complete_to_one_text_are_run_once(worker):
    first = ask(worker, StateJob(state("generalize-contraction"), PROBLEM, HOST))
    again = ask(worker, StateJob(state("generalize-contraction,canonicalize"), PROBLEM, HOST))
    assert (again.word, again.remembered, again.binary) == ("right", True, first.binary)


def test_what_is_remembered_is_of_one_problem(worker):
    """A sum and a maximum with the same arguments: what is right for the one is wrong for the other."""
    text = """func.func @main(%a: tensor<4x6xf32>, %b: tensor<6x5xf32>, %c: tensor<4x5xf32>) -> tensor<4x5xf32> {{
      %r = linalg.matmul ins(%a, %b : tensor<4x6xf32>, tensor<6x5xf32>) outs(%c : tensor<4x5xf32>) -> tensor<4x5xf32>
      {tail} : tensor<4x5xf32>
    }}"""
    plain = problem.from_text(text.format(tail="return %r"))
    negated = problem.from_text(text.format(tail="%n = arith.negf %r : tensor<4x5xf32> return %n"))
    assert [a.shape for a in plain.arguments] == [a.shape for a in negated.arguments]
    assert ask(worker, StateJob(plain.ir, plain, HOST)).word == "right"
    assert ask(worker, StateJob(plain.ir, negated, HOST)).word == "wrong"
    assert ask(worker, StateJob(negated.ir, negated, HOST)).word == "right"


def test_fresh_memory_holds_no_old_values():
    process = ctypes.CDLL(None)
    if not hasattr(process, "mallopt"):
        pytest.skip("the C library is not glibc")
    process.malloc.restype, process.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    with state_check.poisoned_heap():
        for _ in range(2):
            place = process.malloc(5000)
            assert ctypes.string_at(place, 5000) == b"\x7f" * 5000
            ctypes.memset(place, 1, 5000)
            process.free(place)
