"""The x86 family's last step: the object file is the image; every symbol it leaves open must exist in this process."""

from __future__ import annotations

import contextlib
import ctypes
import io
from collections.abc import Sequence
from functools import cache
from typing import Any

from elftools.elf.elffile import ELFFile

from lowering.core import Kernel, Pass, Target
from lowering.targets.linked import BuildError, Linked

ENTRY = "_mlir_ciface_main"


def finish(code: bytes, target: Target, steps: Sequence[Pass]) -> Linked:
    """The object as it stands. Raises BuildError for a missing entry or symbol, which the JIT would die of."""
    defined, needed = symbols(code)
    if ENTRY not in defined:
        raise BuildError(
            f"no C entry {ENTRY}: run func.func(llvm-request-c-wrappers) before convert-func-to-llvm", "link"
        )
    missing = sorted(name for name in needed if not resolvable(name))
    if missing:
        raise BuildError(f"undefined symbol {', '.join(missing[:5])}: {advice(missing[0])}", "link", kind="unsupported")
    return Linked("obj", code, (Kernel(ENTRY),))


def symbols(code: bytes) -> tuple[set[str], set[str]]:
    """The names an object defines, and those it needs."""
    defined: set[str] = set()
    needed: set[str] = set()
    table: Any = ELFFile(io.BytesIO(code)).get_section_by_name(".symtab")
    for symbol in table.iter_symbols():
        if (
            symbol.name
            and symbol.name != "_GLOBAL_OFFSET_TABLE_"
            and symbol["st_info"]["type"] not in ("STT_FILE", "STT_SECTION")
        ):
            (needed if symbol["st_shndx"] == "SHN_UNDEF" else defined).add(symbol.name)
    return defined, needed


@cache
def process() -> ctypes.CDLL:
    """The symbols of this process: libc, libm, and the compiler's own library for f16 on a CPU without F16C."""
    with contextlib.suppress(OSError):
        ctypes.CDLL("libgcc_s.so.1", mode=ctypes.RTLD_GLOBAL)
    return ctypes.CDLL(None)


def resolvable(name: str) -> bool:
    """Whether this process has a symbol."""
    return hasattr(process(), name)


def advice(name: str) -> str:
    """What to do about a missing symbol."""
    if name.startswith("llvm."):
        return "an intrinsic that this LLVM does not know"
    if name in ("memrefCopy", "_mlir_memref_to_llvm_alloc"):
        return "a strided memref.copy is left: lower it to loops (or vectors) before finalize-memref-to-llvm"
    if name.startswith("__trunc") or name.startswith("__extend"):
        return "run arith-expand{include-bf16=true include-f8e8m0=true} before convert-arith-to-llvm"
    return "nothing in this process provides it"
