"""A graph's binaries, run: verified and timed one by one, then those timed in turn whose times a finding rests on."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lowering import retime, search, store
from lowering.agent.default import Given
from lowering.agent.proposer import Proposal
from lowering.core import PassError, Problem, Target
from lowering.graph import Graph
from lowering.graph_progress import Bar
from lowering.graph_record import BinaryRecord
from lowering.order_findings import OrderFinding
from lowering.passes import pipeline
from lowering.retime import PairJob, Retimed
from lowering.state_check import available
from lowering.worker import Casualty, Limits, Worker

MOST_PAIRS = 12  # that are timed in turn


def measured(
    graph: Graph, problem: Problem, target: Target, binaries: Sequence[BinaryRecord], most: int, runs: Path
) -> list[BinaryRecord]:
    """The binaries with what a run says of the first `most` of them, the fastest first.

    None runs where no device of the target is, and none that is known to be wrong.
    """
    known: dict[str, Any] = graph.meta("runs", {})
    if unexecuted(target, most):
        return list(binaries)
    options = search.Options(runs=runs, limits=Limits(), command=command())
    wanted = [each.digest for each in binaries if not each.outcome][:most]
    done: list[BinaryRecord] = []
    with Bar() as bar, Worker(options.limits) as worker:
        bar.begin("verifying and timing binaries", len(wanted))
        for binary in binaries:
            if binary.digest in wanted and binary.digest not in known:
                proposal = Proposal(pipeline.parse(binary.schedule))
                record = search.candidate(worker, problem, target, Given.name, proposal, options, lambda _: None)
                known[binary.digest] = told(record)
                graph.set_meta("runs", known)
                graph.commit(now=True)
            bar.done(sum(name in known for name in wanted))
            done.append(replace(binary, **known.get(binary.digest, {})))
    return sorted(done, key=lambda each: (each.seconds is None, each.seconds))


def unexecuted(target: Target, most: int) -> str:
    """Why no binary is run; empty where some are."""
    if most == 0:
        return "--time 0"
    try:
        available(target)
    except PassError as error:
        return error.reason
    return ""


def told(record: store.Record) -> dict[str, Any]:
    """What of a run's record goes into a binary's."""
    found: dict[str, Any] = {"run": record.run, "outcome": record.outcome, "image": record.image_digest}
    if record.failure is not None and record.outcome == "failed":
        found["outcome"] = f"failed: {record.failure.stage}: {record.failure.reason}"
    if record.timing is not None:
        timing = record.timing
        found |= {"seconds": timing.hot, "baseline": timing.baseline_hot, "baseline_name": timing.baseline_name}
        found["device"] = timing.device
    return found


def retimed(
    graph: Graph,
    problem: Problem,
    target: Target,
    found: Sequence[Sequence[OrderFinding]],
    binaries: Sequence[BinaryRecord],
) -> list[OrderFinding]:
    """One row a pair of passes, of its candidates the first that is sure once its ends were timed in turn; the largest
    ratio first.
    """
    if not found:
        return []
    of_state = {state: each for each in binaries for state in each.states}
    done: list[OrderFinding] = []
    with Bar() as bar, Worker(Limits()) as worker:
        turns = Turns(graph, problem, target, worker)
        bar.begin("timing the ends of orders in turn", len(found))
        for number, candidates in enumerate(found, start=1):
            rows = (turns.timed(row, of_state[row.faster], of_state[row.slower]) for row in candidates)
            first = next(rows)
            done.append(first if first.sure else next((row for row in rows if row.sure), first))
            bar.done(number)
    return sorted(done, key=lambda row: (-row.retimed.ratio if row.retimed else 0.0, -row.ratio))


class Turns:
    """Pairs of binaries timed in turn, each once and MOST_PAIRS at most. What an earlier call timed is in the graph."""

    def __init__(self, graph: Graph, problem: Problem, target: Target, worker: Worker) -> None:
        self.graph, self.problem, self.target, self.worker = graph, problem, target, worker
        self.known: dict[str, Any] = graph.meta("retimed", {})
        self.asked: dict[str, Retimed | str] = {}  # by the digests of a pair: its times, or why it has none

    def timed(self, row: OrderFinding, faster: BinaryRecord, slower: BinaryRecord) -> OrderFinding:
        """A row with the times of its two ends, or why it has none."""
        pair = f"{faster.digest} {slower.digest}"
        if pair not in self.asked:
            if len(self.asked) == MOST_PAIRS:
                return replace(row, untimed=f"only the first {MOST_PAIRS} pairs of binaries are")
            self.asked[pair] = self.time(pair, faster, slower)
        found = self.asked[pair]
        return replace(row, untimed=found) if isinstance(found, str) else replace(row, retimed=found)

    def time(self, pair: str, faster: BinaryRecord, slower: BinaryRecord) -> Retimed | str:
        """The times of a pair; what failed is not stored, so another call tries it again."""
        if pair in self.known:
            return Retimed(**self.known[pair])
        job = PairJob(self.problem, self.target, (faster.schedule, slower.schedule), (faster.image, slower.image))
        found = self.worker.call(retime.time_in_turn, job)
        if isinstance(found, Casualty):
            self.worker.close()  # its device may be lost
            return f"{found.kind}: {found.reason}"
        self.known[pair] = asdict(found)
        self.graph.set_meta("retimed", self.known)
        self.graph.commit(now=True)
        return found


def command() -> str:
    """The command line as it was typed."""
    return shlex.join(["lower", *sys.argv[1:]])
