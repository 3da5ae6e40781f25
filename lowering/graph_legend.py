"""How the states and edges of a drawn pass graph look, and the legend that says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lowering.graph_record import BinaryRecord
from lowering.graph_view import COLOURS, OTHER, RED, Arc, Node, View, xml
from lowering.report import duration

DARK = "#111827"
STYLE = f"""
svg {{ background: #ffffff; font-family: "Helvetica Neue", Helvetica, Arial, "Liberation Sans", sans-serif; }}
text {{ font-size: 13px; fill: {DARK}; }}
.title {{ font-size: 19px; font-weight: 600; }}
.heading {{ font-weight: 600; }}
.soft {{ font-size: 12px; fill: #6b7280; }}
.digest {{ font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: 12px; }}
.band {{ fill: #f4f6f9; }}
.state {{ fill: #ffffff; stroke: #64748b; stroke-width: 1.2; }}
.failed {{ fill: #e2e5ea; stroke: #9ca3af; }}
.end {{ stroke: {DARK}; }}
.root {{ fill: {DARK}; stroke: {DARK}; }}
.on-way {{ stroke: {DARK}; stroke-width: 2.6; }}
.wrong {{ stroke: {RED}; stroke-width: 3; }}
.number {{ font-size: 11px; text-anchor: middle; pointer-events: none; }}
.root + .number {{ fill: #ffffff; }}
.edge {{ fill: none; stroke: #7d8ba0; stroke-width: 1.1; }}
.head {{ fill: #7d8ba0; }}
.way {{ fill: none; stroke: {DARK}; stroke-width: 2.6; }}
.miscompile {{ fill: none; stroke: {RED}; stroke-width: 3.2; }}
.pass {{ font-size: 12.5px; font-weight: 600; stroke: #ffffff; stroke-width: 4px; paint-order: stroke; }}
.pass {{ pointer-events: none; }}
.fault {{ fill: {RED}; }}
.edge:hover {{ stroke: {DARK}; stroke-width: 2; stroke-opacity: 1; }}
.state:hover {{ stroke: {DARK}; stroke-width: 3; }}
"""

Row = tuple[str, str]  # a mark and what it means, as SVG


def legend(view: View, nodes: Sequence[Node], arcs: Sequence[Arc], way: bool) -> list[Row]:
    """The rows for what is drawn. `way`: there is an emphasised one."""
    rows = [(dot("state root"), entry("the problem as it was given"))]
    rows.append((dot("state"), entry("a state; point at it for its passes")))
    rows.append((line("edge"), entry("active passes, down or as the arrow says")))
    if way:
        timed = view.ranked[0].seconds is not None
        which = "the fastest measured binary" if timed else "the binary that most ends give"
        rows.append((line("way"), entry(f"a way to {which}")))
    if view.miscompiles:
        drawn, found = sum(len(arc.miscompiles) for arc in arcs), len(view.miscompiles)
        count = f"{drawn}" if drawn == found else f"{drawn} of {found} drawn"
        rows.append((line("miscompile"), entry(f"miscompile: a pass made it wrong ({count})")))
    if any(node.failure for node in nodes):
        rows.append((dot("state failed"), entry("an end state that gave no binary")))
    return [*rows, *binary_rows(view)]


def binary_rows(view: View) -> Iterator[Row]:
    """The binaries by their colour, with their times where these were measured."""
    ranked = view.ranked
    if not ranked:
        return
    devices = ", ".join(dict.fromkeys(each.device for each in ranked if each.device))
    yield "", ""
    yield "", '<text class="heading" y="4">End states, by their binary</text>'
    yield "", soft(f"{len(view.binaries):,} of {view.record.ends:,} end states were built; their binaries were")
    yield "", soft(f"timed on {devices} where it says measured" if devices else "not timed")
    for colour, each in zip(COLOURS, ranked, strict=False):
        name = f'<text class="digest" x="30" y="4">{xml(each.digest[:8])}</text>'
        yield dot("state end", colour), name + entry(binary_says(each), 100)
    if len(ranked) > len(COLOURS):
        yield dot("state end", OTHER), entry(f"{len(ranked) - len(COLOURS):,} more binaries")


def binary_says(each: BinaryRecord) -> str:
    """What is known of a binary: its time or its verdict, and how many end states give it."""
    known = each.outcome.split(":")[0] or "not run"
    known = f"measured {duration(each.seconds)}" if each.seconds is not None else known
    return f"{known}, {counted(len(each.states), 'end state')}"


def counted(number: int, what: str) -> str:
    """A count with its noun."""
    return f"{number:,} {what}{'' if number == 1 else 'es' if what.endswith('s') else 's'}"


def dot(kind: str, fill: str = "") -> str:
    """A state in the legend."""
    return f'<circle class="{kind}" cx="10" r="7"{paint(fill)}/>'


def line(kind: str) -> str:
    """An edge in the legend."""
    return f'<path class="{kind}" d="M0 0H20"/>'


def entry(text: str, x: int = 30) -> str:
    """The words beside a mark."""
    return f'<text x="{x}" y="4">{xml(text)}</text>'


def soft(text: str) -> str:
    """A remark."""
    return f'<text class="soft" y="2">{xml(text)}</text>'


def paint(fill: str) -> str:
    """A colour that goes before that of the class."""
    return f' style="fill:{fill}"' if fill else ""
