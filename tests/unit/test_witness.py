"""The witness keeps a whole tile, the remainder and two K steps, and is never larger than the problem."""

import pytest

from lowering import mlir, problem
from lowering.core import Schedule
from lowering.find import contraction
from lowering.passes.common.tile import Tile
from lowering.passes.pipeline import parse
from lowering.passes.x86.kernel import kernel
from lowering.passes.x86.tile_cache import TileCache
from lowering.problem import from_shape, from_text
from lowering.witness import MOST, shrunk, witness, witness_of


@pytest.mark.parametrize(
    ("shape", "tile", "expected"),
    [
        ((1024, 1024, 1024), (128, 64, 32), (256, 128, 64)),
        ((1000, 333, 77), (64, 64, 16), (104, 77, 45)),
        ((4095, 4097, 31), (64, 64, 64), (127, 65, 31)),
        ((1, 1, 1), (64, 64, 16), (1, 1, 1)),
        ((64, 192, 16), (64, 64, 16), (64, 128, 16)),
        ((65, 65, 24), (64, 64, 16), (65, 65, 24)),
    ],
)
def test_sizes(shape, tile, expected):
    small = witness(from_shape(*shape, "f32", "nt"), tile).contraction
    assert (small.m, small.n, small.k) == expected
    assert (small.layout, small.element) == ("nt", "f32")


def test_steps_and_batch():
    problem = from_shape(1024, 1024, 1024, "f16", batch=5)
    small = witness(problem, (64, 64, 16), steps=1, k_steps=4).contraction
    assert (small.batch, small.m, small.n, small.k) == (2, 64, 64, 64)


def test_what_is_tied_stays_equal():
    maps = "affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>"
    problem = from_text(f"""func.func @f(%a: tensor<512x64xf32>, %c: tensor<512x512xf32>) -> tensor<512x512xf32> {{
      %r = linalg.matmul indexing_maps = [{maps}] ins(%a, %a : tensor<512x64xf32>, tensor<512x64xf32>)
        outs(%c : tensor<512x512xf32>) -> tensor<512x512xf32>
      return %r : tensor<512x512xf32>
    }}""")
    small = witness(problem, (64, 32, 16)).contraction
    assert (small.m, small.n, small.k) == (128, 128, 32)


def test_shrunk_keeps_the_remainder():
    for size in range(1, 200):
        for tile in (1, 7, 16):
            small = shrunk(size, tile, whole=1, least=2)
            assert 0 < small <= size
            assert small % tile == size % tile
            assert small == size or small >= tile


def several(a: str, c: str, shape: str, result: str) -> str:
    """A contraction of m, p and n loops."""
    return f"""
    func.func @f(%a: tensor<{shape}xf32>, %b: tensor<200x300xf32>, %c: tensor<{result}xf32>) -> tensor<{result}xf32> {{
      %r = linalg.generic {{indexing_maps = [affine_map<(m,p,n,k)->({a})>, affine_map<(m,p,n,k)->(k,n)>,
          affine_map<(m,p,n,k)->({c})>], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}}
          ins(%a, %b : tensor<{shape}xf32>, tensor<200x300xf32>) outs(%c : tensor<{result}xf32>) {{
        ^bb0(%x: f32, %y: f32, %w: f32):
          %q = arith.mulf %x, %y : f32
          %s = arith.addf %w, %q : f32
          linalg.yield %s : f32
      }} -> tensor<{result}xf32>
      return %r : tensor<{result}xf32>
    }}"""


ROWS_FIRST = several("m,p,k", "m,p,n", "1000x4x200", "1000x4x300")
COLUMNS_FIRST = several("m,p,k", "n,m,p", "4x1000x200", "300x4x1000")


@pytest.mark.parametrize(
    ("text", "each", "expected"),
    [
        (ROWS_FIRST, TileCache(96, 128, 64), (136, 2, 172, 136)),
        (ROWS_FIRST, Tile((96, 128)), (2, 4, 172, 32 + 8)),
        (COLUMNS_FIRST, TileCache(96, 128, 64), (108, 2, 232, 136)),
    ],
)
def test_the_loop_that_the_pass_tiles_is_shrunk_by_its_tile(text, each, expected):
    """The x86 passes take the largest row loop, and as columns what is contiguous in C; `tile` takes the innermost."""
    large = from_text(text)
    small = witness_of(large, Schedule((each,)))
    assert problem.program(small.ir).contract.sizes == expected
    if isinstance(each, TileCache):
        module = mlir.parse(large.ir)
        found = kernel(contraction(module))
        before = problem.program(large.ir).contract.sizes
        tiled = [size for size, now in zip(before, expected, strict=True) if now > 2]
        sizes = [found.size(loop) for loop in (found.m, found.n, found.k)]
        assert sorted(tiled) == sorted(sizes)


def test_every_tile_of_a_loop_is_kept_apart():
    large = problem.from_shape(1000, 64, 64, "f32")
    small = witness_of(large, parse("tile{tile-sizes=16,16},pad{tile-sizes=20,16,1}"))
    m = small.contraction.m
    assert m == 120  # the least common multiple of 16 and 20, and 1000's remainder by it
    assert (m % 16, m % 20) == (1000 % 16, 1000 % 20)


def test_a_witness_stays_small_where_its_tiles_have_nothing_in_common():
    large = from_shape(1024, 1024, 1024, "f32")
    schedule = parse(
        "tile{tile-sizes=48,48},tile{tile-sizes=20,64},tile{tile-sizes=64,20},tile-reduction{tile-sizes=24}"
    )
    small = witness_of(large, schedule).contraction
    assert small.m % 64 == small.n % 64 == 0  # the largest tile is kept
    assert small.flops // 2 <= MOST
