"""A pass graph's record -> what a person reads: the terminal's text, and report.md. Both come from the record alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal

from lowering.graph_record import BinaryRecord, GraphRecord
from lowering.miscompiles import Miscompile
from lowering.order_findings import MATTERS
from lowering.pass_report import conditions, influence, pairs, passes
from lowering.report import Section, duration, markdown_sections, text_sections

MOST_ROWS = 12  # of a table on the terminal; report.md has all
PERCENT = round(100 * (MATTERS - 1))
CHANGE, SCHEDULE = "change to the given schedule", "schedule"


def exit_code(record: GraphRecord) -> int:
    """1 where a state or a binary is wrong, nothing could be checked, or no end state could be built."""
    made = record.checks
    wrong = made is not None and bool(made.wrong or not made.states.get("right"))
    wrong = wrong or any(each.outcome.startswith("WRONG") for each in record.binaries)
    return 1 if wrong or (record.ends and not record.binaries and record.unbuilt) else 0


def text(record: GraphRecord) -> str:
    """The terminal's form."""
    return "\n".join((f"graph {record.name}", *text_sections(shortened(sections(record)))))


def markdown(record: GraphRecord) -> str:
    """report.md: every table whole."""
    title = f"# Pass graph of {record.problem.name} on {record.target}"
    return "\n\n".join((title, f"    {record.command}", *markdown_sections(sections(record)))) + "\n"


def shortened(all_: Iterator[Section]) -> Iterator[Section]:
    """The sections with long tables cut, and a line that says so; no schedule beside what was changed in it."""
    for each in all_:
        found = without(each, SCHEDULE) if CHANGE in each.columns else each
        if len(each.rows) > MOST_ROWS:
            more = f"the first {MOST_ROWS} of {len(each.rows)}; report.md has all"
            found = replace(found, lines=(*found.lines, more), rows=found.rows[:MOST_ROWS])
        yield found


def without(section: Section, *columns: str) -> Section:
    """A section whose table lacks some columns."""
    kept = [i for i, name in enumerate(section.columns) if name not in columns]
    rows = tuple(tuple(row[i] for i in kept) for row in section.rows)
    return replace(section, columns=tuple(section.columns[i] for i in kept), rows=rows)


def filled(section: Section) -> Section:
    """A section whose table lacks the columns that are empty in every row."""
    empty = (name for i, name in enumerate(section.columns) if not any(row[i] for row in section.rows))
    return without(section, *empty)


def sections(record: GraphRecord) -> Iterator[Section]:
    """Everything there is to say about a graph."""
    return map(filled, whole(record))


def whole(record: GraphRecord) -> Iterator[Section]:
    """The sections with every column."""
    p = record.problem
    yield Section("problem", (f"{p.name}, for {record.target}",))
    yield Section("plan", tuple(plan(record)))
    yield Section("graph", tuple(size(record)))
    yield Section("checks", tuple(checks(record)))
    yield Section("binaries", tuple(built(record)), *binaries(record.binaries, record.problem.flops))
    yield Section("order", tuple(order_lines(record)), *order(record))
    yield passes(record.passes, record.unoffered)
    yield pairs(record.pairs)
    yield influence(record.pairs)
    yield conditions(record.conditions)
    yield Section("time", tuple(spent(record)))
    yield Section("files", (f"{record.folder} (graph.json, report.md, states.sqlite)", *record.exports))
    yield Section("toolchain", (", ".join(f"{k} {v}" for k, v in record.toolchain.items()),), detail=True)


def plan(record: GraphRecord) -> Iterator[str]:
    """What was explored, and its bound."""
    yield f"{record.plan}: at most {count(int(record.bound))} orders of what was named"
    if record.cut:
        yield "cut short by --states: what follows is about the part that was explored"
    if record.pruned:
        yield f"{record.pruned} passes were not tried, by conditions learned from failures (--prune-learned)"


def size(record: GraphRecord) -> Iterator[str]:
    """States, edges, and how many orders they stand for."""
    total = sum(record.edges.values())
    kinds = ", ".join(f"{record.edges.get(kind, 0):,} {kind}" for kind in ("active", "dormant", "cosmetic", "failed"))
    orders = int(record.orders)
    factor = Decimal(orders) / max(total, 1)
    yield f"{record.states:,} states and {total:,} edges ({kinds})"
    times = f"{factor:,.1f}" if factor < 10**9 else f"{factor:.2e}"
    yield f"stand for {count(orders)} orders in which no pass fails: {times} for each pass that was run"


def count(value: int) -> str:
    """A count, in powers of ten where it is long."""
    return f"{value:,}" if value < 10**9 else f"{Decimal(value):.2e}"


def some(number: int, one: str, more: str = "s") -> str:
    """`1 pair`, `2 pairs`."""
    return f"{number:,} {one}{'' if number == 1 else more}"


def checks(record: GraphRecord) -> Iterator[str]:
    """What was checked, where, and what came of it."""
    made = record.checks
    if made is None:
        yield "none: --no-check"
        return
    words = [f"{made.states.get(word, 0):,} {word}" for word in ("right", "wrong", "not checkable")]
    yield f"on the witness {made.witness}, {sum(made.states.values()):,} distinct states: {', '.join(words)}"
    yield from (f"not checkable ({times}): {why}" for why, times in made.why[:3])
    if made.root != "right":
        yield f"the problem itself, completed by the standard tail, is {made.root}"
    if made.unlike:
        named = ", ".join(f"{text} ({times})" for text, times in made.unlike[:3])
        yield f"fails on the witness and not at full size, so what follows it there is unchecked: {named}"
    if not made.miscompiles:
        yield "no miscompile found"
        return
    for found in made.miscompiles[:MOST_ROWS]:
        yield from told(found)
    sure = sum(found.before == "right" for found in made.miscompiles)
    yield f"{sure} miscompiles, {len(made.miscompiles) - sure} wrong states after some that cannot be checked"


def told(found: Miscompile) -> Iterator[str]:
    """One miscompile: the pass, the state it made wrong, and how to go on."""
    after = f"after {len(found.path)} passes" if found.path else "the problem as it was read"
    right = found.before == "right"
    before = "right" if right else f"not checkable: {found.before}"
    name = "MISCOMPILE" if right else "FIRST KNOWN WRONG, after"
    yield f"{name} {found.text}: state {found.source} ({after}, {before}) -> state {found.target}, which is wrong"
    yield f"  {found.reason}"
    yield f"  smaller: lower bisect, the same problem, --schedule '{','.join((*found.path, found.text))}'"


def built(record: GraphRecord) -> Iterator[str]:
    """How many ends there are, and how many binaries."""
    made = sum(len(each.states) for each in record.binaries)
    yield f"{record.ends:,} end states, {made:,} built: {len(record.binaries)} distinct binaries"
    yield from (f"not built ({times}): {why}" for why, times in record.unbuilt[:3])
    if record.not_tried:
        yield f"{record.not_tried:,} end states were left out: --build says how many are built"
    if any(each.completed for each in record.binaries):
        yield "completed by the standard tail where a state is not lowered to the end; it is part of the schedule"
    if record.binaries and record.unexecuted:
        yield f"built, not executed: {record.unexecuted}"
    dominators = [each.text for each in record.passes if each.dominates]
    if dominators:
        yield f"in this graph every way to a binary that is not known to be wrong has: {', '.join(dominators)}"


def binaries(found: Sequence[BinaryRecord], flops: int) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """One row a distinct binary."""
    known = sorted({name for each in found for name in each.figures})
    columns = ("binary", "ends", *known, "run", "verdict", "measured", "rate", "to baseline", CHANGE, SCHEDULE)
    return columns, tuple(binary_row(each, known, flops) for each in found)


def binary_row(each: BinaryRecord, known: Sequence[str], flops: int) -> tuple[str, ...]:
    """A binary's static figures, its verdict, and its time where it was measured."""
    figures = (str(each.figures.get(name, "")) for name in known)
    time = ("", "", "")
    if each.seconds is not None:
        ratio = f"{each.baseline / each.seconds:.2f} {each.baseline_name}" if each.baseline else ""
        time = (duration(each.seconds), f"{flops / each.seconds / 1e9:.1f} GFLOP/s", ratio)
    run = str(each.run or "")
    return each.digest[:8], str(len(each.states)), *figures, run, each.outcome, *time, each.change, each.schedule


def order_lines(record: GraphRecord) -> Iterator[str]:
    """Whether the order mattered, and what became of the first measurements that said so."""
    timed = [each for each in record.binaries if each.seconds is not None]
    if len(timed) < 2:
        yield "not measured: fewer than two binaries ran"
        return
    yield f"{len(timed)} of {len(record.binaries)} binaries were timed, each beside the baseline it is compared by"
    if not record.order:
        yield f"no pair of passes was found whose order decides the best measured time by more than {PERCENT} %"
    unsure = sum(each.retimed is not None and not each.sure for each in record.order)
    if unsure:
        yield f"{some(unsure, 'pair')} differed by more than {PERCENT} % at first and not when timed again"
    for why, times in Counter(each.untimed for each in record.order if each.retimed is None).items():
        yield f"{some(times, 'pair')} differed by more than {PERCENT} % at first and not timed again: {why}"
    if any(each.sure for each in record.order):
        yield (
            "both ends of a row were timed again, in turn: the ratio of their medians, and what it can be where each "
            "time is of the middle half of its samples"
        )


def order(record: GraphRecord) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """One row a pair of passes whose order decides how fast the code can become."""
    runs = {state: each.run for each in record.binaries for state in each.states}
    columns = (
        "do first",
        "then",
        "times faster",
        "best after it",
        "best the other way",
        "from state",
        "so at first on",
    )
    rows = tuple(
        (
            o.first,
            o.second,
            f"{o.retimed.ratio:.2f} ({o.retimed.low:.2f} to {o.retimed.high:.2f})",
            f"{duration(o.retimed.first)} (run {runs[o.faster]})",
            f"{duration(o.retimed.second)} (run {runs[o.slower]})",
            f"{o.state}, after {some(o.done, 'pass', 'es')}",
            f"{some(o.wins, 'state')}, {o.losses} the other way",
        )
        for o in record.order
        if o.retimed is not None and o.sure
    )
    return columns, rows


def spent(record: GraphRecord) -> Iterator[str]:
    """How long each stage took."""
    if record.seconds:
        took = ", ".join(f"{stage} {duration(seconds)}" for stage, seconds in record.seconds.items())
        yield f"{took}; all calls together"
