"""The instruction formats of gfx942 and the table of its opcodes.

A format is told by the highest bits of the first word. Where its fields lie is data here (AMD CDNA3 ISA guide,
"Instruction formats"; the cache bits as LLVM's assembler places them for gfx942); which opcodes there are, and which
registers each names, is `opcodes.tsv`, which `scripts/gfx942_opcodes.py` writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

Fields = Mapping[str, tuple[int, int]]  # name -> lowest bit, width


@dataclass(frozen=True)
class Format:
    """One encoding: its size without a literal, its fields, and the field of its opcode."""

    name: str
    size: int  # bytes
    fields: Fields


def fmt(name: str, size: int, **fields: tuple[int, int]) -> Format:
    """A format."""
    return Format(name, size, MappingProxyType(fields))


VECTOR3 = {"src0": (32, 9), "src1": (41, 9), "src2": (50, 9)}
FLAT = {
    "offset": (0, 13), "lds": (13, 1), "sc0": (16, 1), "nt": (17, 1), "op": (18, 7), "sc1": (25, 1),
    "addr": (32, 8), "data": (40, 8), "saddr": (48, 7), "acc": (55, 1), "vdst": (56, 8),
}  # fmt: skip

FORMATS: dict[str, Format] = {
    each.name: each
    for each in (
        fmt("SOP2", 4, ssrc0=(0, 8), ssrc1=(8, 8), sdst=(16, 7), op=(23, 7)),
        fmt("SOPK", 4, simm16=(0, 16), sdst=(16, 7), op=(23, 5)),
        fmt("SOP1", 4, ssrc0=(0, 8), op=(8, 8), sdst=(16, 7)),
        fmt("SOPC", 4, ssrc0=(0, 8), ssrc1=(8, 8), op=(16, 7)),
        fmt("SOPP", 4, simm16=(0, 16), op=(16, 7)),
        fmt("SMEM", 8, sbase=(0, 6), sdata=(6, 7), soffset_en=(14, 1), nv=(15, 1), glc=(16, 1), imm=(17, 1),
            op=(18, 8), offset=(32, 21), soffset=(57, 7)),
        fmt("VOP2", 4, src0=(0, 9), vsrc1=(9, 8), vdst=(17, 8), op=(25, 6)),
        fmt("VOP1", 4, src0=(0, 9), op=(9, 8), vdst=(17, 8)),
        fmt("VOPC", 4, src0=(0, 9), vsrc1=(9, 8), op=(17, 8)),
        fmt("VOP3", 8, vdst=(0, 8), abs=(8, 3), sdst=(8, 7), op_sel=(11, 4), clamp=(15, 1), op=(16, 10), **VECTOR3,
            omod=(59, 2), neg=(61, 3)),
        fmt("VOP3P", 8, vdst=(0, 8), neg_hi=(8, 3), cbsz=(8, 3), op_sel=(11, 3), abid=(11, 4), op_sel_hi2=(14, 1),
            clamp=(15, 1), acc_cd=(15, 1), op=(16, 7), **VECTOR3, op_sel_hi=(59, 2), acc=(59, 2), neg=(61, 3),
            blgp=(61, 3)),
        fmt("DS", 8, offset0=(0, 8), offset1=(8, 8), gds=(16, 1), op=(17, 8), acc=(25, 1), addr=(32, 8), data0=(40, 8),
            data1=(48, 8), vdst=(56, 8)),
        fmt("FLAT", 8, **FLAT),
        fmt("GLOBAL", 8, **FLAT),
        fmt("SCRATCH", 8, **FLAT),
        fmt("MUBUF", 8, offset=(0, 12), offen=(12, 1), idxen=(13, 1), sc0=(14, 1), sc1=(15, 1), lds=(16, 1), nt=(17, 1),
            op=(18, 7), vaddr=(32, 8), vdata=(40, 8), srsrc=(48, 5), acc=(55, 1), soffset=(56, 8)),
    )
}  # fmt: skip

DPP = MappingProxyType(
    {"src0": (0, 8), "ctrl": (8, 9), "bound_ctrl": (19, 1), "neg0": (20, 1), "abs0": (21, 1), "neg1": (22, 1),
     "abs1": (23, 1), "bank_mask": (24, 4), "row_mask": (28, 4)}
)  # fmt: skip
SDWA = MappingProxyType(
    {"src0": (0, 8), "dst_sel": (8, 3), "dst_unused": (11, 2), "clamp": (13, 1), "omod": (14, 2), "sdst": (8, 7),
     "sd": (15, 1), "sel0": (16, 3), "sext0": (19, 1), "neg0": (20, 1), "abs0": (21, 1), "s0": (23, 1),
     "sel1": (24, 3), "sext1": (27, 1), "neg1": (28, 1), "abs1": (29, 1), "s1": (31, 1)}
)  # fmt: skip

LITERAL, IS_DPP, IS_SDWA = 255, 250, 249  # what a source says of the word that follows


def unpack(word: int, fields: Fields) -> dict[str, int]:
    """The fields of a word."""
    return {name: word >> low & (1 << width) - 1 for name, (low, width) in fields.items()}


def format_of(word: int) -> str | None:
    """The format of an instruction's first word; None where it is none of these."""
    if not word >> 31:
        return {0x3F: "VOP1", 0x3E: "VOPC"}.get(word >> 25, "VOP2")
    if word >> 30 == 2:
        scalar = {0x17D: "SOP1", 0x17E: "SOPC", 0x17F: "SOPP"}.get(word >> 23)
        return scalar or ("SOPK" if word >> 28 == 0xB else "SOP2")
    if word >> 26 == 0x37:
        return ("FLAT", "SCRATCH", "GLOBAL", None)[word >> 14 & 3]
    if word >> 23 == 0x1A7:
        return "VOP3P"
    return {0x30: "SMEM", 0x34: "VOP3", 0x36: "DS", 0x38: "MUBUF"}.get(word >> 26)


@dataclass(frozen=True)
class Opcode:
    """One opcode of one format. `operands`: fields with their widths in dwords, or words such as vcc, in text order."""

    format: str
    number: int
    mnemonic: str  # with its suffix: v_add_u32_e32
    operands: tuple[tuple[str, int], ...]

    @property
    def name(self) -> str:
        """The operation without the suffix of its encoding."""
        return self.mnemonic.removesuffix("_e32").removesuffix("_e64")

    @property
    def is_matrix(self) -> bool:
        """Whether it is a matrix instruction, whose bits are laid out differently."""
        return self.mnemonic.startswith(("v_mfma", "v_smfmac"))


@cache
def opcodes() -> Mapping[tuple[str, int], Opcode]:
    """The table, by format and number."""
    text = Path(__file__).with_name("opcodes.tsv").read_text()
    rows = (line.split("\t") for line in text.splitlines() if not line.startswith("#"))
    return {(row[0], int(row[1])): Opcode(row[0], int(row[1]), row[2], operand_list(row[3])) for row in rows}


def operand_list(text: str) -> tuple[tuple[str, int], ...]:
    """The operands of a row: `vdst:2 vcc` -> (("vdst", 2), ("vcc", 0))."""
    pairs = (part.partition(":") for part in text.split())
    return tuple((name, int(width or 0)) for name, _, width in pairs)
