"""What an sm_90 kernel is timed beside, and on what: normal random tensors, and cuBLASLt by its fastest algorithm.

The tensors are torch's, which is imported only when used.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from functools import partial
from typing import Any

from lowering import inputs
from lowering.core import Problem
from lowering.targets.executor import DeviceError
from lowering.targets.nvidia import runtime
from lowering.targets.nvidia.cublaslt import WORKSPACE, LibraryError, Product
from lowering.targets.nvidia.rounds import Contender, Rounds

TRIALS = 7  # rounds that an algorithm of cuBLASLt is chosen by
TORCH = {
    "f16": "float16",
    "bf16": "bfloat16",
    "f32": "float32",
    "i8": "int8",
    "i32": "int32",
    "f8E4M3FN": "float8_e4m3fn",
    "f8E5M2": "float8_e5m2",
}


def data(task: Problem) -> list[Any]:
    """A tensor for every argument: normal random inputs, outputs of NaN."""
    torch: Any = importlib.import_module("torch")
    torch.manual_seed(0)
    found: list[Any] = []
    for each in task.arguments:
        kind = getattr(torch, TORCH[each.dtype])
        values = torch.randn(each.shape, device="cuda") if each.role == "input" else None
        if values is None:
            found.append(
                torch.empty(each.shape, device="cuda", dtype=kind).fill_(0 if each.dtype == "i32" else math.nan)
            )
        else:
            found.append((values * 20).round().clamp(-127, 127).to(kind) if each.dtype == "i8" else values.to(kind))
    return found


def cublas(task: Problem, clock: Rounds, tensors: list[Any]) -> tuple[Contender, Any]:
    """cuBLASLt by the fastest of its algorithms, and the tensor that it writes."""
    torch: Any = importlib.import_module("torch")
    product, pair = Product(task.contraction), inputs.operands(task)
    assert pair is not None
    out, workspace = torch.empty_like(tensors[-1]), torch.empty(WORKSPACE, device="cuda", dtype=torch.uint8)
    a, b = (tensors[each.index].data_ptr() for each in pair)

    def call(number: int) -> None:
        product.enqueue(number, a, b, out.data_ptr(), workspace.data_ptr(), int(clock.stream))

    all_ = [Contender(str(n), partial(call, n)) for n in range(len(product.algorithms))]
    able = [each for each in all_ if works(each.call, clock)]
    times = clock.medians(able, TRIALS)
    best = able[times.index(min(times))]
    return Contender(f"cuBLASLt {product.version}, best of {len(able)}", best.call), (out, workspace)


def works(call: Callable[[], None], clock: Rounds) -> bool:
    """Whether a call goes through."""
    try:
        call()
        runtime.ok(clock.cu.cuStreamSynchronize(clock.stream))
    except (LibraryError, DeviceError):  # it offers what it then refuses
        return False
    return True
