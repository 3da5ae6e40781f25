"""The time below which a measurement cannot be true: what arithmetic and memory need at the chip's peak."""

from __future__ import annotations

from math import prod

from lowering.checks import Check
from lowering.codegen import host
from lowering.core import Argument, Problem, Target
from lowering.dtypes import lookup

CPU_CLOCK = 6.2e9  # Hz; no x86-64 processor on sale runs faster (Intel data sheet of the Core i9-14900KS, turbo)
AMX = ("bf16", "f16", "i8")  # what its tiles multiply, at a rate that the facts do not say
FACTS = {"f8E4M3FN": "f8", "f8E4M3FNUZ": "f8", "f8E5M2": "f8", "f8E5M2FNUZ": "f8"}


def floor(problem: Problem, target: Target, cold: bool, threads: int = 1) -> float:
    """Seconds that a call takes at least. 0 where the target's facts do not say.

    The arithmetic always counts. The memory counts only where the caches are cold: then A, B and the other inputs
    come from memory once; results may stay in a cache.
    """
    rate = peak(problem, target, threads)
    busy = problem.contraction.flops / rate if rate else 0.0
    bandwidth = float(target.facts.get("memory_bandwidth", 0.0))
    if not cold or not bandwidth:
        return busy
    return max(busy, sum(nbytes(each) for each in problem.arguments if each.role == "input") / bandwidth)


def nbytes(argument: Argument) -> int:
    """Size of an argument in bytes."""
    return prod(argument.shape) * lookup(argument.dtype).bytes


def peak(problem: Problem, target: Target, threads: int) -> float:
    """FLOP/s of the chip for the problem's element type; 0 where the facts do not say."""
    element = problem.contraction.multiplied or problem.contraction.element
    stated = target.facts.get(f"flops_{FACTS.get(element, element)}")
    if stated:
        return float(stated)
    per_clock = target.facts.get("fma_per_clock")
    features = host()[1].split(",")
    if not per_clock or ("+amx-tile" in features and element in AMX):
        return 0.0
    bits = target.facts["vector_bits_avx512" if "+avx512f" in features else "vector_bits_avx"]
    return 2.0 * per_clock * (bits / lookup(problem.contraction.element).bits) * CPU_CLOCK * threads


def check(problem: Problem, target: Target, hot: float, rotated: float | None, threads: int = 1) -> Check:
    """The medians against the floor: a kernel that beats it did not do the work, or was not timed."""
    for seconds, cold in ((hot, False), (rotated, True)):
        least = floor(problem, target, cold, threads)
        if seconds is not None and seconds < least:
            caches = "with cold caches" if cold else "hot"
            detail = f"{seconds:.3g} s {caches}, and the chip needs at least {least:.3g} s"
            return Check("faster than the roofline", False, detail, seconds, least, "full")
    least = floor(problem, target, False, threads)
    return Check(
        "above the roofline floor", True, f"at least {least:.3g} s" if least else "no floor is known", scope="full"
    )
