"""The decoder against another one: tinygrad's (MIT), made from AMD's own tables of CDNA4, where the two chips agree.

Skipped where tinygrad is not installed (extra `kernels`).
"""

from __future__ import annotations

import random

import pytest
from gfx942_words import word
from kernel_library import kernels

from lowering.targets.amdgpu.emulator.decode import decode, reachable
from lowering.targets.amdgpu.emulator.formats import opcodes
from lowering.targets.amdgpu.emulator.image import load
from lowering.targets.amdgpu.emulator.text import text

amd = pytest.importorskip("tinygrad.renderer.amd")


def theirs(code: bytes):
    """tinygrad's reading of an instruction; None where it has none."""
    try:
        return amd.decode_inst(code, "cdna")
    except (ValueError, KeyError, AssertionError, IndexError, TypeError):
        return None


def name_of(other) -> str:
    """The operation's name without the suffix of its encoding."""
    name = other.op.name.lower()
    for suffix in ("_e32", "_e64", "_dpp16", "_sdwa"):
        name = name.removesuffix(suffix)
    return name


def agree(one, other) -> bool:
    """Whether sizes and names are the same."""
    return one.size == other.size() and plain(name_of(other)) == plain(one.name)


def plain(name: str) -> str:
    """A name without what the two sources spell differently."""
    return name.replace("_co_", "_").replace("v_mad_mix", "v_fma_mix").removesuffix("_b32")


def test_compiled_kernels():
    total = same = 0
    wrong: dict[str, str] = {}
    for kernel in kernels():
        image = load(kernel.image)
        for code in image.kernels.values():
            for one in reachable(image.code, code.descriptor.entry):
                other = theirs(image.code[one.address : one.address + 12])
                total += 1
                if other is None:
                    continue
                same += agree(one, other)
                if not agree(one, other):
                    wrong[one.name] = f"{text(one)}, there {other}"
    assert not wrong, wrong
    assert same > 0.9 * total > 5000


def test_random_instructions():
    rng = random.Random(4)
    wrong: dict[str, str] = {}
    same = 0
    for opcode in opcodes().values():
        code = word(rng, opcode)
        one, other = decode(code, 0), theirs(code)
        if other is None or (opcode.format == "VOPC" and one.dpp is not None):  # it has no compares with DPP
            continue
        if agree(one, other):
            same += 1
        else:
            wrong[one.opcode.mnemonic] = f"{text(one)}, there {name_of(other)} of {other.size()} bytes"
    assert not wrong, wrong
    assert same > 1000
