"""Where the states of a drawing stand: one band for each depth, the root on top, few edges crossing.

Within a band the order is that of the barycentre method (Sugiyama, Tagawa and Toda, 'Methods for Visual Understanding
of Hierarchical System Structures', 1981). A band of more states than fit in a row has several rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from lowering.graph_view import Arc

NARROWEST, WIDEST = 320.0, 1200.0  # pixels of a row
LOWEST = 40.0  # and of a band: room for its two lines of text
SWEEPS = 6


@dataclass(frozen=True)
class Scale:
    """How large things are drawn, in pixels: a state, from one to the next, from band to band."""

    radius: float
    step: float
    gap: float


SCALES = ((20, Scale(13, 60, 70)), (46, Scale(7, 26, 80)), (10**9, Scale(3.6, 11, 100)))  # up to so many in a band
DEEP = 12  # bands, above which they are nearer to each other


@dataclass(frozen=True)
class Band:
    """The states of one depth: where they begin and end, and how many there are."""

    depth: int
    top: float
    bottom: float
    count: int


@dataclass(frozen=True)
class Layout:
    """The place of each state, with the origin at the top left of the widest band."""

    at: Mapping[int, tuple[float, float]]
    bands: tuple[Band, ...]
    scale: Scale
    width: float
    height: float


def layout(depths: Mapping[int, int], arcs: Iterable[Arc]) -> Layout:
    """Places the states, given by their depth, between which there are these arcs."""
    layers = ordered(depths, arcs)
    widest = max(map(len, layers))
    scale = next(scale for most, scale in SCALES if widest <= most)
    gap = scale.gap if len(layers) <= DEEP else scale.gap / 2
    fit = int(WIDEST // scale.step)
    width = max(NARROWEST, scale.step * min(widest, fit))
    at: dict[int, tuple[float, float]] = {}
    bands: list[Band] = []
    top = gap / 4
    for depth, layer in enumerate(layers):
        rows = -(-len(layer) // fit)
        columns = -(-len(layer) // rows)
        height = max(LOWEST, rows * scale.step + 8)
        left = (width - columns * scale.step) / 2
        for i, state in enumerate(layer):
            column, row = divmod(i, rows)
            shift = 0.5 if rows == 1 else 0.25 + 0.5 * (row % 2)
            at[state] = (left + (column + shift) * scale.step, top + height / 2 + (row + 0.5 - rows / 2) * scale.step)
        bands.append(Band(depth, top, top + height, len(layer)))
        top += height + gap
    return Layout(at, tuple(bands), scale, width, top - gap * 3 / 4)


def ordered(depths: Mapping[int, int], arcs: Iterable[Arc]) -> list[list[int]]:
    """The states of each depth from left to right, each near the middle of those that it has edges with."""
    layers: list[list[int]] = [[] for _ in range(max(depths.values()) + 1)]
    for state in sorted(depths):
        layers[depths[state]].append(state)
    above: dict[int, list[int]] = {state: [] for state in depths}
    below: dict[int, list[int]] = {state: [] for state in depths}
    for arc in arcs:
        if depths[arc.target] == depths[arc.source] + 1:
            above[arc.target].append(arc.source)
            below[arc.source].append(arc.target)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for fixed, moved in pairwise(layers if down else layers[::-1]):
            arrange(moved, fixed, above if down else below)
    return layers


def arrange(moved: list[int], fixed: Collection[int], near: Mapping[int, Collection[int]]) -> None:
    """Orders a layer by the mean place of its neighbours in another."""
    place = {state: (i + 0.5) / len(fixed) for i, state in enumerate(fixed)}
    own = {state: (i + 0.5) / len(moved) for i, state in enumerate(moved)}

    def mean(state: int) -> float:
        found = [place[each] for each in near[state]]
        return sum(found) / len(found) if found else own[state]

    moved.sort(key=lambda state: (mean(state), own[state]))
