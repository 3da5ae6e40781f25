"""The process boundary: a job that crashes, hangs, raises or eats memory costs that job and nothing else."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from lowering.worker import Casualty, Limits, Worker

FAULTS = Path(__file__).parent / "faults"


@pytest.fixture
def faults(monkeypatch):
    monkeypatch.syspath_prepend(str(FAULTS))
    monkeypatch.setenv("PYTHONPATH", str(FAULTS), prepend=os.pathsep)
    import worker_faults

    return worker_faults


def test_a_good_job_returns_and_the_child_is_kept(faults):
    steps = []
    with Worker() as worker:
        assert worker.call(faults.double, 21, steps.append) == 42
        assert steps == ["doubling"]
        assert worker.call(faults.own_pid, None) == worker.call(faults.own_pid, None)


def test_an_exception_is_a_casualty_with_its_step_and_traceback(faults):
    with Worker() as worker:
        result = worker.call(faults.raises, None)
    assert isinstance(result, Casualty)
    assert (result.kind, result.reason, result.at) == ("exception", "ValueError: no such thing", "3: some-pass")
    assert "second line" in result.log


def test_a_crash_names_the_signal_and_the_next_job_runs(faults):
    with Worker() as worker:
        result = worker.call(faults.dies, None)
        assert (result.kind, result.at) == ("crash", "4: bad-pass")
        assert "SIGSEGV" in result.reason
        assert "last words" in result.log
        assert worker.call(faults.double, 1) == 2


def test_a_hang_ends_at_the_limit_with_all_its_children(faults):
    with Worker(Limits(seconds=1.5)) as worker:
        began = time.monotonic()
        group = worker.call(faults.own_pid, None)
        result = worker.call(faults.hangs, None)
        assert (result.kind, result.at) == ("timeout", "5: slow-pass")
        assert time.monotonic() - began < 10
        left = subprocess.run(["ps", "-o", "pid=,stat=", "-g", str(group)], capture_output=True, text=True).stdout
        assert not [line for line in left.splitlines() if "Z" not in line]


def test_the_limit_can_be_that_of_each_step(faults):
    with Worker(Limits(seconds=3.0)) as worker:
        worker.call(faults.double, 1)  # the child has started by now
        assert worker.call(faults.walks, None, each_step=True) == "there"
        assert worker.call(faults.walks, None).kind == "timeout"


def test_memory_beyond_the_limit_ends_the_job(faults):
    with Worker(Limits(seconds=30, memory=600 << 20)) as worker:
        assert worker.call(faults.eats, None).kind == "memory"
        assert worker.call(faults.double, 4) == 8
