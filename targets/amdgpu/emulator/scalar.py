"""Scalar instructions as functions of waves: one value a wave, SCC, and the masks of EXEC."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lowering.targets.amdgpu.emulator.decode import Instruction, Operand, signed
from lowering.targets.amdgpu.emulator.findings import EmulationError
from lowering.targets.amdgpu.emulator.kinds import NUMPY, constant, width
from lowering.targets.amdgpu.emulator.operands import Unsupported, joined
from lowering.targets.amdgpu.emulator.scalar_table import TABLE, Scalar
from lowering.targets.amdgpu.emulator.text import text
from lowering.targets.amdgpu.emulator.waves import EXEC, VCC, Waves

Array = np.ndarray[Any, Any]
Step = Callable[[Waves], None]
Read = Callable[[Waves], Array]
Function = Callable[..., Any]
MODE = 1  # the hardware register of float modes


def bind(one: Instruction) -> Step:
    """What a scalar instruction does. Raises Unsupported."""
    if "saveexec" in one.name or "wrexec" in one.name:
        return save_exec(one)
    if one.name in SPECIAL:
        return SPECIAL[one.name](one)
    operation = TABLE.get(one.name)
    if operation is None:
        raise Unsupported("its semantics are not implemented")
    reads = readers(one, operation)
    write = writer(one, operation.result)
    function, scc = operation.function, operation.scc

    def step(w: Waves) -> None:
        found = function(*[read(w) for read in reads])
        value, flag = found if scc == "second" else (found, found)
        write(w, value)
        if scc:
            w.put_scc(flag if scc != "nonzero" else value != 0)

    return step


def readers(one: Instruction, operation: Scalar) -> list[Read]:
    """A reader for each source of the signature."""
    names = iter(name for name, _ in one.opcode.operands if name not in ("sdst",))
    found: list[Read] = []
    for kind in operation.sources:
        if kind == "scc":
            found.append(lambda w: w.scc)
        elif kind.startswith("dst:"):
            found.append(read(one.operands["sdst"], kind[4:]))
        elif one.opcode.format == "SOPK":
            value = np.asarray(immediate(one, kind))
            found.append(lambda w, value=value: value)
        else:
            found.append(read(one.operands[next(names)], kind))
    return found


def immediate(one: Instruction, kind: str) -> np.generic:
    """The 16-bit constant of SOPK: signed, but for the unsigned compares."""
    bits = one.fields["simm16"]
    return np.uint32(bits) if kind == "u32" else np.int32(signed(bits, 16))


def read(place: Operand, kind: str) -> Read:
    """A scalar source as an array of one value a wave, or one for all."""
    target = NUMPY[kind]
    if place.file == "s":
        index = place.index
        if width(kind) == 64:
            return lambda w: joined(w.s[index], w.s[index + 1]).view(target)
        return lambda w: w.s[index].view(target)
    value = constant(place, kind)
    if value is not None:
        held = np.asarray(value)
        return lambda w: held
    if place.index == 253:
        return lambda w: w.scc.astype(target)
    register = {251: VCC, 252: EXEC}.get(place.index)
    if register is None:
        raise Unsupported(f"source {place.index}")
    return lambda w: ((w.s[register] | w.s[register + 1]) == 0).astype(target)


def writer(one: Instruction, kind: str) -> Callable[[Waves, Any], None]:
    """Where the result goes; nowhere for compares."""
    if not kind:
        return lambda w, value: None
    index = one.operands["sdst"].index
    if width(kind) == 64:
        return lambda w, value: w.put_scalar_pair(index, np.asarray(value).view(np.uint64))
    return lambda w, value: w.put_scalar(index, np.asarray(value).view(np.uint32))


# --- EXEC, program counter, modes ------------------------------------------------------------------------------------

SAVES: Mapping[str, Function] = {
    "and": lambda a, e: a & e,
    "or": lambda a, e: a | e,
    "xor": lambda a, e: a ^ e,
    "andn1": lambda a, e: ~a & e,
    "andn2": lambda a, e: a & ~e,
    "orn1": lambda a, e: ~a | e,
    "orn2": lambda a, e: a | ~e,
    "nand": lambda a, e: ~(a & e),
    "nor": lambda a, e: ~(a | e),
    "xnor": lambda a, e: ~(a ^ e),
}


def save_exec(one: Instruction) -> Step:
    """EXEC := f(source, EXEC), SCC := EXEC != 0; the destination gets the old EXEC, or for wrexec the new one."""
    function = SAVES[one.name.split("_")[1]]
    source, index, wrexec = read(one.operands["ssrc0"], "u64"), one.operands["sdst"].index, "wrexec" in one.name

    def step(w: Waves) -> None:
        old = joined(w.s[EXEC], w.s[EXEC + 1])
        new = np.broadcast_to(function(source(w), old), old.shape)
        w.put_scalar_pair(index, new if wrexec else old)
        w.put_scalar_pair(EXEC, new)
        w.put_scc(new != 0)

    return step


def nothing(_: Instruction) -> Step:
    """No effect on results: hints, waits, caches."""
    return lambda w: None


def quad_mask(one: Instruction) -> Step:
    """One bit a quad: whether any of its four is set (quadmask), or all four of them (wqm)."""
    bits = 64 if one.name.endswith("64") else 32
    source, put = read(one.operands["ssrc0"], f"u{bits}"), writer(one, f"u{bits}")
    whole = "wqm" in one.name

    def step(w: Waves) -> None:
        value = np.atleast_1d(source(w))
        kind = value.dtype.type
        quads = [(value >> kind(4 * n) & kind(15)) != 0 for n in range(bits // 4)]
        found = sum(
            ((q.astype(value.dtype) * kind(15) << kind(4 * n)) if whole else (q.astype(value.dtype) << kind(n)))
            for n, q in enumerate(quads)
        )
        put(w, found)
        w.put_scc(np.asarray(found) != 0)

    return step


def get_register(one: Instruction) -> Step:
    """s_getreg: of the hardware registers only MODE is modelled, and it never changes."""
    if one.fields["simm16"] & 63 != MODE:
        raise Unsupported(f"hardware register {one.fields['simm16'] & 63}")
    offset, size = one.fields["simm16"] >> 6 & 31, (one.fields["simm16"] >> 11) + 1
    index = one.operands["sdst"].index
    return lambda w: w.put_scalar(index, np.uint32(KEPT_MODE >> offset & (1 << size) - 1))


KEPT_MODE = 0xF0 | 1 << 8 | 1 << 9  # round to nearest, denormals kept, DX10_CLAMP, IEEE


def set_register(one: Instruction) -> Step:
    """s_setreg of MODE: only to what it is already."""
    imm = one.fields["simm16"]
    offset, size = imm >> 6 & 31, (imm >> 11) + 1
    if imm & 63 != MODE:
        raise Unsupported(f"writing hardware register {imm & 63}")
    wanted = np.uint32(KEPT_MODE >> offset & (1 << size) - 1)
    mask = np.uint32((1 << size) - 1)
    if one.literal is not None:
        value = np.uint32(one.literal)
        get: Read = lambda w: np.asarray(value)  # noqa: E731
    else:
        get = read(Operand("s", one.fields["sdst"], 1), "u32")

    def step(w: Waves) -> None:
        if np.any((get(w) & mask) != wanted):
            raise EmulationError(
                f"{one.address:#x}: `{text(one)}` sets another float mode: rounding to nearest and denormals kept are "
                "what is emulated"
            )

    return step


SPECIAL: dict[str, Callable[[Instruction], Step]] = {
    **dict.fromkeys(
        (
            "s_nop", "s_waitcnt", "s_setprio", "s_sleep", "s_wakeup", "s_icache_inv", "s_ttracedata", "s_incperflevel",
            "s_decperflevel", "s_sethalt", "s_dcache_inv", "s_dcache_wb", "s_dcache_inv_vol", "s_dcache_wb_vol",
            "s_sendmsg",
        ),
        nothing,
    ),
    **dict.fromkeys(("s_wqm_b32", "s_wqm_b64", "s_quadmask_b32", "s_quadmask_b64"), quad_mask),
    "s_getreg_b32": get_register,
    "s_setreg_b32": set_register,
    "s_setreg_imm32_b32": set_register,
}  # fmt: skip
