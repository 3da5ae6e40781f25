"""Runs HSACOs in the emulator: the executor of the amdgpu family where there is no device.

What it gives is *emulated*: results by the instruction set's definition, and no times. Every second run takes the waves
of a workgroup one at a time in a random order, which shows what lock-step hides; faults, LDS races and reads of LDS
that nobody wrote are findings of a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Literal

import numpy as np

from lowering.core import Binary, Buffer, Launch, Scalar, Workspace
from lowering.dtypes import lookup
from lowering.targets import chips
from lowering.targets.amdgpu.emulator.dispatch import Grid
from lowering.targets.amdgpu.emulator.emulator import EmulationError, EmulationResult, Emulator, ImageError, Options
from lowering.targets.amdgpu.emulator.findings import Endless
from lowering.targets.amdgpu.emulator.memory import BASE, Region, TooLarge
from lowering.targets.amdgpu.emulator.statistics import LINES, Statistics, lines_of, occupancy
from lowering.targets.executor import DeviceError, contiguous, packed, refuse_tensor_maps, workspaces
from lowering.targets.kernel_model import Counts, bounds

Array = np.ndarray[Any, Any]

OPTIONS = Options(on_fault="warn", max_instructions=10**10)


@dataclass(frozen=True)
class Emulated:
    """The executor of the amdgpu family that needs no device."""

    name: str = "emulator"
    word: Literal["measured", "emulated"] = "emulated"

    def unavailable(self) -> str | None:
        """None: it is always there."""
        return None

    def load(self, binary: Binary) -> EmulatedProgram:
        """Loads the image. Raises DeviceError where the emulator cannot."""
        return EmulatedProgram(binary)


class EmulatedProgram:
    """A loaded code object with its memory and workspaces."""

    def __init__(self, binary: Binary) -> None:
        refuse_tensor_maps(binary, "the emulator")
        try:
            self.emulator = Emulator(binary.image)
        except ImageError as error:
            raise DeviceError(str(error)) from None
        self.binary, self.runs = binary, 0
        self.findings: tuple[str, ...] | None = ()
        self.counted: tuple[str, ...] = ()
        self.predicted: tuple[str, ...] = ()
        self.memory = self.emulator.memory
        self.own = tuple(self.memory.regions)
        self.scratch = {index: self.allocate(space.bytes) for index, space in workspaces(binary).items()}

    def allocate(self, nbytes: int) -> int:
        """Memory, aligned to 256 bytes. Raises DeviceError where there is none left."""
        try:
            return self.memory.allocate(max(nbytes, 1))
        except TooLarge as error:
            raise DeviceError(str(error)) from None

    def write(self, pointer: int, data: Any) -> None:
        """Copies bytes or an array."""
        self.memory.write(pointer, contiguous(data).tobytes())

    def read(self, pointer: int, nbytes: int) -> bytes:
        """Copies bytes back."""
        return self.memory.read(pointer, nbytes)

    def run(self, pointers: Sequence[int]) -> None:
        """Every launch once: in lock-step and in random wave order by turns."""
        self.runs += 1
        self.launch(pointers, replace(OPTIONS, wave_order=None if self.runs % 2 else self.runs))

    @property
    def divisible(self) -> bool:
        """Whether there is one launch: of several, one may need all of another."""
        return len(self.binary.launches) == 1

    def run_some(self, pointers: Sequence[int], share: float, seed: int) -> tuple[int, int]:
        """About a share of the workgroups of the one launch, in lock-step: how many of how many.

        Raises DeviceError where it is not `divisible`.
        """
        if not self.divisible:
            raise DeviceError("several launches run whole or not at all")
        grid = self.binary.launches[0].grid
        chosen = sample(grid, share, seed)
        self.memory.track()
        self.launch(pointers, replace(OPTIONS, workgroups=chosen))
        return len(chosen), grid[0] * grid[1] * grid[2]

    def written(self, pointer: int, nbytes: int) -> Array:
        """Which bytes the last `run_some` wrote."""
        assert self.memory.written is not None
        return self.memory.written[pointer - BASE : pointer - BASE + nbytes] != 0

    def launch(self, pointers: Sequence[int], options: Options) -> None:
        """Runs all launches; only the arguments' own bytes are memory meanwhile, not the bands around them."""
        kept = self.memory.regions
        spaces = workspaces(self.binary)
        self.memory.regions = sorted(
            [
                *self.own,
                *(argument_region(a, p) for a, p in zip(self.binary.arguments, pointers, strict=True)),
                *(Region(f"workspace {i}", self.scratch[i], space.bytes) for i, space in spaces.items()),
            ],
            key=lambda region: region.address,
        )
        try:
            for index, space in spaces.items():
                if space.zeroed:
                    self.memory.write(self.scratch[index], bytes(space.bytes))
            counts = None if self.counted else Statistics()  # of the first run
            found = [self.one(launch, pointers, replace(options, watcher=counts)) for launch in self.binary.launches]
            if counts is not None:
                self.counted = self.words(counts, found)
                if len(found) == 1:
                    self.predicted = (str(bounds(self.totals(counts, found[0]), chips("amdgpu")[0])),)
            self.findings = tuple(str(each) for result in found for each in result.findings)
        except EmulationError as error:
            raise DeviceError(str(error), kind="timeout" if isinstance(error, Endless) else "unsupported") from None
        except ImageError as error:
            raise DeviceError(str(error)) from None
        finally:
            self.memory.regions = kept

    def words(self, counts: Statistics, found: Sequence[EmulationResult]) -> tuple[str, ...]:
        """What was counted of a run, and what bounds the occupancy of the kernel."""
        for each in found:
            counts.take(each)
        chip = chips("amdgpu")[0]
        launch = self.binary.launches[0]
        descriptor = self.emulator.image.kernel(launch.kernel).descriptor
        lds, waves = descriptor.group_segment + launch.shared_bytes, Grid(launch.grid, launch.block).waves
        ran = ", ".join(f"{each.workgroups} of {each.of_workgroups} workgroups" for each in found)
        first, *rest = lines_of(counts, chip)
        return (f"in {ran}: {first}", *rest, str(occupancy(descriptor, lds, waves, chip)))

    def totals(self, counts: Statistics, found: EmulationResult) -> Counts:
        """What was counted of the one launch, as the model of a kernel takes it."""
        chip, launch = chips("amdgpu")[0], self.binary.launches[0]
        descriptor = self.emulator.image.kernel(launch.kernel).descriptor
        waves = Grid(launch.grid, launch.block).waves
        fill = occupancy(descriptor, descriptor.group_segment + launch.shared_bytes, waves, chip)
        classes, (matrix, cycles, _) = counts.by_class(), counts.matrix_cycles(chip)
        line = LINES[-1]
        return Counts(
            found.workgroups,
            found.of_workgroups,
            waves,
            fill.waves,
            cycles,
            sum(classes.values()) - matrix,
            sum(each.taken for each in counts.lds.values()),
            sum(each.lines[line] * line for each in counts.memory.values()),
            classes.get("load", 0),
            classes.get("barrier", 0),
            sum(argument_region(each, 0).nbytes for each in self.binary.arguments),
        )

    def one(self, launch: Launch, pointers: Sequence[int], options: Options) -> EmulationResult:
        """Runs one launch."""
        code = self.emulator.image.kernel(launch.kernel)
        values = [packed(a, pointers, self.scratch) for a in launch.args if isinstance(a, Buffer | Scalar | Workspace)]
        return self.emulator.dispatch(code, Grid(launch.grid, launch.block), values, launch.shared_bytes, options)

    def time(self, pointers: Sequence[Sequence[int]], repeats: int) -> list[float]:
        """Raises DeviceError: an emulator has no clock."""
        raise DeviceError("the emulator has no clock: times need a device")

    def close(self) -> None:
        """Frees all."""
        self.memory.regions = []

    def __enter__(self) -> EmulatedProgram:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def argument_region(argument: Any, pointer: int) -> Region:
    """Where an argument of the program lies."""
    return Region(
        argument.name, pointer, int(np.prod(argument.shape)) * lookup(argument.dtype).bytes, argument.role == "output"
    )


LEAST = 8  # workgroups of a sample


def sample(grid: tuple[int, int, int], share: float, seed: int) -> tuple[int, ...]:
    """Numbers of workgroups: the corners of the grid, some of its edges, and random ones, about a share of all."""
    x, y, z = grid
    total = x * y * z
    count = min(total, max(LEAST, round(total * share)))
    rng = np.random.default_rng((seed, 7))
    ends = [sorted({0, n - 1}) for n in grid]
    corners = [i + x * (j + y * k) for i in ends[0] for j in ends[1] for k in ends[2]]
    edges = [int(rng.integers(x)) + x * (j + y * k) for j in ends[1] for k in ends[2]]
    edges += [i + x * (int(rng.integers(y)) + y * k) for i in ends[0] for k in ends[2]]
    listed = dict.fromkeys([*corners, *edges, *rng.permutation(total).tolist()])
    return tuple(sorted(list(listed)[:count]))
