"""Triton kernels for the emulator's tests, and how each is compiled and launched; used by build_test_kernels.py."""

# Triton reads annotations and names as they stand in the source: no `from __future__ import annotations` here.
import triton
import triton.language as tl


@triton.jit
def add(a, b, c, n, BLOCK: tl.constexpr):
    """c = a + b, with a masked tail."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    tl.store(c + at, tl.load(a + at, inside) + tl.load(b + at, inside), inside)


@triton.jit
def matmul(
    a, b, c, m, n, k, KIND: tl.constexpr, PRECISION: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr
):
    """C = A B of row-major matrices of any size."""
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    columns = tl.program_id(1) * BN + tl.arange(0, BN)
    inner = tl.arange(0, BK)
    total = tl.zeros((BM, BN), KIND)
    for start in range(0, k, BK):
        at = start + inner
        x = tl.load(a + rows[:, None] * k + at[None, :], (rows[:, None] < m) & (at[None, :] < k), 0.0)
        y = tl.load(b + at[:, None] * n + columns[None, :], (at[:, None] < k) & (columns[None, :] < n), 0.0)
        total = tl.dot(x, y, total, input_precision=PRECISION, out_dtype=KIND)
    inside = (rows[:, None] < m) & (columns[None, :] < n)
    tl.store(c + rows[:, None] * n + columns[None, :], total.to(c.dtype.element_ty), inside)


@triton.jit
def softmax(x, y, columns, BLOCK: tl.constexpr):
    """Softmax of each row."""
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    values = tl.load(x + row * columns + at, at < columns, -float("inf"))
    shifted = tl.exp(values - tl.max(values, 0))
    tl.store(y + row * columns + at, shifted / tl.sum(shifted, 0), at < columns)


@triton.jit
def layer_norm(x, weight, bias, y, columns, eps, BLOCK: tl.constexpr):
    """(x - mean) / sqrt(variance + eps) * weight + bias of each row."""
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    inside = at < columns
    values = tl.load(x + row * columns + at, inside, 0.0)
    mean = tl.sum(values, 0) / columns
    centred = tl.where(inside, values - mean, 0.0)
    variance = tl.sum(centred * centred, 0) / columns
    scaled = centred / tl.sqrt(variance + eps)
    tl.store(y + row * columns + at, scaled * tl.load(weight + at, inside) + tl.load(bias + at, inside), inside)


@triton.jit
def attention(q, k, v, out, scale, N: tl.constexpr, D: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    """softmax(Q K^T scale) V of one head, block by block (flash attention)."""
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    depth = tl.arange(0, D)
    query = tl.load(q + rows[:, None] * D + depth[None, :])
    most = tl.full((BM,), -float("inf"), tl.float32)
    norm = tl.zeros((BM,), tl.float32)
    total = tl.zeros((BM, D), tl.float32)
    for start in range(0, N, BN):
        columns = start + tl.arange(0, BN)
        key = tl.load(k + columns[None, :] * D + depth[:, None])
        scores = tl.dot(query, key) * scale
        new = tl.maximum(most, tl.max(scores, 1))
        weights = tl.exp(scores - new[:, None])
        shrink = tl.exp(most - new)
        norm = norm * shrink + tl.sum(weights, 1)
        value = tl.load(v + columns[:, None] * D + depth[None, :])
        total = tl.dot(weights.to(value.dtype), value, total * shrink[:, None])
        most = new
    tl.store(out + rows[:, None] * D + depth[None, :], (total / norm[:, None]).to(out.dtype.element_ty))


@triton.jit
def histogram(x, counts, n, BLOCK: tl.constexpr):
    """Counts of small integers, by atomics."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    tl.atomic_add(counts + tl.load(x + at, inside, 0), 1, inside)
