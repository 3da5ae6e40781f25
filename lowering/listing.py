"""`lower targets` and `lower passes`: what there is to choose from."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any, get_args, get_type_hints

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from lowering import targets as chips
from lowering.core import Pass, UserError, kebab, option_text
from lowering.passes import pipeline
from lowering.passes.table import PASSES, TABLE
from lowering.passes.upstream import Upstream
from lowering.targets.families import FAMILIES


def targets() -> int:
    """Prints the chips and what can run their binaries on this machine."""
    table = plain_table("target", "family", "chip", "on this machine")
    for name in chips.names():
        target = chips.load(name)
        table.add_row(name, target.family, chips.description(name)["about"], runs_here(target.family))
    show(table)
    return 0


def runs_here(family: str) -> str:
    """'built and run (cpu, measured)', or 'built, not run: <why>'."""
    reasons: list[str] = []
    for executor in FAMILIES[family].executors:
        reason = executor.unavailable()
        if reason is None:
            return f"built and run ({executor.name}, {executor.word})"
        reasons.append(reason)
    return f"built, not run: {'; '.join(reasons)}"


def passes(name: str) -> int:
    """Prints all passes, or one with its docstring and options. Raises UserError for an unknown name."""
    if name:
        show(one_pass(name))
        return 0
    ours = plain_table("ours", "what it does")
    for cls in TABLE:
        ours.add_row(cls.name, first_sentence(cls))
    theirs = plain_table("upstream", "what it does; [op]: what it must be anchored on")
    for known, summary in pipeline.upstream_names().items():
        theirs.add_row(known, Text(summary))
    show(ours, theirs)
    return 0


def one_pass(name: str) -> Text:
    """The description of a pass: ours from its file's and class's docstrings, upstream's from MLIR."""
    if name in PASSES:
        return own_pass(PASSES[name])
    if name not in pipeline.upstream_names():
        known = (*PASSES, *pipeline.upstream_names())
        raise UserError(f"there is no pass '{name}'{pipeline.nearest(name, known)} (`lower passes` lists them)")
    return upstream_pass(name)


def own_pass(cls: type[Pass]) -> Text:
    """Text of one of our passes: what its file says, what its class says, its options."""
    module = inspect.getdoc(inspect.getmodule(cls)) or ""
    hints = get_type_hints(cls)
    rows = [(kebab(f.name), spelt(hints[f.name]), default(f)) for f in dataclasses.fields(cls)]
    return Text(f"{cls.name}\n\n{module}\n\n{inspect.getdoc(cls) or ''}\n{options(rows)}")


def upstream_pass(name: str) -> Text:
    """Text of an upstream pass: its summary, where it can stand, its options with their defaults."""
    summary = pipeline.upstream_names()[name]
    anchor = summary.rpartition("[")[2].rstrip("]") if summary.endswith("]") else ""
    found = pipeline.printed_options(str(Upstream(name, (), (anchor,) if anchor else ())), name)
    if found is None:
        return Text(f"{name} (upstream)\n\n{summary}\n\nA pipeline: it expands to several passes.")
    return Text(f"{name} (upstream)\n\n{summary}\n{options([(key, '', value) for key, value in found.items()])}")


def options(rows: list[tuple[str, str, str]]) -> str:
    """Option lines: name, type, default."""
    if not rows:
        return "\nNo options."
    lines = (f"  {name:<28}{kind:<24}{f'default {value}' if value else ''}".rstrip() for name, kind, value in rows)
    return "\nOptions:\n" + "\n".join(lines)


def default(field: dataclasses.Field[Any]) -> str:
    """An option's default as it would be typed; empty where it must be given."""
    if field.default is dataclasses.MISSING:
        return "none: it must be given" if field.default_factory is dataclasses.MISSING else "()"
    return option_text(field.default) or "()"


def spelt(hint: Any) -> str:
    """A field's type in words."""
    if isinstance(hint, type) and not get_args(hint):
        return {"int": "integer", "bool": "true|false", "str": "text", "float": "number"}.get(
            hint.__name__, hint.__name__
        )
    if getattr(hint, "__origin__", None) is tuple:
        return f"list of {spelt(get_args(hint)[0])}s"
    return "|".join(spelt(arg) if isinstance(arg, type) else str(arg) for arg in get_args(hint))


def first_sentence(cls: type[Pass]) -> str:
    """The first sentence of a class's docstring."""
    return " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split()).split(". ")[0].rstrip(".")


def plain_table(*columns: str) -> Table:
    """A table without a frame; the first column is never wrapped."""
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    table.columns[0].no_wrap = True
    return table


def show(*parts: RenderableType) -> None:
    """Prints tables and texts; as wide as the terminal, or as wide as they are where stdout is no terminal."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 400
    with console.capture() as captured:  # rich would end the process itself on a closed pipe
        console.print(*parts, sep="\n")
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))
