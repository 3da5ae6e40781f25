"""`lower doctor`: what this machine can do, and what to install for what is missing."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata, resources
from importlib.util import find_spec

import llvmlite.binding as llvm
from rich.text import Text

from lowering import mlir, targets
from lowering.listing import plain_table, show
from lowering.targets.amdgpu.hsaco import linker
from lowering.targets.families import FAMILIES
from lowering.targets.nvidia.ptx import ptxas


@dataclass(frozen=True)
class Finding:
    """One thing looked for: what was found, and what is lost without it or how to get it. Only some are needed."""

    name: str
    found: str
    remedy: str = ""
    needed: bool = False


def main() -> int:
    """Prints the findings; 1 where something is missing that nothing works without."""
    table = plain_table("", "", "found")
    findings = tuple(look())
    for finding in findings:
        mark = ("ok", "green") if finding.found else ("missing", "red") if finding.needed else ("-", "yellow")
        table.add_row(Text(*mark), finding.name, finding.found or f"no; {finding.remedy}")
    show(table)
    return 1 if any(finding.needed and not finding.found for finding in findings) else 0


def look() -> Iterator[Finding]:
    """Everything that is looked for, in the order in which a lowering needs it."""
    yield Finding("python", platform.python_version())
    yield Finding("lower", installed("lower") or "not installed: run from its folders")
    yield Finding("MLIR", mlir_version(), needed=True)
    yield Finding("LLVM", llvm_version(), "pip install llvmlite", needed=True)
    yield Finding("CPU", f"{llvm.get_host_cpu_name()}, {len(os.sched_getaffinity(0))} cores")
    yield Finding("ld.lld", tool_version(linker()), "links code objects: pip install ziglang, or install LLD or ROCm")
    assembler = ptxas()
    yield Finding(
        "ptxas",
        tool_version((assembler,) if assembler else None),
        "assembles PTX and counts registers: pip install 'lower[cuda]', or install a CUDA toolkit",
    )
    for family, executor in sorted({(f.name, e) for f in FAMILIES.values() for e in f.executors}, key=str):
        reason = executor.unavailable()
        chips = ", ".join(name for name in targets.names() if targets.load(name).family == family)
        yield Finding(f"{executor.name} ({chips})", "" if reason else f"runs binaries ({executor.word})", reason or "")
    yield Finding("torch", installed("torch"), "torch programs as input: pip install 'lower[torch]'")


def mlir_version() -> str:
    """The package that the bindings come from, its version and its LLVM."""
    wheel = {"torch_mlir": "torch-mlir", "mlir": "mlir-python-bindings"}[mlir.PACKAGE]
    tool = resources.files(f"{mlir.PACKAGE}._mlir_libs") / "torch-mlir-opt"
    version = tool_version((str(tool),)) if tool.is_file() else ""
    return f"package {mlir.PACKAGE} of {wheel} {installed(wheel) or '(version unknown)'}" + (
        f", {version}" if version else ""
    )


def llvm_version() -> str:
    """llvmlite's version and its LLVM, with the back ends that we need."""
    llvm.initialize_all_targets()
    missing = [t.triple for t in map(targets.load, targets.names()) if not has_back_end(t.triple)]
    version = ".".join(map(str, llvm.llvm_version_info))
    return f"LLVM {version} of llvmlite {installed('llvmlite')}" + (
        f", without {', '.join(missing)}" if missing else ""
    )


def has_back_end(triple: str) -> bool:
    """Whether LLVM makes code for a triple."""
    try:
        llvm.Target.from_triple(triple if triple else llvm.get_process_triple())
    except RuntimeError:
        return False
    return True


def tool_version(command: tuple[str, ...] | None) -> str:
    """Version and path of a tool; empty where there is none."""
    if command is None:
        return ""
    try:
        said = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    version = re.search(r"(?:LLD|release|LLVM version) [\w.]+", said)
    return f"{version[0] if version else 'unknown version'} ({' '.join(command)})"


def installed(package: str) -> str:
    """The version of a package; empty where it is not installed."""
    if package == "torch" and find_spec("torch") is None:
        return ""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
