"""What a candidate is timed beside: a vendor's product of the same shape, on the same device and thread count.

A baseline runs interleaved with the candidate, so a clock that ramps or a neighbour who wakes up hits both. It
computes the contraction alone, without the epilogue.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import re
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lowering import bounds, inputs, roofline
from lowering import problem as problems
from lowering.core import Problem, Target
from lowering.dtypes import is_small
from lowering.targets.executor import DeviceError
from lowering.targets.families import FAMILIES
from lowering.targets.nvidia import runtime
from lowering.targets.nvidia.cublaslt import WORKSPACE, LibraryError, Product

TRIALS = 3  # calls of each algorithm that the fastest is chosen by


class Baseline(Protocol):
    """Something to be timed beside a candidate."""

    @property
    def name(self) -> str:
        """What it is: library, element type, threads."""
        ...

    def time(self, repeats: int) -> list[float]:
        """Seconds of each of `repeats` calls on the same buffers."""
        ...


def baseline(problem: Problem, target: Target, seed: int = 0, threads: int = 1) -> Baseline | None:
    """The baseline of a target: numpy's BLAS on a CPU; on a GPU the vendor's library, or torch; None where neither is.

    On NVIDIA's it is cuBLASLt where that is found, with the best of the algorithms that it offers.
    """
    if not FAMILIES[target.family].device:
        return NumpyBaseline(problem, seed, threads)
    if target.family == "nvidia" and inputs.operands(problem) is not None:
        with suppress(LibraryError, DeviceError):
            return CublasLtBaseline(problem, seed)
    if importlib.util.find_spec("torch") is None:
        return None
    torch = importlib.import_module("torch")
    return TorchBaseline(torch, problem, seed) if torch.cuda.is_available() and torch_can(problem) else None


class NumpyBaseline:
    """`numpy.matmul` through its BLAS, pinned to a number of threads; f32 where BLAS has no such type."""

    def __init__(self, problem: Problem, seed: int = 0, threads: int = 1) -> None:
        kind = np.float64 if problem.contraction.element == "f64" else np.float32
        self.a, self.b = operands(problem, seed, kind)
        self.c = np.empty((self.a.shape[0], self.a.shape[1], self.b.shape[2]), kind)
        if self.c.shape[0] == 1:
            self.a, self.b, self.c = self.a[0], self.b[0], self.c[0]
        self.threads = pin(threads)
        counted = f"{self.threads} thread{'s' if self.threads > 1 else ''}" if self.threads else "threads not pinned"
        self.name = f"numpy {np.__version__} BLAS, {'f64' if kind is np.float64 else 'f32'}, {counted}"

    def time(self, repeats: int) -> list[float]:
        """Seconds of each call by the monotonic clock."""
        samples: list[float] = []
        pin(self.threads)
        for _ in range(repeats):
            began = time.perf_counter_ns()
            np.matmul(self.a, self.b, out=self.c)
            samples.append((time.perf_counter_ns() - began) * 1e-9)
        return samples


class CublasLtBaseline:
    """cuBLASLt's product by the fastest of the algorithms that its heuristic offers, timed by the driver's events.

    Raises LibraryError where the library is not there or has no such product, DeviceError where memory is short.
    """

    def __init__(self, problem: Problem, seed: int = 0) -> None:
        self.product, self.cu = Product(problem.contraction), runtime.bindings()
        runtime.ok(self.cu.cuCtxSetCurrent(runtime.context()))
        self.stream = runtime.ok(self.cu.cuStreamCreate(self.cu.CUstream_flags.CU_STREAM_NON_BLOCKING))
        arrays, pair = inputs.normals(problem, seed), inputs.operands(problem)
        assert pair is not None
        out = next(each for each in problem.arguments if each.role == "output")
        a, b = (self.copied(arrays[each.index]) for each in pair)
        self.pointers = a, b, self.allocate(roofline.nbytes(out)), self.allocate(WORKSPACE)
        count = range(len(self.product.algorithms))
        self.best = min(count, key=lambda number: min(self.samples(number, TRIALS)))
        offered = len(self.product.algorithms)
        kind = problem.contraction.multiplied or problem.contraction.element
        self.name = f"cuBLASLt {self.product.version}, {kind}, the best of {offered} algorithms"

    def allocate(self, nbytes: int) -> int:
        """Device memory."""
        return int(runtime.ok(self.cu.cuMemAlloc(nbytes)))

    def copied(self, array: Any) -> int:
        """An array's copy on the device."""
        data = np.ascontiguousarray(array)
        pointer = self.allocate(data.nbytes)
        runtime.ok(self.cu.cuMemcpyHtoDAsync(pointer, data.ctypes.data, data.nbytes, self.stream))
        runtime.ok(self.cu.cuStreamSynchronize(self.stream))
        return pointer

    def samples(self, number: int, repeats: int) -> list[float]:
        """Seconds of calls of one algorithm, the first of which is not counted; endless where it fails."""
        try:
            return self.timed(number, repeats + 1)[1:]
        except LibraryError:
            return [float("inf")]

    def time(self, repeats: int) -> list[float]:
        """Seconds between two events around each call."""
        return self.timed(self.best, repeats)

    def timed(self, number: int, repeats: int) -> list[float]:
        """The same of any algorithm."""

        def enqueue() -> None:
            self.product.enqueue(number, *self.pointers, int(self.stream))

        return runtime.timed(self.cu, self.stream, [enqueue] * repeats)

    def __del__(self) -> None:
        """Frees the device's memory: operands are large, and a process times many problems."""
        for pointer in getattr(self, "pointers", ()):
            self.cu.cuMemFree(pointer)


class TorchBaseline:
    """`torch.matmul` on the GPU, timed by its events; f32 in TF32 where the problem allows that.

    Of 8-bit integers it is `torch._int_mm`, of 8-bit floats `torch._scaled_mm`, which takes B in columns: scales of one
    and its fast accumulation, which is how the hardware sums.
    """

    def __init__(self, torch: Any, problem: Problem, seed: int = 0) -> None:
        c = problem.contraction
        self.torch, element = torch, c.multiplied or c.element
        self.rounded = c.multiplied == "tf32"
        a, b = operands(problem, seed, np.int8 if element == "i8" else np.float32)
        kind = getattr(torch, TORCH[element])
        self.a, self.b = (torch.from_numpy(np.ascontiguousarray(x)).cuda().to(kind) for x in (a, b))
        if self.a.shape[0] == 1:
            self.a, self.b = self.a[0], self.b[0]
        self.multiply, name = torch.matmul, "matmul"
        if element == "i8":
            self.multiply, name = torch._int_mm, "_int_mm"
        if is_small(element):
            one = torch.ones((), device="cuda")
            options = {"out_dtype": getattr(torch, TORCH[c.output]), "use_fast_accum": True}
            self.b = self.b.t().contiguous().t()
            self.multiply, name = partial(torch._scaled_mm, scale_a=one, scale_b=one, **options), "_scaled_mm"
        self.name = f"torch {torch.__version__} {name}, {element}"
        self.time(1)

    def time(self, repeats: int) -> list[float]:
        """Seconds between two events around each call."""
        torch = self.torch
        torch.backends.cuda.matmul.allow_tf32 = self.rounded
        events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(repeats)]
        for first, last in events:
            first.record()
            self.multiply(self.a, self.b)
            last.record()
        torch.cuda.synchronize()
        return [first.elapsed_time(last) * 1e-3 for first, last in events]


TORCH = {
    "f16": "float16", "bf16": "bfloat16", "f32": "float32", "tf32": "float32", "f64": "float64", "i8": "int8",
    "f8E4M3FN": "float8_e4m3fn", "f8E5M2": "float8_e5m2",
}  # fmt: skip


def torch_can(problem: Problem) -> bool:
    """Whether torch has a product of this kind.

    8-bit integers want no batch, M above 16, and K and N in eights; 8-bit floats no batch, K and N in sixteens, and
    are not both e5m2 (PyTorch documentation of `_scaled_mm`, its checks).
    """
    c = problem.contraction
    if is_small(c.element):
        return c.element == "f8E4M3FN" and not c.batch and c.n % 16 == 0 and c.k % 16 == 0 and c.output in TORCH
    if c.element != "i8":
        return c.element in TORCH
    return not c.batch and c.m > 16 and c.n % 8 == 0 and c.k % 8 == 0


def operands(problem: Problem, seed: int, kind: Any) -> tuple[Any, Any]:
    """A as (batch, m, k) and B as (batch, k, n), views in the problem's own layout, of a numpy type."""
    node = problems.program(problem.ir).contract
    arrays = inputs.normals(problem, seed)
    pair = inputs.operands(problem) or (inputs.Operand(0, (), ()), inputs.Operand(0, (), ()))
    a, b = (arrays[each.index].astype(kind) for each in pair)
    dims = node.dims
    return (
        bounds.arranged(a, node.positions[0], (dims.batch, dims.m, dims.k), node.sizes),
        bounds.arranged(b, node.positions[1], (dims.batch, dims.k, dims.n), node.sizes),
    )


# --- numpy's BLAS and its threads ------------------------------------------------------------------------------------


def pin(threads: int) -> int:
    """Sets the thread count of numpy's OpenBLAS and returns what it then is; 0 where that library is not found."""
    library = openblas()
    if library is None:
        return 0
    for prefix, suffix in (
        ("scipy_openblas_", "64_"),
        ("openblas_", "64_"),
        ("scipy_openblas_", ""),
        ("openblas_", ""),
    ):
        if hasattr(library, f"{prefix}set_num_threads{suffix}"):
            getattr(library, f"{prefix}set_num_threads{suffix}")(threads)
            return int(getattr(library, f"{prefix}get_num_threads{suffix}")())
    return 0


def openblas() -> ctypes.CDLL | None:
    """The OpenBLAS that this process has loaded."""
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:
        return None
    found = re.search(r"(/\S*openblas\S*\.so\S*)", maps)
    return ctypes.CDLL(found[1]) if found else None
