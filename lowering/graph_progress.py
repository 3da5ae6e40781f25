"""What a terminal shows while a pass graph is made: a bar with rate, states, merges and the time left."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from lowering.explore import Progress as Walk

DRAW_SECONDS, LINE_SECONDS = 0.1, 10.0


class Bar:
    """One bar on stderr, for one stage after the other; a line now and then where that is no terminal.

    A context manager.
    """

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self.progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self.shown = sys.stderr.isatty()
        self.task = self.progress.add_task("", total=None, note="")
        self.began = self.drawn = time.monotonic()
        self.first = 0
        self.name = "exploring"

    def __enter__(self) -> Bar:
        if self.shown:
            self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.shown:
            self.progress.stop()

    def begin(self, name: str, total: int) -> None:
        """A new stage of `total` items; 0 where that is not known."""
        self.name, self.began, self.first = name, time.monotonic(), 0
        self.progress.reset(self.task, total=total or None, description=name, note="")

    def done(self, count: int) -> None:
        """How many items of the stage are done."""
        total = int(self.progress.tasks[0].total or 0)
        left = self.left(count, total - count)
        self.show(self.name, count, total, f"{left} left" if count else "")

    def explored(self, walk: Walk) -> None:
        """Where an exploration is; the bar is that of its level."""
        self.first = self.first or walk.edges
        rate = (walk.edges - self.first) / max(time.monotonic() - self.began, 1e-9)
        note = f"{rate:,.0f} edges/s, {walk.states:,} states, {walk.merges:,} merges, level done in "
        note += self.left(walk.tried, walk.left - walk.tried)
        self.show(f"{self.name}, level {walk.level}", walk.tried, walk.left, note)

    def show(self, name: str, done: int, total: int, note: str) -> None:
        """Draws the bar, or says the same in a line, where that was not done just now."""
        now = time.monotonic()
        if now - self.drawn < (DRAW_SECONDS if self.shown else LINE_SECONDS):
            return
        self.drawn = now
        self.progress.update(self.task, completed=done, total=total or None, description=name, note=note)
        if not self.shown:
            print(f"{name}: {done:,} of {total:,}, {note}", file=sys.stderr, flush=True)

    def left(self, done: int, rest: float) -> str:
        """The time that the rest takes at the pace of the stage so far."""
        if not done:
            return "?"
        seconds = (time.monotonic() - self.began) / done * max(rest, 0)
        return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
