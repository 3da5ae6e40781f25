"""Explorations: the same graph whoever works for it and however often it was killed; bad passes cost one edge."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from pass_graphs import PASSES, PROBLEM, explored, rows, space

from lowering import expand
from lowering.graph import Graph
from lowering.plan import Around


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The small graph, explored in one go by one process."""
    file = tmp_path_factory.mktemp("explore") / "states.sqlite"
    explored(file)
    return rows(file)


def test_two_processes_make_the_same_graph(whole, tmp_path):
    explored(tmp_path / "states.sqlite", processes=2)
    assert rows(tmp_path / "states.sqlite") == whole


def test_a_second_call_tries_nothing(whole, tmp_path):
    file = tmp_path / "states.sqlite"
    explored(file)
    again = explored(file)
    assert sum(again.progress.grew) == 0
    assert rows(file) == whole


class Stop(Exception):
    pass


@pytest.mark.parametrize("after", [1, 2])
def test_an_interrupted_exploration_goes_on(whole, tmp_path, after):
    file, calls = tmp_path / "states.sqlite", []

    def watch(progress):
        calls.append(progress)
        if len(calls) == after:
            raise Stop

    with pytest.raises(Stop):
        explored(file, watch=watch)
    assert 0 < len(rows(file)[1]) < len(whole[1])
    explored(file, processes=2)
    assert rows(file) == whole


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from pass_graphs import explored, space
def watch(progress):
    print(progress.edges, flush=True)
    time.sleep(0.4)
explored(Path(sys.argv[1]), space(depth=5), watch=watch)
"""


@pytest.mark.slow
def test_kill_minus_nine_loses_at_most_the_last_second(tmp_path):
    file, straight = tmp_path / "states.sqlite", tmp_path / "straight.sqlite"
    words = [sys.executable, "-P", "-c", KILLED, str(file), str(Path(__file__).parent)]
    for lines in (3, 3):
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
            seen = [int(process.stdout.readline()) for _ in range(lines)]
            time.sleep(0.3)
            os.killpg(process.pid, signal.SIGKILL)
        assert len(rows(file)[1]) >= seen[-2]  # all but the edges of the last second
    explored(file, space(depth=5))
    explored(straight, space(depth=5))
    assert rows(file) == rows(straight)


@pytest.mark.parametrize(
    ("bad", "kind"),
    [("test-crash", "crash"), ("test-hang", "timeout"), ("test-eat-memory", "memory"), ("test-fail", "illegal")],
)
def test_a_bad_pass_costs_its_edges_and_nothing_else(tmp_path, bad, kind):
    file = tmp_path / "states.sqlite"
    explored(
        file, space(f"canonicalize,{bad},sccp", depth=1), seconds=5.0 if kind == "timeout" else 60.0, memory=1 << 30
    )
    _, edges = rows(file)
    assert {edge.text: edge.kind for edge in edges} == {"canonicalize": "cosmetic", bad: "failed", "sccp": "cosmetic"}
    (fell,) = [edge.fell for edge in edges if edge.fell]
    assert fell.kind == kind
    assert "\n" not in fell.reason


def explored_to(file, depth):
    explored(file, space(depth=depth))
    return rows(file)


def test_a_crash_in_the_middle_of_a_batch_leaves_the_rest_as_it_was(tmp_path):
    """A worker that fell has forgotten what it had sent, and one that was lost sends it again."""
    file = tmp_path / "states.sqlite"
    explored(file, space(f"test-crash,{PASSES}", 2))
    whole = explored_to(tmp_path / "whole.sqlite", 2)
    states, edges = rows(file)
    assert Counter(edge.fell.kind for edge in edges if edge.text == "test-crash") == {
        "crash": len({e.source for e in edges})
    }
    assert [(s.normal, s.parent, s.via) for s in states] == [(s.normal, s.parent, s.via) for s in whole[0]]
    assert [edge for edge in edges if edge.text != "test-crash"] == whole[1]


def test_a_bare_name_is_asked_for_its_instances(tmp_path):
    file = tmp_path / "states.sqlite"
    explored(file, space("tile-reduction,canonicalize", depth=2))
    with Graph(file) as graph:
        first = graph.instances(1, "tile-reduction")
        assert first == [f"tile-reduction{{tile-sizes={n}}}" for n in (16, 8, 4, 2, 1)]
        assert set(graph.edges_of(1)) == {"canonicalize", *first}
        inner = graph.edges_of(1)[first[0]].target
        assert graph.instances(inner, "tile-reduction")[0] == "tile-reduction{role=unroll tile-sizes=8}"
        loops = {edge.text for edge in graph.edges() if edge.target is not None}
        assert "tile-reduction{role=unroll tile-sizes=8}" in loops


def test_instances_that_were_named_and_not_tried_are_tried(tmp_path):
    """As after an end between the two, where a pass took its process down and all came one by one."""
    file, whole = tmp_path / "states.sqlite", tmp_path / "whole.sqlite"
    what = space("tile-reduction,canonicalize", depth=2)
    explored(whole, what)
    with Graph(whole) as graph:
        first = graph.instances(1, "tile-reduction")
    with Graph(file) as graph:
        graph.add_root(expand.root(PROBLEM))
        graph.record_instances(1, "tile-reduction", first)
    explored(file, what)
    found, wanted = ({(e.source, e.text, e.kind) for e in rows(each)[1] if e.source == 1} for each in (file, whole))
    assert found == wanted
    assert {s.normal for s in rows(file)[0]} == {s.normal for s in rows(whole)[0]}


def test_a_bare_name_is_asked_beside_a_pass_that_falls(tmp_path):
    found = []
    for bad in ("", ",test-crash"):
        file = tmp_path / f"states{bad}.sqlite"
        explored(file, space(f"tile-reduction,canonicalize{bad}", depth=2))
        states, edges = rows(file)
        with Graph(file) as graph:
            named = list(graph.opened())
        ways = {(e.source, e.text, e.target) for e in edges if e.text != "test-crash"}
        found.append(({s.normal for s in states}, len(ways), len(named)))
    assert found[0] == found[1]


def test_each_pass_is_kept_as_soon_as_it_has_fallen(tmp_path):
    file, seen = tmp_path / "states.sqlite", []

    def stop(progress):
        seen.append(progress.edges)
        if progress.edges == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        explored(file, space("canonicalize,test-crash,test-eat-memory", depth=1), memory=1 << 30, watch=stop)
    assert seen == [0, 1, 2]
    assert [edge.text for edge in rows(file)[1]] == ["canonicalize", "test-crash"]


def test_a_cap_on_states_stops_there_whoever_works(whole, tmp_path):
    found = []
    for processes in (1, 2):
        file = tmp_path / f"{processes}.sqlite"
        walked = explored(file, space(most=8), processes)
        assert walked.cut
        found.append(rows(file))
    assert found[0] == found[1]
    assert len(found[0][0]) == 8 < len(whole[0])


def test_a_cap_that_is_not_exceeded_cuts_nothing(whole, tmp_path):
    file = tmp_path / "states.sqlite"
    assert not explored(file, space(most=len(whole[0]))).cut
    assert rows(file) == whole


def test_nothing_follows_a_state_at_the_goal(tmp_path):
    file = tmp_path / "states.sqlite"
    goal = frozenset({"func", "arith", "memref", "linalg"})
    explored(
        file, space("one-shot-bufferize{bufferize-function-boundaries=true},convert-linalg-to-loops", 3, goal=goal)
    )
    states, edges = rows(file)
    at_goal = {s.id for s in states if all(op.split(".")[0] in goal | {"builtin"} for op in s.ops.split())}
    assert at_goal
    assert not at_goal & {edge.source for edge in edges}


def test_learned_conditions_prune_only_where_that_is_asked_for(tmp_path):
    passes = f"{PASSES},tile{{tile-sizes=8,8}},tile{{tile-sizes=4,4}}"
    plain, pruned = (explored(tmp_path / f"{prune}.sqlite", space(passes, 5, prune=prune)) for prune in (False, True))
    assert plain.progress.pruned == 0
    assert pruned.progress.pruned > 0
    kept, every = (Counter(e.text for e in rows(tmp_path / f"{prune}.sqlite")[1]) for prune in (True, False))
    assert sum(every.values()) - sum(kept.values()) >= pruned.progress.pruned
    states = [[s.normal for s in rows(tmp_path / f"{prune}.sqlite")[0]] for prune in (True, False)]
    assert set(states[0]) == set(states[1])  # here the guesses were right


def test_around_holds_the_schedule_itself(tmp_path):
    steps = ("tile{tile-sizes=16,16}", "tile-reduction{tile-sizes=8}", "canonicalize", "cse")
    what = space()
    what = type(what)(what.problem, what.target, Around(steps, 2))
    file = tmp_path / "states.sqlite"
    walked = explored(file, what)
    with Graph(file) as graph:
        state = 1
        for step in steps:
            state = graph.edges_of(state)[step].target
        assert state in walked.ends
    assert len(walked.ends) > 1


def test_a_cap_holds_in_a_second_call(tmp_path):
    file = tmp_path / "states.sqlite"
    first = explored(file, space(most=8))
    found = rows(file)
    again = explored(file, space(most=8))
    assert rows(file) == found
    assert again.cut
    assert again.visits == first.visits


def test_pruning_is_the_same_after_an_interruption(tmp_path):
    what = space(f"{PASSES},tile{{tile-sizes=8,8}},tile{{tile-sizes=4,4}}", 5, prune=True)
    whole, file = tmp_path / "whole.sqlite", tmp_path / "states.sqlite"
    explored(whole, what)
    for after in (8, 6):
        calls = []

        def watch(progress, calls=calls, after=after):
            calls.append(progress)
            if len(calls) == after:
                raise Stop

        with pytest.raises(Stop):
            explored(file, what, watch=watch)
    explored(file, what)
    assert rows(file) == rows(whole)


ORPHAN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from pass_graphs import explored, space
print("ready", flush=True)
explored(Path(sys.argv[1]), space("test-hang", 1), seconds=600)
"""


def children(pid):
    """The processes that a process started."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in found.stdout.split()]


def is_alive(pid):
    """Whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_worker_ends_with_the_process_that_started_it(tmp_path):
    words = [sys.executable, "-P", "-c", ORPHAN, str(tmp_path / "states.sqlite"), str(Path(__file__).parent)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        deadline = time.monotonic() + 60
        while not (workers := children(process.pid)) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(2)  # the pass is hanging by now
        process.kill()
    assert workers
    time.sleep(1)
    assert not [pid for pid in workers if is_alive(pid)]
