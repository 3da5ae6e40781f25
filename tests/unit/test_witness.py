"""The witness keeps a whole tile, the remainder and two K steps, and is never larger than the problem."""

import pytest

from lowering.problem import from_shape, from_text
from lowering.witness import shrunk, witness


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
