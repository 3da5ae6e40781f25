"""Instructions as the assembler reads them: `assemble(text(instruction))` gives the same bits.

Flags that only order or cache memory accesses are printed too, so that nothing of the bits is lost.
"""

from __future__ import annotations

from collections.abc import Iterator

from lowering.targets.amdgpu.emulator.decode import ACCUMULATORS, Instruction, Operand, signed

NAMED = {
    102: "flat_scratch", 104: "xnack_mask", 106: "vcc", 124: "m0", 126: "exec",
    235: "src_shared_base", 236: "src_shared_limit", 237: "src_private_base", 238: "src_private_limit",
    239: "src_pops_exiting_wave_id", 251: "src_vccz", 252: "src_execz", 253: "src_scc",
}  # fmt: skip
HALVES = {103: "flat_scratch_hi", 105: "xnack_mask_hi", 107: "vcc_hi", 127: "exec_hi"}
FLOATS = {240: "0.5", 241: "-0.5", 242: "1.0", 243: "-1.0", 244: "2.0", 245: "-2.0", 246: "4.0", 247: "-4.0",
          248: "0.15915494"}  # fmt: skip
SELECT = ("BYTE_0", "BYTE_1", "BYTE_2", "BYTE_3", "WORD_0", "WORD_1", "DWORD", "<7>")
UNUSED = ("UNUSED_PAD", "UNUSED_SEXT", "UNUSED_PRESERVE", "<3>")
ROW = {0x100: "row_shl", 0x110: "row_shr", 0x120: "row_ror", 0x150: "row_newbcast"}
WAVE = {0x130: "wave_shl:1", 0x134: "wave_rol:1", 0x138: "wave_shr:1", 0x13C: "wave_ror:1", 0x140: "row_mirror",
        0x141: "row_half_mirror", 0x142: "row_bcast:15", 0x143: "row_bcast:31"}  # fmt: skip
OMOD = ("", " mul:2", " mul:4", " div:2")


def text(one: Instruction) -> str:
    """One instruction in the assembler's syntax."""
    parts = ", ".join(operands(one))
    return " ".join(filter(None, (mnemonic(one), parts))) + modifiers(one)


def mnemonic(one: Instruction) -> str:
    """The mnemonic with the suffix of its encoding."""
    suffix = "_dpp" if one.dpp else "_sdwa" if one.sdwa else ""
    return one.name + suffix if suffix else one.opcode.mnemonic


def register(place: Operand) -> str:
    """A register or a range of them."""
    index, width = place.index, place.width
    if place.file == "s":
        named = special(index, width)
        if named:
            return named
    prefix, first = ("ttmp", index - 108) if place.file == "s" and index >= 108 else (place.file, index)
    return f"{prefix}{first}" if width == 1 else f"{prefix}[{first}:{first + width - 1}]"


def special(index: int, width: int) -> str:
    """The name of a special scalar register, '' where it is a numbered one."""
    if index in NAMED:
        return NAMED[index] if width == 2 or index == 124 else f"{NAMED[index]}_lo"
    return HALVES.get(index, "")


def value(place: Operand) -> str:
    """A register, an inline constant or a literal."""
    if place.is_register:
        return register(place)
    if place.file == "literal":
        return f"{place.index:#x}"
    if place.index in FLOATS:
        return "0.15915494309189532" if place.index == 248 and place.width == 2 else FLOATS[place.index]
    if 128 <= place.index <= 208:
        return str(place.index - 128 if place.index <= 192 else 192 - place.index)
    return NAMED.get(place.index, f"<source {place.index}>")


def operands(one: Instruction) -> Iterator[str]:
    """The operands in the order of the text."""
    form = one.opcode.format
    special_form = {
        "SOPP": sopp,
        "SOPK": sopk,
        "SMEM": smem,
        "MUBUF": mubuf,
        "FLAT": flat,
        "GLOBAL": flat,
        "SCRATCH": flat,
    }
    if form in special_form:
        yield from special_form[form](one)
        return
    known = one.operands
    for name, width in one.opcode.operands:
        if width:
            yield source(one, name, known[name])
        elif name == "literal":
            yield f"{one.literal:#x}"
        elif name == "vcc" and form == "VOPC":
            yield register(one.operand("sdst", 2))
        elif name == "vcc":
            yield name
        elif one.name == "s_set_gpr_idx_on":
            yield f"{one.fields['ssrc1']:#x}"


def source(one: Instruction, name: str, place: Operand) -> str:
    """An operand with its neg, abs and sext."""
    shown = value(place)
    number = {"src0": 0, "src1": 1, "vsrc1": 1, "src2": 2}.get(name)
    if number is None or one.opcode.is_matrix:
        return shown
    negative, absolute, extended = sign_flags(one, number)
    shown = f"sext({shown})" if extended else f"|{shown}|" if absolute else shown
    return (
        f"-{shown}"
        if negative and not shown.startswith(("-", "0")) and not shown[0].isdigit()
        else (f"neg({shown})" if negative else shown)
    )


def sign_flags(one: Instruction, number: int) -> tuple[int, int, int]:
    """neg, abs and sext of a source."""
    if one.dpp and number < 2:
        return one.dpp[f"neg{number}"], one.dpp[f"abs{number}"], 0
    if one.sdwa and number < 2:
        return one.sdwa[f"neg{number}"], one.sdwa[f"abs{number}"], one.sdwa[f"sext{number}"]
    if one.opcode.format == "VOP3":
        is_b = any(name == "sdst" for name, _ in one.opcode.operands)
        return one.fields["neg"] >> number & 1, 0 if is_b else one.fields["abs"] >> number & 1, 0
    if one.name.startswith(("v_fma_mix", "v_mad_mix")):
        return one.fields["neg"] >> number & 1, one.fields["neg_hi"] >> number & 1, 0
    return 0, 0, 0


def sopp(one: Instruction) -> Iterator[str]:
    """Program control."""
    imm = one.fields["simm16"]
    if one.name == "s_waitcnt":
        yield waits(imm)
    elif one.name.startswith(("s_branch", "s_cbranch")):
        yield str(signed(imm, 16))
    elif one.opcode.operands or one.name.startswith("s_sendmsg") or imm:
        yield f"{imm:#x}" if imm > 9 else str(imm)


def counters(imm: int) -> tuple[int, int, int]:
    """What s_waitcnt lets outstanding: vm = [3:0] and [15:14], exp = [6:4], lgkm = [11:8]."""
    return imm & 15 | imm >> 14 << 4, imm >> 4 & 7, imm >> 8 & 15


def waits(imm: int) -> str:
    """The counters of s_waitcnt that it waits for, as assembly has them."""
    vm, exp, lgkm = counters(imm)
    if imm >> 12 & 3:
        return f"{imm:#x}"
    named = (("vmcnt", vm, 63), ("expcnt", exp, 7), ("lgkmcnt", lgkm, 15))
    return " ".join(f"{name}({count})" for name, count, none in named if count != none) or f"{imm:#x}"


def sopk(one: Instruction) -> Iterator[str]:
    """Scalar operations with a 16-bit constant; s_setreg names the constant first."""
    width = dict(one.opcode.operands).get("sdst", 1)
    imm, place = one.fields["simm16"], Operand("s", one.fields["sdst"], width)
    if one.name == "s_setreg_imm32_b32":
        yield from (f"{imm:#x}", f"{one.literal:#x}")
    elif one.name == "s_setreg_b32":
        yield from (f"{imm:#x}", register(place))
    elif one.name in ("s_call_b64", "s_cbranch_i_fork"):
        yield from (register(place), str(signed(imm, 16)))
    else:
        yield from (register(place), f"{imm:#x}")


def smem(one: Instruction) -> Iterator[str]:
    """Scalar memory: data, base, and an offset from a register, a constant or both."""
    fields = one.fields
    if one.name.startswith("s_atc_probe"):
        yield str(fields["sdata"])
    for name, place in one.operands.items():
        if name in ("sdata", "sbase"):
            yield register(place)
    if "sbase" not in one.operands:
        return
    if fields["soffset_en"]:
        yield register(Operand("s", fields["soffset"], 1))
    elif fields["imm"]:
        yield f"{signed(fields['offset'], 21):#x}"
    else:
        yield register(Operand("s", fields["offset"] & 127, 1))


def flat(one: Instruction) -> Iterator[str]:
    """Flat, global and scratch: [destination], address, [data], scalar base or `off`."""
    fields, form = one.fields, one.opcode.format
    names = {name for name, _ in one.opcode.operands}
    if "vdst" in names or returns(one):
        yield register(destination(one))
    yield address(one)
    if "data" in names:
        yield register(one.operands["data"])
    if form != "FLAT":
        width = 2 if form == "GLOBAL" else 1
        yield "off" if fields["saddr"] == 127 else register(Operand("s", fields["saddr"], width))


def address(one: Instruction) -> str:
    """The address operand of a flat, global or scratch instruction."""
    fields, form = one.fields, one.opcode.format
    if form == "SCRATCH":
        return register(Operand("v", fields["addr"], 1)) if fields["lds"] else "off"
    wide = form == "FLAT" or fields["saddr"] == 127
    return register(Operand("v", fields["addr"], 2 if wide else 1))


def returns(one: Instruction) -> bool:
    """Whether an atomic gives back what was there (sc0)."""
    return "_atomic_" in one.name and bool(one.fields.get("sc0"))


def destination(one: Instruction) -> Operand:
    """Where a flat load or an atomic writes."""
    if "vdst" in one.operands:
        return one.operands["vdst"]
    data = one.operands["data"]
    width = data.width // 2 if "cmpswap" in one.name else data.width
    return Operand(data.file, one.fields["vdst"], width)


def mubuf(one: Instruction) -> Iterator[str]:
    """Buffer instructions: data, address or `off`, resource, offset."""
    fields, known = one.fields, one.operands
    if "vdata" not in known:
        return
    if not fields["lds"]:
        yield register(known["vdata"])
    if fields["offen"] or fields["idxen"]:
        yield register(Operand("v", fields["vaddr"], 2 if fields["offen"] and fields["idxen"] else 1))
    else:
        yield "off"
    yield register(known["srsrc"])
    yield value(known["soffset"])


def modifiers(one: Instruction) -> str:
    """What comes after the operands."""
    form = one.opcode.format
    if one.dpp:
        return dpp_text(one)
    if one.sdwa:
        return sdwa_text(one)
    known = {"VOP3": vop3, "VOP3P": vop3p, "DS": ds, "SMEM": smem_flags, "MUBUF": memory_flags}
    if form in ("FLAT", "GLOBAL", "SCRATCH"):
        return memory_flags(one)
    return known[form](one) if form in known else ""


def vop3(one: Instruction) -> str:
    """clamp, op_sel and omod of VOP3."""
    fields = one.fields
    is_b = any(name == "sdst" for name, _ in one.opcode.operands)
    count = sum(1 for name, width in one.opcode.operands if width and name.startswith("src"))
    chosen = [fields["op_sel"] >> i & 1 for i in range(count)] + [fields["op_sel"] >> 3 & 1]
    select = f" op_sel:[{','.join(map(str, chosen))}]" if not is_b and any(chosen) else ""
    return select + (" clamp" if fields["clamp"] else "") + OMOD[fields["omod"]]


def vop3p(one: Instruction) -> str:
    """Packed modifiers, or those of matrix instructions."""
    fields = one.fields
    if one.opcode.is_matrix:
        names = ("cbsz", "abid") if fields["cbsz"] or fields["abid"] else ()
        shown = "".join(f" {name}:{fields[name]}" for name in names)
        if not fields["blgp"]:
            return shown
        if "f64" in one.name:
            return f"{shown} neg:[{','.join(str(fields['blgp'] >> i & 1) for i in range(3))}]"
        return f"{shown} blgp:{fields['blgp']}"
    if one.name in ACCUMULATORS:
        return ""
    count = sum(1 for name, width in one.opcode.operands if width and name.startswith("src"))
    high = fields["op_sel_hi"] | fields["op_sel_hi2"] << 2
    mixed = one.name.startswith(("v_fma_mix", "v_mad_mix"))
    lists = [("op_sel", fields["op_sel"], 0), ("op_sel_hi", high, 0 if mixed else (1 << count) - 1)]
    if not mixed:
        lists += [("neg_lo", fields["neg"], 0), ("neg_hi", fields["neg_hi"], 0)]
    shown = [
        f" {name}:[{','.join(str(bits >> i & 1) for i in range(count))}]"
        for name, bits, default in lists
        if bits & (1 << count) - 1 != default
    ]
    return "".join(shown) + (" clamp" if fields["clamp"] else "")


def ds(one: Instruction) -> str:
    """Offsets of LDS instructions."""
    fields = one.fields
    if two_offsets(one):
        shown = "".join(f" {name}:{fields[name]}" for name in ("offset0", "offset1") if fields[name])
    else:
        offset = fields["offset0"] | fields["offset1"] << 8
        shown = f" offset:{offset}" if offset else ""
    return shown + (" gds" if fields["gds"] else "")


def two_offsets(one: Instruction) -> bool:
    """Whether an LDS instruction accesses two places."""
    return one.name.startswith(("ds_read2", "ds_write2", "ds_wrxchg2"))


def smem_flags(one: Instruction) -> str:
    """Offset beside a register, and cache flags."""
    fields = one.fields
    both = f" offset:{signed(fields['offset'], 21):#x}" if fields["soffset_en"] and fields["imm"] else ""
    return both + (" glc" if fields["glc"] else "")


def memory_flags(one: Instruction) -> str:
    """Offset and cache flags of vector memory."""
    fields, form = one.fields, one.opcode.format
    flags = ""
    if form == "MUBUF":
        flags += "".join(f" {name}" for name in ("idxen", "offen") if fields[name])
        flags += f" offset:{fields['offset']}" if fields["offset"] else ""
    else:
        offset = fields["offset"] if form == "FLAT" else signed(fields["offset"], 13)
        flags += f" offset:{offset}" if offset else ""
    flags += "".join(f" {name}" for name in ("sc0", "nt", "sc1") if fields[name])
    return flags + (" lds" if form == "MUBUF" and fields["lds"] else "")


def dpp_text(one: Instruction) -> str:
    """The lane permutation of DPP."""
    assert one.dpp is not None
    dpp, control = one.dpp, one.dpp["ctrl"]
    if control < 0x100:
        shown = f"quad_perm:[{','.join(str(control >> 2 * i & 3) for i in range(4))}]"
    else:
        shown = WAVE.get(control) or f"{ROW.get(control & 0x1F0, 'dpp_ctrl')}:{control & 15}"
    return f" {shown} row_mask:{dpp['row_mask']:#x} bank_mask:{dpp['bank_mask']:#x}" + (
        " bound_ctrl:0" if dpp["bound_ctrl"] else ""
    )


def sdwa_text(one: Instruction) -> str:
    """The parts of registers that SDWA selects."""
    assert one.sdwa is not None
    sdwa, shown = one.sdwa, ""
    if one.opcode.format != "VOPC":
        shown += " clamp" if sdwa["clamp"] else ""
        shown += OMOD[sdwa["omod"]]
        shown += f" dst_sel:{SELECT[sdwa['dst_sel']]} dst_unused:{UNUSED[sdwa['dst_unused']]}"
    shown += f" src0_sel:{SELECT[sdwa['sel0']]}"
    return shown + (f" src1_sel:{SELECT[sdwa['sel1']]}" if one.opcode.format != "VOP1" else "")


def listing(one: Instruction) -> str:
    """One instruction for people: address, bits, text, and where a branch goes."""
    jumps = one.name.startswith(("s_branch", "s_cbranch", "s_call")) and "simm16" in one.fields
    goes = f"  ; to {one.target:#x}" if jumps else ""
    words = " ".join(f"{one.bits >> 8 * at & 0xFFFFFFFF:08x}" for at in range(0, one.size, 4))
    return f"{one.address:#06x}: {words}  {text(one)}{goes}"
