"""Runs cubins and PTX on an NVIDIA GPU through the driver API (cuda-bindings), imported only when used.

Kernels are launched on the primary context of device 0, so a torch in the same process shares it.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from types import TracebackType
from typing import Any, Literal

import numpy as np

from lowering.core import Binary, Launch, TensorMap
from lowering.targets import chips
from lowering.targets.executor import DeviceError, contiguous, packed, workspaces

# Errors after which the context is lost (CUDA driver API, CUresult: "the process must be terminated and relaunched").
STICKY = frozenset(
    f"CUDA_ERROR_{name}"
    for name in (
        "ILLEGAL_ADDRESS", "MISALIGNED_ADDRESS", "LAUNCH_TIMEOUT", "LAUNCH_FAILED", "ILLEGAL_INSTRUCTION", "ASSERT",
        "INVALID_ADDRESS_SPACE", "INVALID_PC", "HARDWARE_STACK_ERROR", "ECC_UNCORRECTABLE", "TENSOR_MEMORY_LEAK",
    )
)  # fmt: skip
LOG_BYTES = 16384


def bindings() -> Any:
    """The driver API's module."""
    return importlib.import_module("cuda.bindings.driver")


def ok(result: tuple[Any, ...]) -> Any:
    """The values of a driver call. Raises DeviceError with the error's name."""
    code, *values = result
    if int(code) != 0:
        raise DeviceError(code.name, code.name in STICKY)
    return values[0] if len(values) == 1 else values


@cache
def context() -> Any:
    """The primary context of device 0, kept for the life of the process: making one takes 0.1 s."""
    cu = bindings()
    ok(cu.cuInit(0))
    return ok(cu.cuDevicePrimaryCtxRetain(ok(cu.cuDeviceGet(0))))


@dataclass(frozen=True)
class Cuda:
    """The executor of the nvidia family."""

    name: str = "cuda"
    word: Literal["measured", "emulated"] = "measured"

    def unavailable(self) -> str | None:
        """Why no kernel can run here: no package, no driver, no device, or a device of another architecture."""
        if importlib.util.find_spec("cuda") is None or importlib.util.find_spec("cuda.bindings") is None:
            return "no package cuda-bindings (pip install 'lower[cuda]')"
        try:
            cu = bindings()
            ok(cu.cuInit(0))
            if ok(cu.cuDeviceGetCount()) == 0:
                return "no CUDA device"
            found = capability(cu, ok(cu.cuDeviceGet(0)))
        except DeviceError as error:
            return f"no CUDA device ({error.reason})"
        except (RuntimeError, OSError, ImportError):  # the bindings find no libcuda
            return "no CUDA driver"
        known = {chip.facts["compute_capability"]: chip.name for chip in chips("nvidia")}
        if found not in known:
            return f"the CUDA device has compute capability {found[0]}.{found[1]}; known: {', '.join(known.values())}"
        return None

    def load(self, binary: Binary) -> CudaProgram:
        """Loads the image. Raises DeviceError with the JIT's own words where the driver refuses it."""
        return CudaProgram(binary)


def capability(cu: Any, device: Any) -> tuple[int, int]:
    """The compute capability of a device."""
    kind = cu.CUdevice_attribute
    major = ok(cu.cuDeviceGetAttribute(kind.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device))
    return major, ok(cu.cuDeviceGetAttribute(kind.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device))


def new_stream() -> Any:
    """A stream that waits for no other."""
    cu = bindings()
    ok(cu.cuCtxSetCurrent(context()))
    return ok(cu.cuStreamCreate(cu.CUstream_flags.CU_STREAM_NON_BLOCKING))


def device_name() -> str:
    """What device 0 is called."""
    cu = bindings()
    context()
    return ok(cu.cuDeviceGetName(64, ok(cu.cuDeviceGet(0)))).split(b"\0", 1)[0].decode()


class CudaProgram:
    """A loaded module with its memory, stream and workspaces."""

    findings: tuple[str, ...] | None = None

    def __init__(self, binary: Binary, stream: Any = None) -> None:
        """`stream`: one that others use too, and close; its own where none is given."""
        self.cu, self.binary, self.memory = bindings(), binary, list[int]()
        self.module: Any = None
        cu, self.shares = self.cu, stream is not None
        ok(cu.cuCtxSetCurrent(context()))
        self.stream = stream if self.shares else new_stream()
        try:
            self.module = load_module(cu, binary)
            self.functions = {launch.kernel: self.function(launch) for launch in binary.launches}
            self.scratch = {index: self.allocate(space.bytes) for index, space in workspaces(binary).items()}
        except DeviceError:
            self.close()
            raise

    def function(self, launch: Launch) -> Any:
        """A kernel, allowed the dynamic shared memory and the cluster that its launches want."""
        cu, kernel = self.cu, ok(self.cu.cuModuleGetFunction(self.module, launch.kernel.encode()))
        kind = cu.CUfunction_attribute
        most = max(other.shared_bytes for other in self.binary.launches if other.kernel == launch.kernel)
        if most > 0:
            ok(cu.cuFuncSetAttribute(kernel, kind.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, most))
        if launch.cluster[0] * launch.cluster[1] * launch.cluster[2] > 8:
            ok(cu.cuFuncSetAttribute(kernel, kind.CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1))
        return kernel

    def allocate(self, nbytes: int) -> int:
        """Device memory; the driver aligns it to 256 bytes and more."""
        self.memory.append(int(ok(self.cu.cuMemAlloc(max(nbytes, 1)))))
        return self.memory[-1]

    def write(self, pointer: int, data: Any) -> None:
        """Copies bytes or an array to the device.

        On the program's own stream: cuMemcpyHtoD may return before its last bytes are on the device, and this stream
        does not wait for the default one, so its poison could land on an output after the kernel (seen on an H200 with
        several processes).
        """
        array = contiguous(data)
        ok(self.cu.cuMemcpyHtoDAsync(pointer, array.ctypes.data, array.nbytes, self.stream))
        ok(self.cu.cuStreamSynchronize(self.stream))

    def read(self, pointer: int, nbytes: int) -> bytes:
        """Copies bytes back."""
        data = np.empty(nbytes, np.uint8)
        ok(self.cu.cuMemcpyDtoHAsync(data.ctypes.data, pointer, nbytes, self.stream))
        ok(self.cu.cuStreamSynchronize(self.stream))
        return data.tobytes()

    def run(self, pointers: Sequence[int]) -> None:
        """Every launch once; waits, so a fault shows here."""
        for call in self.calls(pointers):
            call.enqueue()
        ok(self.cu.cuStreamSynchronize(self.stream))

    def time(self, pointers: Sequence[Sequence[int]], repeats: int) -> list[float]:
        """Seconds between two events around each call, all queued before the first is read; 0.5 us resolution."""
        sets = [self.calls(one) for one in pointers]

        def enqueue(calls: Sequence[Call | Clear]) -> None:
            for call in calls:
                call.enqueue()

        return timed(self.cu, self.stream, [partial(enqueue, sets[n % len(sets)]) for n in range(repeats)])

    def calls(self, pointers: Sequence[int]) -> list[Call | Clear]:
        """What one call of the program puts on the stream, for one set of buffers."""
        cleared = [
            Clear(self.cu, self.stream, self.scratch[space.index], space.bytes)
            for space in workspaces(self.binary).values()
            if space.zeroed
        ]
        return [*cleared, *(Call(self, launch, pointers) for launch in self.binary.launches)]

    def close(self) -> None:
        """Frees all; says nothing of a context that is lost already."""
        if self.stream is None:
            return
        for pointer in self.memory:
            self.cu.cuMemFree(pointer)
        if self.module is not None:
            self.cu.cuModuleUnload(self.module)
        if not self.shares:
            self.cu.cuStreamDestroy(self.stream)
        self.memory, self.module, self.stream = [], None, None

    def __enter__(self) -> CudaProgram:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Clear:
    """A workspace to zero."""

    def __init__(self, cu: Any, stream: Any, pointer: int, nbytes: int) -> None:
        self.cu, self.stream, self.pointer, self.nbytes = cu, stream, pointer, nbytes

    def enqueue(self) -> None:
        """Puts it on the stream."""
        ok(self.cu.cuMemsetD8Async(self.pointer, 0, self.nbytes, self.stream))


class Call:
    """A launch with its parameters packed once, so that queueing it costs one driver call."""

    def __init__(self, program: CudaProgram, launch: Launch, pointers: Sequence[int]) -> None:
        self.cu, cu = program.cu, program.cu
        self.function, self.stream, self.launch = program.functions[launch.kernel], program.stream, launch
        self.held = [parameter(program, launch, index, pointers) for index in range(len(launch.args))]
        self.slots = (ctypes.c_void_p * max(1, len(self.held)))(*(address for address, _ in self.held))
        plain = launch.cluster == (1, 1, 1) and not launch.early
        self.config = None if plain else configured(cu, launch, program.stream)

    def enqueue(self) -> None:
        """Puts it on the stream."""
        slots, one = ctypes.addressof(self.slots), self.launch
        if self.config is not None:
            ok(self.cu.cuLaunchKernelEx(self.config, self.function, slots, 0))
            return
        ok(self.cu.cuLaunchKernel(self.function, *one.grid, *one.block, one.shared_bytes, self.stream, slots, 0))


def timed(
    cu: Any, stream: Any, calls: Sequence[Callable[[], None]], between: Callable[[], None] | None = None
) -> list[float]:
    """Seconds between two events around what each call puts on a stream; all are queued before the first is read.

    `between` puts something before each, which is not counted, as what empties a cache. Events resolve 0.5 us.
    """
    events = [[ok(cu.cuEventCreate(0)) for _ in range(2)] for _ in calls]
    try:
        for call, (start, stop) in zip(calls, events, strict=True):
            if between is not None:
                between()
            ok(cu.cuEventRecord(start, stream))
            call()
            ok(cu.cuEventRecord(stop, stream))
        ok(cu.cuStreamSynchronize(stream))
        return [ok(cu.cuEventElapsedTime(start, stop)) * 1e-3 for start, stop in events]
    finally:
        for event in (event for pair in events for event in pair):
            cu.cuEventDestroy(event)


def parameter(program: CudaProgram, launch: Launch, index: int, pointers: Sequence[int]) -> tuple[int, Any]:
    """The host address of a kernel parameter, and what keeps it alive."""
    arg = launch.args[index]
    if not isinstance(arg, TensorMap):
        data = packed(arg, pointers, program.scratch)
        held = ctypes.create_string_buffer(data, len(data))
        return ctypes.addressof(held), held
    address = int.from_bytes(packed(arg.buffer, pointers, program.scratch), "little")
    encoded = encode(program.cu, arg, address)
    _, size = ok(program.cu.cuFuncGetParamInfo(program.functions[launch.kernel], index))
    if int(size) == 128:  # a by-value grid_constant parameter
        return int(encoded.getPtr()), encoded
    copy = program.allocate(128)
    program.write(copy, ctypes.string_at(int(encoded.getPtr()), 128))
    held = ctypes.c_uint64(copy)
    return ctypes.addressof(held), held


def encode(cu: Any, tensor: TensorMap, address: int) -> Any:
    """A CUtensorMap. Raises DeviceError where the driver refuses its sizes."""
    kinds = {
        "f16": "FLOAT16",
        "bf16": "BFLOAT16",
        "f32": "FLOAT32",
        "tf32": "TFLOAT32",
        "f64": "FLOAT64",
        "i32": "INT32",
    }
    kind = getattr(cu.CUtensorMapDataType, f"CU_TENSOR_MAP_DATA_TYPE_{kinds.get(tensor.element, 'UINT8')}")
    swizzle = f"{tensor.swizzle}B" if tensor.swizzle else "NONE"
    fill = "NAN_REQUEST_ZERO_FMA" if tensor.oob == "nan" else "NONE"
    word, short = cu.cuuint64_t, cu.cuuint32_t
    return ok(
        cu.cuTensorMapEncodeTiled(
            kind,
            len(tensor.dims),
            address,
            [word(n) for n in tensor.dims],
            [word(n) for n in tensor.strides],
            [short(n) for n in tensor.box],
            [short(1)] * len(tensor.dims),
            cu.CUtensorMapInterleave.CU_TENSOR_MAP_INTERLEAVE_NONE,
            getattr(cu.CUtensorMapSwizzle, f"CU_TENSOR_MAP_SWIZZLE_{swizzle}"),
            cu.CUtensorMapL2promotion.CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
            getattr(cu.CUtensorMapFloatOOBfill, f"CU_TENSOR_MAP_FLOAT_OOB_FILL_{fill}"),
        )
    )


def configured(cu: Any, launch: Launch, stream: Any) -> Any:
    """A launch configuration with a cluster, or of a launch that may start early."""
    cluster, early = cu.CUlaunchAttribute(), cu.CUlaunchAttribute()
    cluster.id = cu.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
    cluster.value.clusterDim.x, cluster.value.clusterDim.y, cluster.value.clusterDim.z = launch.cluster
    early.id = cu.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION
    early.value.programmaticStreamSerializationAllowed = 1
    attributes = [cluster] * (launch.cluster != (1, 1, 1)) + [early] * launch.early
    config = cu.CUlaunchConfig()
    config.gridDimX, config.gridDimY, config.gridDimZ = launch.grid
    config.blockDimX, config.blockDimY, config.blockDimZ = launch.block
    config.sharedMemBytes, config.hStream = launch.shared_bytes, stream
    config.attrs, config.numAttrs = attributes, len(attributes)
    return config


def load_module(cu: Any, binary: Binary) -> Any:
    """The module of an image; the driver's JIT compiles PTX. Raises DeviceError with its log's first error."""
    log = bytearray(LOG_BYTES)
    kind = cu.CUjit_option
    options = [kind.CU_JIT_ERROR_LOG_BUFFER, kind.CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES]
    code, module = cu.cuModuleLoadDataEx(binary.image + b"\0", len(options), options, [log, LOG_BYTES])
    if int(code) == 0:
        return module
    words = log.split(b"\0", 1)[0].decode(errors="replace").strip().splitlines()
    raise DeviceError(f"{code.name}{': ' + words[0] if words else ''}", code.name in STICKY)
