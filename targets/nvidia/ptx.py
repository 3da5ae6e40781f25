"""PTX -> cubin with ptxas, and what ptxas says of the kernels. Without ptxas the PTX is the image."""

from __future__ import annotations

import os
import re
import shutil
import signal
import site
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from lowering import mlir
from lowering.core import Kernel, Pass, Target
from lowering.passes.common.backend import Ptxas, pick
from lowering.targets.linked import BuildError, Linked

RUNTIME = frozenset({"vprintf", "malloc", "free", "__assertfail"})  # what the driver links in
# What ptxas gives up, and what to do; the kernel would be right, but slow.
GIVEN_UP = {
    "insufficient register": "give a thread a smaller part of C, or more registers (share-registers)",
    "'setmaxnreg' ignored": "share-registers needs a kernel that says its threads and workgroups, and calls nothing",
    "wgmma.wait_group is injected": "an accumulator is read between a product and the wait for it",
    "wgmma.mma_async instructions are serialized": "nothing may use accumulators from products to their wait",
}


def finish(code: bytes, target: Target, steps: Sequence[Pass]) -> Linked:
    """The cubin of a PTX text, or the PTX where there is no ptxas. Raises BuildError with ptxas's first error."""
    flags = pick(steps, Ptxas)
    text = bounded(code.decode(), flags.maxrregcount)
    check(text)
    limits = {name: threads for name, threads in entries(text).items() if threads}
    if (assembler := ptxas()) is None:
        notes = ("no ptxas: registers and spills unknown",)
        return Linked("ptx", text.encode(), tuple(Kernel(name, notes=notes) for name in entries(text)), limits)
    image, log = assemble(assembler, text.encode(), target.cpu, flags.opt)
    keep_promises(log)
    return Linked("cubin", image, kernels(log), limits)


def check(text: str) -> None:
    """Raises BuildError for a call that nothing resolves: an intrinsic LLVM did not know, or a library function."""
    for name in re.findall(r"^\s*\.extern \.func\s+(?:\([^)]*\)\s*)?([\w.$]+)", text, re.MULTILINE):
        if name in RUNTIME:
            continue
        why = (
            "this LLVM has no such intrinsic for the chip"
            if name.startswith("llvm")
            else "nothing on the device has it"
        )
        raise BuildError(f"the PTX calls '{name}': {why}", "link", kind="unsupported")


def bounded(text: str, registers: int) -> str:
    """The PTX with `.maxnreg` on every kernel: ptxas ignores `--maxrregcount` beside the `.maxntid` MLIR writes."""
    if not registers:
        return text
    return re.sub(r"(\.entry\s+[\w.$]+\s*\([^)]*\)[^{]*)\{", rf"\1.maxnreg {registers}\n{{", text)


def entries(text: str) -> dict[str, int]:
    """The kernels of a PTX text, and the most threads a block that each allows (0: it does not say)."""
    found: dict[str, int] = {}
    for name, rest in re.findall(r"\.entry\s+([\w.$]+)\s*\((?:[^)]*)\)([^{]*)\{", text):
        bound = re.search(r"\.(?:max|req)ntid\s+(\d+)(?:,\s*(\d+))?(?:,\s*(\d+))?", rest)
        sizes = [int(n or 1) for n in bound.groups()] if bound else [0, 1, 1]
        found[name] = sizes[0] * sizes[1] * sizes[2]
    return found


@cache
def ptxas() -> str | None:
    """The path of ptxas: the nvidia-cuda-nvcc wheel's, a CUDA toolkit's, or the one on PATH."""
    roots = [Path(p) for p in (*site.getsitepackages(), *sys.path) if p]
    wheels = (found for root in roots for found in sorted(root.glob("nvidia/*/bin/ptxas")))
    toolkits = (Path(os.environ[key], "bin", "ptxas") for key in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(key))
    first = next((p for p in (*wheels, *toolkits) if os.access(p, os.X_OK)), None)
    return str(first) if first else shutil.which("ptxas")


def assemble(assembler: str, code: bytes, chip: str, opt: int) -> tuple[bytes, str]:
    """The cubin and ptxas's report."""
    command = [assembler, "-v", f"-arch={chip}", f"-O{opt}"]
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        source.write_bytes(code)
        done = subprocess.run(
            [*command, str(source), "-o", str(result)], capture_output=True, text=True, timeout=600, check=False
        )
        log = done.stdout + done.stderr
        if done.returncode < 0:  # it dies of texts that are too large for it
            killer = signal.Signals(-done.returncode).name
            raise BuildError(f"ptxas died of {killer} on {len(code) / 1e6:.1f} MB of PTX", "link", log=log)
        if done.returncode:
            raise BuildError(complaint(log), "link", log=log)
        return result.read_bytes(), log


def complaint(log: str) -> str:
    """The first error of ptxas, with the line of the PTX it points to."""
    line = next((text for text in log.splitlines() if "error" in text or "fatal" in text), log)
    return "ptxas: " + mlir.one_line(re.sub(r"^ptxas\s*(?:\S+/kernel\.ptx,)?\s*", "", line) or "failed without a word")


def keep_promises(log: str) -> None:
    """Raises BuildError where ptxas has given up asynchronous products or the moving of registers (C75..)."""
    for line in log.splitlines():
        hint = next((hint for words, hint in GIVEN_UP.items() if words in line), None)
        if hint is not None:
            said = mlir.one_line(line.split(":", 1)[1].replace("Potential Performance Loss: ", ""))
            kind = "resources" if "insufficient register" in line else "illegal"
            raise BuildError(f"ptxas: {said}: {hint}", "link", log=log, kind=kind)


def kernels(log: str) -> tuple[Kernel, ...]:
    """Registers, spills (registers stored, 4 bytes each), static shared and scratch bytes of each kernel."""
    found: list[Kernel] = []
    for part in re.split(r"Compiling entry function ", log)[1:]:
        frame = [int(n) for n in re.findall(r"(\d+) bytes (?:stack frame|spill stores|spill loads)", part)[:3]]
        used, shared = re.search(r"Used (\d+) registers", part), re.search(r"(\d+)(?:\+\d+)? bytes smem", part)
        found.append(
            Kernel(
                part.split("'")[1],
                registers=int(used[1]) if used else None,
                spills=frame[1] // 4 if len(frame) > 1 else None,
                shared_bytes=int(shared[1]) if shared else 0,
                scratch_bytes=frame[0] if frame else None,
            )
        )
    return tuple(found)
