"""Matrix instructions as functions of waves; the arithmetic is in `matrix.py`. EXEC does not matter to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lowering.targets.amdgpu.emulator import matrix
from lowering.targets.amdgpu.emulator.decode import Instruction, Operand
from lowering.targets.amdgpu.emulator.kinds import constant
from lowering.targets.amdgpu.emulator.operands import Unsupported, register
from lowering.targets.amdgpu.emulator.waves import Waves

Array = np.ndarray[Any, Any]
Step = Callable[[Waves], None]


Cache = dict[tuple[object, ...], tuple[Array, Array]]


def bind(one: Instruction, exact: bool, cache: Cache) -> Step:
    """What a matrix instruction does. Raises Unsupported."""
    shape = matrix.shapes().get(one.name)
    if shape is None:
        raise Unsupported("sparse matrix instructions")
    if one.fields["cbsz"] or one.fields["abid"] or one.fields["blgp"]:
        raise Unsupported("cbsz, abid and blgp")
    a, b, d = (one.operands[name] for name in ("src0", "src1", "vdst"))
    rows = slice(register(d), register(d) + d.width)
    left, right = spread(shape, a, shape.a, True, cache), spread(shape, b, shape.b, False, cache)
    read = addend(one)

    def step(w: Waves) -> None:
        if w.uniform:
            matrix.combined(shape, left(w), right(w), read(w), exact, w.v[rows])
            return
        found = matrix.combined(shape, left(w), right(w), read(w), exact)
        w.v[rows][:, w.active] = found[:, w.active]

    return step


def spread(shape: matrix.Shape, place: Operand, kind: str, is_left: bool, cache: Cache) -> Callable[[Waves], Array]:
    """An operand's elements spread out for multiplication.

    The registers of a fragment feed several instructions, so what was spread out is kept with the bits it came from.
    """
    first = register(place)
    key = (first, place.width, kind, shape.m, shape.blocks, is_left)

    def get(w: Waves) -> Array:
        raw = w.v[first : first + place.width]
        held = cache.get(key)
        if held is not None and held[0].shape == raw.shape and bool((held[0] == raw).all()):
            return held[1]
        kept = raw.copy()  # what is spread out may be a view of it
        found = matrix.operand(shape, kept, kind)
        found = matrix.turned(found) if is_left else found
        cache[key] = (kept, found)
        return found

    return get


def addend(one: Instruction) -> Callable[[Waves], Array]:
    """The registers of C, or a constant."""
    place = one.operands["src2"]
    if place.file in ("v", "a"):
        rows = slice(register(place), register(place) + place.width)
        return lambda w: w.v[rows]
    kind = "f64" if "_f64_" in one.name else "i32" if one.name.startswith("v_mfma_i32") else "f32"
    value = constant(place, kind)
    if value is None:
        raise Unsupported(f"source {place.index}")
    if kind == "f64":
        words = np.asarray(value).reshape(1).view(np.uint32)
        held = np.tile(words, one.operands["vdst"].width // 2)[:, None, None]
    else:
        held = np.asarray(value).view(np.uint32)
    return lambda w: held
