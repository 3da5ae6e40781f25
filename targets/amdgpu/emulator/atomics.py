"""Atomic operations on bytes of memory, one lane after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Atomic:
    """The kind of the value in memory, and old value, data[, comparand] -> new value."""

    kind: str
    function: Callable[..., Any]

    @property
    def bytes(self) -> int:
        """Bytes of the value."""
        return 8 if self.kind.endswith("64") else 4


def increment(old: Any, data: Any) -> Any:
    """Counts up to a limit, then from 0."""
    return old.dtype.type(0) if old >= data else old + old.dtype.type(1)


def decrement(old: Any, data: Any) -> Any:
    """Counts down from a limit."""
    return data if old == 0 or old > data else old - old.dtype.type(1)


def pair_add(kind: Any) -> Callable[[Any, Any], Any]:
    """Two 16-bit floats added to two others."""

    def function(old: Any, data: Any) -> Any:
        a, b = (np.asarray(each).reshape(1).view(kind) for each in (old, data))
        return (a + b).astype(kind).view(np.uint32)[0]

    return function


INTEGERS: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "rsub": lambda a, b: b - a,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "inc": increment,
    "dec": decrement,
    "swap": lambda a, b: b,
}


def flushing(rule: Atomic) -> Atomic:
    """The same on f32 with denormals taken and given as zeros of their sign."""
    least = np.finfo(np.float32).tiny

    def flushed(value: Any) -> Any:
        return np.copysign(np.float32(0), value) if abs(value) < least else value

    return Atomic(rule.kind, lambda old, data: flushed(rule.function(flushed(old), flushed(data))))


def table() -> dict[str, Atomic]:
    """By the names of LDS instructions without ds_ and _rtn, and of global ones without their prefix."""
    found: dict[str, Atomic] = {}
    for bits, suffix in ((32, ""), (64, "_x2")):
        for name, function in INTEGERS.items():
            found[f"{name}{suffix}"] = Atomic(f"u{bits}", function)
            kinds = f"b{bits}" if name in ("and", "or", "xor") else f"u{bits}"
            found[f"{name}_{kinds}"] = Atomic(f"u{bits}", function)
        found[f"wrxchg_b{bits}"] = Atomic(f"u{bits}", lambda a, b: b)
        for prefix, sign in (("s", "i"), ("u", "u")):
            found[f"{prefix}min{suffix}"] = found[f"min_{sign}{bits}"] = Atomic(f"{sign}{bits}", min)
            found[f"{prefix}max{suffix}"] = found[f"max_{sign}{bits}"] = Atomic(f"{sign}{bits}", max)
        compare = Atomic(f"u{bits}", lambda old, data, wanted: data if old == wanted else old)
        found[f"cmpswap{suffix}"] = found[f"cmpst_b{bits}"] = compare
        found[f"add_f{bits}"] = Atomic(f"f{bits}", lambda a, b: a + b)
        found[f"min_f{bits}"] = Atomic(f"f{bits}", np.fmin)
        found[f"max_f{bits}"] = Atomic(f"f{bits}", np.fmax)
    found["pk_add_f16"] = Atomic("u32", pair_add(np.float16))
    found["pk_add_bf16"] = Atomic("u32", pair_add(ml_dtypes.bfloat16))
    return found


ATOMICS = table()
KINDS = {"u32": np.uint32, "i32": np.int32, "f32": np.float32, "u64": np.uint64, "i64": np.int64, "f64": np.float64}


def apply(space: Array, offsets: Array, rule: Atomic, data: Sequence[Array]) -> Array:
    """Changes memory at offsets that are multiples of the size; the old values as uint32 (dwords, lanes).

    `data` is what the function takes beside the old value, each uint32 (dwords, lanes).
    """
    target = space.view(KINDS[rule.kind])
    typed = [np.ascontiguousarray(each.T).view(KINDS[rule.kind])[:, 0] for each in data]
    old = np.empty(len(offsets), KINDS[rule.kind])
    for lane, place in enumerate(offsets // rule.bytes):
        before = target[place]
        old[lane] = before
        target[place] = rule.function(before, *(each[lane] for each in typed))
    return np.ascontiguousarray(old.view(np.uint32).reshape(len(offsets), rule.bytes // 4).T)
