"""What runs a binary: one interface for every device, and for an emulator.

An executor is cheap to make and imports its driver only when asked; a program is one loaded binary with its memory.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from lowering.core import Binary, Buffer, Class, Scalar, TensorMap, Workspace


class DeviceError(Exception):
    """A driver's error by its name. `sticky`: the context is lost, and only a new process can go on."""

    def __init__(self, reason: str, sticky: bool = False, kind: Class = "resources") -> None:
        super().__init__(reason)
        self.reason, self.sticky = reason, sticky
        self.kind: Class = "crash" if sticky else kind


class Program(Protocol):
    """A loaded binary. A context manager: leaving it frees everything."""

    @property
    def findings(self) -> tuple[str, ...] | None:
        """What was found beside the results of the last run, e.g. a race; None where nothing can be."""
        ...

    def allocate(self, nbytes: int) -> int:
        """The address of fresh device memory, aligned to 256 bytes, freed at `close`."""
        ...

    def write(self, pointer: int, data: Any) -> None:
        """Copies bytes or a contiguous array to the device."""
        ...

    def read(self, pointer: int, nbytes: int) -> bytes:
        """Copies bytes back."""
        ...

    def run(self, pointers: Sequence[int]) -> None:
        """Runs every launch once, one pointer an entry of `Binary.arguments`, and waits for the end."""
        ...

    def time(self, pointers: Sequence[Sequence[int]], repeats: int) -> list[float]:
        """Seconds of each of `repeats` calls by the device's clock; call i takes pointer set i modulo their number."""
        ...

    def close(self) -> None:
        """Frees the module and all memory."""
        ...

    def __enter__(self) -> Program: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@runtime_checkable
class Counting(Protocol):
    """What a program has beside that where its runs are counted."""

    @property
    def counted(self) -> tuple[str, ...]:
        """What its first run executed, in words."""
        ...

    @property
    def predicted(self) -> tuple[str, ...]:
        """What that bounds the time of the program by on a device, in words."""
        ...


@runtime_checkable
class Sampler(Protocol):
    """What a program has beside that where a run of all workgroups would take long."""

    @property
    def divisible(self) -> bool:
        """Whether some workgroups can run without the others."""
        ...

    def run_some(self, pointers: Sequence[int], share: float, seed: int) -> tuple[int, int]:
        """Runs about a share of the workgroups: how many of how many."""
        ...

    def written(self, pointer: int, nbytes: int) -> np.ndarray[Any, Any]:
        """Which bytes the last `run_some` wrote."""
        ...


class Executor(Protocol):
    """A way to run binaries of a family."""

    @property
    def name(self) -> str:
        """cpu, cuda, hip, ..."""
        ...

    @property
    def word(self) -> Literal["measured", "emulated"]:
        """What its results may be called."""
        ...

    def unavailable(self) -> str | None:
        """Why it cannot be used here, e.g. 'no CUDA device'; None where it can."""
        ...

    def load(self, binary: Binary) -> Program:
        """A program of the binary. Raises DeviceError with the driver's own words."""
        ...


def workspaces(binary: Binary) -> dict[int, Workspace]:
    """The scratch buffers of a binary's launches by index."""
    args = [arg.buffer if isinstance(arg, TensorMap) else arg for launch in binary.launches for arg in launch.args]
    found = [arg for arg in args if isinstance(arg, Workspace)]
    return {w.index: w for w in found}


def packed(arg: Buffer | Scalar | Workspace, pointers: Sequence[int], scratch: dict[int, int]) -> bytes:
    """The bytes of a by-value kernel argument, padded to a power of two as the kernel's own layout is."""
    if isinstance(arg, Buffer):
        return struct.pack("<Q", pointers[arg.index] + arg.offset)
    if isinstance(arg, Workspace):
        return struct.pack("<Q", scratch[arg.index])
    size = 1 << max(0, (arg.bits + 7) // 8 - 1).bit_length()
    return arg.value.to_bytes(size, "little")


def contiguous(data: Any) -> Any:
    """Bytes or an array as a contiguous numpy array, to copy from."""
    return np.frombuffer(data, np.uint8) if isinstance(data, bytes) else np.ascontiguousarray(data)


def refuse_tensor_maps(binary: Binary, where: str) -> None:
    """Raises DeviceError where a binary needs tensor maps on a device without them."""
    if any(isinstance(arg, TensorMap) for launch in binary.launches for arg in launch.args):
        raise DeviceError(f"the launch plan needs tensor maps, which {where} has not")
