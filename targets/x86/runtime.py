"""Runs x86 objects in this process: LLVM's MCJIT links the object, ctypes calls `_mlir_ciface_main`.

Each argument is passed as a pointer to MLIR's memref descriptor: allocated and aligned pointer, offset, sizes, strides.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from math import ceil
from types import TracebackType
from typing import Any, Literal

import llvmlite.binding as llvm

from lowering.core import Argument, Binary
from lowering.targets.executor import DeviceError
from lowering.targets.host import ENTRY, process

ALIGNMENT = 256  # bytes: what `Program.allocate` promises
ELF64 = b"\x7fELF\x02"
BATCH_SECONDS = 20e-6  # a sample is at least this long, so that the clock's own cost (about 50 ns) does not show
LONG_SECONDS = 0.01  # what a call that would be batched does not take, even the first time
TRIALS = 3


@cache
def host_features() -> frozenset[str]:
    """The features of this machine's CPU that are on, as LLVM names them: avx2, fma, avx512f, ..."""
    return frozenset(name for name, on in llvm.get_host_cpu_features().items() if on)


@cache
def initialise() -> None:
    """Registers LLVM's native target, once a process."""
    process()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


class CPU:
    """This machine's CPU."""

    name = "cpu"
    word: Literal["measured", "emulated"] = "measured"

    def unavailable(self) -> str | None:
        """None: a CPU is always there; another architecture than x86-64 has no registered triple."""
        triple = llvm.get_process_triple()
        return None if triple.startswith("x86_64") else f"this machine is {triple.split('-')[0]}, not x86_64"

    def load(self, binary: Binary) -> CpuProgram:
        """Links the object. Raises DeviceError where it is none, or has no entry."""
        return CpuProgram(binary)


class CpuProgram:
    """A linked object with its buffers."""

    findings: tuple[str, ...] | None = None

    def __init__(self, binary: Binary) -> None:
        if binary.format != "obj":
            raise DeviceError(f"the CPU runs object files, not {binary.format}")
        initialise()
        self.arguments = binary.arguments
        self.batch = 0  # calls a sample; not known yet
        self.buffers: dict[int, ctypes.Array[ctypes.c_char]] = {}
        self.engine: Any = link(binary.image)
        address = self.engine.get_function_address(ENTRY)
        if not address:
            raise DeviceError(f"the object has no function {ENTRY}")
        self.entry = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(binary.arguments))(address)

    def allocate(self, nbytes: int) -> int:
        """The address of zeroed memory, aligned to 256 bytes, freed at `close`."""
        buffer = ctypes.create_string_buffer(max(nbytes, 1) + ALIGNMENT)
        pointer = -(-ctypes.addressof(buffer) // ALIGNMENT) * ALIGNMENT
        self.buffers[pointer] = buffer
        return pointer

    def write(self, pointer: int, data: Any) -> None:
        """Copies bytes or a contiguous array."""
        raw = data if isinstance(data, bytes) else data.tobytes()
        ctypes.memmove(pointer, raw, len(raw))

    def read(self, pointer: int, nbytes: int) -> bytes:
        """Copies bytes back."""
        return ctypes.string_at(pointer, nbytes)

    def run(self, pointers: Sequence[int]) -> None:
        """Calls the entry once."""
        references = self.references(pointers)
        self.entry(*references[1])

    def time(self, pointers: Sequence[Sequence[int]], repeats: int) -> list[float]:
        """Seconds a call by the monotonic clock. A sample of a short kernel is the mean over a batch of calls."""
        sets = [self.references(each) for each in pointers]
        calls = [each[1] for each in sets]
        self.batch = self.batch or self.calls_a_sample(calls[0])
        samples: list[float] = []
        turn = 0
        for _ in range(repeats):
            began = time.perf_counter_ns()
            for _ in range(self.batch):
                self.entry(*calls[turn % len(calls)])
                turn += 1
            samples.append((time.perf_counter_ns() - began) * 1e-9 / self.batch)
        return samples

    def calls_a_sample(self, call: list[int]) -> int:
        """How many calls make a sample long enough for the clock; found out once, by the fastest of a few samples.

        The first call may wait for pages and caches, so it decides only where no batch could be needed.
        """
        count, took = 1, self.sample(call, 1)
        while took < LONG_SECONDS:
            took = min(self.sample(call, count) for _ in range(TRIALS))
            if took >= BATCH_SECONDS:
                break
            count = max(count + 1, ceil(count * 1.25 * BATCH_SECONDS / max(took, 1e-7)))
        return count

    def sample(self, call: list[int], count: int) -> float:
        """Seconds of a batch of calls."""
        began = time.perf_counter_ns()
        for _ in range(count):
            self.entry(*call)
        return (time.perf_counter_ns() - began) * 1e-9

    def references(self, pointers: Sequence[int]) -> tuple[list[Any], list[int]]:
        """The memref descriptors of one pointer an argument (to be kept alive), and their addresses."""
        if len(pointers) != len(self.arguments):
            raise DeviceError(f"the entry takes {len(self.arguments)} buffers, found {len(pointers)}")
        made = [descriptor(argument, pointer) for argument, pointer in zip(self.arguments, pointers, strict=True)]
        return made, [ctypes.addressof(each) for each in made]

    def close(self) -> None:
        """Frees code and buffers."""
        if self.engine is not None:
            self.engine.close()
            self.engine = None
        self.buffers.clear()

    def __enter__(self) -> CpuProgram:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def link(image: bytes) -> Any:
    """A JIT engine that holds an object file. Raises DeviceError for what is none."""
    if image[:5] != ELF64:  # MCJIT does not survive it
        raise DeviceError("the image is no 64-bit ELF object")
    try:
        machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        engine.add_object_file(llvm.ObjectFileRef.from_data(image))
        engine.finalize_object()
    except RuntimeError as error:
        raise DeviceError(f"the object does not load: {str(error).strip().splitlines()[0]}") from None
    return engine


def descriptor(argument: Argument, pointer: int) -> Any:
    """MLIR's memref descriptor of a row-major buffer: five words and two a dimension more than one, all 64 bits."""
    strides = (
        list(accumulate(reversed(argument.shape[1:]), lambda x, y: x * y, initial=1))[::-1] if argument.shape else []
    )
    words = [pointer, pointer, 0, *argument.shape, *strides]
    return (ctypes.c_int64 * len(words))(*words)
