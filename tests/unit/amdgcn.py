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

from lowering.targets.amdgpu.hsaco import link

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


KERNEL = """
.text
.globl k
.p2align 8
.type k,@function
k:
{body}
s_endpgm
.rodata
.p2align 6
.amdhsa_kernel k
  .amdhsa_group_segment_fixed_size {lds}
  .amdhsa_private_segment_fixed_size {scratch}
  .amdhsa_enable_private_segment {uses_scratch}
  .amdhsa_user_sgpr_kernarg_segment_ptr 1
  .amdhsa_system_sgpr_workgroup_id_x 1
  .amdhsa_system_sgpr_workgroup_id_y 1
  .amdhsa_system_sgpr_workgroup_id_z 1
  .amdhsa_system_vgpr_workitem_id 2
  .amdhsa_next_free_vgpr 128
  .amdhsa_next_free_sgpr 64
  .amdhsa_accum_offset 128
  .amdhsa_float_denorm_mode_32 3
.end_amdhsa_kernel
.amdgpu_metadata
---
amdhsa.version: [1, 2]
amdhsa.target: amdgcn-amd-amdhsa--gfx942
amdhsa.kernels:
  - .name: k
    .symbol: k.kd
    .kernarg_segment_size: {kernarg}
    .kernarg_segment_align: 8
    .group_segment_fixed_size: {lds}
    .private_segment_fixed_size: {scratch}
    .wavefront_size: 64
    .max_flat_workgroup_size: 1024
    .sgpr_count: 64
    .vgpr_count: 128
    .args:
{args}
...
.end_amdgpu_metadata
"""


def code_object(body: str, args: Sequence[str] = ("global_buffer",), lds: int = 0, scratch: int = 0) -> bytes:
    """A linked kernel `k` of some instructions; s[0:1] points to the arguments, s2 to s4 are the workgroup's place.

    `args`: value kinds, 8 bytes each but for by_value (4) and hidden ones of two (16 bits).
    """
    offset, rows = 0, list[str]()
    for kind in args:
        size = 4 if kind == "by_value" or "block_count" in kind else 2 if "group_size" in kind else 8
        offset = -(-offset // size) * size
        rows.append(f"      - {{.offset: {offset}, .size: {size}, .value_kind: {kind}}}")
        offset += size
    text = KERNEL.format(
        body=body,
        lds=lds,
        scratch=scratch,
        uses_scratch=int(scratch > 0),
        kernarg=-(-offset // 8) * 8,
        args="\n".join(rows),
    )
    with tempfile.TemporaryDirectory() as name:
        errors = zig(text, "x.o", Path(name))
        assert not errors, errors
        return link(Path(name, "x.o").read_bytes())
