"""A candidate from schedule to measurement: what is checked, what is timed, and what its failures say."""

import dataclasses
from pathlib import Path

import pytest

from lowering import candidate, frontend, problem, resume, search, targets
from lowering.agent.default import Default, Given
from lowering.core import Binary, Launch, UserError
from lowering.passes import pipeline
from lowering.targets.amdgpu.emulated import Emulated
from lowering.worker import Limits

DIVIDES_BY_AN_INPUT = """
func.func @f(%a: tensor<8x8xi8>, %b: tensor<8x8xi8>, %d: tensor<8x8xi32>) -> tensor<8x8xi32> {
  %z = arith.constant 0 : i32
  %e = tensor.empty() : tensor<8x8xi32>
  %f = linalg.fill ins(%z : i32) outs(%e : tensor<8x8xi32>) -> tensor<8x8xi32>
  %m = linalg.matmul ins(%a, %b : tensor<8x8xi8>, tensor<8x8xi8>) outs(%f : tensor<8x8xi32>) -> tensor<8x8xi32>
  %r = linalg.generic {
      indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>],
      iterator_types = ["parallel", "parallel"]}
      ins(%m, %d : tensor<8x8xi32>, tensor<8x8xi32>) outs(%e : tensor<8x8xi32>) {
    ^bb0(%x: i32, %y: i32, %o: i32):
      %q = arith.divsi %x, %y : i32
      linalg.yield %q : i32
  } -> tensor<8x8xi32>
  return %r : tensor<8x8xi32>
}
"""


def run(payload, tmp_path, **options):
    (record,) = search.run(
        payload, targets.load("x86_64"), Default(), search.Options(runs=tmp_path, texts=(), **options)
    )
    return record


def state(record, number):
    return Path(record.folder) / record.stages[number].file


def resumed(record, file, tmp_path, **options):
    found = resume.resume(file)
    (again,) = search.run(
        found.problem,
        targets.load(record.target),
        Given(found.schedule),
        search.Options(runs=tmp_path, texts=(), start=found.start, edited=found.edited, **options),
    )
    return again


def test_a_candidate_is_verified_then_timed(tmp_path):
    record = run(problem.from_shape(40, 24, 36, "f32"), tmp_path)
    assert record.outcome == "verified (witness+full)"
    assert record.timing is not None
    assert record.word == "measured"
    assert {check.scope for check in record.checks} == {"witness", "full"}


def test_what_was_checked_on_the_witness_only_is_not_timed(tmp_path):
    record = run(problem.from_shape(40, 24, 36, "f32"), tmp_path, checks="witness")
    assert record.outcome == "verified (witness only)"
    assert record.timing is None


def test_what_is_too_large_to_hold_is_checked_on_the_witness():
    large = problem.from_shape(65536, 65536, 64, "f16")
    small = problem.from_shape(64, 64, 64, "f16")
    job = candidate.Job(large, small, targets.load("gfx942"), "", Path())
    one = Binary("hsaco", b"", large.arguments, (Launch("k", (1, 1, 1), (64, 1, 1), ()),))
    assert candidate.too_large(job, one, Emulated()) == "the full size has 8.6 GB of buffers, more than 3.2"
    assert not candidate.too_large(dataclasses.replace(job, checks="full"), one, Emulated())
    bearable = dataclasses.replace(job, problem=problem.from_shape(16384, 16384, 16384, "bf16"))
    assert not candidate.too_large(bearable, one, Emulated())
    two = dataclasses.replace(one, launches=one.launches * 2)
    assert candidate.too_large(bearable, two, Emulated()).startswith("2 launches, of which no sample can be taken")


def test_a_kernel_that_crashes_costs_its_candidate_and_names_the_signal(tmp_path):
    record = run(problem.from_text(DIVIDES_BY_AN_INPUT), tmp_path, timed=False)
    assert record.failure is not None
    assert (record.failure.stage, record.failure.kind) == ("verify", "crash")
    assert "SIGFPE" in record.failure.reason
    assert record.stages, "the states that were written are still told"
    assert record.failure.reproduce.startswith("lower --from ")


def test_a_time_out_names_what_was_running(tmp_path):
    record = run(problem.from_shape(3000, 3000, 3000, "f32"), tmp_path, limits=Limits(seconds=3.0))
    assert record.failure is not None
    assert record.failure.kind == "timeout"
    assert record.failure.reason == "no result after 3 s"
    assert "--timeout 3" in record.failure.reproduce or record.failure.stage == "lower"


def test_an_edited_state_is_checked_at_full_size_and_says_so(tmp_path):
    record = run(problem.from_shape(40, 24, 36, "f32"), tmp_path, timed=False)
    edited = state(record, 12).with_name("12-edited.mlir")
    edited.write_text(state(record, 12).read_text() + "// by hand\n")
    again = resumed(record, edited, tmp_path)
    assert again.outcome == "verified (full)"
    assert {check.scope for check in again.checks} == {"full"}
    assert any("special values" in check.name for check in again.checks)


def test_a_strict_problem_stays_strict_when_taken_up_again(tmp_path):
    strict = problem.from_text(
        """func.func @f(%a: tensor<16x64xf16>, %b: tensor<64x16xf16>, %c: tensor<16x16xf16>) -> tensor<16x16xf16> {
             %0 = linalg.matmul ins(%a, %b : tensor<16x64xf16>, tensor<64x16xf16>)
                                outs(%c : tensor<16x16xf16>) -> tensor<16x16xf16>
             return %0 : tensor<16x16xf16>
           }""",
        strict_semantics=True,
    )
    assert strict.contraction.accumulator == "f16"
    record = run(strict, tmp_path, timed=False)
    again = resumed(record, state(record, 5), tmp_path, timed=False)
    assert record.outcome.startswith("verified")
    assert again.outcome == record.outcome
    assert resume.resume(state(record, 5)).problem.contraction.accumulator == "f16"


def test_a_schedule_after_a_state_follows_what_led_there(tmp_path):
    record = run(problem.from_shape(40, 24, 36, "f32"), tmp_path, timed=False)
    found = resume.resume(state(record, 3))
    rest = dataclasses.replace(found.schedule, passes=found.schedule.passes[3:])
    assert resume.continued(found, rest) == found.schedule


@pytest.mark.parametrize("name", ["x.mlir", "record.json"])
def test_what_is_no_state_is_the_users_mistake(tmp_path, name):
    with pytest.raises(UserError, match="is no stored state"):
        resume.resume(tmp_path / name)


def test_what_follows_a_state_is_the_rest_of_its_schedule():
    schedule = pipeline.parse("canonicalize,cse,llvm{opt=2}")
    assert str(frontend.following(schedule, (1, "a state"))) == "cse,llvm{opt=2}"
    assert frontend.following(schedule, None) == schedule
