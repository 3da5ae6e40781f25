"""Words -> instructions. What is not known stops with its address, its bits and what stands before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from lowering.targets.amdgpu.emulator.formats import (
    DPP,
    FORMATS,
    IS_DPP,
    IS_SDWA,
    LITERAL,
    SDWA,
    Opcode,
    format_of,
    opcodes,
    unpack,
)

FILES = Literal["s", "v", "a", "inline", "literal"]
SCALAR_SOURCES = ("src0", "src1", "src2", "ssrc0", "ssrc1", "soffset")
LITERAL_ALWAYS = frozenset({"v_fmamk_f32", "v_fmaak_f32", "v_madmk_f16", "v_madak_f16", "s_setreg_imm32_b32"})
ACCUMULATORS = {
    "v_accvgpr_read_b32": ("src0",),
    "v_accvgpr_write_b32": ("vdst",),
    "v_accvgpr_mov_b32": ("vdst", "src0"),
}
ENDS = frozenset({"s_endpgm", "s_endpgm_saved", "s_endpgm_ordered_ps_done"})
HAS_ACC_BIT = frozenset({"DS", "FLAT", "GLOBAL", "SCRATCH", "MUBUF"})
DATA_FIELDS = frozenset({"vdst", "data", "data0", "data1", "vdata"})
SDWA_WITHOUT_SDST = 0  # `sd` bit: the compare writes vcc


class DecodeError(Exception):
    """Words that are no instruction of gfx942, with their address and what stands before them."""


@dataclass(frozen=True)
class Operand:
    """A place or a value: `index` is the first register, the source's encoding, or the literal's bits."""

    file: FILES
    index: int
    width: int  # dwords

    @property
    def is_register(self) -> bool:
        """Whether it is a place rather than a value."""
        return self.file in ("s", "v", "a")


@dataclass(frozen=True, eq=False)
class Instruction:
    """One decoded instruction. `fields` are its bit fields; `literal` the constant that follows it."""

    address: int
    size: int  # bytes
    bits: int
    opcode: Opcode
    fields: Mapping[str, int]
    literal: int | None = None
    dpp: Mapping[str, int] | None = None
    sdwa: Mapping[str, int] | None = None

    @property
    def name(self) -> str:
        """The operation without the suffix of its encoding."""
        return self.opcode.name

    @property
    def end(self) -> int:
        """The address after it."""
        return self.address + self.size

    @property
    def target(self) -> int:
        """Where a branch goes."""
        return self.end + 4 * signed(self.fields["simm16"], 16)

    @cached_property
    def operands(self) -> Mapping[str, Operand]:
        """The operands by field."""
        return {name: self.operand(name, width) for name, width in self.opcode.operands if width}

    def operand(self, name: str, width: int) -> Operand:
        """What a field names."""
        if name == "sdst" and self.opcode.format == "VOP2":  # carries
            return Operand("s", 106, 2)
        if name == "sdst" and self.opcode.format == "VOPC":
            return Operand("s", self.sdwa["sdst"] if self.sdwa and self.sdwa["sd"] else 106, 2)
        if name in ACCUMULATORS.get(self.name, ()):
            return Operand("a", self.fields[name] & 255, width)
        if name in ("sdst", "sdata", "saddr"):
            return Operand("s", self.fields[name], width)
        if name == "sbase":
            return Operand("s", 2 * self.fields[name], width)
        if name == "srsrc":
            return Operand("s", 4 * self.fields[name], width)
        if name == "vdst" and self.writes_scalar:
            return Operand("s", self.fields[name], width)
        if name in SCALAR_SOURCES:
            return self.source(name, width)
        return Operand("a" if self.is_accumulator(name) else "v", self.fields[name], width)

    def source(self, name: str, width: int) -> Operand:
        """What a source field names: a register of any file, an inline constant or the literal."""
        code = self.fields[name]
        if name == "src0" and self.dpp is not None:
            return Operand("v", self.dpp["src0"], width)
        if name == "src0" and self.sdwa is not None:
            return Operand("s" if self.sdwa["s0"] else "v", self.sdwa["src0"], width)
        if code == LITERAL:
            return Operand("literal", self.literal or 0, width)
        if code >= 256:
            return Operand("a" if self.is_accumulator(name) else "v", code - 256, width)
        return Operand("s" if code < 128 else "inline", code, width)

    def is_accumulator(self, name: str) -> bool:
        """Whether a field of a matrix or memory instruction names an AccVGPR."""
        if self.opcode.is_matrix:
            bits = self.fields["acc"] | self.fields["acc_cd"] << 2 | self.fields["acc_cd"] << 3
            return bool(bits >> {"src0": 0, "src1": 1, "src2": 2, "vdst": 3}[name] & 1)
        return self.opcode.format in HAS_ACC_BIT and name in DATA_FIELDS and bool(self.fields["acc"])

    @property
    def writes_scalar(self) -> bool:
        """Whether `vdst` names SGPRs: compares in VOP3, and the lane reads."""
        return self.name.startswith(("v_cmp_", "v_cmpx_", "v_readlane", "v_readfirstlane"))


def signed(value: int, bits: int) -> int:
    """Two's complement."""
    return value - (1 << bits) if value >> (bits - 1) else value


def decode(code: bytes, offset: int, base: int = 0) -> Instruction:
    """The instruction at an offset of some code whose first byte lies at address `base`. Raises DecodeError."""
    address = base + offset
    first = int.from_bytes(code[offset : offset + 4], "little")
    if len(code) < offset + 4:
        raise DecodeError(f"the code ends at {address:#x}, in the middle of an instruction or without s_endpgm")
    name = format_of(first)
    if name is None:
        raise DecodeError(f"{address:#x}: {first:#010x} has no format of gfx942")
    form, word = FORMATS[name], 0
    bits = int.from_bytes(code[offset : offset + form.size], "little")
    fields = unpack(bits, form.fields)
    opcode = opcodes().get((name, fields["op"]))
    if opcode is None:
        raise DecodeError(
            f"{address:#x}: {bits:#0{2 + 2 * form.size}x} is {name} opcode {fields['op']}: gfx942 has none"
        )
    size, extra = form.size, extension(opcode, fields)
    if extra is not None:
        word = int.from_bytes(code[offset + size : offset + size + 4], "little")
        bits, size = bits | word << 8 * size, size + 4
    if len(code) < offset + size:
        raise DecodeError(f"{address:#x}: the code ends in the middle of {opcode.mnemonic}")
    made = Instruction(
        address,
        size,
        bits,
        opcode,
        fields,
        literal=word if extra == LITERAL else None,
        dpp=unpack(word, DPP) if extra == IS_DPP else None,
        sdwa=unpack(word, SDWA) if extra == IS_SDWA else None,
    )
    return made


def extension(opcode: Opcode, fields: Mapping[str, int]) -> int | None:
    """What word follows the instruction: a literal, DPP or SDWA; None where none does."""
    if opcode.mnemonic in LITERAL_ALWAYS:
        return LITERAL
    if opcode.format in ("VOP1", "VOP2", "VOPC") and fields["src0"] in (LITERAL, IS_DPP, IS_SDWA):
        return fields["src0"]
    if opcode.format in ("SOP1", "SOP2", "SOPC") and LITERAL in (fields["ssrc0"], fields.get("ssrc1")):
        return LITERAL
    return None


def reachable(code: bytes, start: int) -> Sequence[Instruction]:
    """The instructions from an address on, up to the last that a branch among them leads to; as far as they decode."""
    found: list[Instruction] = []
    last = start
    while start < len(code):
        try:
            one = decode(code, start)
        except DecodeError:
            break
        found.append(one)
        if one.opcode.format == "SOPP" and "branch" in one.name:
            last = max(last, one.target)
        if one.name in ENDS and start >= last:
            break
        start = one.end
    return found


def sweep(code: bytes, start: int, stop: int, base: int = 0) -> Sequence[Instruction]:
    """All instructions from one offset to another, one after the other. Raises DecodeError with those before."""
    found: list[Instruction] = []
    while start < stop:
        found.append(decode(code, start, base))
        start += found[-1].size
    return found
