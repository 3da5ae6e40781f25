"""Tensor maps of a launch plan: what `nvgpu.tma.create.descriptor` says, as `cuTensorMapEncodeTiled` takes it."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import prod

from lowering.core import Buffer, PassError, TensorMap, Workspace

BITS = {"f16": 16, "bf16": 16, "f32": 32, "tf32": 32, "f64": 64, "i8": 8, "i16": 16, "i32": 32, "i64": 64}


def tensor_map(
    buffer: Buffer | Workspace, source: str, descriptor: str, box: tuple[int, ...], refuse: Callable[[str], PassError]
) -> TensorMap:
    """The map over a buffer of memref type `source`, for a `!nvgpu.tensormap.descriptor`; `box` outermost first."""
    shape = re.match(r"memref<((?:\d+x)+)([a-zA-Z]\w*)>", source)
    if shape is None:
        raise refuse(f"a tensor map over {source}: it takes a memref.cast of a static, contiguous memref")
    dims, element = tuple(int(n) for n in shape[1].split("x") if n), shape[2]
    bits = BITS.get(element, 8 if element.startswith("f8") else 0)
    if not bits or len(box) != len(dims):
        raise refuse(f"a tensor map of {element} with a box of {len(box)} sizes over {len(dims)} dimensions")
    swizzle = re.search(r"swizzle\s*=\s*(?:swizzle_(\d+)b|none)", descriptor)
    oob = re.search(r"oob\s*=\s*(\w+)", descriptor)
    strides = tuple(prod(dims[i + 1 :]) * bits // 8 for i in range(len(dims) - 1))
    return TensorMap(
        buffer,
        element,
        dims[::-1],
        strides[::-1],
        box[::-1],
        int(swizzle[1] or 0) if swizzle else 0,
        oob[1] if oob else "zero",
    )
