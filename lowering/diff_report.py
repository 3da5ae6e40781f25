"""Two runs compared -> what a person reads: the terminal's text, Markdown, and JSON, all from one `Diff`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path

from lowering import report
from lowering.core import UserError
from lowering.diff import NOTHING, ORDER, Change, Diff, Part, State, Step, diff
from lowering.diff_facts import doubt, facts, figures
from lowering.report import Section, cut, escape
from lowering.store import find_run

SAME = "the same"
LIKE = ORDER.replace(NOTHING, SAME)
LINES = 20  # of each pass's diff
OPS = 12  # of those whose count changed
ALIKE = 4  # steps in a row that are shown one by one
CELLS = (1, 2, 2, 48, 48)  # characters of a step's row in the terminal


def main(first: str, second: str, runs: Path, lines: int | None, form: str) -> int:
    """Prints how two runs differ as text, markdown or json, with `lines` lines of each pass's diff, all for 0.

    With None, the text has the diffs of the steps where the runs part first, and no others.
    """
    if lines is not None and lines < 0:
        raise UserError(f"--lines is a number of at least 0, found {lines}")
    found = diff(find_run(first, runs), find_run(second, runs), LINES if lines is None else lines)
    forms = {"text": short if lines is None else text, "markdown": markdown, "json": as_json}
    print(forms[form](found))
    return 0


def sections(found: Diff) -> Iterator[Section]:
    """All there is to say but the passes' diffs."""
    a, b = found.a.record, found.b.record
    columns = ("", *(f"{letter}: {name}" for letter, name in zip("ab", names(found), strict=True)))
    yield Section("problem", tuple(problems(found)))
    rows = tuple((name, x, SAME if x == y else y) for name, x, y in facts(a, b))
    yield Section("runs", tuple(speed(found)), columns, rows)
    if found.notes:
        yield Section("notes", found.notes)
    yield Section("parts", tuple(line for part in found.parts for line in apart(part, found)) or (together(found),))
    yield Section("steps", (), ("", "a", "b", "pass", ""), tuple(step_row(step, found) for step in found.steps))
    yield Section("binaries", (binaries(found),), columns, tuple(figures(a, b)))


def names(found: Diff) -> tuple[str, str]:
    """What the runs are called: their folders."""
    return str(found.a.folder), str(found.b.folder)


# --- the two records, side by side ------------------------------------------------------------------------------------


def problems(found: Diff) -> Iterator[str]:
    """The problem; where there are two, both, and what follows from that."""
    a, b = (next(report.problem(run.record)) for run in (found.a, found.b))
    if found.same_problem:
        yield a
        return
    yield from (f"{run}: {said}" for run, said in zip(names(found), (a, b), strict=True))
    yield "different problems: no state of one is a state of the other, so the steps are aligned by their passes"


def speed(found: Diff) -> Iterator[str]:
    """How the times compare, where they can be compared."""
    a, b = found.a.record.timing, found.b.record.timing
    if a is None or b is None or not found.same_problem:
        return
    if a.device != b.device:
        yield f"timed on {a.device} and on {b.device}: not compared"
        return
    first, second = names(found)
    yield f"{second} takes {b.hot / a.hot:.2f} times as long as {first}, hot{doubt(a, b)}"


def binaries(found: Diff) -> str:
    """Whether the two binaries are the same."""
    a, b = (run.record.image_digest for run in (found.a, found.b))
    if a and a == b:
        return f"{SAME}, bit for bit: sha256 {a[:12]}"
    if a and b:
        return f"not the same: sha256 {a[:12]} and {b[:12]}"
    without = [name for name, digest in zip(names(found), (a, b), strict=True) if not digest]
    return f"none in {' and '.join(without)}"


# --- where they part --------------------------------------------------------------------------------------------------


def together(found: Diff) -> str:
    """What there is to say of runs that do not part."""
    if not found.same_problem:
        return "the runs do not part: their passes are the same"
    other = any(step.a and step.b and step.a.text != step.b.text for step in found.steps[1:])
    return "the runs do not part" + (": some passes are others, and every state is the same" if other else "")


def apart(part: Part, found: Diff) -> Iterator[str]:
    """Two lines on a part: where it begins, and where it ends."""
    start = f"after {place(part.after, found)}" if part.after else "from the start"
    first = [f"{name} with {label(s[0])}" for name, s in zip(names(found), (part.a, part.b), strict=True) if s]
    they, meet = ("they", "they meet again") if found.same_problem else ("their passes", "their passes are one again")
    yield f"{they} part {start}: {', '.join(first) if len(first) > 1 else f'only {first[0]}'}"
    yield f"{meet} at {place(part.meet, found)}" if part.meet else f"{they} do not meet again"


def place(step: Step, found: Diff) -> str:
    """The files of a common step, or its pass where that failed in both."""
    runs = zip((found.a, found.b), (step.a, step.b), strict=True)
    paths = [str(run.folder / state.file) if state.file else state.text for run, state in runs if state]
    return (" = " if found.same_problem else " and ").join(dict.fromkeys(paths))


def label(state: State) -> str:
    """A step as it is spoken of."""
    return f"{state.index:02d} {cut(state.text)}"


def step_row(step: Step, found: Diff) -> tuple[str, ...]:
    """A step's row: mark, its number in each run, its pass, and what is to be said of it."""
    numbers = [f"{state.index:02d}" if state else "" for state in (step.a, step.b)]
    state = step.a or step.b
    assert state is not None
    return step.mark, *numbers, state.text, said(step, found)


def said(step: Step, found: Diff) -> str:
    """What a step did, in short; of a common one, what is not the same in both runs."""
    if step.change:
        return step.change.word or counted(step.change)
    if step.a is None or step.b is None:
        return ""
    words = [f"failed: {step.a.failure}"] if step.a.failure else []
    words += [f"in {found.b.folder} {step.b.text}"] if step.a.text != step.b.text else []
    words += [LIKE] if found.same_problem and step.a.digest != step.b.digest else []
    return "; ".join(words)


def counted(change: Change) -> str:
    """The op counts that a pass changed, the largest change first."""
    order = sorted(change.counts.items(), key=lambda item: (-abs(item[1]), item[0]))
    more = f", and {len(order) - OPS} more" if len(order) > OPS else ""
    return ", ".join(f"{name} {count:+d}" for name, count in order[:OPS]) + more or "as many ops of each name"


def changes(found: Diff) -> Iterator[tuple[str, Change]]:
    """Every step of one run with a heading; beside which state it is shown, where that is not the run's own."""
    for step in found.steps:
        run, state = (found.a, step.a) if step.a else (found.b, step.b)
        if step.change and state:
            own = Path(step.change.before).parent == run.folder
            heading = f"{run.folder / state.file}: {state.text}" if state.file else f"{run.folder}: {label(state)}"
            yield heading + ("" if own else f", beside {step.change.before}"), step.change


# --- how it is written ------------------------------------------------------------------------------------------------


def text(found: Diff) -> str:
    """The terminal's form: labelled lines and tables, then each pass's diff."""
    return "\n".join(printed(found, list(changes(found))))


def short(found: Diff) -> str:
    """The same with the diffs of the steps where the runs part first, one of each, and no others."""
    every = list(changes(found))
    marks = [step.mark for step in found.steps if step.change]
    first = [every[marks.index(mark)] for mark in "-+" if mark in marks]
    out = list(printed(found, first))
    if len(every) > len(first):
        out += [
            "",
            f"{len(every) - len(first)} more steps are in one run alone: what each did, with --lines N or --full",
        ]
    return "\n".join(out)


def printed(found: Diff, shown: Sequence[tuple[str, Change]]) -> Iterator[str]:
    """The lines of the terminal's form, with some passes' diffs."""
    yield from report.text_sections(map(narrow, sections(found)))
    for heading, change in shown:
        yield from ("", heading, f"  {change.word or counted(change)}", *(f"    {line}" for line in change.lines))
        if change.left_out:
            yield f"    … {change.left_out} more lines: see --lines N, --full"


def narrow(section: Section) -> Section:
    """The table of steps as wide as a terminal and without the middle of what is alike; other sections as they are."""
    if section.title != "steps":
        return section
    rows = [tuple(cut(cell, most) for cell, most in zip(row, CELLS, strict=True)) for row in section.rows]
    return replace(section, rows=tuple(folded(rows)))


def folded(rows: Sequence[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """The rows of steps, of many in a row that are alike in both runs the first and the last."""
    for alike, group in groupby(rows, lambda row: row[0] == " " and not row[-1]):
        some = list(group)
        if alike and len(some) > ALIKE:
            some = [some[0], ("", "…", "…", f"{len(some) - 2} more steps, alike in both", ""), some[-1]]
        yield from some


def markdown(found: Diff) -> str:
    """The same as headings, lists and tables."""
    out = [f"# {' and '.join(names(found))}", *report.markdown_sections(sections(found))]
    for heading, change in changes(found):
        out += [f"### {escape(heading)}", change.word or counted(change)]
        out += ["\n".join(["```diff", *change.lines, "```"])] if change.lines else []
        out += [f"{change.left_out} more lines"] if change.left_out else []
    return "\n\n".join(out) + "\n"


def as_json(found: Diff) -> str:
    """The same as one object; `mark` is ' ', '-' or '+' as in the text."""
    a, b = found.a.record, found.b.record
    parts = [
        {
            "after": place(part.after, found) if part.after else None,
            "a": [state.index for state in part.a],
            "b": [state.index for state in part.b],
            "meet": place(part.meet, found) if part.meet else None,
        }
        for part in found.parts
    ]
    whole = {
        "a": names(found)[0],
        "b": names(found)[1],
        "same_problem": found.same_problem,
        "same_binary": a.image_digest == b.image_digest if a.image_digest and b.image_digest else None,
        "facts": [dict(zip(("name", "a", "b"), row, strict=True)) for row in facts(a, b)],
        "figures": [dict(zip(("name", "a", "b"), row, strict=True)) for row in figures(a, b)],
        "notes": found.notes,
        "parts": parts,
        "steps": [{"mark": step.mark, **asdict(step)} for step in found.steps],
    }
    return json.dumps(whole, indent=1)
