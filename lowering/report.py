"""A record -> what a person reads: the terminal's text, and report.md.

Both come from one list of sections, made from the record alone, so `lower report RUN` needs no compiler and no device.
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lowering.store import KernelRecord, Record, find_run, read_record

LABEL = 10  # columns of the terminal that a section's title takes
DRIFT = 0.1  # of the baseline, above which a ratio says little
CELL = 35  # and what a stage takes
SHORT = 76  # characters of a table's cell
RESOURCES = {
    "vgprs": "VGPR",
    "agprs": "AGPR",
    "sgprs": "SGPR",
    "registers": "registers",
    "spills": "spills",
    "shared_bytes": "shared B",
    "scratch_bytes": "scratch B",
}


@dataclass(frozen=True)
class Section:
    """A heading with lines of prose, a table, or both. A brief one is a single line; `detail` is for report.md only."""

    title: str
    lines: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    detail: bool = False


def main(run: str, runs: Path, form: str) -> int:
    """Prints the report of RUN as text, markdown or json; 1 where that run has nothing valid."""
    record = read_record(find_run(run, runs))
    print({"text": text, "markdown": markdown, "json": as_json}[form](record))
    return exit_code(record)


def exit_code(record: Record) -> int:
    """0 where something valid came out: verified, or built where it cannot be executed; else 1."""
    return 1 if record.failure or record.outcome.startswith("WRONG") else 0


def as_json(record: Record) -> str:
    """The record itself."""
    return record.model_dump_json(indent=1)


def sections(record: Record) -> Iterator[Section]:
    """Everything there is to say about a run, in the order in which it happened."""
    yield Section("problem", tuple(problem(record)))
    yield Section("schedule", tuple(schedule(record)))
    yield from stages(record)
    yield from binary(record)
    yield from verdict(record)
    if record.counted:
        yield Section("emulated", tuple(record.counted))
    if record.predicted:
        yield Section("predicted", tuple(record.predicted))
    yield from time(record)
    yield from failure(record)
    yield Section("files", (f"{record.folder} ({', '.join(files(record))})",))
    yield Section("toolchain", (", ".join(f"{k} {v}" for k, v in record.toolchain.items()),), detail=True)


def problem(record: Record) -> Iterator[str]:
    """The contraction, its types and layout, what else is computed, and notes."""
    p = record.problem
    batch = f"{p.batch}x" if p.batch else ""
    start = "C + " if p.accumulates else ""
    rounded = f", multiplied as {p.multiplied}" if p.multiplied else ""
    epilogue = f"then {', '.join(p.epilogue)}, " if p.epilogue else ""
    yield (
        f"{p.name}: {start}A·B, {batch}{p.m}x{p.n}x{p.k} (MxNxK), layout {p.layout}, "
        f"{p.element} in{rounded}, {p.accumulator} accumulated, {epilogue}{p.output} out"
    )
    yield from p.notes


def schedule(record: Record) -> Iterator[str]:
    """Where the schedule came from, with its knobs."""
    knobs = " ".join(f"{k}={v}" for k, v in sorted((record.knobs or {}).items()))
    chip = f"{record.target} ({record.cpu})" if record.cpu != record.target else record.target
    yield f"{record.proposer}, for {chip}" + (f": {knobs}" if knobs else "")


def stages(record: Record) -> Iterator[Section]:
    """One row a state; the pass that failed, if one did, is the last."""
    rows = [(f"{s.index:02d}", s.text, elapsed(s.seconds), size(s.bytes), s.file) for s in record.stages]
    failed = record.failure
    if failed and failed.step is not None:
        rows.append((f"{failed.step:02d}", failed.pass_text, "failed", "", ""))
    yield Section("stages", (), ("#", "pass", "time", "size", "file"), tuple(rows))
    yield Section("text", (record.schedule,), detail=True)


def binary(record: Record) -> Iterator[Section]:
    """The image and each kernel's resources, as the code object or the assembler gives them."""
    if not record.format:
        return
    spent = {"codegen": "LLVM", "link": "link"}
    took = ", ".join(f"{name} {duration(record.seconds[key])}" for key, name in spent.items() if key in record.seconds)
    yield Section("binary", (f"{record.image}, sha256 {record.image_digest[:12]}" + (f"; {took}" if took else ""),))
    known = [name for name in RESOURCES if any(getattr(k, name) is not None for k in record.kernels)]
    if not known:
        return
    columns = ("kernel", "grid", "block", *(RESOURCES[name] for name in known))
    yield Section("kernels", (), columns, tuple(kernel_row(k, known) for k in record.kernels))
    notes = tuple(f"{k.name}: {note}" for k in record.kernels for note in k.notes)
    if notes:
        yield Section("assembler", notes)


def kernel_row(kernel: KernelRecord, known: list[str]) -> tuple[str, ...]:
    """One kernel's row: name, launch shape, resources."""
    values = (getattr(kernel, name) for name in known)
    return kernel.name, shape(kernel.grid), shape(kernel.block), *("" if v is None else str(v) for v in values)


def verdict(record: Record) -> Iterator[Section]:
    """The verdict in its fixed words, and what it rests on."""
    made = {scope: [c for c in record.checks if c.scope == scope] for scope in ("witness", "full")}
    counted = [f"{len(made['witness'])} checks on the witness {record.problem.witness}"] if made["witness"] else []
    counted += [f"{len(made['full'])} at full size"] if made["full"] else []
    ratios = [c.figure / c.bound for c in record.checks if c.figure is not None and c.bound]
    counted += [f"largest error {max(ratios):.3f} of its bound"] if ratios else []
    prefix = "emulated, " if record.word == "emulated" and record.outcome.startswith("verified") else ""
    lines = [prefix + record.outcome + (f": {', '.join(counted)}" if counted else "")]
    lines += [f"{c.scope}: {c.name}: {c.detail}" for c in record.checks if not c.ok]
    yield Section("verdict", tuple(lines))
    rows = tuple(
        (c.scope, c.name, "ok" if c.ok else "WRONG", number(c.figure), number(c.bound), c.detail) for c in record.checks
    )
    if rows:
        yield Section("checks", (), ("scope", "check", "", "error", "bound", "detail"), rows, detail=True)


def time(record: Record) -> Iterator[Section]:
    """Medians, hot and rotated, beside the baseline that was timed in turn with it."""
    t = record.timing
    if t is None:
        return
    rows = [(f"{record.word}, hot", *timed(record, t.hot, t.hot_samples))]
    rows.append((f"{record.word}, rotated past the last cache", *timed(record, t.rotated, t.rotated_samples)))
    lines = [f"on {t.device}"]
    if t.baseline_hot is not None:
        rows.append((f"{t.baseline_name}, hot", *timed(record, t.baseline_hot, t.baseline_samples)))
        lines.append(f"{t.baseline_hot / t.hot:.2f} times the speed of {t.baseline_name}")
    if t.drift is not None:
        trust = "" if abs(t.drift - 1) < DRIFT else ": the machine was not quiet, so trust the ratio little"
        lines.append(f"the baseline drifted by {100 * (t.drift - 1):+.1f} %{trust}")
    lines = ["; ".join(lines), *feedback(record)]
    yield Section("time", tuple(lines), ("", "median", "rate", "spread", "samples"), tuple(rows))


def feedback(record: Record) -> Iterator[str]:
    """Shares of the roofs, how full the compute units can be, and what binds."""
    f = record.feedback
    if f is None:
        return
    of_peak = f"{f.of_peak:.0%} of the chip's arithmetic, " if f.of_peak is not None else ""
    of_memory = f", {f.of_bandwidth:.0%} of its memory" if f.of_bandwidth is not None else ""
    yield f"{of_peak}{f.bandwidth / 1e9:,.0f} GB/s of the arguments' bytes{of_memory}; bound by {f.binding} (derived)"
    if f.occupancy is not None:
        o = f.occupancy
        yield f"a compute unit holds {o.groups} workgroups, {o.waves} waves, limited by {o.limited_by}"


def timed(record: Record, seconds: float, samples: list[float]) -> tuple[str, str, str, str]:
    """A median with its rate, the spread between the quartiles and the number of samples."""
    rate = record.problem.flops / seconds
    unit = "OP/s" if record.problem.accumulator.startswith("i") else "FLOP/s"
    shown = f"{rate / 1e12:.2f} T{unit}" if rate >= 1e12 else f"{rate / 1e9:.1f} G{unit}"
    if len(samples) < 4:
        return duration(seconds), shown, "", str(len(samples))
    low, _, high = statistics.quantiles(samples, n=4)
    return duration(seconds), shown, f"±{50 * (high - low) / seconds:.1f} %", str(len(samples))


def failure(record: Record) -> Iterator[Section]:
    """Why there is no more, and the one command that shows it again."""
    f = record.failure
    if f is None:
        return
    lines = [f"{f.stage}: {f.kind}" + (f" in {f.pass_text}" if f.pass_text else "") + f": {f.reason}"]
    lines += [f"at {f.where}"] if f.where else []
    lines += [f"the whole message is in {f.log}"] if f.log else []
    lines += [f"again: {f.reproduce}"] if f.reproduce else []
    yield Section("failure", tuple(lines))


def files(record: Record) -> Iterator[str]:
    """What the folder holds: the states as a range, then the rest."""
    states = [name for name in record.files if name[:2].isdigit() and name.endswith(".mlir")]
    yield from ([f"{states[0]} to {states[-1]}"] if len(states) > 1 else states)
    yield from (name for name in record.files if name not in states)
    yield "record.json"
    yield "report.md"


# --- how it is written -----------------------------------------------------------------------------------------------


def text(record: Record, width: int = 0) -> str:
    """The terminal's form: a label in front of each line, tables in aligned columns."""
    width = width or shutil.get_terminal_size((120, 40)).columns
    lines = [f"run {record.run}"]
    for section in sections(record):
        if not section.detail:
            table = grid(record, width) if section.title == "stages" else aligned(section)
            lines += labelled(section.title, [*section.lines, *table])
    return "\n".join(lines)


def text_sections(found: Iterable[Section]) -> Iterator[str]:
    """The terminal's lines of sections, but for the details."""
    for section in found:
        if not section.detail:
            yield from labelled(section.title, [*section.lines, *aligned(section)])


def labelled(title: str, body: list[str]) -> list[str]:
    """Lines with a title in front of the first."""
    return [f"{title if i == 0 else '':<{LABEL}}{line}".rstrip() for i, line in enumerate(body)]


def grid(record: Record, width: int) -> Iterator[str]:
    """The stages in columns, read downwards: the file's name without its suffix, and the time."""
    cells = [(s.file.removesuffix(".mlir") or f"{s.index:02d}-{s.text}", elapsed(s.seconds)) for s in record.stages]
    if record.failure and record.failure.step is not None:
        cells.append((f"{record.failure.step:02d}-{record.failure.pass_text}", "failed"))
    columns = max(1, (width - LABEL) // CELL)
    rows = -(-len(cells) // columns)
    for row in range(rows):
        yield "".join(f"{cut(name, CELL - 10):<{CELL - 10}} {time:>7}  " for name, time in cells[row::rows])


def aligned(section: Section) -> Iterator[str]:
    """A table as lines of equally wide columns, long cells cut."""
    if not section.rows:
        return
    rows = [tuple(cut(cell) for cell in row) for row in (section.columns, *section.rows)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(section.columns))]
    for row in rows if any(section.columns) else rows[1:]:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def markdown(record: Record) -> str:
    """report.md: the same sections as headings, lists and tables, with the details."""
    parts = [f"# Run {record.run}: {record.problem.name} on {record.target}: {record.outcome}", f"    {record.command}"]
    return "\n\n".join((*parts, *markdown_sections(sections(record)))) + "\n"


def markdown_sections(found: Iterable[Section]) -> Iterator[str]:
    """Sections as headings, lists and tables."""
    for section in found:
        yield f"## {section.title.capitalize()}"
        if section.title == "text":
            yield from (f"```\n{line}\n```" for line in section.lines)
        elif section.lines:
            yield "\n".join(f"- {escape(line)}" for line in section.lines)
        if section.rows:
            table = (section.columns, tuple("---" for _ in section.columns), *section.rows)
            yield "\n".join(f"| {' | '.join(escape(cell) for cell in row)} |" for row in table)


def escape(cell: str) -> str:
    """Text that stays text in a Markdown table."""
    return cell.replace("|", "\\|").replace("\n", " ")


def cut(cell: str, most: int = SHORT) -> str:
    """A cell of the terminal."""
    return cell if len(cell) <= most else f"{cell[: most - 1]}…"


def elapsed(seconds: float) -> str:
    """A stage's time; the input takes none."""
    return duration(seconds) if seconds else ""


def duration(seconds: float) -> str:
    """Seconds in a unit that leaves three digits."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1 or unit == "µs":
            return f"{seconds * factor:.3g} {unit}" if seconds * factor < 999.5 else f"{seconds * factor:.0f} {unit}"
    return ""


def size(count: int) -> str:
    """Bytes, with a unit; empty where there are none."""
    return "" if not count else f"{count} B" if count < 10_000 else f"{count / 1000:.0f} kB"


def shape(sizes: tuple[int, int, int] | None) -> str:
    """A launch shape, without trailing ones."""
    if sizes is None:
        return ""
    kept = sizes[: max((i + 1 for i, n in enumerate(sizes) if n != 1), default=1)]
    return "x".join(map(str, kept))


def number(value: float | None) -> str:
    """A figure to three digits."""
    return "" if value is None else f"{value:.3g}"
