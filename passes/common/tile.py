"""Tiles the contraction and everything elementwise around it, as one.

before:  %f = linalg.fill ...
         %r = linalg.matmul ins(%a, %b) outs(%f) : 1024x1024
         %e = linalg.generic {bias} ins(%r, %bias)
after, with tile{mapping=block tile-sizes=128,64}:
         scf.forall (%i, %j) = (0, 0) to (1024, 1024) step (128, 64) {
           %f = linalg.fill ... : 128x64
           %r = linalg.matmul ... : 128x64
           %e = linalg.generic {bias} : 128x64
         } {mapping = [#gpu.block<linear_dim_1>, #gpu.block<linear_dim_0>]}

The last op is tiled and the ops that make its operands are fused into the loops one by one, so a second `tile` makes
tiles of tiles. A `tensor.pad` is left outside: `fold-padding-reads` wants it whole. With `role=sum` it is the sum that
`split-reduction` leaves, and what is around that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar, Literal

from lowering import find, mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.passes.common.chain import Link, consumers, last

SIZES = (128, 64, 32, 16, 8, 4)
MARK = "lower.tile"  # how the script finds the op; gone after the pass


@dataclass(frozen=True)
class Tile(Pass):
    """Tile sizes are those of the contraction's innermost m and n loops; every other parallel loop steps by one.

    `mapping` makes the loops one `scf.forall` over workgroups or threads; without it they are `scf.for`.
    A size of 0 leaves its dimension whole.
    """

    name: ClassVar[str] = "tile"
    tile_sizes: tuple[int, ...]
    mapping: Literal["none", "block", "warp", "thread"] = "none"
    role: str = ""

    def __post_init__(self) -> None:
        if len(self.tile_sizes) != 2 or min(self.tile_sizes) < 0:
            raise ValueError("tile-sizes takes two sizes >= 0: m,n")

    def tile(self) -> tuple[int, int, int]:
        return (self.tile_sizes[0], self.tile_sizes[1], 0)

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """Squares and their neighbours up to the extents of m and n, for every mapping that is not in use yet."""
        found = find.contractions(state)
        if len(found) != 1 or min(find.loop_sizes(found[0])) < 0:
            return
        m, n = inner_extents(found[0])
        for mapping in ("none", "block", "thread") if target.family != "x86" else ("none",):
            for rows, columns in product(SIZES, SIZES):
                whole = mapping == "none" and rows >= m and columns >= n
                if rows <= max(m, 4) and columns <= max(n, 4) and rows <= 4 * columns <= 16 * rows and not whole:
                    yield cls((rows, columns), mapping)

    def apply(self, module: Any) -> None:
        contraction = first(module, self.role)
        links = consumers(contraction)
        root = last(links)
        sizes = loop_tiles(contraction, root, self.tile_sizes)
        if self.mapping == "none":
            extents = find.loop_sizes(root.op)
            sizes = [0 if size >= extent else size for size, extent in zip(sizes, extents, strict=True)]
        if not any(sizes):
            return  # one tile holds everything
        producers = [link.op.operation for link in reversed(links) if link is not root]
        inits = fills(links if self.mapping != "none" else [link for link in links if link is not root])
        marked = [root.op.operation, *producers, *inits]
        with mlir.context():
            for index, op in enumerate(marked):
                op.attributes[MARK] = mlir.ir.IntegerAttr.get(mlir.ir.IntegerType.get_signless(64), index)
        try:
            mlir.transform(module, script(sizes, len(marked), self.mapping))
        finally:
            clear(module)
        mlir.run(module, "canonicalize,cse,canonicalize")


def first(module: Any, role: str) -> Any:
    """The op whose loops are tiled: the contraction, or the one linalg op of a role. Raises PassError."""
    if not role:
        return find.contraction(module)
    ops = [op for op in find.roles(module, role) if op.operation.name.startswith("linalg.")]
    return find.only(ops, f"a linalg op marked {role}", module)


def dims_of(op: Any) -> find.Dims:
    """The loops of a contraction; of a sum, those that index its result, the last two as m and n."""
    if find.is_contraction(op):
        return find.contraction_dims(op)
    *batch, m, n = [dim for dim in find.positions(find.maps(op)[-1]) if dim is not None]
    return find.Dims(tuple(batch), (m,), (n,), find.reduction_dims(op))


def where(op: Any) -> str:
    """An op's location, for an error."""
    return str(op.location)


def fills(links: list[Link]) -> list[Any]:
    """The linalg ops that make what the ops of a chain write into. An scf.for takes its root's whole, from outside."""
    made = {result for link in links for result in link.op.operation.results}
    inits = [list(link.op.operation.operands)[-1] for link in links]
    ops = [find.defining(value) for value in inits if value not in made]
    return [op for op in ops if op is not None and op.name.startswith("linalg.")]


def inner_extents(contraction: Any) -> tuple[int, int]:
    """The extents of the contraction's innermost m and n loops; 1 where it has none."""
    dims, extents = find.contraction_dims(contraction), find.loop_sizes(contraction)
    return extents[dims.m[-1]] if dims.m else 1, extents[dims.n[-1]] if dims.n else 1


def loop_tiles(contraction: Any, root: Link, tile_sizes: tuple[int, ...]) -> list[int]:
    """The tile size of each loop of the root: the given ones for the innermost m and n, 1 for other parallel loops.

    0 means that a loop is not tiled: a reduction, or one whose given size is 0 (a forall then has one trip of it).
    """
    dims = dims_of(contraction)
    wanted = {found[-1]: size for found, size in ((dims.m, tile_sizes[0]), (dims.n, tile_sizes[1])) if found}
    from_loop = {to: loop for loop, to in root.loops.items()}
    sizes: list[int] = []
    for loop, extent in enumerate(find.loop_sizes(root.op)):
        if extent < 0:
            raise PassError("a loop of dynamic size: the tile around it does not divide; pad first", where(root.op))
        source = from_loop.get(loop)
        size = 0 if source in dims.k else 1 if source is None else wanted.get(source, 1)
        sizes.append(min(size, extent) or (extent if source not in dims.k else 0))
    return sizes


def script(sizes: list[int], ops: int, mapping: str) -> str:
    """The transform script that tiles marked op 0 and fuses the others, in order, into its innermost loop."""
    op, tiled = "!transform.any_op", sum(size > 0 for size in sizes)
    lines = [
        f"%op{i} = transform.structured.match attributes {{{MARK} = {i} : i64}} in %root : ({op}) -> {op}"
        for i in range(ops)
    ]
    if mapping == "none":
        kind, loops, ids = "for", tiled, ""
    else:
        kind, loops = "forall", 1
        ids = ", ".join(f"#gpu.{mapping}<linear_dim_{tiled - 1 - i}>" for i in range(tiled))
        ids = f"(mapping = [{ids}])"
    lines.append(
        f"%tiled, %loops:{loops} = transform.structured.tile_using_{kind} %op0 tile_sizes {sizes} {ids}"
        f" : ({op}) -> ({', '.join([op] * (loops + 1))})"
    )
    inner = f"%loops#{loops - 1}"
    for i in range(1, ops):
        lines.append(
            f"%fused{i}, %in{i} = transform.structured.fuse_into_containing_op %op{i} into {inner}"
            f" : ({op}, {op}) -> ({op}, {op})"
        )
        inner = f"%in{i}"
    return "\n".join(lines)


def clear(module: Any) -> None:
    """Takes the mark off again."""
    for op in mlir.walk(module, lambda op: MARK in op.operation.attributes):
        del op.attributes[MARK]
