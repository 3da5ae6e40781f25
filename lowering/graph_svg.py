"""A pass graph as a picture: one SVG file that needs nothing beside it, with the passes as tooltips.

The root is on top and each band is one pass further down. An edge leaves a state below and enters the next from above.
Of a large graph the ways to the end states and to miscompiles are drawn first, then what was found first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise

from lowering.graph import KINDS
from lowering.graph_layout import Band, Layout, layout
from lowering.graph_legend import STYLE, binary_says, counted, legend, paint
from lowering.graph_view import Arc, Node, View, short, xml
from lowering.report import cut

MOST = 1500  # states that are drawn
LEFT, TOP, RIGHT, BOTTOM = 136, 104, 350, 24  # pixels around the bands
LINE = 22  # from one line of the legend to the next
LONGEST = 32  # characters of a pass beside its edge
WIDE = 7.5  # pixels of one of them, at most on average
TIP = 300  # and of one in a tooltip
TITLE = 140  # and of a line below the title
NAMED = 12  # miscompiles with their pass beside them


@dataclass(frozen=True)
class Drawing:
    """What is drawn, and where. `way`: the emphasised edges, from the root, with the pass of each."""

    view: View
    nodes: Mapping[int, Node]
    arcs: Sequence[Arc]
    layout: Layout
    way: Mapping[tuple[int, int], str]

    @property
    def width(self) -> float:
        return LEFT + self.layout.width + RIGHT

    def x(self, state: int) -> float:
        """Where a state stands from the left."""
        return self.layout.at[state][0] + LEFT

    def y(self, state: int) -> float:
        """Where a state stands from the top."""
        return self.layout.at[state][1] + TOP


def as_svg(view: View, most: int = MOST) -> Iterator[str]:
    """The picture, with at most so many states."""
    drawing = draw(view, most)
    rows = legend(view, list(drawing.nodes.values()), drawing.arcs, bool(drawing.way))
    height = TOP + max(drawing.layout.height, LINE * (len(rows) + 1)) + BOTTOM
    size = f'width="{drawing.width:.0f}" height="{height:.0f}" viewBox="0 0 {drawing.width:.0f} {height:.0f}"'
    yield f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n<style>{STYLE}</style>\n'
    yield '<rect width="100%" height="100%" fill="#ffffff"/>\n'
    yield from header(drawing)
    yield from chain.from_iterable(band_lines(drawing, band) for band in drawing.layout.bands)
    yield from edges(drawing)
    yield from (circle(drawing, node) for node in drawing.nodes.values())
    yield from labels(drawing)
    for i, (mark, text) in enumerate(rows):
        yield f'<g transform="translate({drawing.width - RIGHT + 28:.0f},{TOP + 20 + LINE * i})">{mark}{text}</g>\n'
    yield "</svg>\n"


def draw(view: View, most: int) -> Drawing:
    """Chooses what is drawn, and places it."""
    states = chosen(view, most)
    arcs = [arc for state in states for arc in view.arcs_of(state) if arc.target in states]
    nodes = {state: view.node(view.graph.state(state)) for state in states}
    best = [state for each in view.ranked[:1] for state in view.way(view.nearest(each.states))]
    way = {(a, b): nodes[b].state.via for a, b in pairwise(best) if b in nodes}
    return Drawing(view, nodes, arcs, layout({s: view.depths[s] for s in states}, arcs), way)


def chosen(view: View, most: int) -> dict[int, None]:
    """The states that are drawn, each with those on the way to it: the most telling first, then the first found."""
    binaries, marked = view.ranked, view.miscompiles.values()
    first = [view.nearest(each.states) for each in binaries]
    faults = [state for each in marked for state in (each.source, each.target)]
    ends = (state for each in binaries for state in each.states)
    kept: dict[int, None] = {}
    for state in chain(first[:1], faults, first[1:], ends, range(1, len(view.graph) + 1)):
        new = [each for each in view.way(state) if each not in kept]
        if len(kept) + len(new) <= most:
            kept.update(dict.fromkeys(new))
        if len(kept) == most:
            break
    return dict.fromkeys(sorted(kept))


# --- the text around -------------------------------------------------------------------------------------------------


def header(drawing: Drawing) -> Iterator[str]:
    """What graph it is, how large, and what of it is not drawn."""
    record, graph = drawing.view.record, drawing.view.graph
    states, tried = graph.count()
    counts = ", ".join(f"{number:,} {kind}" for kind in KINDS if (number := record.edges.get(kind)))
    lines = [record.plan, f"{states:,} states and {tried:,} edges ({counts}); only the active ones are drawn"]
    if (drawn := len(drawing.nodes)) < states:
        left = f"{drawn:,} states are drawn, {states - drawn:,} are left out"
        lines.append(f"{left}: drawn first are the ways to end states and to miscompiles")
    yield f'<text class="title" x="24" y="36">Pass graph of {xml(record.problem.name)} on {xml(record.target)}</text>\n'
    for i, line in enumerate(lines):
        yield f'<text class="soft" x="24" y="{57 + 17 * i}">{xml(cut(line, TITLE))}</text>\n'


def band_lines(drawing: Drawing, band: Band) -> Iterator[str]:
    """The ground of a band, with its depth and the number of states."""
    top, height = TOP + band.top, band.bottom - band.top
    total = sum(depth == band.depth for depth in drawing.view.depths)
    states = counted(total, "state") if band.count == total else f"{band.count:,} of {counted(total, 'state')}"
    named = counted(band.depth, "pass") if band.depth else "the problem"
    middle = top + height / 2
    place = f'x="16" y="{top:.1f}" width="{drawing.width - RIGHT:.1f}" height="{height:.1f}"'
    yield f'<rect class="band" {place} rx="8"/>\n'
    yield f'<text x="28" y="{middle - 2:.1f}">{named}</text>\n'
    yield f'<text class="soft" x="28" y="{middle + 14:.1f}">{states}</text>\n'


# --- states and edges ------------------------------------------------------------------------------------------------


def edges(drawing: Drawing) -> Iterator[str]:
    """All edges: the plain ones, then the emphasised, then the miscompiles, so that these are on top."""
    faint = max(0.3, min(0.9, 18 / (len(drawing.arcs) ** 0.5 + 1)))
    kinds: dict[str, list[str]] = {"edge": [], "way": [], "miscompile": []}
    for arc in drawing.arcs:
        kind = "miscompile" if arc.miscompiles else "way" if (arc.source, arc.target) in drawing.way else "edge"
        title = f"<title>{xml(arc_tip(arc))}</title>"
        kinds[kind].append(f'<path class="{kind}" {ends(arc)} {curve(drawing, arc)}>{title}</path>\n')
    yield arrow(drawing.layout.scale.radius, faint)
    yield f'<g stroke-opacity="{faint:.2f}">\n'
    yield from kinds["edge"]
    yield "</g>\n"
    yield from chain(kinds["way"], kinds["miscompile"])


def arrow(radius: float, faint: float) -> str:
    """The head of an edge that does not lead down."""
    box = 'viewBox="0 0 8 8" refX="8" refY="4" markerUnits="userSpaceOnUse" orient="auto"'
    size = f'markerWidth="{3 + radius / 3:.1f}" markerHeight="{3 + radius / 3:.1f}"'
    head = f'<path class="head" d="M0 0L8 4L0 8Z" fill-opacity="{faint:.2f}"/>'
    return f'<defs><marker id="arrow" {box} {size}>{head}</marker></defs>\n'


def ends(arc: Arc) -> str:
    """The states of an edge, for who reads the file."""
    return f'data-from="{arc.source}" data-to="{arc.target}"'


def curve(drawing: Drawing, arc: Arc) -> str:
    """From below the source to above the target; aside: hanging below both; up: around their right."""
    scale, depths = drawing.layout.scale, drawing.view.depths
    x, y, to_x, to_y = drawing.x(arc.source), drawing.y(arc.source), drawing.x(arc.target), drawing.y(arc.target)
    r, further = scale.radius, depths[arc.target] - depths[arc.source]
    if further > 0:
        middle = (y + to_y) / 2
        return f'd="{bezier(x, y + r, x, middle, to_x, middle, to_x, to_y - r)}"'
    if further == 0:
        low = max(y, to_y) + r + 0.4 * scale.gap
        return f'd="{bezier(x, y + r, x, low, to_x, low, to_x, to_y + r)}" marker-end="url(#arrow)"'
    right = max(x, to_x) + scale.step
    return f'd="{bezier(x + r, y, right, y, right, to_y, to_x + r, to_y)}" marker-end="url(#arrow)"'


def bezier(*at: float) -> str:
    """A path of one cubic curve, by its four points."""
    x, y, *rest = (f"{value:.1f}" for value in at)
    return f"M{x} {y}C{' '.join(rest)}"


def circle(drawing: Drawing, node: Node) -> str:
    """A state, with its number where there is room."""
    number, radius = node.state.id, drawing.layout.scale.radius
    kinds = {
        "root": number == 1,
        "end": node.binary is not None,
        "failed": node.failure != "",
        "on-way": any(number in pair for pair in drawing.way),
        "wrong": node.wrong != "",
    }
    kind = " ".join(("state", *(name for name, holds in kinds.items() if holds)))
    x, y = drawing.x(number), drawing.y(number)
    fill = drawing.view.colours[node.binary.digest] if node.binary else ""
    title = f"<title>{xml(node_tip(drawing.view, node))}</title>"
    text = f'<text class="number" x="{x:.1f}" y="{y + 4:.1f}">{number}</text>' if radius > 10 else ""
    place = f'cx="{x:.1f}" cy="{y:.1f}" r="{radius}"'
    return f'<circle id="s{number}" class="{kind}" {place}{paint(fill)}>{title}</circle>{text}\n'


def labels(drawing: Drawing) -> Iterator[str]:
    """The passes along the emphasised way, and those of the first miscompiles."""
    for pair, text in drawing.way.items():
        yield label(drawing, pair, text, "pass", (0.5, 0.5))
    faults = (each for arc in drawing.arcs for each in arc.miscompiles)
    for each in islice(faults, NAMED):
        yield label(drawing, (each.source, each.target), each.text, "pass fault", (0.72, 0.62))


def label(drawing: Drawing, pair: tuple[int, int], text: str, kind: str, along: tuple[float, float]) -> str:
    """A pass beside its edge, so far along it: outside, where there are fewer edges, if it fits there."""
    (x, y), (to_x, to_y) = ((drawing.x(state), drawing.y(state)) for state in pair)
    x, y = x + along[0] * (to_x - x), y + along[1] * (to_y - y) + 4
    shown = text if len(text) <= LONGEST else cut(short(text), LONGEST)
    left = x < LEFT + drawing.layout.width / 2 and x - 10 > len(shown) * WIDE
    anchor, x = ("end", x - 10) if left else ("start", x + 10)
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{xml(shown)}</text>\n'


def node_tip(view: View, node: Node) -> str:
    """What is said of a state where it is pointed at."""
    state, binary = node.state, node.binary
    failed = sum(edge.kind == "failed" for edge in view.graph.edges_of(state.id).values())
    lines = [f"state {state.id}, {state.digest[:12]}, {state.bytes:,} bytes", " ".join(node.dialects)]
    if failed:
        lines.append(f"{counted(failed, 'pass')} failed here")
    if binary:
        lines.append(f"binary {binary.digest[:8]}, {binary_says(binary)}")
    if node.failure:
        lines.append(f"no binary: {node.failure}")
    if node.wrong:
        lines.append(f"WRONG: {node.wrong}")
    steps = [cut(text, TIP) for text in view.graph.path(state.id)]
    return "\n".join((*lines, "", *(f"{i}. {text}" for i, text in enumerate(steps, start=1)))).strip()


def arc_tip(arc: Arc) -> str:
    """What is said of an edge where it is pointed at."""
    faults = [f"MISCOMPILE: {each.text}: {each.reason}" for each in arc.miscompiles]
    return "\n".join((f"{arc.source} -> {arc.target}", *(cut(text, TIP) for text in arc.passes), *faults))
