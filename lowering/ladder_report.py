"""The record of a ladder -> what a person reads: the terminal's text, and report.md."""

from __future__ import annotations

from collections.abc import Iterator

from lowering.ladder_record import LadderRecord, RungRecord
from lowering.report import Section, cut, duration, markdown_sections, text_sections

Row = tuple[str, ...]


def text(record: LadderRecord) -> str:
    """The terminal's form."""
    return "\n".join((f"ladder {record.run}", *text_sections(sections(record))))


def markdown(record: LadderRecord) -> str:
    """report.md."""
    head = (f"# Ladder {record.run}: {record.problem} on {record.target}", f"    {record.command}")
    return "\n\n".join((*head, *markdown_sections(sections(record, named=True)))) + "\n"


def exit_code(record: LadderRecord) -> int:
    """0 where every rung that was built is verified, or cannot be executed here; else 1."""
    return 1 if any(rung.reason or rung.outcome.startswith("WRONG") for rung in record.rungs) else 0


def sections(record: LadderRecord, named: bool = False) -> Iterator[Section]:
    """The table of all rungs, then each with what changed and why; `named`: under its name, not only its number."""
    yield Section("problem", (f"{record.problem}, for {record.target}",))
    yield Section("rungs", tuple(remarks(record)), *table(record))
    known: tuple[str, ...] = ()
    for number, rung in enumerate(record.rungs, start=1):
        if rung.skipped:
            continue
        new = tuple(f"{rung.word}: {line}" for line in rung.counted if line not in known)
        first, *others = step(rung)
        title, lines = (f"{number}. {first}", others) if named else (str(number), [first, *others])
        yield Section(title, (*lines, *new))
        known = rung.counted or known
        if rung.bounds:
            yield Section("predicted", rung.bounds, detail=True)
        yield Section("text", (rung.schedule,), detail=True)
    yield Section("files", (f"{record.folder} (ladder.json, report.md; run/N: the states and the binary of a rung)",))
    yield Section("toolchain", (", ".join(f"{k} {v}" for k, v in record.toolchain.items()),), detail=True)


def remarks(record: LadderRecord) -> Iterator[str]:
    """What the figures are, and are not."""
    devices = dict.fromkeys(rung.device for rung in record.rungs if rung.device)
    peers = dict.fromkeys(rung.baseline_name for rung in record.rungs if rung.baseline_name)
    if devices:
        beside = f", each in turn with {', '.join(peers)}" if peers else ""
        yield f"times are measured on {', '.join(devices)}, of repeated calls on the same buffers{beside}"
    else:
        yield f"nothing was measured: {unmeasured(record)}"
    models = dict.fromkeys(rung.model for rung in record.rungs if rung.model)
    if models:
        yield f"predicted by the model {', '.join(models)} from sizes of tiles: no time was taken"


def unmeasured(record: LadderRecord) -> str:
    """Why nothing was timed."""
    ran = [rung for rung in record.rungs if rung.run]
    if any(rung.word == "measured" for rung in ran):
        return "--no-time, or no rung is verified"
    if any(rung.word == "emulated" for rung in ran):
        return "an emulator has no clock"
    return next((rung.outcome for rung in ran if rung.outcome.startswith(("built", "not"))), "no rung was built")


def table(record: LadderRecord) -> tuple[Row, tuple[Row, ...]]:
    """Columns and rows; a column that no rung has anything in is left out."""
    unit = "TOP/s" if record.integer else "TFLOP/s"
    heads = (
        "#", "rung", f"measured {unit}", "time", "x before", "x baseline", "registers", "spills", "shared B",
        f"predicted {unit}", "verdict", "assembler",
    )  # fmt: skip
    rows: list[Row] = []
    before: float | None = None
    for number, rung in enumerate(record.rungs, start=1):
        rows.append((str(number), rung.name, *figures(record, rung, before), verdict(rung), "; ".join(rung.notes)))
        before = rung.seconds or before
    kept = [n for n in range(len(heads)) if any(row[n] for row in rows)]
    return tuple(heads[n] for n in kept), tuple(tuple(row[n] for n in kept) for row in rows)


def figures(record: LadderRecord, rung: RungRecord, before: float | None) -> Row:
    """A rung's numbers, from the rate to the prediction; `before`: seconds of the timed rung below."""
    seconds = rung.seconds
    return (
        f"{record.flops / seconds / 1e12:.3g}" if seconds else "",
        duration(seconds) if seconds else "",
        f"{before / seconds:.2f}" if seconds and before else "",
        f"{rung.baseline / seconds:.3f}" if seconds and rung.baseline else "",
        *("" if value is None else str(value) for value in (rung.registers, rung.spills, rung.shared_bytes)),
        f"{rung.predicted / 1e12:.0f}" if rung.predicted else "",
    )


def verdict(rung: RungRecord) -> str:
    """What came of a rung, in a word or a line."""
    if rung.skipped:
        return f"skipped: {rung.skipped}"
    if rung.reason:
        return f"{rung.outcome.split(':')[0]}: {rung.reason}"
    return ("emulated, " if rung.word == "emulated" else "") + rung.outcome.split(": ")[0]


def step(rung: RungRecord) -> Iterator[str]:
    """What a rung is: its change of the schedule, and why."""
    yield rung.name + (f": {cut(verdict(rung), 200)}" if rung.reason else "")
    if not rung.changes:
        yield ", ".join(f"{name}={value}" for name, value in rung.knobs.items())
    yield from (f"  {change}" for change in rung.changes)
    yield from rung.why
