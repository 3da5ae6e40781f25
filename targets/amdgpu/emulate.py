"""`lower emulate`: a kernel of a code object run without a device, its outputs written, what was found and counted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from lowering import targets
from lowering.core import Target, UserError
from lowering.targets.amdgpu.emulate_arguments import Given, argument, of_file, save, triple
from lowering.targets.amdgpu.emulator import statistics
from lowering.targets.amdgpu.emulator.decode import ENDS, Instruction
from lowering.targets.amdgpu.emulator.dispatch import Dim3, Grid
from lowering.targets.amdgpu.emulator.emulator import (
    EmulationError,
    EmulationResult,
    Emulator,
    ImageError,
    Options,
)
from lowering.targets.amdgpu.emulator.engine import Watcher
from lowering.targets.amdgpu.emulator.findings import OnFault
from lowering.targets.amdgpu.emulator.image import KernelCode
from lowering.targets.amdgpu.emulator.text import listing
from lowering.targets.amdgpu.emulator.waves import Waves


@dataclass(frozen=True)
class Request:
    """The words of `lower emulate`, as typed."""

    image: str
    kernel: str
    grid: str
    block: str
    lds: int
    arg: list[str]
    stats: bool
    trace: int | None
    mfma: str
    wave_order: str
    on_fault: str
    strict: bool
    max_instructions: int


def main(request: Request) -> int:
    """Runs a kernel once, writes its outputs, prints what was found; 1 for a fault, with --strict for any finding."""
    grid, block = triple("--grid", request.grid), triple("--block", request.block)
    counted = statistics.Statistics() if request.stats else None
    traced(request.trace, Grid(grid, block))
    given = [argument(text) for text in request.arg]
    separate(given)
    options = options_of(request, given, counted)
    emulator = of_file(request.image, Emulator)
    try:
        code = emulator.image.kernel(request.kernel or None)
        result = emulator.launch(code.name, grid, block, [each.value for each in given], request.lds, options)
    except ImageError as error:
        raise UserError(f"{request.image}: {error}") from None
    except MemoryError:
        raise UserError("the buffers do not fit into this machine's memory") from None
    except EmulationError as error:
        print(f"emulated: FAULT: {error}")
        files = ", ".join(str(each.output[0]) for each in given if each.output)
        if files:
            print(f"kept      {files} as it was: the kernel did not end, nothing was written")
        return 1
    print(summary(code, result, block, options))
    for words in save(given):
        print(f"wrote     {words}")
    for finding in result.findings:
        print(f"found     {finding}")
    if result.faults and request.on_fault == "zero":
        print(f"found     {result.faults:,} accesses of lanes that are faults (--on-fault warn tells which)")
    if counted is not None:
        counted.take(result)
        print("\n".join(statistics_text(counted, code, request.lds, block, given)))
    return 1 if request.strict and (result.findings or result.faults) else 0


def separate(given: Sequence[Given]) -> None:
    """Raises UserError for two arguments of one file of which one is written: buffers are never shared."""
    files = [(each.file.resolve(), each.output is not None) for each in given if each.file is not None]
    for number, (file, written) in enumerate(files):
        if any(file == other and (written or also) for other, also in files[:number]):
            raise UserError(f"two arguments are of {file.name}, and one is written: inout: is a buffer that is both")


def traced(wave: int | None, grid: Grid) -> None:
    """Raises UserError for a wave that no workgroup has."""
    if wave is not None and wave >= grid.waves:
        raise UserError(f"--trace {wave}: a workgroup of {grid.threads} work-items has waves 0 to {grid.waves - 1}")


def summary(code: KernelCode, result: EmulationResult, block: Dim3, options: Options) -> str:
    """What ran, in a line."""
    size = "x".join(map(str, block))
    order = "" if options.wave_order is None else f"waves in random order, seed {options.wave_order}, "
    return (
        f"emulated  kernel '{code.name}', {result.workgroups} of {result.of_workgroups} workgroups of {size}, "
        f"{order}{result.instructions:,} wave-instructions "
        f"(in {result.seconds:.2f} s here; says nothing of a device's time)"
    )


def options_of(request: Request, given: Sequence[Given], counted: statistics.Statistics | None) -> Options:
    """The options of the words. Raises UserError for one that there is not."""
    if request.on_fault not in get_args(OnFault):
        raise UserError(f"--on-fault takes {', '.join(get_args(OnFault))}, found '{request.on_fault}'")
    if request.mfma not in ("fast", "exact"):
        raise UserError(f"--mfma takes fast or exact, found '{request.mfma}'")
    order = re.fullmatch(r"lock-step|random(?::(\d+))?", request.wave_order)
    if order is None:
        raise UserError(f"--wave-order takes lock-step or random:SEED, found '{request.wave_order}'")
    seed = None if request.wave_order == "lock-step" else int(order[1] or 0)
    watchers = [each for each in (counted, Trace(request.trace) if request.trace is not None else None) if each]
    return Options(
        wave_order=seed,
        on_fault=request.on_fault,  # pyright: ignore[reportArgumentType]
        exact_matrix=request.mfma == "exact",
        max_instructions=request.max_instructions,
        watcher=Several(tuple(watchers)) if watchers else None,
        outputs=tuple(number for number, each in enumerate(given) if each.role == "out"),
    )


@dataclass(frozen=True)
class Several:
    """Several watchers as one."""

    parts: tuple[Watcher, ...]

    def wants(self, one: Instruction) -> bool:
        """What any of them wants."""
        return any(each.wants(one) for each in self.parts)

    def watch(self, one: Instruction, w: Waves) -> None:
        """Tells those that want it."""
        for each in self.parts:
            if each.wants(one):
                each.watch(one, w)


@dataclass
class Trace:
    """Prints what one wave of the first workgroup executes."""

    wave: int
    ended: bool = False

    def wants(self, one: Instruction) -> bool:
        """All of it."""
        return True

    def watch(self, one: Instruction, w: Waves) -> None:
        """Prints an instruction with how many lanes take part."""
        mine = np.flatnonzero((w.number == self.wave) & (w.group == 0) & w.active)
        if len(mine) and not self.ended:
            print(f"{listing(one)}  [{int(w.exec_mask[mine[0]].sum())} lanes]")
            self.ended = one.name in ENDS


def statistics_text(
    counted: statistics.Statistics,
    code: KernelCode,
    dynamic_lds: int,
    block: Dim3,
    given: Sequence[Given],
) -> list[str]:
    """The statistics in words."""
    target = chip()
    lines = list(statistics.lines_of(counted, target))
    moved = sum(each.value.nbytes for each in given if isinstance(each.value, np.ndarray))
    lines.append(f"the buffers hold {moved:,} bytes, the least that must be moved where each is used whole")
    waves = -(-block[0] * block[1] * block[2] // 64)
    lds = code.descriptor.group_segment + dynamic_lds
    lines.append(str(statistics.occupancy(code.descriptor, lds, waves, target)))
    lines += [f"  {address}  {text}: {words}" for address, text, words in statistics.worst(counted)]
    names = [f"{name} {count:,}" for name, count in counted.by_mnemonic().items()]
    lines += ["by mnemonic: " + ", ".join(names)]
    return [f"{'counted' if n == 0 else '':<10}{line}" for n, line in enumerate(lines)]


def chip() -> Target:
    """The chip that the emulator is of: the family's."""
    return targets.chips("amdgpu")[0]
