"""The order in which hilbert walks tiles: each once, and neighbours after one another."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from lowering import mlir
from lowering.passes.gpu.hilbert import Hilbert

GRID = """func.func @main(%o: memref<{h}x{w}xindex>) {{
  %c1 = arith.constant 1 : index
  %n = arith.constant {n} : index
  gpu.launch blocks(%g, %y, %z) in (%nx = %n, %ny = %c1, %nz = %c1) threads(%t, %u, %v)
    in (%m = %c1, %p = %c1, %q = %c1) {{
    %at:2 = affine.delinearize_index %g into ({h}, {w}) : index, index
    memref.store %g, %o[%at#0, %at#1] : memref<{h}x{w}xindex>
    gpu.terminator
  }}
  return
}}"""
RULES: dict[str, Callable[..., int]] = {
    "arith.addi": lambda a, b: a + b,
    "arith.subi": lambda a, b: (a - b) % 2**64,
    "arith.muli": lambda a, b: a * b,
    "arith.divui": lambda a, b: a // b,
    "arith.remui": lambda a, b: a % b,
    "arith.andi": lambda a, b: a & b,
    "arith.xori": lambda a, b: a ^ b,
    "arith.select": lambda c, a, b: a if c else b,
}
PREDICATES: dict[int, Callable[[int, int], bool]] = {
    0: lambda a, b: a == b,
    1: lambda a, b: a != b,
    6: lambda a, b: a < b,
    7: lambda a, b: a <= b,
    8: lambda a, b: a > b,
    9: lambda a, b: a >= b,
}


def walked(height: int, width: int, side: int) -> list[tuple[int, int]]:
    """Row and column of the tile of every workgroup, computed as the pass has written it."""
    module = mlir.parse(GRID.format(h=height, w=width, n=height * width))
    Hilbert(side).apply(module)
    (launch,) = mlir.walk(module, lambda op: op.operation.name == "gpu.launch")
    constants = mlir.walk(module, lambda op: op.operation.name == "arith.constant")
    known = {op.results[0]: op.attributes["value"].value for op in constants}
    return [tile_of(launch.regions[0].blocks[0], dict(known), block) for block in range(height * width)]


def tile_of(body: Any, values: dict[Any, int], block: int) -> tuple[int, int]:
    """Where one workgroup stores."""
    values[body.arguments[0]] = block
    for op in (each.operation for each in body.operations):
        if op.name == "memref.store":
            row, column = list(op.operands)[2:]
            return values[row], values[column]
        operands = [values[each] for each in op.operands]
        if op.name == "arith.cmpi":
            values[op.results[0]] = PREDICATES[op.attributes["predicate"].value](*operands)
        else:
            values[op.results[0]] = RULES[op.name](*operands)
    raise AssertionError("nothing is stored")


@pytest.mark.parametrize(
    ("height", "width", "side"), [(8, 8, 8), (16, 32, 16), (5, 7, 4), (33, 17, 16), (3, 2, 16), (2, 64, 2), (40, 24, 8)]
)
def test_every_tile_is_made_once(height: int, width: int, side: int) -> None:
    assert sorted(walked(height, width, side)) == list(itertools.product(range(height), range(width)))


@pytest.mark.parametrize(("height", "width", "side"), [(8, 8, 8), (16, 64, 16), (4, 12, 4)])
def test_each_tile_is_beside_the_one_before(height: int, width: int, side: int) -> None:
    tiles = walked(height, width, side)
    assert all(abs(a - c) + abs(b - d) == 1 for (a, b), (c, d) in itertools.pairwise(tiles))
