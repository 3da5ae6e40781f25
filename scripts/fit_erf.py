"""Prints the polynomials by which `expand-math` computes erf, with their largest errors.

usage: python scripts/fit_erf.py

Lawson's iteration: least squares on a fine grid, whose weights grow where the error is large, until it is level.
"""

from __future__ import annotations

import math

import numpy as np

MIDDLE, END = 0.8, 4.0  # where one polynomial takes over from the other, and where erf is 1 in f32


def fitted(x: np.ndarray, wanted: np.ndarray, weight: np.ndarray, degree: int) -> tuple[float, list[float]]:
    """The largest weighted error, and the coefficients, the highest power first."""
    middle, half = (x[-1] + x[0]) / 2, (x[-1] - x[0]) / 2
    basis = np.polynomial.chebyshev.chebvander((x - middle) / half, degree)
    share, best = np.full(len(x), 1 / len(x)), (math.inf, np.zeros(degree + 1))
    for _ in range(1000):
        scale = np.sqrt(share) * weight
        found = np.linalg.lstsq(basis * scale[:, None], wanted * scale, rcond=None)[0]
        error = np.abs(weight * (basis @ found - wanted))
        best = min(best, (float(error.max()), found), key=lambda each: each[0])
        share *= error / (share * error).sum()
    power = np.polynomial.Polynomial(np.polynomial.chebyshev.cheb2poly(best[1]))
    return best[0], power(np.polynomial.Polynomial([-middle / half, 1 / half])).coef[::-1].tolist()


def main() -> None:
    """erf(x) / x in x^2, log2(erfc(x)) in x, and 2^x."""
    unit = np.linspace(-0.5, 0.5, 4001)
    square = np.linspace(1e-9, MIDDLE**2, 4001)
    near = np.array([math.erf(math.sqrt(each)) / math.sqrt(each) for each in square])
    far = np.linspace(MIDDLE, END, 4001)
    rest = np.array([math.erfc(each) for each in far])
    for name, degree, found in (
        ("relative, near", 5, fitted(square, near, 1 / near, 5)),
        ("absolute, far", 5, fitted(far, np.log2(rest), rest * math.log(2), 5)),
        ("relative, 2^x", 5, fitted(unit, 2**unit, 2**-unit, 5)),
    ):
        print(f"{name}, degree {degree}, error {found[0]:.2g}: ({', '.join(f'{each:.9e}' for each in found[1])})")


if __name__ == "__main__":
    main()
