"""What a terminal shows while a pass graph is made: a bar with rate, states, merges and the time left."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from lowering.explore import Progress as Walk

DRAW_SECONDS = 0.1


class Bar:
    """One bar on stderr, for one stage after the other; silent where stderr is no terminal. A context manager."""

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
        left = self.left(count, (self.progress.tasks[0].total or 0) - count)
        self.progress.update(self.task, completed=count, note=f"{left} left" if count else "")

    def explored(self, walk: Walk) -> None:
        """Where an exploration is; the bar is that of its level."""
        if not self.shown or time.monotonic() - self.drawn < DRAW_SECONDS:
            return
        self.drawn, self.first = time.monotonic(), self.first or walk.edges
        done = walk.edges - self.first
        rate = done / max(self.drawn - self.began, 1e-9)
        note = f"{rate:,.0f} edges/s, {walk.states:,} states, {walk.merges:,} merges, level done in "
        note += self.left(walk.tried, walk.left - walk.tried)
        name = f"{self.name}, level {walk.level}"
        self.progress.update(self.task, completed=walk.tried, total=walk.left, description=name, note=note)

    def left(self, done: int, rest: float) -> str:
        """The time that the rest takes at the pace of the stage so far."""
        if not done:
            return "?"
        seconds = (time.monotonic() - self.began) / done * max(rest, 0)
        return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
