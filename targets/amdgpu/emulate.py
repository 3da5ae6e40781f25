"""`lower emulate` and `lower disasm`: a code object run without a device, and its instructions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from lowering import targets
from lowering.core import Target, UserError
from lowering.targets.amdgpu.emulator import statistics
from lowering.targets.amdgpu.emulator.decode import ENDS, DecodeError, Instruction, decode
from lowering.targets.amdgpu.emulator.emulator import (
    PACKED,
    Argument,
    EmulationError,
    EmulationResult,
    Emulator,
    ImageError,
    Options,
    Value,
)
from lowering.targets.amdgpu.emulator.engine import Watcher
from lowering.targets.amdgpu.emulator.findings import OnFault
from lowering.targets.amdgpu.emulator.image import Image, KernelCode, load
from lowering.targets.amdgpu.emulator.text import listing
from lowering.targets.amdgpu.emulator.waves import Waves

Array = np.ndarray[Any, Any]

BUFFERS = ("in", "out", "inout")
KINDS = (*BUFFERS, *PACKED, "null", "raw")
DTYPES = {"f16": "float16", "f32": "float32", "f64": "float64", "bf16": "uint16", "fp8": "uint8", "bf8": "uint8"}
POISON = 0xFF  # what an output that is new holds before the launch


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


@dataclass(frozen=True)
class Given:
    """One argument: what the kernel gets, and the file that an output goes to."""

    value: Argument
    role: str
    file: Path | None = None


def main(request: Request) -> int:
    """Runs a kernel once, writes its outputs, prints what was found; 1 for a fault, with --strict for any finding."""
    given = [argument(text) for text in request.arg]
    grid, block = triple("--grid", request.grid), triple("--block", request.block)
    counted = statistics.Statistics() if request.stats else None
    options = options_of(request, given, counted)
    emulator = loaded(request.image)
    try:
        result = emulator.launch(
            request.kernel or None, grid, block, [each.value for each in given], request.lds, options
        )
    except ImageError as error:
        raise UserError(f"{request.image}: {error}") from None
    except EmulationError as error:
        print(f"emulated: FAULT: {error}")
        return 1
    finally:
        save(given)
    code = emulator.image.kernel(request.kernel or None)
    print(summary(code, result, block))
    for each in given:
        if each.file is not None and each.role != "in" and isinstance(each.value, np.ndarray):
            print(f"wrote     {each.file} ({'x'.join(map(str, each.value.shape))}, {each.value.dtype})")
    for finding in result.findings:
        print(f"found     {finding}")
    if counted is not None:
        counted.take(result)
        print("\n".join(statistics_text(counted, code, request.lds, block, given)))
    return 1 if request.strict and result.findings else 0


def summary(code: KernelCode, result: EmulationResult, block: tuple[int, int, int]) -> str:
    """What ran, in a line."""
    size = "x".join(map(str, block))
    return (
        f"emulated  kernel '{code.name}', {result.workgroups} of {result.of_workgroups} workgroups of {size}, "
        f"{result.instructions:,} wave-instructions (in {result.seconds:.2f} s here; says nothing of a device's time)"
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


@dataclass(frozen=True)
class Trace:
    """Prints what one wave of the first workgroup of each batch executes."""

    wave: int

    def wants(self, one: Instruction) -> bool:
        """All of it."""
        return True

    def watch(self, one: Instruction, w: Waves) -> None:
        """Prints an instruction with how many lanes take part."""
        mine = np.flatnonzero((w.number == self.wave) & (w.group == 0) & w.active)
        if len(mine):
            print(f"{listing(one)}  [{int(w.exec_mask[mine[0]].sum())} lanes]")


def statistics_text(
    counted: statistics.Statistics,
    code: KernelCode,
    dynamic_lds: int,
    block: tuple[int, int, int],
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


# --- arguments -------------------------------------------------------------------------------------------------------


def triple(option: str, text: str) -> tuple[int, int, int]:
    """x,y,z with y and z left out at will. Raises UserError."""
    parts = text.split(",")
    if not 1 <= len(parts) <= 3 or not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise UserError(f"{option} takes X,Y,Z of numbers above 0, found '{text}'")
    x, y, z = (*map(int, parts), *(1,) * (3 - len(parts)))
    return x, y, z


def argument(text: str) -> Given:
    """One --arg. Raises UserError that says what there is."""
    kind, _, rest = text.partition(":")
    if kind == "null":
        return Given(None, kind)
    if kind in BUFFERS:
        return buffer(kind, rest)
    if kind == "raw":
        try:
            return Given(bytes.fromhex(rest), kind)
        except ValueError:
            raise UserError(f"--arg raw: takes hexadecimal digits, found '{rest}'") from None
    if kind not in PACKED:
        raise UserError(f"--arg has no kind '{kind}'; it takes {', '.join(KINDS)}, e.g. in:a.npy or i32:1024")
    try:
        value = Value(kind, float(rest) if kind[0] == "f" else int(rest, 0))
        value.bytes()
    except (ValueError, ImageError):
        raise UserError(f"--arg {text}: '{rest}' is no {kind}") from None
    return Given(value, kind)


def buffer(role: str, rest: str) -> Given:
    """A buffer from a .npy file; a new output says its shape: out:c.npy:64x64xf32."""
    name, _, shape = rest.partition(":")
    file = Path(name)
    if shape:
        if role != "out":
            raise UserError(f"--arg {role}:{rest}: only a new output has a shape")
        return Given(fresh(shape), role, file)
    if not file.is_file():
        hint = f"; a new output says its shape: out:{name}:64x64xf32" if role == "out" else ""
        raise UserError(f"--arg {role}:{name}: there is no file '{name}'{hint}")
    try:
        array = np.load(file, allow_pickle=False)
    except (ValueError, OSError, EOFError):
        raise UserError(f"--arg {role}:{name}: no .npy file of numbers") from None
    found = np.ascontiguousarray(array)
    if role == "out":
        found.view(np.uint8).reshape(-1)[:] = POISON
    return Given(found, role, file)


def fresh(text: str) -> Array:
    """A poisoned array of a shape like 64x64xf32. Raises UserError."""
    *sizes, kind = text.split("x")
    try:
        dtype = np.dtype(DTYPES.get(kind) or {"i": "int", "u": "uint"}[kind[0]] + kind[1:])
        array = np.empty([int(n) for n in sizes], dtype)
    except (ValueError, KeyError, IndexError, TypeError):
        raise UserError(f"'{text}' is no shape like 64x64xf32") from None
    array.view(np.uint8).reshape(-1)[:] = POISON
    return array


def save(given: Sequence[Given]) -> None:
    """Writes the outputs to their files."""
    for each in given:
        if each.file is not None and each.role != "in" and isinstance(each.value, np.ndarray):
            np.save(each.file, each.value)


def read(path: str) -> bytes:
    """The bytes of a file. Raises UserError."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def loaded(path: str) -> Emulator:
    """The emulator of a file. Raises UserError."""
    try:
        return Emulator(read(path))
    except ImageError as error:
        raise UserError(f"{path}: {error}") from None


# --- disassembly -----------------------------------------------------------------------------------------------------


def disassemble(path: str) -> int:
    """Prints kernels: what the metadata and descriptor say, then the instructions."""
    try:
        image = load(read(path))
    except ImageError as error:
        raise UserError(f"{path}: {error}") from None
    print(f"{path}: code object version {image.version}, {len(image.kernels)} kernel{'s' * (len(image.kernels) != 1)}")
    for code in image.kernels.values():
        print("\n".join(("", *described(code))))
        for line in instructions(image, code):
            print(line)
    return 0


def described(code: KernelCode) -> list[str]:
    """A kernel's metadata and descriptor."""
    known, found = code.known, code.descriptor
    rows = [f"  {p.offset:4} {p.kind}, {p.size} bytes" for p in known.parameters]
    return [
        f"kernel {code.name}",
        f"  registers: {known.vgprs} VGPR of which {known.agprs} AccVGPR, {known.sgprs} SGPR; "
        f"{known.vgpr_spills + known.sgpr_spills} spilled",
        f"  LDS {found.group_segment} bytes, scratch {found.private_segment} bytes a lane, at most {known.threads_max} "
        "work-items a workgroup",
        f"  descriptor: rsrc1 {found.rsrc1:#010x}, rsrc2 {found.rsrc2:#010x}, rsrc3 {found.rsrc3:#010x}, properties "
        f"{found.properties:#06x}, {found.preload_dwords} dwords of the kernarg segment preloaded, float mode "
        f"{found.float_mode:#04x}",
        f"  kernarg segment of {known.kernarg_bytes} bytes:",
        *rows,
    ]


def instructions(image: Image, code: KernelCode) -> list[str]:
    """The code from the entry to the last place that a branch can reach."""
    address = code.descriptor.entry
    last, found = address, list[str]()
    while address < len(image.code):
        try:
            one = decode(image.code, address)
        except DecodeError as error:
            return [*found, f"  {error}"]
        found.append(f"  {listing(one)}")
        if one.opcode.format == "SOPP" and "branch" in one.name:
            last = max(last, one.target)
        if one.name in ENDS and address >= last:
            return found
        address = one.end
    return found
