"""Runs HSACOs on an AMD GPU through HIP's module API (hip-python), imported only when used.

`hipModuleLaunchKernel` lays the kernarg segment out itself, from the argument offsets and sizes in the code object.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

import numpy as np

from lowering.core import Binary, Buffer, Launch, Scalar, Workspace
from lowering.targets import chips
from lowering.targets.executor import DeviceError, contiguous, packed, refuse_tensor_maps, workspaces

STICKY = frozenset(
    {
        "hipErrorIllegalAddress",
        "hipErrorLaunchFailure",
        "hipErrorLaunchTimeOut",
        "hipErrorAssert",
        "hipErrorECCNotCorrectable",
    }
)


def bindings() -> Any:
    """HIP's module. Each of its functions raises RuntimeError where there is no libamdhip64."""
    return importlib.import_module("hip.hip")


def ok(result: tuple[Any, ...]) -> Any:
    """The values of a HIP call. Raises DeviceError with the error's name."""
    code, *values = result
    if int(code) != 0:
        raise DeviceError(code.name, code.name in STICKY)
    return values[0] if len(values) == 1 else values


@dataclass(frozen=True)
class Hip:
    """The executor of the amdgpu family for real devices."""

    name: str = "hip"
    word: Literal["measured", "emulated"] = "measured"

    def unavailable(self) -> str | None:
        """Why no kernel can run here: no package, no driver, no device, or a device of another architecture."""
        known = [chip.cpu for chip in chips("amdgpu")]
        if importlib.util.find_spec("hip") is None:
            return f"no {' or '.join(known)} device (no package hip-python)"
        try:
            hip = bindings()
            if ok(hip.hipGetDeviceCount()) == 0:
                return f"no {' or '.join(known)} device"
            found = architecture(hip)
        except DeviceError as error:
            return f"no {' or '.join(known)} device ({error.reason})"
        except (RuntimeError, OSError, ImportError):  # the bindings find no libamdhip64
            return f"no {' or '.join(known)} device (no HIP runtime)"
        return None if found in known else f"the HIP device is a {found}; known: {', '.join(known)}"

    def load(self, binary: Binary) -> HipProgram:
        """Loads the image. Raises DeviceError where HIP refuses it."""
        return HipProgram(binary)


def architecture(hip: Any) -> str:
    """The architecture of device 0 without its features: `gfx942` of `gfx942:sramecc+:xnack-`."""
    properties = hip.hipDeviceProp_t()
    ok(hip.hipGetDeviceProperties(properties, 0))
    name = properties.gcnArchName
    return (name.decode() if isinstance(name, bytes) else str(name)).split(":")[0]


class HipProgram:
    """A loaded module with its memory, stream and workspaces."""

    findings: tuple[str, ...] | None = None

    def __init__(self, binary: Binary) -> None:
        refuse_tensor_maps(binary, "HIP")
        self.hip, self.binary, self.memory = bindings(), binary, list[int]()
        self.module: Any = None
        hip = self.hip
        ok(hip.hipSetDevice(0))
        self.stream = ok(hip.hipStreamCreate())
        try:
            self.module = ok(hip.hipModuleLoadData(binary.image))
            names = {launch.kernel for launch in binary.launches}
            self.functions = {name: ok(hip.hipModuleGetFunction(self.module, name.encode())) for name in names}
            self.scratch = {index: self.allocate(space.bytes) for index, space in workspaces(binary).items()}
        except DeviceError:
            self.close()
            raise

    def allocate(self, nbytes: int) -> int:
        """Device memory; HIP aligns it to 256 bytes and more."""
        self.memory.append(int(ok(self.hip.hipMalloc(max(nbytes, 1)))))
        return self.memory[-1]

    def write(self, pointer: int, data: Any) -> None:
        """Copies bytes or an array to the device."""
        array = contiguous(data)
        kind = self.hip.hipMemcpyKind.hipMemcpyHostToDevice
        ok(self.hip.hipMemcpy(pointer, array.ctypes.data, array.nbytes, kind))

    def read(self, pointer: int, nbytes: int) -> bytes:
        """Copies bytes back."""
        data = np.empty(nbytes, np.uint8)
        ok(self.hip.hipMemcpy(data.ctypes.data, pointer, nbytes, self.hip.hipMemcpyKind.hipMemcpyDeviceToHost))
        return data.tobytes()

    def run(self, pointers: Sequence[int]) -> None:
        """Every launch once; waits, so a fault shows here."""
        self.enqueue(self.parameters(pointers))
        ok(self.hip.hipStreamSynchronize(self.stream))

    def time(self, pointers: Sequence[Sequence[int]], repeats: int) -> list[float]:
        """Seconds between two events around each call, all queued before the first is read; 1 us resolution."""
        hip, sets = self.hip, [self.parameters(one) for one in pointers]
        events = [[ok(hip.hipEventCreate()) for _ in range(2)] for _ in range(repeats)]
        try:
            for index, (start, stop) in enumerate(events):
                ok(hip.hipEventRecord(start, self.stream))
                self.enqueue(sets[index % len(sets)])
                ok(hip.hipEventRecord(stop, self.stream))
            ok(hip.hipStreamSynchronize(self.stream))
            return [ok(hip.hipEventElapsedTime(start, stop)) * 1e-3 for start, stop in events]
        finally:
            for event in (event for pair in events for event in pair):
                hip.hipEventDestroy(event)

    def parameters(self, pointers: Sequence[int]) -> list[Parameters]:
        """The packed parameters of every launch, for one set of buffers."""
        return [Parameters(launch, pointers, self.scratch) for launch in self.binary.launches]

    def enqueue(self, packs: Sequence[Parameters]) -> None:
        """Puts one call of the program on the stream."""
        for space in workspaces(self.binary).values():
            if space.zeroed:
                ok(self.hip.hipMemsetAsync(self.scratch[space.index], 0, space.bytes, self.stream))
        for one, pack in zip(self.binary.launches, packs, strict=True):
            function = self.functions[one.kernel]
            sizes = (*one.grid, *one.block, one.shared_bytes)
            ok(self.hip.hipModuleLaunchKernel(function, *sizes, self.stream, pack.address, None))

    def close(self) -> None:
        """Frees all; says nothing of a context that is lost already."""
        if self.stream is None:
            return
        for pointer in self.memory:
            self.hip.hipFree(pointer)
        if self.module is not None:
            self.hip.hipModuleUnload(self.module)
        self.hip.hipStreamDestroy(self.stream)
        self.memory, self.module, self.stream = [], None, None

    def __enter__(self) -> HipProgram:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Parameters:
    """The `kernelParams` of a launch: an array of pointers, one to the bytes of each parameter."""

    def __init__(self, launch: Launch, pointers: Sequence[int], scratch: dict[int, int]) -> None:
        values = [packed(a, pointers, scratch) for a in launch.args if isinstance(a, Buffer | Scalar | Workspace)]
        self.held = [ctypes.create_string_buffer(value, len(value)) for value in values]
        self.slots = (ctypes.c_void_p * max(1, len(values)))(*map(ctypes.addressof, self.held))
        self.address = ctypes.addressof(self.slots)
