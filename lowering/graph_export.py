"""A pass graph for other tools: JSON, GraphML, DOT, and a picture. No form holds the states' texts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import networkx as nx

from lowering import graph_record, graph_svg
from lowering.core import UserError
from lowering.graph import Graph
from lowering.graph_record import GraphRecord
from lowering.graph_view import RED, Arc, Node, View, short, valid


def check_name(file: str) -> None:
    """Raises UserError for a name whose suffix is no form that a graph has, or whose folder is not there."""
    path = Path(file)
    if path.suffix not in FORMS:
        raise UserError(f"cannot export to '{file}': its name has to end in {', '.join(FORMS)}")
    if not path.parent.is_dir():
        raise UserError(f"cannot export to '{file}': there is no folder '{path.parent}'; make it first")


def export(graph: Graph, record: GraphRecord, file: Path) -> None:
    """Writes the form that the suffix names; the file appears whole or not at all. Raises UserError where it cannot."""
    check_name(str(file))
    part = file.with_name(f"{file.name}.part")
    try:
        with part.open("w", encoding="utf-8") as out:
            out.writelines(FORMS[file.suffix](View(graph, record)))
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UserError(f"cannot write '{file}': {error.strerror}") from None


# --- JSON ------------------------------------------------------------------------------------------------------------


def as_json(view: View) -> Iterator[str]:
    """An object, one state, edge or failure a line:

    record    as graph.json has it
    passes    the texts of all passes; `via` and an edge's second entry are places in it, counted from 0
    states    `parent` and `via` are the first edge that led there, none for the root; what is not known is left out
    edges     [source, pass, kind, target]; the target is null where the pass failed
    failures  [source, pass, class, reason]
    """
    passes = sorted({text for text, *_ in view.graph.outcomes()})
    place = {text: i for i, text in enumerate(passes)}
    yield f'{{"record": {graph_record.as_json(view.record).decode().strip()},\n"passes": {json.dumps(passes)},\n'
    yield from array("states", (state_json(node, place) for node in view.nodes()))
    yield ",\n"
    edges = view.graph.edges
    yield from array("edges", ([edge.source, place[edge.text], edge.kind, edge.target] for edge in edges()))
    yield ",\n"
    failed = ((edge, edge.fell) for edge in edges() if edge.fell is not None)
    yield from array("failures", ([e.source, place[e.text], fell.kind, fell.reason] for e, fell in failed))
    yield "}\n"


def array(name: str, rows: Iterator[Any]) -> Iterator[str]:
    """A member of the object, one row a line."""
    yield f'"{name}": ['
    for i, row in enumerate(rows):
        yield f"{',' if i else ''}\n{json.dumps(row)}"
    yield "]"


def state_json(node: Node, place: dict[str, int]) -> dict[str, Any]:
    """A state's row."""
    state = node.state
    row: dict[str, Any] = {"id": state.id, "digest": state.digest, "normal": state.normal, "bytes": state.bytes}
    row |= {"depth": node.depth, "dialects": node.dialects}
    if state.parent is not None:
        row |= {"parent": state.parent, "via": place[state.via]}
    return row | outcome(node)


def outcome(node: Node) -> dict[str, Any]:
    """What became of a state, as far as that is known; `seconds` are measured."""
    binary = node.binary
    found = {"failure": node.failure, "wrong": node.wrong, "binary": binary.digest if binary else ""}
    found |= {"outcome": binary.outcome if binary else "", "seconds": binary.seconds if binary else None}
    return {name: value for name, value in found.items() if value not in ("", None)}


# --- GraphML ---------------------------------------------------------------------------------------------------------


def as_graphml(view: View) -> Iterator[str]:
    """The states and the active edges, for networkx, Gephi and yEd: one edge between two states, its passes in a list.

    `kind` is `active` or `miscompile`; `passes` are apart by a line break, as a pass's text has commas.
    """
    found: nx.DiGraph = nx.DiGraph(name=view.record.name)
    for node in view.nodes():
        state = node.state
        row = {"digest": state.digest, "bytes": state.bytes, "depth": node.depth, "dialects": " ".join(node.dialects)}
        found.add_node(state.id, **row, end=node.binary is not None or bool(node.failure), **outcome(node))
    for arc in view.arcs():
        kind = "miscompile" if arc.miscompiles else "active"
        found.add_edge(arc.source, arc.target, passes="\n".join(arc.passes), kind=kind)
    yield from (f"{valid(line)}\n" for line in nx.generate_graphml(found))


# --- DOT -------------------------------------------------------------------------------------------------------------


def as_dot(view: View) -> Iterator[str]:
    """The states and the active edges for Graphviz. A state shows the dialects that not every one has, rarest first."""
    seen = Counter(name for node in view.nodes() for name in node.dialects)
    yield f'digraph {quoted(view.record.name)} {{\n  rankdir=TB\n  edge [fontname="Helvetica", fontsize=9]\n'
    yield '  node [shape=box, style="rounded,filled", fillcolor=white, fontname="Helvetica", fontsize=10]\n'
    for node in view.nodes():
        telling = sorted((name for name in node.dialects if seen[name] < len(view.graph)), key=lambda n: (seen[n], n))
        fill = {"fillcolor": view.colours[node.binary.digest]} if node.binary else {}
        label = {"label": f"{node.state.id}\n{' '.join(telling[:3])}".strip(), "tooltip": node.state.digest[:12]}
        yield f"  {node.state.id} [{attributes(label | fill)}]\n"
    yield from (f"  {arc.source} -> {arc.target} [{attributes(arc_row(arc))}]\n" for arc in view.arcs())
    yield "}\n"


def arc_row(arc: Arc) -> dict[str, str]:
    """How an edge is drawn."""
    row = {"label": "\n".join(dict.fromkeys(map(short, arc.passes))), "tooltip": "\n".join(arc.passes)}
    return row | ({"color": RED, "fontcolor": RED, "penwidth": "2"} if arc.miscompiles else {})


def attributes(row: dict[str, str]) -> str:
    """`label="...", color="..."`"""
    return ", ".join(f"{name}={quoted(value)}" for name, value in row.items())


def quoted(text: str) -> str:
    """A text between quotes: a backslash begins an escape, and a line break is one."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


FORMS: dict[str, Callable[[View], Iterator[str]]] = {
    ".json": as_json,
    ".graphml": as_graphml,
    ".dot": as_dot,
    ".svg": graph_svg.as_svg,
}
