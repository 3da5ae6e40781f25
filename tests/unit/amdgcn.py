"""Assembling gfx942 instructions for tests: the LLVM of the ziglang wheel, which needs no ROCm."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from elftools.elf.elffile import ELFFile

SLOT = 16  # bytes: no instruction is longer


def zig(source: str, output: str, folder: Path) -> str:
    """Assembles a file; the errors as text."""
    path = folder / "x.s"
    path.write_text(source)
    command = [sys.executable, "-m", "ziglang", "cc", "-target", "amdgcn-amdhsa", "-mcpu=gfx942"]
    done = subprocess.run(
        [*command, "-c", str(path), "-o", str(folder / output)], capture_output=True, text=True, check=False
    )
    return done.stderr if done.returncode else ""


def text_section(image: bytes) -> bytes:
    """The code of an object."""
    section = ELFFile(io.BytesIO(image)).get_section_by_name(".text")
    return section.data() if section else b""


def assemble(lines: Sequence[str]) -> list[bytes | str]:
    """The bytes of each instruction, padded with s_nop to 16, or the assembler's complaint."""
    found: list[bytes | str] = ["" for _ in lines]
    left = list(range(len(lines)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        while left:
            # two lines an instruction: the number of a line tells which one it is
            source = "".join(f"{lines[i]}\n.p2align 4\n" for i in left)
            errors = zig(source, "x.o", folder)
            refused = {int(line): words for line, words in re.findall(r"x\.s:(\d+):\d+: error: (.*)", errors)}
            if errors and not refused:
                raise AssertionError(errors)
            if not errors:
                code = text_section((folder / "x.o").read_bytes())
                for place, i in enumerate(left):
                    found[i] = code[SLOT * place : SLOT * (place + 1)]
                break
            for line, words in refused.items():
                found[left[(line - 1) // 2]] = words
            left = [i for place, i in enumerate(left) if 2 * place + 1 not in refused]
    return found
