"""Changes the sizes of a program: which dimensions are one size follows from the indexing maps of its ops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lowering.core import UserError
from lowering.program import Contract, Input, Map, Node, Program, sources

Key = tuple[Any, ...]  # (node's id, dimension) or ("loop", loop of the contraction)


@dataclass
class Groups:
    """Union-find over dimensions."""

    parent: dict[Key, Key] = field(default_factory=dict)

    def find(self, key: Key) -> Key:
        """The representative of a dimension's group."""
        while (above := self.parent.get(key, key)) != key:
            key = above
        return key

    def join(self, first: Key, second: Key) -> None:
        """Makes two dimensions one size."""
        self.parent[self.find(first)] = self.find(second)


def groups(program: Program) -> Groups:
    """Which dimensions of which tensors are one size, and which loops of the contraction give it."""
    found = Groups()
    for node in program.nodes:
        if isinstance(node, Map):
            pairs = [(each, where, (id(node),)) for each, where in zip(node.inputs, node.positions, strict=True)]
        elif isinstance(node, Contract):
            start = () if node.start is None else (node.start,)
            a, b, c = node.positions
            tensors = zip((node.a, node.b, node, *start), (a, b, c, *(c for _ in start)), strict=True)
            pairs = [(each, where, ("loop",)) for each, where in tensors]
        else:
            pairs = []
        for each, where, prefix in pairs:
            for dim, position in enumerate(where):
                if position is not None:
                    found.join((id(each), dim), (*prefix, position))
    return found


def ties(program: Program) -> list[set[int]]:
    """The loops of the contraction that the program makes one size, group by group."""
    found, by_root = groups(program), dict[Key, set[int]]()
    for loop in range(len(program.contract.sizes)):
        by_root.setdefault(found.find(("loop", loop)), set()).add(loop)
    return list(by_root.values())


def resized(program: Program, loops: Mapping[int, int]) -> Program:
    """The program with some loops of its contraction at other sizes. Raises UserError where they contradict."""
    found = groups(program)
    wanted: dict[Key, int] = {}
    for loop, size in loops.items():
        if wanted.setdefault(found.find(("loop", loop)), size) != size:
            raise UserError(
                "the program uses one tensor in two places that make these sizes equal: they must not differ"
            )
    made: dict[int, Node] = {}
    for node in program.nodes:
        kept = node.shape
        shape = tuple(wanted.get(found.find((id(node), dim)), size) for dim, size in enumerate(kept))
        if isinstance(node, Map):
            made[id(node)] = replace(node, inputs=tuple(made[id(each)] for each in sources(node)), shape=shape)
        elif isinstance(node, Contract):
            sizes = tuple(wanted.get(found.find(("loop", loop)), size) for loop, size in enumerate(node.sizes))
            parts = (*(made[id(each)] for each in sources(node)), None)
            made[id(node)] = replace(node, a=parts[0], b=parts[1], start=parts[2], sizes=sizes)
        else:
            made[id(node)] = replace(node, shape=shape)
    inputs = tuple(each for node in program.inputs if isinstance(each := made[id(node)], Input))
    return Program(inputs, tuple(made[id(node)] for node in program.outputs))
