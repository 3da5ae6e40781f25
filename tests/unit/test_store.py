"""Run folders: ids count up, RUN is a number, a path or 'last', and a damaged record is a clear error."""

import os

import pytest

from lowering import bisect_record, graph_record, ladder_record, store
from lowering.core import UserError

PROBLEM = store.ProblemRecord(
    name="p", digest="0", m=1, n=2, k=3, batch=0, layout="nn", element="f32", accumulator="f32", output="f32",
    accumulates=False, epilogue=[], notes=[], flops=12,
)  # fmt: skip


def make(root):
    number, folder = store.create_run(root)
    record = store.Record(
        run=number, folder=str(folder), command="lower", problem=PROBLEM, target="t", cpu="c", proposer="default",
        knobs={"m": 3}, schedule="cse", outcome="verified (witness+full)",
    )  # fmt: skip
    store.write_record(record, folder)
    return record, folder


def test_ids_count_up_and_a_record_reads_back(tmp_path):
    first, folder = make(tmp_path / "runs")
    second, _ = make(tmp_path / "runs")
    assert (first.run, second.run) == (1, 2)
    assert store.read_record(folder) == first


def test_a_run_is_named_by_number_path_or_last(tmp_path):
    make(tmp_path)
    record, folder = make(tmp_path)
    store.create_run(tmp_path)  # a run that never got as far as a record is not the last one
    assert store.find_run("2", tmp_path) == store.find_run("last", tmp_path) == folder
    assert store.find_run(str(folder), tmp_path / "elsewhere") == folder
    assert record.run == 2


def test_what_is_no_run_can_be_the_latest(tmp_path):
    assert store.OTHERS.keys() == {graph_record.FILE, bisect_record.FILE, ladder_record.FILE}
    assert store.latest(tmp_path) is None
    kinds = (
        ("graph-0", graph_record.FILE, "pass graph"),
        ("2", bisect_record.FILE, "bisection"),
        ("3", ladder_record.FILE, "ladder"),
    )
    for number, (name, file, kind) in enumerate(kinds):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text("{}")
        os.utime(tmp_path / name / file, (number, number))
        assert store.latest(tmp_path) == tmp_path / name
        with pytest.raises(UserError, match=f"'{name}' is a {kind}, and no run: `lower report {name}` shows it"):
            store.find_run(name, tmp_path)
    _, folder = make(tmp_path)
    assert store.latest(tmp_path) == folder


def test_an_unknown_run_says_which_there_are(tmp_path):
    with pytest.raises(UserError, match=r"there is no run in"):
        store.find_run("last", tmp_path)
    make(tmp_path)
    with pytest.raises(UserError, match=r"no run '7': expected a number.*there are 1 to 1"):
        store.find_run("7", tmp_path)


def test_a_damaged_record_and_an_unwritable_folder_are_the_users_to_know(tmp_path):
    _, folder = make(tmp_path)
    (folder / "record.json").write_text('{"version": 1, "run": "x"')
    with pytest.raises(UserError, match=r"cannot read .*record.json"):
        store.read_record(folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write the runs folder .*--runs"):
        store.create_run(tmp_path / "file")
