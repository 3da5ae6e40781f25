"""Two binaries timed in turn: how blocks follow, what is made of the samples, and that they are what was verified."""

import hashlib
from dataclasses import replace

import pytest

from lowering import problem, targets
from lowering.completion import tail
from lowering.core import PassError
from lowering.graph import Graph
from lowering.graph_measure import MOST_PAIRS, measured, retimed, unexecuted
from lowering.graph_record import BinaryRecord
from lowering.lower import lower
from lowering.order_findings import OrderFinding
from lowering.passes import pipeline
from lowering.retime import PairJob, Retimed, in_turn, judged, time_in_turn
from lowering.timing import LEAST

PROBLEM, TARGET = problem.from_shape(16, 16, 16, "f32"), targets.load("x86_64")
SCHEDULES = tuple(f"{tail(deallocate=True)},llvm{{opt={level}}}" for level in (0, 2))
ROW = OrderFinding("p", "q", 1, 0, faster=1, slower=2, ratio=3.0)


def image(schedule):
    return hashlib.sha256(lower(PROBLEM, pipeline.parse(schedule), TARGET).outcome.image).hexdigest()


@pytest.fixture(scope="module")
def images():
    made = tuple(map(image, SCHEDULES))
    assert made[0] != made[1]
    return made


@pytest.fixture
def graph(tmp_path):
    with Graph(tmp_path / "g.sqlite") as graph:
        yield graph


def binary(name, state, schedule="", image=""):
    return BinaryRecord(name, (state,), schedule, {}, image=image, seconds=1.0)


def test_blocks_come_in_turn():
    calls = []

    def timer(name, seconds):
        return lambda repeats: (calls.append(name), [seconds] * repeats)[1]

    found = in_turn((timer("a", 0.9), timer("b", 0.8)), 0.0)
    assert calls == ["a", "b", *["a", "b"] * LEAST]  # each is called once before
    assert found == [[0.9] * LEAST, [0.8] * LEAST]


def test_the_ratio_and_what_it_can_be():
    found = judged([1.0, 2.0, 3.0], [8.0, 9.0, 10.0])
    assert (found.first, found.second, found.ratio) == (2.0, 9.0, 4.5)
    assert (found.low, found.high) == (8 / 3, 10.0)
    assert found.samples == 3


def test_a_finding_is_sure_where_its_lower_bound_is_a_tenth_more():
    times = Retimed(1.0, 2.0, 2.0, 1.1, 3.0, 9)
    assert not ROW.sure
    assert replace(ROW, retimed=times).sure
    assert not replace(ROW, retimed=replace(times, low=1.09)).sure


def test_a_pair_that_was_verified_is_timed(images):
    found = time_in_turn(PairJob(PROBLEM, TARGET, SCHEDULES, images, seconds=0.0), lambda _: None)
    assert found.samples >= LEAST
    assert 0 < found.low <= found.ratio <= found.high
    assert found.ratio == found.second / found.first


def test_another_image_than_the_verified_one_is_not_timed(images):
    with pytest.raises(PassError, match="another image than the one that was verified"):
        time_in_turn(PairJob(PROBLEM, TARGET, SCHEDULES, images[::-1], seconds=0.0), lambda _: None)


def test_what_was_timed_is_kept_and_what_failed_is_tried_again(graph, images):
    wrong = [binary(name, state, SCHEDULES[state - 1]) for name, state in (("a", 1), ("b", 2))]
    (row,) = retimed(graph, PROBLEM, TARGET, [(ROW,)], wrong)
    assert row.retimed is None
    assert "another image" in row.untimed
    right = [replace(each, image=image) for each, image in zip(wrong, images, strict=True)]
    (row,) = retimed(graph, PROBLEM, TARGET, [(ROW,)], right)
    assert row.retimed is not None
    assert row.ratio == 3.0
    (again,) = retimed(graph, PROBLEM, TARGET, [(ROW,)], wrong)  # would fail if it were timed
    assert again == row


def test_the_candidate_that_is_sure_is_the_row(graph):
    binaries = [binary(str(state), state) for state in (1, 2, 3)]
    unsure, sure = Retimed(1, 1, 1, 1, 1, 3), Retimed(1, 3, 3, 2, 4, 3)
    graph.set_meta("retimed", {"1 2": vars(unsure), "1 3": vars(sure)})
    other = replace(ROW, state=5, slower=3)
    (row,) = retimed(graph, PROBLEM, TARGET, [(ROW, other)], binaries)
    assert (row.state, row.retimed.ratio) == (5, 3)
    (row,) = retimed(graph, PROBLEM, TARGET, [(ROW,)], binaries)
    assert (row.state, row.sure) == (1, False)


def test_pairs_of_binaries_are_bounded_and_timed_once(graph):
    most = MOST_PAIRS + 2
    binaries = [binary(str(state), state) for state in range(1, most + 2)]
    times = vars(Retimed(1, 3, 3, 2, 4, 3))
    graph.set_meta("retimed", {f"1 {state}": times for state in range(2, most + 2)})
    found = [(replace(ROW, slower=state),) for state in range(2, most + 2)]
    rows = retimed(graph, PROBLEM, TARGET, [*found, found[0]], binaries)
    assert sum(row.sure for row in rows) == MOST_PAIRS + 1  # the last names a pair that was timed
    assert [row.untimed for row in rows[-2:]] == ["only the first 12 pairs of binaries are"] * 2


def test_nothing_runs_where_nothing_is_to_be_timed(graph, tmp_path):
    assert unexecuted(TARGET, 12) == ""
    assert unexecuted(TARGET, 0) == "--time 0"
    assert measured(graph, PROBLEM, TARGET, [binary("a", 1)], 0, tmp_path) == [binary("a", 1)]
    assert not list(tmp_path.glob("[0-9]*"))
