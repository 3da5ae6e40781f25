"""The decoder of gfx942: what it reads, printed and assembled again, is the same bits."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from amdgcn import assemble
from gfx942_words import word
from hypothesis import given
from hypothesis import strategies as st

from lowering.targets.amdgpu.emulator.decode import DecodeError, Instruction, Operand, decode
from lowering.targets.amdgpu.emulator.formats import Opcode, opcodes
from lowering.targets.amdgpu.emulator.text import listing, text

WORDS = 16  # of each opcode
NOT_ASSEMBLED = {
    ("VOP3", "v_nop"): "the assembler chooses the short form",
    ("VOP3", "v_clrexcp"): "the assembler chooses the short form",
}
DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def tried() -> list[tuple[Opcode, Instruction, bytes, bytes | str]]:
    """Random instructions of every opcode: as they are, and as the assembler makes them of their text."""
    rng = random.Random(942)
    words = [(opcode, word(rng, opcode)) for opcode in opcodes().values() for _ in range(WORDS)]
    decoded = [(opcode, decode(code, 0), code) for opcode, code in words]
    made = assemble([text(one) for _, one, _ in decoded])
    return [(opcode, one, code[: one.size], got) for (opcode, one, code), got in zip(decoded, made, strict=True)]


def test_text_assembles_to_the_same_bits(tried):
    wrong = [
        f"{text(one)}: {code.hex()} became {got[: one.size].hex()}"
        for opcode, one, code, got in tried
        if isinstance(got, bytes) and got[: one.size] != code and (opcode.format, opcode.name) not in NOT_ASSEMBLED
    ]
    assert not wrong, wrong[:10]


def test_every_opcode_round_trips(tried):
    good = Counter((opcode.format, opcode.name) for opcode, one, code, got in tried if got[: one.size] == code)
    missing = {(o.format, o.name) for o in opcodes().values()} - set(good)
    assert missing <= set(NOT_ASSEMBLED), sorted(missing - set(NOT_ASSEMBLED))
    assert sum(good.values()) > 0.75 * len(tried)


def test_what_compilers_emit_is_known():
    names = {opcode.mnemonic for opcode in opcodes().values()}
    plain = {opcode.name for opcode in opcodes().values()}
    wanted = (DATA / "gfx942_mnemonics.txt").read_text().split()
    missing = [
        each for each in wanted if each not in names and each.removesuffix("_sdwa").removesuffix("_dpp") not in plain
    ]
    assert len(wanted) == 189
    assert not missing


@pytest.mark.parametrize(
    ("line", "operands"),
    [
        (
            "v_add_f32_e32 v1, s2, v3",
            {"vdst": Operand("v", 1, 1), "src0": Operand("s", 2, 1), "vsrc1": Operand("v", 3, 1)},
        ),
        ("v_cmp_lt_i64_e64 s[4:5], v[2:3], 7", {"vdst": Operand("s", 4, 2), "src1": Operand("inline", 135, 2)}),
        ("v_cmp_gt_u32_e32 vcc, 0x1234, v9", {"src0": Operand("literal", 0x1234, 1), "vsrc1": Operand("v", 9, 1)}),
        (
            "v_mfma_f32_16x16x16_f16 a[4:7], v[2:3], a[8:9], a[12:15]",
            {
                "vdst": Operand("a", 4, 4),
                "src0": Operand("v", 2, 2),
                "src1": Operand("a", 8, 2),
                "src2": Operand("a", 12, 4),
            },
        ),
        ("ds_read_b128 a[8:11], v3 offset:64", {"vdst": Operand("a", 8, 4), "addr": Operand("v", 3, 1)}),
        ("s_load_dwordx4 s[8:11], s[4:5], 0x10", {"sdata": Operand("s", 8, 4), "sbase": Operand("s", 4, 2)}),
        ("v_readfirstlane_b32 s7, v3", {"vdst": Operand("s", 7, 1)}),
        ("v_and_b32_sdwa v1, s2, v3 dst_sel:DWORD src0_sel:WORD_1 src1_sel:BYTE_2", {"src0": Operand("s", 2, 1)}),
        ("v_accvgpr_write_b32 a5, v6", {"vdst": Operand("a", 5, 1), "src0": Operand("v", 6, 1)}),
    ],
)
def test_operands(line, operands):
    (code,) = assemble([line])
    assert isinstance(code, bytes), code
    found = decode(code, 0).operands
    assert {name: found[name] for name in operands} == operands


def test_a_branch_goes_from_its_end():
    (code,) = assemble(["s_branch -3"])
    assert decode(code, 0, 0x100).target == 0x104 - 12
    assert listing(decode(code, 0, 0x100)) == "0x0100: bf82fffd  s_branch -3  ; to 0xf8"


def test_a_branch_with_its_target_in_a_register_is_listed():
    (code,) = assemble(["s_cbranch_join s4"])
    assert listing(decode(code, 0)).endswith("s_cbranch_join s4")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("000000", "the code ends at 0x40"),
        ("000000c5", "0x40: 0xc5000000 has no format of gfx942"),
        ("00ff80be", "is SOP1 opcode 255: gfx942 has none"),
        ("0000d8d3", "in the middle of v_accvgpr_read_b32"),
    ],
)
def test_unknown_words_are_named(code, words):
    with pytest.raises(DecodeError, match=words):
        decode(bytes.fromhex(code), 0, 0x40)


@given(st.binary(min_size=0, max_size=16))
def test_any_bytes_decode_or_say_why(code):
    try:
        one = decode(code, 0)
    except DecodeError:
        return
    assert text(one)
    assert one.size <= len(code)
