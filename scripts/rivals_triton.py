"""The Triton kernel that scripts/rivals_gfx942.py compiles: a matrix product whose sizes are known and divide."""

import triton
import triton.language as tl


@triton.jit
def matmul(
    a, b, c, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
    TURNED: tl.constexpr, GROUP: tl.constexpr, KIND: tl.constexpr,
):  # fmt: skip
    """C = A B, groups of rows of tiles walked together; B is KxN, or NxK where it is turned."""
    block = tl.program_id(0)
    height: tl.constexpr = M // BM
    width: tl.constexpr = N // BN
    group = block // (GROUP * width)
    rows_here = min(height - group * GROUP, GROUP)
    row = group * GROUP + block % (GROUP * width) % rows_here
    column = block % (GROUP * width) // rows_here
    rows = row * BM + tl.arange(0, BM)
    columns = column * BN + tl.arange(0, BN)
    inner = tl.arange(0, BK)
    left = a + rows[:, None] * K + inner[None, :]
    right = b + (columns[None, :] * K + inner[:, None] if TURNED else inner[:, None] * N + columns[None, :])
    total = tl.zeros((BM, BN), KIND)
    for _ in range(0, K, BK):
        total = tl.dot(tl.load(left), tl.load(right), total, out_dtype=KIND)
        left += BK
        right += BK if TURNED else BK * N
    tl.store(c + rows[:, None] * N + columns[None, :], total.to(c.dtype.element_ty))
