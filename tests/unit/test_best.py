"""The knobs that were found for single problems: read, written, and taken by the space where they fit."""

from __future__ import annotations

import pytest

from lowering import problem, targets
from lowering.targets import best
from lowering.targets.nvidia import space

CHIP = targets.load("sm_90")


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A file of entries in place of the chip's own."""
    monkeypatch.setattr(best, "FOLDER", tmp_path)
    return tmp_path / "sm_90.best.toml"


def entry(name, **knobs):
    """An entry of a problem, with the rule's knobs but for these."""
    task = problem.from_shape(512, 512, 512, "bf16", "nt")
    return best.Entry(name, space.by_rule(knobs, task, CHIP), 6.5, 7.25, 7.0)


def test_what_is_written_is_read_again_and_problems_are_replaced(kept):
    first, other = entry("bf16 512x512x512 nt", stages=3), entry("f16 64x128x256 nn", specialised=False)
    best.write(kept, [first, other], "a GPU", ["python", "search.py", "--problems", "bf16 512x512x512 nt"])
    best.entries.cache_clear()
    second = entry("bf16 512x512x512 nt", stages=2)
    best.write(kept, [second], "another", ["python", "search.py"])
    best.entries.cache_clear()
    found = best.entries(kept)
    assert list(found) == [first.problem, other.problem]
    assert (found[first.problem].knobs, found[first.problem].device) == (second.knobs, "another")
    assert (found[other.problem].knobs, found[other.problem].device) == (other.knobs, "a GPU")
    text = kept.read_text()
    assert """'python search.py --problems "bf16 512x512x512 nt"',\n    'python search.py',""" in text
    assert "specialised = false" in text


def test_the_space_takes_an_entry_of_the_very_problem(kept):
    best.write(kept, [entry("bf16 512x512x512 nt", stages=3, raster_m=4)], "a GPU", [])
    best.entries.cache_clear()
    task, other = (problem.from_shape(512, 512, k, "bf16", "nt") for k in (512, 1024))
    assert space.default(task, CHIP)["stages"] == 3
    assert space.default(other, CHIP) == space.by_rule({}, other, CHIP)
    assert space.full({"raster_m": 1}, task, CHIP)["stages"] == 3, "one knob changed, the others stay the entry's"
    by_rule = space.by_rule({"block_n": 32}, task, CHIP)
    assert space.full({"block_n": 32}, task, CHIP) == by_rule, "what does not go together is the rule's"
    assert space.full({"cores": "vector"}, task, CHIP)["cores"] == "vector"
    assert space.illegal({"cores": "vector"}, task, CHIP) is None
    assert space.illegal({"block_n": 32}, task, CHIP) is None
    assert "no multiple" in str(space.illegal({"block_m": 96}, task, CHIP))


@pytest.mark.parametrize(
    ("task", "name"),
    [
        (problem.from_shape(3, 5, 7, "f16", "tn"), "f16 3x5x7 tn"),
        (problem.from_shape(3, 5, 7, "bf16", batch=2), "bf16 2x3x5x7 nn"),
        (problem.from_shape(8, 8, 8, "tf32", "nt"), "tf32 8x8x8 nt"),
    ],
)
def test_names(task, name):
    assert best.name_of(task) == name


def test_every_entry_that_is_kept_is_legal_and_its_problem_can_be_read():
    best.entries.cache_clear()
    for name, each in best.entries(best.FOLDER / "sm_90.best.toml").items():
        dtype, shape, layout = name.split()
        m, n, k, batch = problem.parse_shape(shape)
        task = problem.from_shape(m, n, k, dtype, layout, batch=batch)
        assert best.name_of(task) == name
        assert space.illegal_by_rule(each.knobs, task, CHIP) is None, name
        assert space.default(task, CHIP) == each.knobs, name
        assert each.us < each.rule_us, name
