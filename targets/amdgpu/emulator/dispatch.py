"""What a wave finds when it starts: the kernarg segment, scalar registers, the place of each lane.

LLVM AMDGPUUsage, "Initial Kernel Execution State" and "Kernel Dispatch": gfx942 has packed work-item numbers in v0,
architected flat scratch, and may have a part of the kernarg segment in SGPRs.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowering.targets.amdgpu.emulator.image import Descriptor, ImageError, KernelCode
from lowering.targets.amdgpu.emulator.kinds import PRIVATE_APERTURE, SHARED_APERTURE
from lowering.targets.amdgpu.hsaco import Parameter

Dim3 = tuple[int, int, int]
WAVE = 64
MOST_THREADS = 1024
MOST_ITEMS = 2**32 - 1  # the fields of an AQL dispatch packet
MOST_LDS = 65536  # bytes a workgroup
LDS_GRANULE = 512  # bytes


@dataclass(frozen=True)
class Grid:
    """The shape of a launch: workgroups and work-items of each, x first."""

    groups: Dim3
    block: Dim3

    @property
    def count(self) -> int:
        """Workgroups."""
        return self.groups[0] * self.groups[1] * self.groups[2]

    @property
    def threads(self) -> int:
        """Work-items a workgroup."""
        return self.block[0] * self.block[1] * self.block[2]

    @property
    def waves(self) -> int:
        """Waves a workgroup; the last may be partial."""
        return -(-self.threads // WAVE)

    def place(self, number: int) -> Dim3:
        """Where a workgroup lies; x runs fastest."""
        x, y, _ = self.groups
        return number % x, number // x % y, number // (x * y)


def is_whole(number: object) -> bool:
    """Whether it is a whole number, Python's or numpy's."""
    return isinstance(number, int | np.integer)


def is_shape(found: object) -> bool:
    """Whether it is three whole numbers."""
    return isinstance(found, tuple | list) and len(list[Any](found)) == 3 and all(map(is_whole, list[Any](found)))


def check(code: KernelCode, grid: Grid, dynamic_lds: int) -> None:
    """Raises ImageError for a launch that the hardware would refuse."""
    for what, found in (("grid", grid.groups), ("block", grid.block)):
        if not is_shape(found):
            raise ImageError(f"{what} is three numbers, as (8, 8, 1), found {found}")
    if not is_whole(dynamic_lds) or dynamic_lds < 0:
        raise ImageError(f"dynamic LDS is a number of bytes, at least 0, found {dynamic_lds!r}")
    if min(*grid.groups, *grid.block) < 1:
        raise ImageError(f"grid {grid.groups} of blocks {grid.block}: every dimension must be at least 1")
    if max(n * b for n, b in zip(grid.groups, grid.block, strict=True)) > MOST_ITEMS:
        raise ImageError(f"grid {grid.groups} of blocks {grid.block}: at most {MOST_ITEMS} work-items in a dimension")
    most = code.known.threads_max
    if grid.threads > most:
        raise ImageError(f"{grid.threads} work-items a workgroup; kernel '{code.name}' was compiled for at most {most}")
    lds = code.descriptor.group_segment + dynamic_lds
    if lds > MOST_LDS:
        raise ImageError(f"{lds} bytes of LDS a workgroup; gfx942 has {MOST_LDS}")


def pack(code: KernelCode, grid: Grid, values: Sequence[bytes], dynamic_lds: int) -> bytes:
    """The kernarg segment: explicit arguments in order, then the hidden ones. Raises ImageError for others."""
    segment = bytearray(max(code.known.kernarg_bytes, code.descriptor.kernarg_bytes))
    explicit = [p for p in code.known.parameters if not p.kind.startswith("hidden_")]
    if len(values) != len(explicit):
        listed = ", ".join(map(described, explicit)) or "none"
        raise ImageError(f"kernel '{code.name}' takes {len(explicit)} arguments, found {len(values)}: {listed}")
    for number, (parameter, value) in enumerate(zip(explicit, values, strict=True)):
        if len(value) != parameter.size:
            raise ImageError(
                f"argument {number} of '{code.name}' (the first is 0) is {described(parameter)}, found {len(value)} "
                "bytes"
            )
        segment[parameter.offset : parameter.offset + parameter.size] = value
    for parameter in code.known.parameters:
        if parameter.kind.startswith("hidden_"):
            value = hidden(parameter, grid, dynamic_lds)
            segment[parameter.offset : parameter.offset + parameter.size] = value
    return bytes(segment)


def described(parameter: Parameter) -> str:
    """An explicit argument in words."""
    return "a buffer" if parameter.kind == "global_buffer" else f"{parameter.kind} of {parameter.size} bytes"


def hidden(parameter: Parameter, grid: Grid, dynamic_lds: int) -> bytes:
    """The value of a hidden argument; services that there are none of (printf, heap, ...) are null."""
    known: Mapping[str, int] = {
        **{f"hidden_block_count_{axis}": n for axis, n in zip("xyz", grid.groups, strict=True)},
        **{f"hidden_group_size_{axis}": n for axis, n in zip("xyz", grid.block, strict=True)},
        "hidden_grid_dims": max(1, *(i + 1 for i, n in enumerate(grid.groups) if n * grid.block[i] > 1), 1),
        "hidden_dynamic_lds_size": dynamic_lds,
        "hidden_private_base": PRIVATE_APERTURE >> 32,
        "hidden_shared_base": SHARED_APERTURE >> 32,
    }
    return (known.get(parameter.kind, 0) & (1 << 8 * parameter.size) - 1).to_bytes(parameter.size, "little")


def packet(grid: Grid) -> bytes:
    """The parts of an AQL dispatch packet that kernels read: workgroup sizes and the grid's in work-items."""
    data = bytearray(64)
    struct.pack_into("<HHH", data, 4, *(n & 0xFFFF for n in grid.block))
    struct.pack_into("<III", data, 12, *(g * b & 0xFFFFFFFF for g, b in zip(grid.groups, grid.block, strict=True)))
    return bytes(data)


@dataclass(frozen=True)
class Pointers:
    """Addresses that the dispatcher puts into SGPRs."""

    dispatch: int
    kernarg: int
    queue: int = 0


def user_sgprs(found: Descriptor, pointers: Pointers, kernarg: bytes) -> list[int]:
    """The SGPRs that are the same for every wave of a launch, in order. Raises ImageError where their number is not
    what the descriptor says."""
    bits = found.properties
    values: list[int] = []
    for bit, pointer in ((1, pointers.dispatch), (2, pointers.queue), (3, pointers.kernarg), (4, 1)):
        if bits >> bit & 1:
            values += [pointer & 0xFFFFFFFF, pointer >> 32]
    if bits >> 6 & 1:
        values.append(found.private_segment)
    first = 4 * found.preload_offset
    preloaded = kernarg[first : first + 4 * found.preload_dwords].ljust(4 * found.preload_dwords, b"\0")
    values += struct.unpack(f"<{found.preload_dwords}I", preloaded)
    if len(values) > found.user_sgprs:
        raise ImageError(f"the descriptor asks for {len(values)} user SGPRs and has room for {found.user_sgprs}")
    return values + [0] * (found.user_sgprs - len(values))


def lane_ids(grid: Grid, wave: int, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """v0 of a wave, x | y << 10 | z << 20, and which of its lanes exist. `dimensions`: how many, less one, are set."""
    flat = WAVE * wave + np.arange(WAVE, dtype=np.uint32)
    x, y, _ = grid.block
    packed = flat % x
    if dimensions > 0:
        packed |= flat // x % y << 10
    if dimensions > 1:
        packed |= flat // (x * y) << 20
    return packed, flat < grid.threads
