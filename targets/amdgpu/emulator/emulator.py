"""The emulator's interface: a code object, a launch of one of its kernels, what came of it.

Everything that it gives is *emulated*: results follow the instruction set's definition; times, waits and hazards are
not modelled.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np

from lowering.targets.amdgpu.emulator import dispatch, lds_steps
from lowering.targets.amdgpu.emulator.decode import Instruction, reachable
from lowering.targets.amdgpu.emulator.dispatch import Dim3, Grid, Pointers
from lowering.targets.amdgpu.emulator.engine import Budget, Program, Team, Watcher, run_batch
from lowering.targets.amdgpu.emulator.findings import EmulationError, Finding, Findings, OnFault, Unwritten
from lowering.targets.amdgpu.emulator.image import Image, ImageError, KernelCode, load
from lowering.targets.amdgpu.emulator.lds import Lds
from lowering.targets.amdgpu.emulator.memory import BASE, Memory, TooLarge
from lowering.targets.amdgpu.emulator.native import Native
from lowering.targets.amdgpu.emulator.vmem import Machine
from lowering.targets.amdgpu.emulator.waves import EXEC, FLAT_SCRATCH, Waves, waves

__all__ = ["EmulationError", "EmulationResult", "Emulator", "ImageError", "Options", "Value"]

Array = np.ndarray[Any, Any]
Engine = Literal["numpy", "native"]
ENGINES = get_args(Engine)
BATCH = 256  # waves that run in lock-step: as many as keep a kernel's registers in the caches
MODES = 0xF0, 0xFF  # rounding to nearest, denormals kept: what is emulated, of the low byte of MODE
PACKED = {
    "i8": "<b", "i16": "<h", "i32": "<i", "u8": "<B", "u16": "<H", "u32": "<I", "i64": "<q", "u64": "<Q", "f16": "<e",
    "f32": "<f", "f64": "<d",
}  # fmt: skip


@dataclass(frozen=True)
class Value:
    """A scalar argument: its kind (i32, u64, f32, ...) and value."""

    kind: str
    value: float

    def bytes(self) -> bytes:
        """As it lies in the kernarg segment. Raises ImageError for a kind or value that there is not."""
        if self.kind not in PACKED:
            raise ImageError(f"there is no kind of argument '{self.kind}'; known: {', '.join(PACKED)}")
        try:
            number = float(self.value) if self.kind[0] == "f" else int(self.value)
            if number != self.value and self.kind[0] != "f":
                raise OverflowError
            return struct.pack(PACKED[self.kind], number)
        except (struct.error, OverflowError, ValueError, TypeError):
            raise ImageError(f"{self.value!r} does not fit into {self.kind}") from None


Argument = Array | Value | bytes | None
"""A buffer (changed in place, or read-only where the array is), a scalar, bytes as they are, or a null pointer."""


@dataclass(frozen=True)
class Options:
    """How a launch is run.

    `wave_order`: a seed for the order in which the waves of a workgroup run, None for lock-step. `on_fault`: an access
    out of bounds raises ("error"), or reads 0 and stores nothing, and is a finding ("warn") or only counted ("zero").
    `checks`: LDS races and reads of LDS never written are looked for. `workgroups`: the numbers of those that run, None
    for all. `outputs`: the numbers of arguments every byte of which must be written. `engine`: both give the same bits.
    """

    wave_order: int | None = None
    on_fault: OnFault = "error"
    exact_matrix: bool = False
    checks: bool = True
    max_instructions: int = 10**9
    workgroups: tuple[int, ...] | None = None
    watcher: Watcher | None = None
    outputs: tuple[int, ...] = ()
    engine: Engine = "native"


@dataclass(frozen=True)
class EmulationResult:
    """What came of a launch: findings, wave-instructions, workgroups, seconds here; how often each was executed.

    `faults`: accesses of lanes that were out of bounds or misaligned, listed among the findings or not.
    """

    findings: tuple[Finding | Unwritten, ...]
    faults: int
    instructions: int
    workgroups: int
    of_workgroups: int
    seconds: float
    executed: Mapping[Instruction, int] = field(repr=False)


@dataclass
class Emulator:
    """A loaded code object with its memory. Raises ImageError for one that is none, or damaged."""

    data: bytes = field(repr=False)
    image: Image = field(init=False)
    memory: Memory = field(init=False)
    base: int = field(init=False)
    machine: Machine | None = field(init=False, default=None)
    programs: dict[tuple[int, bool, str], Program] = field(
        init=False, default_factory=dict[tuple[int, bool, str], Program]
    )

    def __post_init__(self) -> None:
        self.image = load(content(self.data))
        self.memory = Memory()
        code = self.image.code
        self.base = self.memory.allocate(-(-len(code) // 4) * 4, "the code object", writable=False, own=True)
        self.memory.write(self.base, code)

    def here(self) -> Machine:
        """What memory instructions of the current batch reach."""
        assert self.machine is not None
        return self.machine

    def program(self, entry: int, options: Options) -> Program:
        """The decoded code from an entry; kept."""
        key = (entry, options.exact_matrix, options.engine)
        if key in self.programs:
            self.programs[key].counts.clear()
            return self.programs[key]
        code = reachable(self.image.code, entry)
        native = Native(code) if options.engine == "native" else None
        made = Program(self.image.code, self.base, self.here, options.exact_matrix, native)
        made.lds_unit = min((4, *(lds_steps.size_of(one) for one in code if lds_steps.is_access(one))))
        self.programs[key] = made
        return made

    def launch(
        self,
        kernel: str | None,
        grid: Dim3,
        block: Dim3,
        args: Sequence[Argument],
        dynamic_lds: int = 0,
        options: Options = Options(),
    ) -> EmulationResult:
        """Runs a kernel once. `grid` counts workgroups. Arrays among `args` are buffers, and are changed in place.

        An array that numpy calls read-only may not be written by the kernel either; one given twice is one buffer.
        Raises ImageError for arguments, options or a shape that do not fit, EmulationError for a fault in the kernel.
        """
        code = self.image.kernel(kernel)
        check_arguments(args)
        check_options(options, args)
        same = repeats(args)
        used, first = self.memory.used, len(self.memory.regions)
        addresses: dict[int, int] = {}
        try:
            for number, each in enumerate(args):
                if number in same:
                    addresses[number] = addresses[same[number]]
                elif isinstance(each, np.ndarray):
                    addresses[number] = self.memory.allocate(each.nbytes, f"argument {number}", each.flags.writeable)
                    self.memory.write(addresses[number], each.tobytes())
            packed = [as_bytes(each, addresses.get(number)) for number, each in enumerate(args)]
            if options.outputs:
                self.memory.track()
            try:
                result = self.dispatch(code, Grid(grid, block), packed, dynamic_lds, options)
                return replace(result, findings=(*result.findings, *self.unwritten(args, addresses, options.outputs)))
            finally:
                self.copy_back(args, addresses)
        except TooLarge as error:
            raise ImageError(str(error)) from None
        finally:
            self.memory.written = None
            self.memory.used = used
            del self.memory.regions[first:]

    def copy_back(self, args: Sequence[Argument], addresses: Mapping[int, int]) -> None:
        """Gives the arrays that may be written what the kernel left in their buffers."""
        for number, address in addresses.items():
            array = args[number]
            assert isinstance(array, np.ndarray)
            if array.flags.writeable:
                found = np.frombuffer(self.memory.read(address, array.nbytes), array.dtype)
                array[...] = found.reshape(array.shape)

    def unwritten(
        self, args: Sequence[Argument], addresses: Mapping[int, int], outputs: Sequence[int]
    ) -> Iterator[Unwritten]:
        """The outputs that have an element nobody wrote."""
        for number in outputs:
            array, address = args[number], addresses[number]
            assert isinstance(array, np.ndarray)
            assert self.memory.written is not None
            start = address - BASE
            bytes_ = self.memory.written[start : start + array.nbytes].reshape(-1, array.itemsize)
            missing = np.flatnonzero(~bytes_.astype(bool).all(axis=1))
            if len(missing):
                first = tuple(int(i) for i in np.unravel_index(int(missing[0]), array.shape))
                yield Unwritten(number, len(missing), array.size, first)

    def dispatch(
        self, code: KernelCode, grid: Grid, packed: Sequence[bytes], dynamic_lds: int, options: Options
    ) -> EmulationResult:
        """Runs a kernel whose buffers are in memory; `packed` are the bytes of its explicit arguments."""
        began = time.perf_counter()
        dispatch.check(code, grid, dynamic_lds)
        if options.workgroups is not None and not all(0 <= number < grid.count for number in options.workgroups):
            raise ImageError(f"workgroups: their numbers are 0 to {grid.count - 1}, found {options.workgroups}")
        low, mask = MODES
        if code.descriptor.float_mode & mask != low:
            raise ImageError(
                f"kernel '{code.name}' sets float mode {code.descriptor.float_mode:#x}; emulated is {low:#x}: "
                "rounding to nearest, denormals kept"
            )
        used, first = self.memory.used, len(self.memory.regions)
        try:
            kernarg = dispatch.pack(code, grid, packed, dynamic_lds)
            pointers = Pointers(self.hold(dispatch.packet(grid), "dispatch packet"), self.hold(kernarg, "kernarg"))
            launch = Launch(
                self, code, grid, dynamic_lds, options, dispatch.user_sgprs(code.descriptor, pointers, kernarg)
            )
            with np.errstate(all="ignore"):
                launch.run()
        finally:
            self.memory.used = used
            del self.memory.regions[first:]
        return EmulationResult(
            tuple(launch.findings.found.values()),
            launch.findings.faults,
            launch.budget.executed,
            launch.count,
            grid.count,
            time.perf_counter() - began,
            launch.program.executed(),
        )

    def hold(self, data: bytes, name: str) -> int:
        """The address of a copy of some bytes."""
        address = self.memory.allocate(max(len(data), 4), name, writable=False, own=True)
        self.memory.write(address, data)
        return address


def content(data: object) -> bytes:
    """The bytes of a code object. Raises ImageError for something else."""
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise ImageError(f"a code object is the bytes of a file, as Path('kernel.hsaco').read_bytes(); found {data!r:.60}")


def check_arguments(args: Sequence[object]) -> None:
    """Raises ImageError for arguments that no launch can have, whatever a caller's types promise."""
    if not isinstance(args, tuple | list):
        raise ImageError("args is a list of arguments, as [a, b]")
    for number, each in enumerate(args):
        if isinstance(each, np.ndarray) and (why := unsuited(each)):
            raise ImageError(f"argument {number} (the first is 0): {why}")
        if not isinstance(each, np.ndarray | Value | bytes | None):
            raise ImageError(
                f"argument {number} (the first is 0) is of type {type(each).__name__}, expected an array, bytes, None "
                f"or a scalar such as Value('i32', 7)"
            )


def check_options(options: Options, args: Sequence[object]) -> None:
    """Raises ImageError for options that no launch with these arguments can have."""
    if not isinstance(options, Options):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ImageError(f"options is an Options, as Options(on_fault='warn'), found {options!r}")
    for name, value, known in (("on_fault", options.on_fault, get_args(OnFault)), ("engine", options.engine, ENGINES)):
        if value not in known:
            raise ImageError(f"{name} is one of {', '.join(known)}, found {value!r}")
    for name, number, least in (
        ("wave_order", options.wave_order, 0),
        ("max_instructions", options.max_instructions, 1),
    ):
        if number is not None and (not dispatch.is_whole(number) or number < least):
            raise ImageError(f"{name} is a whole number of at least {least}, found {number!r}")
    chosen: Any = options.workgroups
    if chosen is not None and (
        not isinstance(chosen, tuple | list | range)
        or not chosen
        or len(set(chosen)) < len(chosen)
        or not all(map(dispatch.is_whole, chosen))
    ):
        raise ImageError(f"workgroups: numbers of at least one workgroup, none twice, found {chosen!r}")
    outputs: Any = options.outputs
    for number in outputs if isinstance(outputs, tuple | list) else [outputs]:
        if not (dispatch.is_whole(number) and 0 <= number < len(args) and isinstance(args[number], np.ndarray)):
            raise ImageError(f"outputs: argument {number!r} (the first is 0) is no array")


def repeats(args: Sequence[object]) -> dict[int, int]:
    """The arguments that are the very memory of an earlier one, and that one's number.

    Raises ImageError for arrays that overlap otherwise: each would be copied back over the other.
    """
    found: dict[int, int] = {}
    arrays = [(n, each) for n, each in enumerate(args) if isinstance(each, np.ndarray) and each.nbytes]
    for k, (number, each) in enumerate(arrays):
        for earlier, other in arrays[:k]:
            if identity(each) == identity(other):
                found.setdefault(number, earlier)
            elif (each.flags.writeable or other.flags.writeable) and np.shares_memory(each, other):
                raise ImageError(
                    f"arguments {earlier} and {number} (the first is 0) are views of the same memory: pass one of them "
                    "as a copy, or both read-only"
                )
    return found


def identity(array: Array) -> tuple[object, ...]:
    """What two arrays share that are the same memory seen alike."""
    held = array.__array_interface__
    return held["data"], array.shape, array.strides, array.dtype.itemsize


def unsuited(array: Array) -> str:
    """Why an array cannot be a kernel's buffer; empty where it can: numbers, or raw bits, as the device has them."""
    kind = array.dtype
    if kind.kind not in "biufV" or kind.names is not None or kind.itemsize > 8:
        return f"elements of type {kind}; a buffer has integers or floats of at most 64 bits"
    return (
        "" if kind.isnative else f"elements of type {kind}, big-endian; the device is little-endian: a.astype('<...')"
    )


def as_bytes(argument: Argument, address: int | None) -> bytes:
    """An argument as it lies in the kernarg segment."""
    if isinstance(argument, np.ndarray):
        return struct.pack("<Q", address)
    if argument is None:
        return bytes(8)
    return argument.bytes() if isinstance(argument, Value) else argument


class Launch:
    """One launch: batches of workgroups, one after the other."""

    def __init__(
        self, emulator: Emulator, code: KernelCode, grid: Grid, dynamic_lds: int, options: Options, sgprs: list[int]
    ) -> None:
        self.emulator, self.code, self.grid, self.options, self.sgprs = emulator, code, grid, options, sgprs
        self.lds_bytes = code.descriptor.group_segment + dynamic_lds
        self.findings = Findings(options.on_fault)
        self.budget = Budget(options.max_instructions, options.max_instructions)
        self.numbers: Sequence[int] = range(grid.count) if options.workgroups is None else options.workgroups
        self.count = grid.count if options.workgroups is None else len(options.workgroups)
        self.rng = None if options.wave_order is None else np.random.default_rng(options.wave_order)
        self.entry = code.descriptor.entry + (256 if code.descriptor.preload_dwords else 0)
        self.program = emulator.program(self.entry, options)

    def run(self) -> None:
        """Runs all workgroups."""
        step = max(1, BATCH // self.grid.waves)
        for first in range(0, self.count, step):
            self.batch(np.array(self.numbers[first : first + step], np.int64))

    def batch(self, numbers: Array) -> None:
        """Runs some workgroups; wave t of workgroup g is row t * groups + g, or another t in random order."""
        groups, each = len(numbers), self.grid.waves
        order = np.tile(np.arange(each, dtype=np.int64)[:, None], (1, groups))
        if self.rng is not None:
            order = self.rng.permuted(order, axis=0)
        w = waves(each * groups, np.tile(np.arange(groups), each), order.reshape(-1))
        self.findings.groups = numbers
        memory = Lds(self.lds_bytes, groups, self.findings, self.options.checks, self.program.lds_unit)
        self.emulator.machine = Machine(self.emulator.memory, memory, self.findings)
        used, first = self.emulator.memory.used, len(self.emulator.memory.regions)
        self.start(w, numbers)
        parts = [w] if self.rng is None else [w.part(slice(t * groups, (t + 1) * groups)) for t in range(each)]
        for part in parts:
            part.exec_changed()
        watcher = self.options.watcher
        teams = [Team(part, self.program, self.entry, self.budget, watcher) for part in parts]
        run_batch(teams, groups, memory, self.rng)
        self.emulator.memory.used = used
        del self.emulator.memory.regions[first:]

    def start(self, w: Waves, numbers: Array) -> None:
        """Sets the registers that a wave finds when it starts."""
        descriptor = self.code.descriptor
        for index, value in enumerate(self.sgprs):
            w.s[index] = value
        index = len(self.sgprs)
        places = np.array([self.grid.place(int(number)) for number in numbers], np.uint32)
        for axis, wanted in enumerate(descriptor.workgroup_ids):
            if wanted:
                w.s[index] = places[w.group, axis]
                index += 1
        for wave in range(self.grid.waves):
            packed, there = dispatch.lane_ids(self.grid, wave, descriptor.work_item_ids)
            mine = w.number == wave
            w.v[0][mine] = packed
            bits = np.packbits(there, bitorder="little").view(np.uint32)
            w.s[EXEC][mine], w.s[EXEC + 1][mine] = bits
        size = descriptor.private_segment
        if size:
            w.scratch_bytes = size
            address = self.emulator.memory.allocate(w.count * 64 * size, "scratch", own=True)
            bases = np.uint64(address) + np.arange(w.count, dtype=np.uint64) * np.uint64(64 * size)
            w.s[FLAT_SCRATCH], w.s[FLAT_SCRATCH + 1] = bases & np.uint64(0xFFFFFFFF), bases >> np.uint64(32)
