"""Any state to a CPU binary: which executor can run a state, and the standard tail that completes it.

It is for checking a state in the middle of a lowering, of any target: where a schedule goes wrong is found by running
its prefixes on this machine, and a state without device ops needs no device for it.

A state is completed to x86-64 iff it holds no op of a device dialect and no memory space but the default; everything
else goes to its own target. After the tail every op must be of the LLVM dialect, otherwise the state is not checkable,
and the op that is left is named: never silently 'right'.
"""

from __future__ import annotations

from functools import cache
from itertools import groupby
from typing import Any, Literal

from lowering import mlir
from lowering.core import PassError, Schedule
from lowering.passes import pipeline
from lowering.passes.common.cpu_tail import BUFFERIZE, TO_LLVM, TO_LOOPS
from lowering.passes.upstream import Upstream

DEVICE = frozenset({"gpu", "nvgpu", "amdgpu", "nvvm", "rocdl"})
PREPARE = ("inline", "canonicalize", "cse", "func.func(scf-forall-to-for)")
DEALLOCATE = "buffer-deallocation-pipeline"
TAIL = (*PREPARE, *BUFFERIZE, "split-accumulators", "lower-contraction", *TO_LOOPS, *TO_LLVM)


def executor_of(module: Any) -> Literal["cpu", "target"]:
    """Which executor can run a state once it is completed: this machine's CPU, or only the state's own target."""
    return "target" if device_op(module) is not None else "cpu"


def device_op(module: Any) -> Any | None:
    """The first op that needs a device: of a device dialect, or with a value in a memory space of its own."""
    found = mlir.walk(module, lambda op: dialect_of(op) in DEVICE or any(map(is_spaced, op.operation.results)))
    return found[0] if found else None


def dialect_of(op: Any) -> str:
    """The dialect of an op."""
    return str(op.operation.name).split(".")[0]


def is_spaced(value: Any) -> bool:
    """Whether a value is a buffer in a memory space but the default, or a tensor marked for one."""
    kind = value.type
    if isinstance(kind, mlir.ir.MemRefType):
        return kind.memory_space is not None
    owner = value.owner
    return not isinstance(owner, mlir.ir.Block) and "memory_space" in owner.attributes


def complete_to_cpu(module: Any) -> None:
    """Completes a state to LLVM's dialect in place. Raises PassError that names the op that cannot be."""
    op = device_op(module)
    if op is not None:
        raise PassError(f"not checkable on the CPU: {op.name} needs the device", op.name, kind="unsupported")
    freed = mlir.walk(module, is_past_deallocation)
    try:
        run_tail(module, deallocate=not freed)
    except PassError as error:
        reason = f"not checkable on the CPU: the standard tail: {error.reason}"
        raise PassError(reason, error.where, error.log, "unsupported") from None
    left = mlir.walk(module, lambda each: dialect_of(each) != "llvm" and each.operation.name != "builtin.module")
    if left:
        name = next((each.name for each in left if dialect_of(each) != "builtin"), left[0].name)
        raise PassError(f"not checkable on the CPU: {name} is left after the standard tail", name, kind="unsupported")


def run_tail(module: Any, deallocate: bool) -> None:
    """Runs the standard tail. The IR is verified at its end alone: in between it takes as long as the passes do."""
    for upstream, steps in groupby(tail(deallocate), lambda step: isinstance(step, Upstream)):
        if upstream:
            mlir.run(module, ",".join(map(str, steps)), verified=False)
        else:
            for step in steps:
                step.apply(module)
    mlir.verify(module)


def is_past_deallocation(op: Any) -> bool:
    """Whether an op shows that a state has had its buffers freed, or has no structured loops left to do it in."""
    return op.operation.name == "memref.dealloc" or dialect_of(op) in ("cf", "llvm")


@cache
def tail(deallocate: bool) -> Schedule:
    """The passes of the standard tail; without deallocation for a state that has had it, or has lost its loops."""
    return pipeline.parse(",".join(step for step in TAIL if deallocate or step != DEALLOCATE))
