"""A pass graph's record -> what a person reads: the terminal's text, and report.md. Both come from the record alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lowering.findings import PairFinding, PassFinding
from lowering.graph_record import BinaryRecord, GraphRecord
from lowering.miscompiles import Miscompile
from lowering.report import Section, duration, markdown_sections, text_sections

MOST_ROWS = 12  # of a table on the terminal; report.md has all


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
    """The sections with long tables cut, and a line that says so."""
    for each in all_:
        if len(each.rows) <= MOST_ROWS:
            yield each
            continue
        more = f"the first {MOST_ROWS} of {len(each.rows)}; report.md has all"
        yield Section(each.title, (*each.lines, more), each.columns, each.rows[:MOST_ROWS], each.detail)


def sections(record: GraphRecord) -> Iterator[Section]:
    """Everything there is to say about a graph."""
    p = record.problem
    yield Section("problem", (f"{p.name}, for {record.target}",))
    yield Section("plan", tuple(plan(record)))
    yield Section("graph", tuple(size(record)))
    yield Section("checks", tuple(checks(record)))
    yield Section("binaries", tuple(built(record)), *binaries(record.binaries, record.problem.flops))
    yield Section("order", tuple(order_lines(record)), *order(record))
    yield passes(record)
    yield Section("pairs", (commuting(record.pairs),), *pairs(record.pairs))
    yield Section("influence", (), *influence(record.pairs))
    yield Section("needs", (), *conditions(record))
    yield Section("files", (f"{record.folder} (graph.json, report.md, states.sqlite)",))
    yield Section("toolchain", (", ".join(f"{k} {v}" for k, v in record.toolchain.items()),), detail=True)


def plan(record: GraphRecord) -> Iterator[str]:
    """What was explored, and its bound."""
    yield f"{record.plan}: {count(record.bound)} orders of what was named"
    if record.cut:
        yield "cut short by --states: what follows is about the part that was explored"
    if record.pruned:
        yield f"{record.pruned} passes were not tried, by conditions learned from failures (--prune-learned)"


def size(record: GraphRecord) -> Iterator[str]:
    """States, edges, and how many orders they stand for."""
    total = sum(record.edges.values())
    kinds = ", ".join(f"{record.edges.get(kind, 0):,} {kind}" for kind in ("active", "dormant", "cosmetic", "failed"))
    factor = int(record.orders) / max(total, 1)
    yield f"{record.states:,} states and {total:,} edges ({kinds})"
    yield f"stand for {count(record.orders)} orders in which no pass fails: {factor:,.1f} for each pass that was run"


def count(text: str) -> str:
    """A long number, shortened to a power of ten."""
    return f"{int(text):,}" if len(text) < 10 else f"{int(text):.2e}"


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
    dominators = [each.text for each in record.passes if each.dominates]
    if dominators:
        yield f"in this graph every way to a binary that is not known to be wrong has: {', '.join(dominators)}"


def binaries(found: Sequence[BinaryRecord], flops: int) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """One row a distinct binary."""
    known = sorted({name for each in found for name in each.figures})
    columns = ("binary", "ends", *known, "run", "verdict", "measured", "rate", "to baseline", "schedule")
    return columns, tuple(binary_row(each, known, flops) for each in found)


def binary_row(each: BinaryRecord, known: Sequence[str], flops: int) -> tuple[str, ...]:
    """A binary's static figures, its verdict, and its time where it was measured."""
    figures = (str(each.figures.get(name, "")) for name in known)
    time = ("", "", "")
    if each.seconds is not None:
        ratio = f"{each.baseline / each.seconds:.2f} {each.baseline_name}" if each.baseline else ""
        time = (duration(each.seconds), f"{flops / each.seconds / 1e9:.1f} GFLOP/s", ratio)
    run = str(each.run or "")
    return each.digest[:8], str(len(each.states)), *figures, run, each.outcome, *time, each.schedule


def order_lines(record: GraphRecord) -> Iterator[str]:
    """Whether the order mattered."""
    timed = [each for each in record.binaries if each.seconds is not None]
    if len(timed) > 1:
        yield f"{len(timed)} of {len(record.binaries)} binaries were timed, each beside the baseline it is compared by"
    if len(timed) < 2:
        yield "not measured: fewer than two binaries ran"
    elif not record.order:
        yield "no pair of passes was found whose order decides the best measured time by more than 10 %"


def order(record: GraphRecord) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """One row a pair of passes whose order decides how fast the code can become."""
    by_state = {state: each for each in record.binaries for state in each.states}

    def best(state: int) -> str:
        each = by_state[state]
        return f"{duration(each.seconds or 0)} (run {each.run})"

    rows = tuple(
        (
            o.first, o.second, f"{o.ratio:.2f}", best(o.faster), best(o.slower), f"{o.state}, after {o.done} passes",
            f"{o.wins} states, {o.losses} the other way",
        )
        for o in record.order
    )  # fmt: skip
    columns = ("do first", "then", "times faster", "best after it", "best the other way", "from state", "so on")
    return columns, rows


def passes(record: GraphRecord) -> Section:
    """One row a pass."""
    columns = ("pass", "tried", "active", "dormant", "cosmetic", "failed", "best without it", "most frequent failure")
    never = ", ".join(record.unoffered)
    lines = (f"legal on no state, by what they say themselves: {never}",) if never else ()
    return Section("passes", lines, columns, tuple(pass_row(each) for each in record.passes))


def pass_row(each: PassFinding) -> tuple[str, ...]:
    """How a pass fared."""
    without = duration(each.without) if each.without is not None else "no good end" if each.dominates else ""
    reason = each.reasons[0][0] if each.reasons else ""
    shares = (share(n, each.tried) for n in (each.active, each.dormant, each.cosmetic, each.failed))
    return each.text, str(each.tried), *shares, without, reason


def share(n: int, total: int) -> str:
    """A count as a share."""
    return f"{100 * n / total:.0f} %" if n else ""


def commuting(found: Sequence[PairFinding]) -> str:
    """How many pairs commute wherever they met."""
    met = [each for each in found if each.together]
    same = sum(each.same == each.together for each in met)
    return f"{same} of {len(met)} pairs that met commute wherever they did"


def pairs(found: Sequence[PairFinding]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """The pairs that do not always commute."""
    rows = tuple(
        (e.first, e.second, str(e.together), str(e.together - e.same), str(e.fails or ""))
        for e in found
        if e.same < e.together
    )
    return ("pass", "and", "met", "order matters", "of them one order fails"), rows


def influence(found: Sequence[PairFinding]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Which pass enables or disables which, the surest first."""
    rows: list[tuple[float, int, tuple[str, ...]]] = []
    for e in found:
        for one, other, what, (times, chances) in (
            (e.first, e.second, "enables", e.enables),
            (e.first, e.second, "disables", e.disables),
            (e.second, e.first, "enables", e.enabled),
            (e.second, e.first, "disables", e.disabled),
        ):
            if times:
                rows.append((times / chances, times, (one, what, other, f"{times} of {chances}")))
    rows.sort(key=lambda row: (-row[0], -row[1], row[2]))
    return ("pass", "", "pass", "times"), tuple(row for _, _, row in rows)


def conditions(record: GraphRecord) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """What was learned from failures."""
    rows = tuple((c.text, c.needs, str(c.failures), str(c.worked)) for c in record.conditions)
    return ("pass", "worked only where there is", "failures where there is none", "worked"), rows
