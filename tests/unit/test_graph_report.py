"""What the report of a graph says, made of records by hand; and what a second call adds to them, on a small graph."""

from dataclasses import replace

import pytest
from graph_records import record_of

from lowering import graph_record, graph_report, problem, targets
from lowering.explore import Space
from lowering.findings import PairFinding
from lowering.graph import Graph, Reached, pack
from lowering.graph_run import GRAPH, Work, grouped, run, spent
from lowering.learned import Condition
from lowering.order_findings import OrderFinding
from lowering.plan import Around
from lowering.retime import Retimed
from lowering.schedule_edit import AS_GIVEN, base

PROBLEM = problem.from_shape(16, 16, 16, "f32")
STEPS = (
    "canonicalize", "eliminate-empty-tensors", "empty-tensor-to-alloc-tensor",
    "one-shot-bufferize{bufferize-function-boundaries=true function-boundary-type-conversion=identity-layout-map}",
    "convert-linalg-to-loops", "convert-scf-to-cf", "func.func(llvm-request-c-wrappers)", "convert-to-llvm",
    "reconcile-unrealized-casts",
)  # fmt: skip
FAST = graph_record.BinaryRecord("fa" * 32, (1,), "cse", {"image_bytes": 7}, run=1, seconds=0.001, outcome="verified")
SLOW = replace(FAST, digest="51" * 32, states=(2,), run=2, seconds=0.004)
TIMES = Retimed(0.002, 0.00774, 3.87, 3.8, 3.95, 99)
SURE = OrderFinding("p", "q", 5, 1, faster=1, slower=2, ratio=4.0, wins=6, losses=2, retimed=TIMES)


def table(record, title):
    """The lines, columns and rows of a section."""
    (section,) = (each for each in graph_report.sections(record) if each.title == title)
    return section


def test_a_row_shows_what_was_timed_in_turn():
    order = table(record_of((FAST, SLOW), order=(SURE,)), "order")
    assert dict(zip(order.columns, order.rows[0], strict=True)) == {
        "do first": "p",
        "then": "q",
        "times faster": "3.87 (3.80 to 3.95)",
        "best after it": "2 ms (run 1)",
        "best the other way": "7.74 ms (run 2)",
        "from state": "5, after 1 pass",
        "so at first on": "6 states, 2 the other way",
    }


def test_rows_that_do_not_last_are_counted():
    unsure = replace(SURE, retimed=replace(TIMES, low=1.09))
    order = table(record_of((FAST, SLOW), order=(unsure, unsure)), "order")
    assert order.rows == ()
    assert "2 pairs differed by more than 10 % at first and not when timed again" in order.lines
    rows = (SURE, unsure, replace(SURE, retimed=None, untimed="crash: no"))
    order = table(record_of((FAST, SLOW), order=rows), "order")
    assert len(order.rows) == 1
    assert "1 pair differed by more than 10 % at first and not when timed again" in order.lines
    assert "1 pair differed by more than 10 % at first and not timed again: crash: no" in order.lines


def test_a_record_keeps_both_ratios(tmp_path):
    graph_record.write(record_of((FAST, SLOW), order=(SURE,)), tmp_path)
    (row,) = graph_record.read(tmp_path).order
    assert (row.ratio, row.retimed) == (4.0, TIMES)


def test_columns_without_any_entry_are_left_out():
    built = replace(FAST, run=0, seconds=None, outcome="")
    binaries = table(record_of((built,), unexecuted="no device"), "binaries")
    assert binaries.columns == ("binary", "ends", "image_bytes", "schedule")
    assert "built, not executed: no device" in binaries.lines
    assert "measured" in table(record_of((FAST, built)), "binaries").columns


def test_the_change_stands_for_the_schedule_on_the_terminal():
    binaries = (replace(FAST, change=AS_GIVEN, schedule="cse,sccp"), replace(SLOW, change="without sccp"))
    record = record_of(binaries)
    for words in ("as given", "without sccp"):
        assert words in graph_report.text(record)
        assert words in graph_report.markdown(record)
    assert "cse,sccp" not in graph_report.text(record)
    assert "cse,sccp" in graph_report.markdown(record)
    assert "cse,sccp" in graph_report.text(record_of((replace(FAST, schedule="cse,sccp"),)))


def test_tables_of_passes_say_how_to_read_them():
    pairs = (PairFinding("p", "q", together=3, same=1, enables=(12, 14), disabled=(3, 5)),)
    record = record_of(pairs=pairs, conditions=(Condition("p", "scf", 9, 4),))
    influence = table(record, "influence")
    assert influence.rows == (("p", "enables", "q", "in 12 of 14"), ("q", "disables", "p", "in 3 of 5"))
    assert influence.lines[0].startswith(
        "how to read it: 'A enables B in 12 of 14' means that of 14 states where B failed or did nothing"
    )
    assert table(record, "needs").rows == (("p", "scf", "all 9 times", "4 times"),)
    assert table(record, "pairs").rows == (("p", "q", "3", "2"),)
    assert not table(record_of(), "influence").lines
    assert not table(record_of(), "needs").lines


def test_exports_and_seconds_are_said():
    record = record_of(exports=("x.svg",), seconds={"explore": 12.0, "check": 0.5})
    assert table(record, "files").lines[1:] == ("x.svg",)
    assert table(record, "time").lines == ("explore 12 s, check 500 ms; all calls together",)
    assert table(record_of(), "time").lines == ()


@pytest.mark.parametrize(("value", "words"), [(7, "7"), (10**9 - 1, "999,999,999"), (10**9, "1.00e+9")])
def test_counts(value, words):
    assert graph_report.count(value) == words


def test_counts_beyond_floats():
    assert graph_report.count(265 * 10**500) == "2.65e+502"
    assert "2.65e+502 orders" in graph_report.text(record_of(orders=str(265 * 10**500)))


def test_seconds_are_summed_however_a_stage_ends(tmp_path):
    with Graph(tmp_path / "g.sqlite") as graph:
        graph.set_meta("seconds", {"explore": 100.0})
        with pytest.raises(KeyboardInterrupt), spent(graph, "explore"):
            raise KeyboardInterrupt
        assert graph.meta("seconds")["explore"] > 100.0


def work_in(folder, steps):
    """A small amount of work around some steps."""
    plan = Around(steps, 2)
    space = Space(PROBLEM, targets.this_machine(), plan)
    return Work(space, plan, "", folder / "graph", folder, check=False, build=3, time=1)


def test_the_given_schedule_is_the_first_binary(tmp_path):
    with Graph(tmp_path / "g.sqlite") as graph:
        for source, step, name in ((0, "", "1"), (1, "q", "2"), (1, "r", "3"), (1, "p", "4")):
            reached = Reached(False, name.encode(), name.encode(), 1, pack(name), "x.y")
            graph.record(source, step, reached) if source else graph.add_root(reached)
        for state, name in ((2, "more"), (3, "more"), (4, "given")):
            graph.put("binaries", state, {"binary": name, "tail": "", "figures": {}})
        found = grouped(work_in(tmp_path, ("p",)), graph, (2, 3, 4), frozenset(), base(graph, ("p",), 2))
    assert [(each.digest, each.change) for each in found] == [("given", AS_GIVEN), ("more", "with q first, without p")]


def test_a_second_call_adds_to_the_first(tmp_path):
    plan = Around(STEPS, 2)
    work = Work(
        Space(PROBLEM, targets.this_machine(), plan),
        plan,
        "",
        tmp_path / "graph",
        tmp_path,
        check=False,
        build=3,
        time=1,
    )
    first, again = run(work), run(work)
    assert list(first.seconds) == ["explore", "build", "measure"]
    assert all(again.seconds[stage] > first.seconds[stage] for stage in first.seconds)
    assert replace(again, seconds=first.seconds) == first
    given = [each for each in first.binaries if each.change == AS_GIVEN]
    assert [(each.schedule, each.run) for each in given] == [(",".join(STEPS), 1)]  # built, and timed, before others
    with Graph(work.folder / GRAPH) as graph:
        assert set(graph.meta("seconds")) == {"explore", "build", "measure"}
