"""`lower report`: a run, a graph, a bisection or a ladder again, from its record alone."""

from __future__ import annotations

from pathlib import Path

from lowering import bisect_record, bisect_report, graph_record, graph_report, ladder_record, ladder_report, report
from lowering.store import latest


def main(run: str, runs: Path, form: str) -> int:
    """Prints a report as text, markdown or json; the exit code is that of the command that made it.

    `last` is what was finished last, a run, a graph, a bisection or a ladder.
    """
    if run == "last" and (newest := latest(runs)) is not None:
        run = str(newest)
    for folder in (runs / run, Path(run)):
        if graph_record.is_graph(folder):
            return graph(folder, form)
        if (folder / bisect_record.FILE).is_file():
            return bisection(folder, form)
        if (folder / ladder_record.FILE).is_file():
            return ladder(folder, form)
    return report.main(run, runs, form)


def graph(folder: Path, form: str) -> int:
    """A graph's report."""
    record = graph_record.read(folder)
    forms = {"text": graph_report.text, "markdown": graph_report.markdown}
    print(forms[form](record) if form in forms else graph_record.as_json(record).decode())
    return graph_report.exit_code(record)


def bisection(folder: Path, form: str) -> int:
    """A bisection's report."""
    record = bisect_record.read((folder / bisect_record.FILE).read_text())
    forms = {"text": bisect_report.text, "markdown": bisect_report.markdown, "json": bisect_record.as_json}
    print(forms[form](record))
    return bisect_report.exit_code(record)


def ladder(folder: Path, form: str) -> int:
    """A ladder's report."""
    record = ladder_record.read(folder)
    forms = {"text": ladder_report.text, "markdown": ladder_report.markdown, "json": ladder_record.as_json}
    print(forms[form](record))
    return ladder_report.exit_code(record)
