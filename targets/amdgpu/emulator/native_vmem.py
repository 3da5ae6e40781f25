"""Loads and stores of global memory as machine code: the address of every lane, the test against the buffers, the copy.

It does what `addresses.py` and `vmem.py` do with arrays, and gives up before it changes anything where a lane leaves
its buffer or a buffer resource cuts an access: then the arrays do it, dword by dword, with words for the fault.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from lowering.targets.amdgpu.emulator import addresses, vmem
from lowering.targets.amdgpu.emulator.decode import Instruction, signed
from lowering.targets.amdgpu.emulator.machine_code import loaded
from lowering.targets.amdgpu.emulator.operands import register
from lowering.targets.amdgpu.emulator.text import destination
from lowering.targets.amdgpu.emulator.waves import Waves

Step = Callable[[Waves], None]
WORD = ctypes.c_int64
LOCATE = ctypes.CFUNCTYPE(WORD, *[WORD] * 10)
COPY = ctypes.CFUNCTYPE(None, *[WORD] * 7)
IDLE, EXCLUDED = -1, -2  # in place of an address: a lane that takes no part, one that the buffer resource excludes


# --- addresses -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """What an address is the sum of: 0 to 2 vector registers, and none or two scalar ones, or a buffer resource.

    A constant and, with a resource, SOFFSET come on top.
    """

    vector: int
    scalar: str  # "", "pair", "resource"

    @property
    def symbol(self) -> str:
        """The name of its function."""
        return f"locate_{self.vector}{self.scalar}"


WAYS = (Way(2, ""), Way(1, "pair"), Way(0, "resource"), Way(1, "resource"))


def way_of(one: Instruction) -> tuple[Way, tuple[int, ...]] | None:
    """How an instruction finds its addresses, and the parameters of that function; None where arrays must."""
    fields, nbytes = one.fields, vmem.size_of(one)
    if one.opcode.format == "GLOBAL":
        constant = signed(fields["offset"], 13)
        if fields["saddr"] == 127:
            return Way(2, ""), (fields["addr"], 0, constant, -1, 0, nbytes)
        return Way(1, "pair"), (fields["addr"], fields["saddr"], constant, -1, 0, nbytes)
    if one.opcode.format != "MUBUF" or fields["idxen"]:
        return None
    place = one.operands["soffset"]
    number = place.index if place.file == "s" else -1
    value = 0 if place.file == "s" else addresses.constant_offset(place)
    parameters = (fields["vaddr"], 4 * fields["srsrc"], fields["offset"], number, value, nbytes)
    return Way(int(bool(fields["offen"])), "resource"), parameters


def locate(way: Way) -> str:
    """The IR of a function of waves: writes the address of each lane; 0, or -1 where one is in no buffer.

    An address so large that sums overflow, or that it looks like a lane that takes no part, is as wrong as 0.

    Parameters: vector register, scalar register, constant, SOFFSET's register or -1, its constant, bytes.
    """
    names = ("vr", "sr", "constant", "or", "oc", "nbytes")
    parameters = [
        f"  %q{n} = getelementptr i64, ptr %params, i64 {n}\n  %{name} = load i64, ptr %q{n}"
        for n, name in enumerate(names)
    ]
    return f"""define i64 @{way.symbol}(ptr %v, i64 %vs, ptr %s, i64 %ss, ptr %mask, i64 %waves, ptr %params, ptr %out,
    ptr %regions, i64 %count) "no-builtins" {{
entry:
{chr(10).join(parameters)}
  %vo = mul i64 %vr, %vs
  %v0 = getelementptr i32, ptr %v, i64 %vo
  %v1 = getelementptr i32, ptr %v0, i64 %vs
  %so = mul i64 %sr, %ss
  %s0 = getelementptr i32, ptr %s, i64 %so
  %s1 = getelementptr i32, ptr %s0, i64 %ss
  %s2 = getelementptr i32, ptr %s1, i64 %ss
  %oneg = icmp slt i64 %or, 0
  %orr = select i1 %oneg, i64 0, i64 %or
  %oo = mul i64 %orr, %ss
  %o0 = getelementptr i32, ptr %s, i64 %oo
  %all = icmp eq ptr %mask, null
  br label %wave
wave:
  %w = phi i64 [0, %entry], [%w1, %wnext]
  %wlo = phi i64 [{(1 << 63) - 1}, %entry], [%lo1, %wnext]
  %whi = phi i64 [0, %entry], [%hi1, %wnext]
  %wcut = phi i1 [false, %entry], [%cut1, %wnext]
  %first = shl i64 %w, 6
{scalar_part(way)}
  br label %lane
lane:
  %l = phi i64 [0, %wave], [%l1, %lnext]
  %lo = phi i64 [%wlo, %wave], [%lo1, %lnext]
  %hi = phi i64 [%whi, %wave], [%hi1, %lnext]
  %cut = phi i1 [%wcut, %wave], [%cut1, %lnext]
  %i = add i64 %first, %l
{vector_part(way)}
  %wild = icmp ugt i64 %sum, {1 << 62}
  %address = select i1 %wild, i64 0, i64 %sum
  br i1 %all, label %lnext, label %look
look:
  %mp = getelementptr i8, ptr %mask, i64 %i
  %mb = load i8, ptr %mp
  %mt = icmp ne i8 %mb, 0
  br label %lnext
lnext:
  %on = phi i1 [true, %lane], [%mt, %look]
  %valid = and i1 %on, %inside
  %kept0 = select i1 %inside, i64 %address, i64 {EXCLUDED}
  %kept = select i1 %on, i64 %kept0, i64 {IDLE}
  %op = getelementptr i64, ptr %out, i64 %i
  store i64 %kept, ptr %op
  %least = select i1 %valid, i64 %address, i64 %lo
  %lo1 = call i64 @llvm.smin.i64(i64 %lo, i64 %least)
  %most = select i1 %valid, i64 %address, i64 %hi
  %hi1 = call i64 @llvm.smax.i64(i64 %hi, i64 %most)
  %cutting = and i1 %on, %partly
  %cut1 = or i1 %cut, %cutting
  %l1 = add i64 %l, 1
  %more = icmp ult i64 %l1, 64
  br i1 %more, label %lane, label %wnext
wnext:
  %w1 = add i64 %w, 1
  %again = icmp ult i64 %w1, %waves
  br i1 %again, label %wave, label %found
found:
  br i1 %cut1, label %bad, label %whole
bad:
  ret i64 -1
whole:
  %none = icmp eq i64 %lo1, {(1 << 63) - 1}
  %end = add i64 %hi1, %nbytes
  br i1 %none, label %good, label %region
good:
  ret i64 0
region:
  %r = phi i64 [0, %whole], [%r1, %rtry]
  %rmore = icmp ult i64 %r, %count
  br i1 %rmore, label %rtry, label %each
rtry:
{in_region("r", "%r", "%lo1", "%end")}
  %r1 = add i64 %r, 1
  br i1 %r.in, label %good, label %region
each:
  %lanes = shl i64 %waves, 6
  br label %next
next:
  %e = phi i64 [0, %each], [%e1, %enext]
  %ep = getelementptr i64, ptr %out, i64 %e
  %ea = load i64, ptr %ep
  %eend = add i64 %ea, %nbytes
  %eidle = icmp slt i64 %ea, 0
  br i1 %eidle, label %enext, label %eregion
eregion:
  %f = phi i64 [0, %next], [%f1, %etry]
  %fmore = icmp ult i64 %f, %count
  br i1 %fmore, label %etry, label %bad
etry:
{in_region("f", "%f", "%ea", "%eend")}
  %f1 = add i64 %f, 1
  br i1 %f.in, label %enext, label %eregion
enext:
  %e1 = add i64 %e, 1
  %emore = icmp ult i64 %e1, %lanes
  br i1 %emore, label %next, label %good
}}
"""


def scalar_part(way: Way) -> str:
    """What an address has of its wave: %base, and %offset and %records of a resource."""
    if not way.scalar:
        return ""
    lines = [f"  %sp{n} = getelementptr i32, ptr %s{n}, i64 %w\n  %sv{n} = load i32, ptr %sp{n}" for n in range(2)]
    lines.append("  %sx0 = zext i32 %sv0 to i64\n  %sx1 = zext i32 %sv1 to i64")
    if way.scalar == "pair":
        return "\n".join([*lines, "  %sh = shl i64 %sx1, 32\n  %base = or i64 %sx0, %sh"])
    return "\n".join(
        [
            *lines,
            "  %sl = and i64 %sx1, 65535\n  %sh = shl i64 %sl, 32\n  %base = or i64 %sx0, %sh",
            "  %sp2 = getelementptr i32, ptr %s2, i64 %w\n  %sv2 = load i32, ptr %sp2",
            "  %records = zext i32 %sv2 to i64",
            "  %ow = getelementptr i32, ptr %o0, i64 %w\n  %ov = load i32, ptr %ow\n  %ox = zext i32 %ov to i64",
            "  %offset = select i1 %oneg, i64 %oc, i64 %ox",
        ]
    )


def vector_part(way: Way) -> str:
    """What is its lane's: %sum, whether it is %inside its resource, and whether only %partly."""
    lines = [
        f"  %vp{n} = getelementptr i32, ptr %v{n}, i64 %i\n  %vv{n} = load i32, ptr %vp{n}\n"
        f"  %vx{n} = zext i32 %vv{n} to i64"
        for n in range(way.vector)
    ]
    always = "  %inside = and i1 true, true\n  %partly = and i1 false, false"
    if way.vector == 2:
        return "\n".join(
            [*lines, "  %vh = shl i64 %vx1, 32\n  %va = or i64 %vx0, %vh\n  %sum = add i64 %va, %constant", always]
        )
    if way.scalar == "pair":
        return "\n".join([*lines, "  %va = add i64 %vx0, %base\n  %sum = add i64 %va, %constant", always])
    lane = "%vx0" if way.vector else "0"
    return "\n".join(
        [
            *lines,
            f"  %in0 = add i64 {lane}, %constant\n  %in1 = and i64 %in0, 4294967295",
            "  %beyond = add i64 %in1, %offset\n  %sum = add i64 %base, %beyond",
            "  %inside = icmp ult i64 %beyond, %records\n  %last = add i64 %beyond, %nbytes",
            "  %over = icmp ugt i64 %last, %records\n  %partly = and i1 %inside, %over",
        ]
    )


def in_region(name: str, number: str, start: str, end: str) -> str:
    """Whether a range lies in a region of the table."""
    return f"""  %{name}.n = shl i64 {number}, 1
  %{name}.sp = getelementptr i64, ptr %regions, i64 %{name}.n
  %{name}.ep = getelementptr i64, ptr %{name}.sp, i64 1
  %{name}.s = load i64, ptr %{name}.sp
  %{name}.e = load i64, ptr %{name}.ep
  %{name}.a = icmp sle i64 %{name}.s, {start}
  %{name}.b = icmp sle i64 {end}, %{name}.e
  %{name}.in = and i1 %{name}.a, %{name}.b"""


# --- copies ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Access:
    """What is moved for a lane: bytes; a load's `sign`, and the half of the register that it fills or is stored."""

    is_load: bool
    nbytes: int
    is_signed: bool = False
    half: str = ""  # "", "low", "high"

    @property
    def symbol(self) -> str:
        """The name of its function."""
        return f"{'load' if self.is_load else 'store'}_{'s' if self.is_signed else 'u'}{self.nbytes}{self.half}"


ACCESSES = (
    *(Access(is_load, nbytes) for is_load in (True, False) for nbytes in (1, 2, 4, 8, 12, 16)),
    *(Access(True, nbytes, True) for nbytes in (1, 2)),
    *(Access(True, 1, is_signed, half) for is_signed in (False, True) for half in ("low", "high")),
    *(Access(True, 2, False, half) for half in ("low", "high")),
    *(Access(False, nbytes, False, "high") for nbytes in (1, 2)),
)


def access_of(one: Instruction) -> tuple[Access, int] | None:
    """What an instruction moves, and its first register; None for one that is no plain load or store."""
    name, form = one.name, one.opcode.format
    is_load = "_load_" in name
    if form not in ("GLOBAL", "MUBUF") or not (is_load or "_store_" in name) or "format" in name:
        return None
    if "_lds_" in name or (form == "MUBUF" and one.fields["lds"]):
        return None
    half = ("high" if name.endswith("_hi") else "low" if is_load else "") if "d16" in name else ""
    size, is_signed = vmem.size_of(one), "sbyte" in name or "sshort" in name
    made = Access(is_load, size, is_signed and not (half and size == 2), half)
    name = "vdata" if form == "MUBUF" else "data"
    place = destination(one) if is_load and form == "GLOBAL" else one.operands[name]
    return (made, register(place)) if made in ACCESSES else None


def copy(access: Access) -> str:
    """The IR of a function of lanes: moves what lies at their addresses. `memory` is what is added to an address."""
    count = max(1, access.nbytes // 4)
    rows = [
        f"  %n{k} = add i64 %register, {k}\n  %m{k} = mul i64 %n{k}, %vs\n"
        f"  %d{k} = getelementptr i32, ptr %v, i64 %m{k}"
        for k in range(count)
    ]
    body = [load(access, k) if access.is_load else store(access, k) for k in range(count)]
    zero = [zeroed(access, k) for k in range(count)] if access.is_load else []
    return f"""define void @{access.symbol}(ptr %v, i64 %vs, ptr %at, i64 %lanes, i64 %memory, i64 %written,
    i64 %register) "no-builtins" {{
entry:
{chr(10).join(rows)}
  %tracks = icmp ne i64 %written, 0
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%i1, %next]
  %ap = getelementptr i64, ptr %at, i64 %i
  %a = load i64, ptr %ap
  %idle = icmp slt i64 %a, 0
  br i1 %idle, label %none, label %move
move:
  %from = add i64 %a, %memory
{chr(10).join(body)}
{"" if access.is_load else tracked(access)}
  br label %next
none:
  %excluded = icmp eq i64 %a, {EXCLUDED}
  br i1 %excluded, label %zero, label %next
zero:
{chr(10).join(zero)}
  br label %next
next:
  %i1 = add i64 %i, 1
  %more = icmp ult i64 %i1, %lanes
  br i1 %more, label %loop, label %done
done:
  ret void
}}
"""


def load(access: Access, k: int) -> str:
    """Loads a dword, or the part of one, into a register."""
    pointer = f"  %f{k} = add i64 %from, {4 * k}\n  %p{k} = inttoptr i64 %f{k} to ptr\n"
    target = f"  %t{k} = getelementptr i32, ptr %d{k}, i64 %i\n"
    if access.nbytes >= 4:
        return f"{pointer}{target}  %x{k} = load i32, ptr %p{k}, align 1\n  store i32 %x{k}, ptr %t{k}"
    bits, extend = 8 * access.nbytes, "sext" if access.is_signed else "zext"
    value = f"  %x{k} = load i{bits}, ptr %p{k}, align 1\n  %y{k} = {extend} i{bits} %x{k} to i32\n"
    return pointer + target + value + merged(access, k, f"%y{k}")


def zeroed(access: Access, k: int) -> str:
    """What a load of a lane gives that its resource excludes."""
    return f"  %zt{k} = getelementptr i32, ptr %d{k}, i64 %i\n" + merged(access, k, "0", "z")


def merged(access: Access, k: int, value: str, prefix: str = "") -> str:
    """Stores a value into the half of a register that an access fills, or all of it."""
    p = prefix
    if not access.half:
        return f"  store i32 {value}, ptr %{p}t{k}"
    keep, shift = (0xFFFF, 16) if access.half == "high" else (0xFFFF0000, 0)
    return f"""  %{p}o{k} = load i32, ptr %{p}t{k}
  %{p}k{k} = and i32 %{p}o{k}, {keep}
  %{p}l{k} = and i32 {value}, 65535
  %{p}h{k} = shl i32 %{p}l{k}, {shift}
  %{p}j{k} = or i32 %{p}h{k}, %{p}k{k}
  store i32 %{p}j{k}, ptr %{p}t{k}"""


def store(access: Access, k: int) -> str:
    """Stores a register, or a part of it."""
    lines = f"""  %f{k} = add i64 %from, {4 * k}
  %p{k} = inttoptr i64 %f{k} to ptr
  %t{k} = getelementptr i32, ptr %d{k}, i64 %i
  %x{k} = load i32, ptr %t{k}
"""
    if access.nbytes >= 4:
        return lines + f"  store i32 %x{k}, ptr %p{k}, align 1"
    typed = f"i{8 * access.nbytes}"
    shift = 16 if access.half else 0
    return (
        lines
        + f"  %y{k} = lshr i32 %x{k}, {shift}\n  %z{k} = trunc i32 %y{k} to {typed}\n"
        + (f"  store {typed} %z{k}, ptr %p{k}, align 1")
    )


def tracked(access: Access) -> str:
    """Keeps which bytes were stored, where that is asked for."""
    typed, ones = f"i{8 * access.nbytes}", int.from_bytes(b"\1" * access.nbytes, "little")
    return f"""  br i1 %tracks, label %note, label %next
note:
  %wa = add i64 %a, %written
  %wp = inttoptr i64 %wa to ptr
  store {typed} {ones}, ptr %wp, align 1"""


# --- steps -----------------------------------------------------------------------------------------------------------


@cache
def functions() -> tuple[dict[Way, Any], dict[Access, Any]]:
    """The functions, compiled once and kept on disk."""
    declared = "declare i64 @llvm.smin.i64(i64, i64)\ndeclare i64 @llvm.smax.i64(i64, i64)\n"
    engine = loaded("\n".join((declared, *(locate(way) for way in WAYS), *(copy(access) for access in ACCESSES))))
    return (
        {way: LOCATE(engine.get_function_address(way.symbol)) for way in WAYS},
        {access: COPY(engine.get_function_address(access.symbol)) for access in ACCESSES},
    )


def locator(one: Instruction) -> Callable[[Waves, Any], bool] | None:
    """A function that writes the addresses of a plain access to `w.places`; whether all lie in a buffer.

    None where arrays must.
    """
    found = way_of(one)
    if found is None:
        return None
    call, held = functions()[0][found[0]], np.array(found[1], np.int64)
    at = held.ctypes.data

    def find(w: Waves, bounds: Any, _: Any = held) -> bool:
        mask = 0 if w.full else w.mask.ctypes.data
        head = (w.v_at, w.v_stride, w.s_at, w.s_stride, mask, w.count, at, w.places_at)
        return bool(call(*head, bounds.ctypes.data, len(bounds)) == 0)

    return find


def bind(one: Instruction, machine: vmem.Get, arrays: Step) -> Step:
    """A load or store natively; with arrays where it is no plain one, and where a lane must not have what it wants."""
    access = access_of(one)
    find = None if access is None else locator(one)
    if access is None or find is None:
        return arrays
    call, first, is_load = functions()[1][access[0]], access[1], access[0].is_load

    def step(w: Waves) -> None:
        here = machine()
        if not find(w, here.bounds if is_load else here.written_bounds):
            arrays(w)
            return
        memory = here.memory
        call(w.v_at, w.v_stride, w.places_at, w.count * 64, memory.bias, memory.written_bias, first)

    return step
