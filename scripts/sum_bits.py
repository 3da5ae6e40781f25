"""Measures what a matrix instruction of an NVIDIA GPU keeps of a sum: prints one line an element type.

usage: python scripts/sum_bits.py [f8E4M3FN f8E5M2 bf16 tf32]

Every experiment is a row of A by a row of B with a few products that are powers of two: a large one, 2^16, and others
2^t times smaller. The largest t at which the smaller one still counts is the number of bits kept behind the first one.

On an H100: f8E4M3FN and f8E5M2 keep 13 bits, in one instruction and from one to the next, and of two that carry, 2^15
each, what 13 bits of 2^16 hold (so the sum is cut as well); -2^2 beside 2^16 is cut to nothing and not to -2^3 (towards
zero), 31 products of 2^2 beside 2^16 are nothing, too (each is cut alone), and 2^0 is nothing behind 2^16 - 2^16
wherever it is among the 32 (one group). bf16 and tf32 keep f32's 23 of the result, and two bits more until it is there.
"""

from __future__ import annotations

import sys

import numpy as np

from lowering import dtypes, memory, problem, targets
from lowering.core import Binary
from lowering.lower import lower
from lowering.targets.families import FAMILIES

CHIP = targets.load("sm_90")
TOP = 16  # exponent of the large product
ROWS = 64
Terms = dict[int, tuple[int, int]]  # by k: sign and exponent of a product
DEPTH = {"tf32": 8, "bf16": 16, "f16": 16}  # of an instruction, where it is not 32


def sums(dtype: str, rows: list[Terms]) -> list[float]:
    """What the device makes of each row's products, in f32."""
    depth = DEPTH.get(dtype, 32)
    of = problem.from_shape(ROWS, ROWS, 8 * depth, dtype, "nt", out_dtype="f32")
    outcome = lower(of, FAMILIES["nvidia"].space.schedule({}, of, CHIP), CHIP).outcome
    assert isinstance(outcome, Binary), outcome
    a, b = np.zeros((ROWS, 8 * depth)), np.zeros((ROWS, 8 * depth))
    for row, terms in enumerate(rows):
        for k, (sign, exponent) in terms.items():
            left = max(-6, min(8, exponent))
            a[row, k], b[row, k] = sign * 2.0**left, 2.0 ** (exponent - left)
    kind = dtypes.lookup("f32" if dtype == "tf32" else dtype).numpy
    with FAMILIES["nvidia"].executors[0].load(outcome) as program:
        slots = memory.place(of, program)
        out = memory.execute(program, slots, (a.astype(kind), b.astype(kind)), memory.POISONS[0]).outputs[0]
    return [float(out[row, row]) for row in range(len(rows))]


def kept(dtype: str, large: Terms, place: int, beside: int = 1) -> int:
    """The largest t for which products of 2^(16 - t) from `place` on count beside a large one."""
    found = sums(dtype, [{**large, **{place + i: (1, TOP - t) for i in range(beside)}} for t in range(1, 31)])
    return max((t for t, value in enumerate(found, 1) if value > 2.0**TOP), default=0)


def main() -> int:
    """A line a type."""
    for dtype in sys.argv[1:] or ("f8E4M3FN", "f8E5M2", "bf16", "tf32"):
        depth = DEPTH.get(dtype, 32)
        one, two = {0: (1, TOP)}, {0: (1, TOP - 1), 1: (1, TOP - 1)}
        same, later, carry = kept(dtype, one, 1), kept(dtype, one, depth), kept(dtype, two, 2)
        many = kept(dtype, one, 1, depth - 1)
        far = 0 if depth == 32 else -14
        places = range(2, depth)
        lost = sums(dtype, [{0: (1, TOP), 1: (-1, TOP), k: (1, far)} for k in places]).count(0.0)
        (low,) = sums(dtype, [{0: (1, TOP), 1: (-1, TOP - 1 - later)}])
        print(
            f"{dtype:9s} bits in one instruction {same}, from one to the next {later}, behind a carry {carry}; "
            f"{depth - 1} small ones together {many}; 2^{TOP} - 2^{TOP - 1 - later} is 2^{TOP} less {2.0**TOP - low}; "
            f"2^{far} is lost behind 2^{TOP} - 2^{TOP} in {lost} of {len(places)} places"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
