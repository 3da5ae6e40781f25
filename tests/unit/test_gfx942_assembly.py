"""The decoder against LLVM's own assembly text: a kernel of ours as LLVM writes it, assembled and decoded."""

from __future__ import annotations

import re

from amdgcn import text_section, zig

from lowering import problem, targets
from lowering.lower import lower
from lowering.targets.amdgpu.emulator.decode import reachable
from lowering.targets.amdgpu.emulator.text import text
from lowering.targets.families import FAMILIES

CHIP = targets.load("gfx942")


def assembled(line: str) -> str:
    """A line of LLVM's text in our spelling: numbers in decimal, no labels."""
    plain = re.sub(r"\s+", " ", line.split(";")[0].strip())
    return re.sub(r"0x[0-9a-f]+", lambda n: str(int(n[0], 16)), plain)


def test_instructions_are_those_of_the_assembly_text(tmp_path):
    of = problem.from_shape(70, 50, 33, "f16")
    built = lower(of, FAMILIES[CHIP.family].space.schedule({}, of, CHIP), CHIP, texts=("asm",)).outcome
    source = re.sub(r"\s*\.amdgcn_target.*", "", built.texts["asm"])
    assert not zig(source, "k.o", tmp_path)
    code = text_section((tmp_path / "k.o").read_bytes())
    lines = source.splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith(f"{built.kernels[0].name}:"))
    theirs = [assembled(line) for line in lines[begin + 1 :] if re.match(r"\t[a-z]+_", line)]
    ours = [assembled(text(one)) for one in reachable(code, 0)]
    assert len(ours) > 150
    for mine, other in zip(ours, theirs, strict=False):
        if mine.startswith(("s_branch", "s_cbranch")):  # labels there
            assert mine.split()[0] == other.split()[0]
        else:
            assert mine.replace("_e32 ", " ").replace("_e64 ", " ") == other.replace("_e32 ", " ").replace("_e64 ", " ")
