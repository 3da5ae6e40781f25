"""What is learned from failures, and what is not."""

from lowering.learned import ENOUGH, Condition, conditions


def seen(worked, failed):
    return {"p": (worked, failed)}


def test_a_dialect_that_every_success_has_and_no_failure():
    found = conditions(seen({"tensor.pad scf.for": 3}, {"scf.for": ENOUGH}))
    assert found == [Condition("p", "tensor", ENOUGH, 3)]


def test_an_op_where_the_dialect_does_not_tell():
    found = conditions(seen({"linalg.matmul": 1}, {"linalg.fill": ENOUGH}))
    assert found == [Condition("p", "linalg.matmul", ENOUGH, 1)]


def test_nothing_from_few_failures_or_from_no_success():
    assert conditions(seen({"a.x": 5}, {"b.y": ENOUGH - 1})) == []
    assert conditions(seen({}, {"b.y": 10 * ENOUGH})) == []


def test_nothing_where_successes_have_nothing_in_common_that_failures_lack():
    assert conditions(seen({"a.x": 1, "b.y": 1}, {"c.z": ENOUGH})) == []
    assert conditions(seen({"a.x": 1}, {"a.x b.y": ENOUGH})) == []


def test_the_feature_that_explains_the_most_failures():
    found = conditions(seen({"a.x b.y": 1}, {"a.x": 2 * ENOUGH, "b.y": ENOUGH}))
    assert found == [Condition("p", "b", 2 * ENOUGH, 1)]
