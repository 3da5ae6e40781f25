"""A kernel that hangs or faults the device costs one candidate: the next one runs in a new process, and is verified."""

from __future__ import annotations

import pytest

from lowering import problem, search
from lowering.agent.proposer import Proposal
from lowering.agent.rungs import Rungs
from lowering.passes import pipeline
from lowering.targets import load
from lowering.targets.nvidia import space
from lowering.targets.nvidia.runtime import Cuda
from lowering.worker import Limits

REASON = Cuda().unavailable()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(REASON is not None, reason=str(REASON))]
HANGS = ("dynamic-workgroup", "dynamic-workgroup,test-drop-copy")
FAULTS = ("reconcile-unrealized-casts", "reconcile-unrealized-casts,test-wild-store")


def test_what_takes_the_device_down_costs_one_candidate(tmp_path) -> None:
    of, target = problem.from_shape(128, 128, 256, "f16", layout="nt"), load("sm_90")
    good = str(space.schedule({}, of, target))
    texts = (good.replace(*HANGS), good, good.replace(*FAULTS), good)
    proposals = tuple(Proposal(pipeline.parse(text)) for text in texts)
    options = search.Options(tmp_path, budget=len(texts), timed=False, limits=Limits(seconds=20))
    hung, after_hang, faulted, after_fault = search.run(of, target, Rungs(proposals), options)
    assert hung.failure is not None
    assert (hung.failure.stage, hung.failure.kind) == ("verify", "timeout")
    assert faulted.failure is not None
    assert faulted.failure.kind == "crash"
    assert "ILLEGAL_ADDRESS" in faulted.failure.reason
    assert [each.outcome for each in (after_hang, after_fault)] == ["verified (witness+full)"] * 2
