"""A tiled product in Triton, tuned over its configurations: what sm_90's schedules are compared with.

Triton compiles the function from its source, where type annotations other than its own may not stand.
"""

import triton
import triton.language as tl

CONFIGURATIONS = (  # block m, n, k, stages, warps
    (128, 256, 64, 3, 8), (128, 256, 64, 4, 8), (256, 128, 64, 3, 8), (128, 128, 64, 4, 4), (128, 128, 64, 3, 8),
    (64, 256, 64, 4, 4), (128, 64, 64, 4, 4), (64, 128, 64, 4, 4), (64, 64, 64, 5, 4), (16, 64, 128, 5, 4),
    (16, 128, 128, 4, 4), (64, 32, 128, 5, 4),
)  # fmt: skip


@triton.jit
def product(
    a, b, c, m, n, k, bs, ams, aks, bks, bns,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr, EXACT: tl.constexpr,
    INT: tl.constexpr,
):  # fmt: skip
    """C = A.B of m x n x k, a batch along the grid's second dimension; `bs` is elements from one B to the next."""
    tile, batch = tl.program_id(0), tl.program_id(1)
    tall, wide = tl.cdiv(m, BM), tl.cdiv(n, BN)
    first = tile // (GROUP * wide) * GROUP
    height = min(tall - first, GROUP)
    row, column = first + tile % (GROUP * wide) % height, tile % (GROUP * wide) // height
    rows, columns, depth = row * BM + tl.arange(0, BM), column * BN + tl.arange(0, BN), tl.arange(0, BK)
    left = a + batch.to(tl.int64) * m * k + (rows % m)[:, None] * ams + depth[None, :] * aks
    right = b + batch.to(tl.int64) * bs + depth[:, None] * bks + (columns % n)[None, :] * bns
    total = tl.zeros((BM, BN), dtype=tl.int32 if INT else tl.float32)
    for step in range(0, tl.cdiv(k, BK)):
        inside = depth < k - step * BK
        x = tl.load(left, mask=inside[None, :], other=0)
        y = tl.load(right, mask=inside[:, None], other=0)
        total = tl.dot(x, y, total, input_precision="ieee" if EXACT else "tf32")
        left += BK * aks
        right += BK * bks
    at = c + batch.to(tl.int64) * m * n + rows[:, None] * n + columns[None, :]
    tl.store(at, total.to(c.dtype.element_ty), mask=(rows < m)[:, None] & (columns < n)[None, :])


def tuned():
    """The product, which chooses among its configurations for every new size."""
    configurations = [
        triton.Config({"BM": m, "BN": n, "BK": k, "GROUP": 8}, num_stages=stages, num_warps=warps)
        for m, n, k, stages, warps in CONFIGURATIONS
    ]
    return triton.autotune(configurations, key=["m", "n", "k"], warmup=5, rep=30)(product)
