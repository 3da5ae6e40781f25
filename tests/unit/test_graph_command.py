"""`lower graph` as a user meets it."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lowering import graph_record, graph_report
from lowering.core import UserError
from lowering.graph import Graph
from lowering.graph_command import Request, prepare
from lowering.graph_run import spent

LOWER = [sys.executable, "-P", "-m", "lowering.cli", "graph"]
SMALL = ("--shape", "48x32x32", "--dtype", "f32")
PASSES = "canonicalize,cse,tile{tile-sizes=16,16},tile-reduction{tile-sizes=8},promote"
BUFFERIZE = "one-shot-bufferize{bufferize-function-boundaries=true}"


def run(*words, cwd):
    """A finished command."""
    return subprocess.run([*LOWER, *words], capture_output=True, text=True, cwd=cwd, timeout=240, check=False)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A whole graph, with everything that is printed and written."""
    folder = tmp_path_factory.mktemp("graph")
    words = ("--passes", f"{PASSES},{BUFFERIZE}", "--depth", "3", "--time", "2", "--build", "20")
    forms = ("--export", "g.svg", "--export", "g.json", "--export", "g.graphml", "--export", "g.dot")
    return folder, run(*SMALL, *words, *forms, cwd=folder)


def test_the_report_says_it_all(done):
    _, result = done
    assert result.returncode == 0, result.stderr
    for words in (
        "at least 259 orders",
        "259 orders of what was named",
        "no miscompile found",
        "verified (witness+full)",
        "numpy",
        "distinct binaries",
        "completed by the standard tail",
        "commute wherever they did",
    ):
        assert words in result.stdout
    assert "Traceback" not in result.stderr


def test_the_record_is_the_report(done):
    folder, result = done
    (made,) = folder.glob("runs/graph-*")
    record = graph_record.read(made)
    assert graph_report.text(record) in result.stdout
    assert int(record.bound) == 1 + 6 + 36 + 216
    assert 0 < int(record.orders) <= int(record.bound)
    assert record.unoffered == ("promote",)
    assert sum(each.run > 0 for each in record.binaries) == 2
    assert {row.text for row in record.passes} == {*PASSES.replace("16,16", "16;16").split(","), BUFFERIZE} - {
        "promote",
        "tile{tile-sizes=16;16}",
    } | {"tile{tile-sizes=16,16}"}
    report = (made / "report.md").read_text()
    assert report.startswith("# Pass graph of matmul_48x32x32_f32_nn on x86_64")
    assert all(f"| {each.digest[:8]} |" in report for each in record.binaries)


def test_the_last_report_is_that_of_the_graph(done):
    folder, result = done
    words = [*LOWER[:-1], "report", "last"]
    again = subprocess.run(words, capture_output=True, text=True, cwd=folder, timeout=60, check=False)
    assert again.stdout in result.stdout


def test_every_export_is_written(done):
    folder, _ = done
    assert (folder / "g.svg").read_text().startswith("<")
    assert json.loads((folder / "g.json").read_text())["states"]
    assert "digraph" in (folder / "g.dot").read_text()
    assert "graphml" in (folder / "g.graphml").read_text()


def test_the_runs_of_the_binaries_can_be_told_apart(done):
    folder, _ = done
    words = [*LOWER[:-1], "diff", "1", "2"]
    told = subprocess.run(words, capture_output=True, text=True, cwd=folder, timeout=120, check=False)
    assert told.returncode == 0, told.stderr


def test_the_same_words_find_the_same_graph(done):
    folder, first = done
    words = ("--passes", f"{PASSES},{BUFFERIZE}", "--depth", "3", "--time", "2", "--build", "20")
    again = run(*SMALL, *words, "--json", cwd=folder)
    assert again.returncode == 0, again.stderr
    record = json.loads(again.stdout)
    assert record["folder"] in first.stdout
    assert sorted(each["run"] for each in record["binaries"])[-2:] == [1, 2]
    assert len(list(folder.glob("runs/*"))) == 3


def test_a_planted_miscompile_is_the_exit_code(tmp_path):
    words = ("--passes", "canonicalize,cse,test-drop-store", "--depth", "2")
    result = run(*SMALL, *words, cwd=tmp_path)
    assert result.returncode == 1
    assert "test-drop-store" in result.stdout
    assert "expected" in result.stdout
    assert "WRONG on the witness" in result.stdout
    assert not (tmp_path / "runs" / "1").exists()  # what is known to be wrong is not timed


@pytest.mark.slow
def test_around_the_default_of_a_gpu(tmp_path):
    words = ("--target", "gfx942", "--around", "default", "--window", "3", "--at", "12", "--no-check")
    result = run(*SMALL, *words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "the window at step 12 of 3" in result.stdout
    assert "vgprs" in result.stdout
    assert "not measured" in result.stdout


def request(**words):
    """A request with the defaults of the command line."""
    base = {
        "source": "", "target": "", "shape": "48x32x32", "dtype": "f32", "out_dtype": "", "layout": "",
        "strict_semantics": False, "passes": "cse", "depth": None, "around": "", "window": None, "at": None, "goal": "",
        "states": None, "prune_learned": False, "check": True, "build": 500, "time": 12, "processes": None,
        "timeout": 30.0, "runs": "runs", "export": [], "as_json": False, "markdown": False, "fresh": False,
    }  # fmt: skip
    return Request(**{**base, **words})


def test_the_folder_is_named_by_what_decides_the_graph(tmp_path):
    script = tmp_path / "s.mlir"
    script.write_text("transform.yield")
    names = set()
    for words in (
        {},
        {"passes": "cse,canonicalize"},
        {"depth": 3},
        {"shape": "48x32x33"},
        {"target": "gfx942"},
        {"goal": "llvm"},
        {"states": 5},
        {"prune_learned": True},
        {"around": "default", "window": 2},
        {"passes": f"transform{{script={script}}}"},
        {"timeout": 9.0},
        {"around": "cse,llvm{opt=0}"},
        {"around": "cse,llvm{opt=1}"},
    ):
        names.add(
            prepare(
                request(runs=str(tmp_path), **({"passes": ""} if "llvm" in words.get("around", "") else {}), **words)
            ).folder
        )
    assert len(names) == 13
    script.write_text("// another\ntransform.yield")
    names.add(prepare(request(runs=str(tmp_path), passes=f"transform{{script={script}}}")).folder)
    assert len(names) == 14
    for words in ({"time": 3}, {"build": 7}, {"processes": 2}, {"check": False}):
        assert prepare(request(runs=str(tmp_path), **words)).folder in names


def test_a_bound_beyond_the_disk_is_said_before_it_starts(tmp_path):
    passes = "cse,canonicalize,sccp,symbol-dce,loop-invariant-code-motion,inline"
    with pytest.raises(
        UserError, match=r"6 passes to depth 30 are at most 2.65e\+23 orders.*take --depth \d+, or"
    ) as told:
        prepare(request(runs=str(tmp_path), passes=passes, depth=30))
    depth = int(re.search(r"--depth (\d+)", str(told.value))[1])
    prepare(request(runs=str(tmp_path), passes=passes, depth=depth))
    with pytest.raises(UserError):
        prepare(request(runs=str(tmp_path), passes=passes, depth=depth + 1))
    prepare(request(runs=str(tmp_path), passes=passes, depth=30, states=1000))


def test_a_full_disk_is_said_and_loses_nothing(tmp_path):
    words = (*SMALL, "--passes", PASSES, "--depth", "4", "--no-check", "--build", "0", "--target", "x86_64")
    ended = subprocess.run(
        [*LOWER, *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=240,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (80_000, 80_000)),
    )
    assert ended.returncode == 2
    assert "the same command goes on from there once there is room" in ended.stderr
    assert run(*words, cwd=tmp_path).returncode == 0


def test_an_interrupt_says_what_is_kept(tmp_path):
    words = (*SMALL, "--passes", PASSES, "--depth", "6", "--target", "x86_64")
    process = subprocess.Popen(
        [*LOWER, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    while not list(tmp_path.glob("runs/graph-*/states.sqlite")) and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.fullmatch(
        r"what was found is kept in runs/graph-\w+: the same command goes on from there\nerror: interrupted\n", stderr
    )


def test_a_window_that_begins_nowhere(tmp_path):
    with pytest.raises(UserError, match="has 2 passes"):
        prepare(request(runs=str(tmp_path), passes="", around="cse,canonicalize", at=3))


def test_the_folder_has_one_name_in_every_process(tmp_path):
    """A set of names is printed in another order in another process."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_graph_command import prepare, request;"
        "print(prepare(request(runs=sys.argv[2], passes='tile-k,hoist-accumulators,vectorize-contraction')).folder)"
    )
    names = {
        subprocess.run(
            [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path)],
            capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(names) == 1


def test_what_went_wrong_first_is_said(tmp_path):
    def interrupted(graph):
        with spent(graph, "explore"):
            graph.db.execute("DROP TABLE meta")  # nothing can be booked any more
            raise KeyboardInterrupt

    with Graph(tmp_path / "g.sqlite") as graph, pytest.raises(KeyboardInterrupt):
        interrupted(graph)
