"""Random instructions of every opcode, as bits: registers where the opcode has operands, some modifiers, aligned."""

from __future__ import annotations

import random
import re

from lowering.targets.amdgpu.emulator.formats import FORMATS, IS_DPP, IS_SDWA, LITERAL, Opcode

BASE = {
    "SOP2": 0x80000000, "SOPK": 0xB0000000, "SOP1": 0xBE800000, "SOPC": 0xBF000000, "SOPP": 0xBF800000,
    "SMEM": 0xC0000000, "VOP2": 0, "VOP1": 0x7E000000, "VOPC": 0x7C000000, "VOP3": 0xD0000000, "VOP3P": 0xD3800000,
    "DS": 0xD8000000, "FLAT": 0xDC000000, "GLOBAL": 0xDC008000, "SCRATCH": 0xDC004000, "MUBUF": 0xE0000000,
}  # fmt: skip
SCALAR_RESULT = re.compile(r"v_(cmpx?_|readlane|readfirstlane)").match
INLINE = (*range(128, 209), *range(240, 249))
CONTROLS = (
    0x1B,
    0xE4,
    0x101,
    0x10F,
    0x111,
    0x11F,
    0x121,
    0x130,
    0x134,
    0x138,
    0x13C,
    0x140,
    0x141,
    0x142,
    0x143,
    0x152,
)


def word(rng: random.Random, opcode: Opcode) -> bytes:
    """One random instruction; the assembler may still refuse it."""
    form = FORMATS[opcode.format]
    bits = BASE[opcode.format]
    fields = {"op": opcode.number, **registers(rng, opcode), **modifiers(rng, opcode)}
    extra, word_after = b"", 0
    if opcode.format in ("VOP1", "VOP2", "VOPC") and "src0" in fields and "acc" not in opcode.name:
        kind = rng.choice(("", "", "", "literal", "dpp", "sdwa"))
        if kind:
            fields["src0"] = {"literal": LITERAL, "dpp": IS_DPP, "sdwa": IS_SDWA}[kind]
            word_after = {"literal": rng.getrandbits(32), "dpp": dpp(rng), "sdwa": sdwa(rng, opcode)}[kind]
    if opcode.format in ("SOP1", "SOP2", "SOPC") and "ssrc0" in fields and rng.random() < 0.2:
        fields["ssrc0"], word_after = LITERAL, rng.getrandbits(32)
    extra = word_after.to_bytes(4, "little")
    for name, value in fields.items():
        low, width = form.fields[name]
        bits |= (value & (1 << width) - 1) << low
    return bits.to_bytes(form.size, "little") + extra + bytes(4)


def registers(rng: random.Random, opcode: Opcode) -> dict[str, int]:
    """Random values of the fields that name operands."""
    found: dict[str, int] = {}
    for name, width in opcode.operands:
        if not width:
            continue
        if name == "sbase":
            found[name] = rng.randrange(0, 48, 2)
        elif name == "srsrc":
            found[name] = rng.randrange(0, 25)
        elif name in ("sdst", "sdata", "saddr") or (name == "vdst" and SCALAR_RESULT(opcode.name)):
            step = min(4, 1 << (width - 1).bit_length())
            found[name] = 106 if width == 2 and rng.random() < 0.1 else rng.randrange(0, 96 - width, step)
        elif name.startswith(("src", "ssrc", "soffset")):
            found[name] = source(rng, opcode, name, width)
        else:
            found[name] = rng.randrange(0, 224, 2) if width > 1 else rng.randrange(256)
    return found


def source(rng: random.Random, opcode: Opcode, name: str, width: int) -> int:
    """A register of either file or an inline constant."""
    if "accvgpr_read" in opcode.name or "accvgpr_mov" in opcode.name:
        return 256 + rng.randrange(256)
    if (name, opcode.format) == ("src2", "VOP3") and opcode.name.endswith(
        ("addc_co_u32", "subb_co_u32", "subbrev_co_u32", "cndmask_b32")
    ):
        return 2 * rng.randrange(0, 50)
    if name == "src1" and "lane_b32" in opcode.name:
        return rng.randrange(0, 102)
    vector = name.startswith("src")
    scalar = 2 * rng.randrange(0, 50) if width > 1 else rng.randrange(0, 102)
    choices = [scalar, rng.choice(INLINE)]
    if vector:
        wide = 256 + (rng.randrange(0, 224, 2) if width > 1 else rng.randrange(256))
        choices = [wide, wide, wide, *(choices if name == "src0" else choices[1:])]
    return rng.choice(choices)


def modifiers(rng: random.Random, opcode: Opcode) -> dict[str, int]:
    """Random flags, most of them off; no bit of a source that the opcode has not."""
    found: dict[str, int] = {}
    count = sum(1 for name, width in opcode.operands if width and name.startswith("src"))
    some = rng.random() < 0.4
    for name, (_, width) in FORMATS[opcode.format].fields.items():
        if name in ("offset", "offset0", "offset1", "simm16") or (name in MEMORY_FLAGS and rng.random() < 0.3):
            found[name] = rng.getrandbits(width)
        elif name in ("clamp", "omod", "neg", "abs", "op_sel", "neg_hi") and some and rng.random() < 0.4:
            found[name] = rng.getrandbits(width) & ((1 << count) - 1 if width >= 3 else 3)
    return found | SPECIAL.get(opcode.format, lambda *_: {})(rng, opcode, found)


MEMORY_FLAGS = ("sc0", "sc1", "nt", "glc", "acc")


def sopp(rng: random.Random, opcode: Opcode, found: dict[str, int]) -> dict[str, int]:
    """Only what the counters of s_waitcnt have, and nothing where there is no operand."""
    if opcode.name == "s_waitcnt":
        return {"simm16": found["simm16"] & 0xCF7F}
    if opcode.name == "s_set_gpr_idx_mode":
        return {"simm16": found["simm16"] & 15}
    return {} if opcode.operands else {"simm16": 0}


def vop3(rng: random.Random, opcode: Opcode, found: dict[str, int]) -> dict[str, int]:
    """No abs and op_sel where the bits are those of a scalar destination."""
    if any(name == "sdst" for name, _ in opcode.operands):
        return {"abs": 0, "op_sel": 0} | {"sdst": rng.randrange(0, 100, 2)}
    return {"op_sel": found.get("op_sel", 0) if "16" in opcode.name and "pk_" not in opcode.name else 0}


def vop3p(rng: random.Random, opcode: Opcode, found: dict[str, int]) -> dict[str, int]:
    """Matrix instructions have other bits there; op_sel_hi is 1 unless chosen."""
    if opcode.is_matrix:
        return {
            **dict.fromkeys(("clamp", "neg", "op_sel", "neg_hi"), 0),
            "acc": rng.getrandbits(2),
            "acc_cd": rng.getrandbits(1),
        }
    if "accvgpr" in opcode.name or "dot" in opcode.name:
        return {"op_sel_hi": 3, "op_sel_hi2": 1, "op_sel": 0, "neg": 0, "neg_hi": 0, "clamp": 0}
    if rng.random() < 0.5:
        return {"op_sel_hi": 3, "op_sel_hi2": 1}
    count = sum(1 for name, width in opcode.operands if width and name.startswith("src"))
    return {"op_sel_hi": rng.getrandbits(2), "op_sel_hi2": rng.getrandbits(1) if count > 2 else 1}


def smem(rng: random.Random, opcode: Opcode, found: dict[str, int]) -> dict[str, int]:
    """An offset where there is a base."""
    return {"imm": 1} if any(name == "sbase" for name, _ in opcode.operands) else {"offset": 0, "glc": 0}


def flat(rng: random.Random, opcode: Opcode, found: dict[str, int]) -> dict[str, int]:
    """Addresses in one or two registers, aligned; offsets that the format has; loads to LDS have no data."""
    chosen: dict[str, int] = {"acc": 0} if "_lds_" in opcode.name else {}
    if opcode.format == "FLAT":
        return chosen | {"offset": found["offset"] & 0xFFF, "saddr": 0, "addr": rng.randrange(0, 254, 2)}
    chosen |= {"addr": rng.randrange(0, 254, 2)}
    chosen |= {"saddr": 127} if rng.random() < 0.5 else {}
    if opcode.format == "SCRATCH":
        chosen |= {"lds": 1} if rng.random() < 0.5 else {"addr": 0}
    return chosen


def mubuf(rng: random.Random, opcode: Opcode, found: dict[str, int]) -> dict[str, int]:
    """Addresses where a flag asks for one."""
    if not opcode.operands:
        return {"offset": 0, "nt": 0, "acc": 0}
    offen, idxen = rng.getrandbits(1), rng.getrandbits(1)
    return {"offen": offen, "idxen": idxen, "vaddr": rng.randrange(0, 254, 2) if offen or idxen else 0}


def ds(rng: random.Random, opcode: Opcode, found: dict[str, int]) -> dict[str, int]:
    """Nothing of an instruction that does nothing; accumulators only where there is data."""
    if opcode.name == "ds_nop":
        return {"offset0": 0, "offset1": 0, "acc": 0}
    return {}


SPECIAL = {
    "SOPP": sopp, "VOP3": vop3, "VOP3P": vop3p, "SMEM": smem, "FLAT": flat, "GLOBAL": flat, "SCRATCH": flat,
    "MUBUF": mubuf, "DS": ds,
}  # fmt: skip


def dpp(rng: random.Random) -> int:
    """The word of a lane permutation."""
    return rng.randrange(256) | rng.choice(CONTROLS) << 8 | rng.getrandbits(1) << 19 | rng.getrandbits(8) << 24


def sdwa(rng: random.Random, opcode: Opcode) -> int:
    """The word of a selection of parts."""
    chosen = rng.randrange(256) | rng.randrange(7) << 16 | rng.getrandbits(1) << 19
    chosen |= rng.randrange(7) << 24 if opcode.format != "VOP1" else 0
    chosen &= ~(1 << 19) if opcode.name == "v_pk_fmac_f16" else ~0
    return chosen if opcode.format == "VOPC" else chosen | rng.randrange(7) << 8 | rng.randrange(3) << 11
