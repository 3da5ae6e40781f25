"""The record of a bisection -> what a person reads: the terminal's text, and report.md."""

from __future__ import annotations

from collections.abc import Iterator

from lowering.bisect_record import BisectRecord, Found, Least
from lowering.graph_legend import counted
from lowering.report import Section, cut, markdown_sections, text_sections
from lowering.state_check import StateVerdict

NAMED = 3  # suspects that are named one by one
WHY = 3  # reasons of states that cannot be checked


def text(record: BisectRecord) -> str:
    """The terminal's form."""
    return "\n".join((f"bisect {record.run}", *text_sections(sections(record))))


def markdown(record: BisectRecord) -> str:
    """report.md."""
    head = (f"# Bisection {record.run}: {record.problem} on {record.target}", f"    {record.command}")
    return "\n\n".join((*head, *markdown_sections(sections(record)))) + "\n"


def exit_code(record: BisectRecord) -> int:
    """0 where states were checked and nothing is wrong; 1 where there is a culprit, or nothing could be checked."""
    return 0 if record.culprit is None and record.right else 1


def sections(record: BisectRecord) -> Iterator[Section]:
    """All there is to say, the culprit first."""
    yield Section("problem", (record.problem,))
    yield Section("schedule", tuple(schedule(record)))
    yield Section("text", (record.schedule,), detail=True)
    yield Section("verdict", tuple(verdict(record)))
    yield Section("checked", tuple(checked(record)))
    if record.least is not None:
        yield Section("smallest", tuple(smallest(record.least)))
    if record.again:
        yield Section("again", record.again)
    yield Section("files", (f"{record.folder} ({', '.join(record.files)})",))
    versions = ", ".join(f"{name} {version}" for name, version in (record.toolchain or {}).items())
    yield Section("toolchain", (versions,), detail=True)


def schedule(record: BisectRecord) -> Iterator[str]:
    """Where the schedule is from, how long it is, and what was added to it."""
    yield f"{record.source}, for {record.target}: {counted(record.passes, 'pass')}"
    if record.completed:
        yield "completed by the standard tail: it does not lower to the end"


def verdict(record: BisectRecord) -> Iterator[str]:
    """The culprit and what it does; or that there is none."""
    found = record.culprit
    if found is None:
        yield nothing(record)
        yield from record.notes
        return
    name = culprit(found, record.passes)
    if found.does == "fails":
        yield f"{name} fails: {found.stage}: {found.kind}: {found.reason}"
        yield from ([f"at {found.where}"] if found.where else [])
    elif found.last == 0:
        yield f"{name} is wrong before any pass, once it is completed to a binary"
    elif found.first < found.last:
        yield f"the first wrong one is among {name}: the states between them cannot be checked"
        mends = [f"step {n}, {found.suspects[n - found.first]}" for n in found.mends]
        yield from ([f"left out alone, each of these makes the binary right: {'; '.join(mends)}"] if mends else [])
    elif found.last > record.passes:
        yield f"{name} makes a wrong binary of a right state"
    else:
        yield f"{name} makes a right state wrong" if found.before else f"the state after {name} is wrong"
    yield from record.notes


def nothing(record: BisectRecord) -> str:
    """What can be said where no culprit was found: no more than was checked."""
    if not record.right:
        return "nothing could be checked"
    if record.right < record.states:
        return f"nothing wrong was found: {record.right} of {counted(record.states, 'state')} were checked"
    return f"nothing is wrong: {counted(record.right, 'state')} checked"


def culprit(found: Found, passes: int) -> str:
    """The steps of a culprit by their numbers and names."""
    if found.last == 0:
        return "the input"
    after = ["code generation"] if found.last > passes else []
    names = [*found.suspects, *after]
    if len(names) > NAMED:
        names = [names[0], "...", names[-1]]
    if len(names) == 1:
        return names[0] if after else f"step {found.first} of {passes}, {names[0]},"
    last = passes if after else found.last
    return f"steps {found.first} to {last} of {passes}{' and code generation' if after else ''} ({', '.join(names)})"


def checked(record: BisectRecord) -> Iterator[str]:
    """What the verdict rests on."""
    found = record.culprit
    if found is not None and found.does == "wrong":
        yield from ([f"before: {said(found.before, record.on)}"] if found.before else [])
        yield from ([f"after: {said(found.after, record.on)}"] if found.after else [])
        yield f"built with {found.steps or 'LLVM at its defaults'}"
    counts = ((record.right, "right"), (record.wrong, "wrong"), (record.unchecked, "not checkable"))
    words = ", ".join(f"{count} {word}" for count, word in counts if count)
    rest = record.states - sum(count for count, _ in counts)
    wrong = record.wrong > 0 or (found is not None and found.does == "wrong")
    why = "a wrong one is searched for by halving" if wrong else "the last one that was made is right"
    halving = f"; not looked at: {rest}, since {why}" if rest and words and (wrong or record.right) else ""
    yield f"{counted(record.states, 'state')} of {record.on}: {words or 'none checked'}{halving}"
    yield from (f"not checkable: {cut(reason, 150)}" for reason in record.why[:WHY])
    if record.binary is not None:
        yield f"binary: {said(record.binary, record.on)}"


def said(verdict: StateVerdict, on: str) -> str:
    """A verdict with what it rests on."""
    if verdict.word == "right":
        return f"right ({verdict.reason} on {on}, run by {verdict.executor})"
    return f"{'WRONG' if verdict.word == 'wrong' else 'not executed'}: {verdict.reason}"


def smallest(least: Least) -> Iterator[str]:
    """The fewest passes before the culprit and the least sizes, and how sure that is."""
    before = ",".join(least.passes) or "none"
    sure = {True: ": none of them can be left out" if least.passes else "", False: ": out of time", None: ": not tried"}
    yield f"passes before it: {before}{sure[least.fewest]}"
    sure = {True: "no size can be smaller by itself", False: "out of time for smaller ones", None: "not made smaller"}
    yield f"sizes: {least.sizes} (MxNxK; {sure[least.least]})"
    if least.after is not None:
        yield f"there: {said(least.after, least.sizes)}"
    if least.reason:
        yield f"there: {least.reason}"
