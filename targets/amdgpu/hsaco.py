"""A relocatable amdgcn object -> HSACO with ld.lld, and what the code object says of its kernels.

The metadata is a MessagePack map in the ELF note 'AMDGPU' of type 32 (LLVM AMDGPUUsage, "Code Object Metadata").
"""

from __future__ import annotations

import importlib.util
import io
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgpack
from elftools.elf.elffile import ELFFile

from lowering.core import Kernel, Pass, Target
from lowering.targets.linked import BuildError, Linked

NOTE = 32  # NT_AMDGPU_METADATA


@dataclass(frozen=True)
class Parameter:
    """A kernel argument's place in the kernarg segment, in bytes; kinds are global_buffer, by_value, hidden_*, ..."""

    offset: int
    size: int
    kind: str


@dataclass(frozen=True)
class CodeObjectKernel:
    """A kernel's metadata as the loader sees it; sizes in bytes, register counts a lane (SGPRs a wave)."""

    name: str
    symbol: str
    vgprs: int
    agprs: int
    sgprs: int
    vgpr_spills: int
    sgpr_spills: int
    shared_bytes: int
    scratch_bytes: int
    wave_size: int
    threads_max: int
    kernarg_bytes: int
    kernarg_align: int
    parameters: tuple[Parameter, ...]

    def summary(self) -> Kernel:
        """The figures that every family has a place for."""
        return Kernel(
            self.name,
            vgprs=self.vgprs,
            agprs=self.agprs,
            sgprs=self.sgprs,
            spills=self.vgpr_spills + self.sgpr_spills,
            shared_bytes=self.shared_bytes,
            scratch_bytes=self.scratch_bytes,
        )


def finish(code: bytes, target: Target, steps: Sequence[Pass]) -> Linked:
    """The HSACO of an object. Raises BuildError for an undefined symbol or where there is no linker."""
    image = link(code)
    kernels = metadata(image)
    return Linked("hsaco", image, tuple(k.summary() for k in kernels), {k.name: k.threads_max for k in kernels})


def link(code: bytes) -> bytes:
    """Links a relocatable object into a shared one."""
    command = linker()
    if command is None:
        raise BuildError("no ld.lld: pip install ziglang, or install ROCm or LLD", "link", kind="unsupported")
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder, "kernel.o"), Path(folder, "kernel.hsaco")
        source.write_bytes(code)
        arguments = [*command, "-shared", "--no-undefined", str(source), "-o", str(result)]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise BuildError(complaint(done.stderr), "link", log=done.stderr, kind="unsupported")
        return result.read_bytes()


def complaint(log: str) -> str:
    """The linker's first error, with a hint for an intrinsic that LLVM did not know."""
    from lowering import mlir  # slow to import, and the emulator needs only the metadata

    line = next((text for text in log.splitlines() if "error:" in text), log or "the linker failed without a word")
    reason = mlir.one_line(line.split("error:")[-1])
    hint = ": this LLVM has no such intrinsic for the chip" if "llvm." in reason else ""
    return f"ld.lld: {reason}{hint}"


@cache
def linker() -> tuple[str, ...] | None:
    """The command of ld.lld: ROCm's, the system's, or the one in the ziglang wheel."""
    rocm = Path(os.environ.get("ROCM_PATH", "/opt/rocm"), "llvm", "bin", "ld.lld")
    if rocm.is_file():
        return (str(rocm),)
    if (found := shutil.which("ld.lld")) is not None:
        return (found,)
    spec = importlib.util.find_spec("ziglang")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if Path(folder, "zig").is_file():
            return (str(Path(folder, "zig")), "ld.lld")
    return None


def metadata(image: bytes) -> tuple[CodeObjectKernel, ...]:
    """The kernels of a code object, linked or not. Raises BuildError where it has no metadata note."""
    entries = [entry for note in notes(image) for entry in note.get("amdhsa.kernels", ())]
    if not entries:
        raise BuildError("the code object describes no kernel", "link")
    return tuple(read(entry) for entry in entries)


def notes(image: bytes) -> Iterator[dict[str, Any]]:
    """The AMDGPU metadata notes of an ELF file."""
    for section in ELFFile(io.BytesIO(image)).iter_sections():
        if section["sh_type"] != "SHT_NOTE":
            continue
        for note in section.iter_notes():
            if note["n_name"] == "AMDGPU" and note["n_type"] == NOTE:
                yield msgpack.unpackb(note["n_descdata"])


def read(entry: dict[str, Any]) -> CodeObjectKernel:
    """One entry of `amdhsa.kernels`."""
    return CodeObjectKernel(
        name=entry[".name"],
        symbol=entry[".symbol"],
        vgprs=entry[".vgpr_count"],
        agprs=entry.get(".agpr_count", 0),
        sgprs=entry[".sgpr_count"],
        vgpr_spills=entry.get(".vgpr_spill_count", 0),
        sgpr_spills=entry.get(".sgpr_spill_count", 0),
        shared_bytes=entry[".group_segment_fixed_size"],
        scratch_bytes=entry[".private_segment_fixed_size"],
        wave_size=entry[".wavefront_size"],
        threads_max=entry[".max_flat_workgroup_size"],
        kernarg_bytes=entry[".kernarg_segment_size"],
        kernarg_align=entry[".kernarg_segment_align"],
        parameters=tuple(Parameter(a[".offset"], a[".size"], a[".value_kind"]) for a in entry.get(".args", ())),
    )
