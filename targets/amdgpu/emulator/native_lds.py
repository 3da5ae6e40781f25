"""LDS accesses as machine code: a loop over lanes that tests bounds, keeps who wrote and read, and copies.

It does what `lds.py` does with arrays, lane after lane, and gives up before it changes anything where an access is out
of range, or has only a part of a unit that is kept track of: then the arrays do it. Of races and reads
that find nothing it keeps the first lane's, of each kind and place.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from lowering.targets.amdgpu.emulator.decode import Instruction
from lowering.targets.amdgpu.emulator.lds import ATOMIC, MANY, Does, Lds, Met
from lowering.targets.amdgpu.emulator.lds_steps import pair_offsets, size_of
from lowering.targets.amdgpu.emulator.machine_code import loaded
from lowering.targets.amdgpu.emulator.operands import register
from lowering.targets.amdgpu.emulator.text import two_offsets
from lowering.targets.amdgpu.emulator.waves import Waves

Step = Callable[[Waves], None]
NAMES = ("b8", "b16", "u8", "u16", "b32", "b64", "b96", "b128")
UNWRITTEN, WRITTEN, READ = range(3)  # kinds of what is found
SLOT = 4  # int64 of a finding: whether there is one, the lane, the address, the tag that was met
ANY = 2 * (READ + 1) * SLOT  # behind those of two places: whether there is any
HEAD = (
    "ptr %v, i64 %vs, ptr %mask, i64 %waves, ptr %group, ptr %number, ptr %lds, i64 %stride, i64 %size, ptr %params, "
    "ptr %writer, ptr %reader, ptr %epoch, ptr %found"
)
SIGNATURE = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * 14)
SHIFTS = (0, 1, 2)  # of the unit that is kept track of: bytes, two bytes, dwords


@dataclass(frozen=True)
class Access:
    """An instruction's accesses: a load or a store of some bytes at one or two offsets from an address."""

    is_load: bool
    nbytes: int
    places: int

    @property
    def symbol(self) -> str:
        """The name of its function, less what it checks by."""
        return f"lds_{'load' if self.is_load else 'store'}_{self.nbytes}_{self.places}"

    @property
    def dwords(self) -> int:
        """Registers of one place."""
        return max(1, self.nbytes // 4)


def access_of(one: Instruction) -> Access | None:
    """The accesses of an instruction; None for one that arrays must do."""
    parts = one.name.split("_")
    if one.opcode.format != "DS" or one.fields["gds"] or parts[-1] not in NAMES or len(parts) != 3:
        return None
    if not parts[1].startswith(("read", "write")):
        return None
    return Access(parts[1].startswith("read"), size_of(one), 2 if two_offsets(one) else 1)


def name_of(access: Access, shift: int | None) -> str:
    """The name of a function: without checks, or with those of units of 1 << shift bytes."""
    return f"{access.symbol}_{'plain' if shift is None else shift}"


def function(access: Access, shift: int | None) -> str:
    """The IR: a loop that tests bounds, then one that checks and copies. Parameters: the address's register, those of
    the data, the offsets, the instruction's address."""
    count = access.places * access.dwords
    registers = [f"%r{n}" for n in range(1 + access.places)]
    entry = [
        f"  %q{n} = getelementptr i64, ptr %params, i64 {n}\n  {name} = load i64, ptr %q{n}"
        for n, name in enumerate((*registers, *(f"%o{p}" for p in range(access.places)), "%pc"))
    ]
    entry.append("  %ar = mul i64 %r0, %vs\n  %ap = getelementptr i32, ptr %v, i64 %ar")
    for place in range(access.places):
        for n in range(access.dwords):
            k = place * access.dwords + n
            entry.append(f"  %e{k} = add i64 %r{1 + place}, {n}\n  %m{k} = mul i64 %e{k}, %vs")
            entry.append(f"  %d{k} = getelementptr i32, ptr %v, i64 %m{k}")
    body = ["" if shift is None else checks(access, place, shift) for place in range(access.places)]
    copies = [load(access, count) if access.is_load else "".join(store(access, p) for p in range(access.places))]
    # a store is checked before each place is written: what is there already is no change
    if not access.is_load:
        body = [body[p] + store(access, p) for p in range(access.places)]
        copies = []
    return f"""define i64 @{name_of(access, shift)}({HEAD}) "no-builtins" {{
entry:
  %lanes = shl i64 %waves, 6
  %all = icmp eq ptr %mask, null
{chr(10).join(entry)}
  br label %test
test:
  %ti = phi i64 [0, %entry], [%ti1, %tnext]
  %tok = phi i1 [true, %entry], [%tok3, %tnext]
{active("t", "%ti", "tbody", "tnext")}
tbody:
{address("t", "%ti", access)}
{bounds(access, shift)}
  br label %tnext
tnext:
  %tok3 = phi i1 [%tok, %tlook], [%tok2, %tbody]
  %ti1 = add i64 %ti, 1
  %tmore = icmp ult i64 %ti1, %lanes
  br i1 %tmore, label %test, label %tested
tested:
  br i1 %tok3, label %loop, label %out
out:
  ret i64 -1
loop:
  %i = phi i64 [0, %tested], [%i1, %next]
{active("a", "%i", "body", "next")}
body:
  %w = lshr i64 %i, 6
  %gp = getelementptr i64, ptr %group, i64 %w
  %g = load i64, ptr %gp
  %base = mul i64 %g, %stride
{address("a", "%i", access)}
{"".join(f"  %x{p} = add i64 %a{p}, %base{chr(10)}" for p in range(access.places))}{"" if shift is None else tags()}
{"".join(body)}{"".join(copies)}
  br label %next
next:
  %i1 = add i64 %i, 1
  %more = icmp ult i64 %i1, %lanes
  br i1 %more, label %loop, label %done
done:
  ret i64 0
}}
"""


def active(prefix: str, index: str, yes: str, no: str) -> str:
    """A branch on whether a lane takes part; without a mask all do."""
    return f"""  br i1 %all, label %{yes}, label %{prefix}look
{prefix}look:
  %{prefix}mp = getelementptr i8, ptr %mask, i64 {index}
  %{prefix}mb = load i8, ptr %{prefix}mp
  %{prefix}mt = icmp ne i8 %{prefix}mb, 0
  br i1 %{prefix}mt, label %{yes}, label %{no}"""


def address(prefix: str, index: str, access: Access) -> str:
    """The byte addresses of a lane within its workgroup; they wrap at 32 bits."""
    lines = [f"  %{prefix}.at = getelementptr i32, ptr %ap, i64 {index}\n  %{prefix}.v = load i32, ptr %{prefix}.at"]
    for place in range(access.places):
        lines.append(f"  %{prefix}o{place} = trunc i64 %o{place} to i32")
        lines.append(f"  %{prefix}s{place} = add i32 %{prefix}.v, %{prefix}o{place}")
        lines.append(f"  %{prefix}{place} = zext i32 %{prefix}s{place} to i64")
    return "\n".join(lines)


def bounds(access: Access, shift: int | None) -> str:
    """Whether all places of a lane lie inside, and have whole units."""
    lines: list[str] = []
    last = "%tok"
    for place in range(access.places):
        lines.append(f"  %te{place} = add i64 %t{place}, {access.nbytes}")
        lines.append(f"  %tb{place} = icmp ule i64 %te{place}, %size")
        lines.append(f"  %tc{place} = and i1 {last}, %tb{place}")
        last = f"%tc{place}"
        if shift:
            lines.append(f"  %tl{place} = and i64 %t{place}, {(1 << shift) - 1}")
            lines.append(f"  %tm{place} = icmp eq i64 %tl{place}, 0\n  %tw{place} = and i1 {last}, %tm{place}")
            last = f"%tw{place}"
    return "\n".join([*lines, f"  %tok2 = and i1 {last}, true"])


def tags() -> str:
    """Epoch and number of the lane's wave, and the tags of an access by it and by many."""
    return f"""  %np = getelementptr i64, ptr %number, i64 %w
  %n = load i64, ptr %np
  %ep = getelementptr i64, ptr %epoch, i64 %g
  %epoch.v = load i64, ptr %ep
  %t40 = shl i64 %epoch.v, 40
  %t32 = shl i64 %n, 32
  %tag0 = or i64 %t40, %t32
  %tag = or i64 %tag0, %pc
  %many0 = or i64 %t40, {MANY << 32}
  %many = or i64 %many0, %pc
  %own = lshr i64 %tag, 32
"""


def other(name: str, value: str) -> str:
    """Whether a tag is of this epoch and of another wave."""
    return f"""  %{name}.e = lshr i64 {value}, 40
  %{name}.i = icmp eq i64 %{name}.e, %epoch.v
  %{name}.w = lshr i64 {value}, 32
  %{name}.n = and i64 %{name}.w, 63
  %{name}.d = icmp ne i64 %{name}.n, %n
  %{name} = and i1 %{name}.i, %{name}.d
"""


def report(name: str, condition: str, place: int, shift: int, kind: str, last: str) -> str:
    """Keeps the first finding of a place and kind: its lane, the unit's address, and the tag that it met."""
    return f"""  br i1 {condition}, label %{name}.bad, label %{name}.good
{name}.bad:
  %{name}.k0 = add i64 {kind}, {place * (READ + 1)}
  %{name}.k = mul i64 %{name}.k0, {SLOT}
  %{name}.p0 = getelementptr i64, ptr %found, i64 %{name}.k
  %{name}.c = load i64, ptr %{name}.p0
  %{name}.first = icmp eq i64 %{name}.c, 0
  br i1 %{name}.first, label %{name}.keep, label %{name}.good
{name}.keep:
  store i64 1, ptr %{name}.p0
  %{name}.pa = getelementptr i64, ptr %found, i64 {ANY}
  store i64 1, ptr %{name}.pa
  %{name}.p1 = getelementptr i64, ptr %{name}.p0, i64 1
  store i64 %i, ptr %{name}.p1
  %{name}.unit = shl i64 %u{place}.k, {shift}
  %{name}.at = sub i64 %{name}.unit, %base
  %{name}.p2 = getelementptr i64, ptr %{name}.p0, i64 2
  store i64 %{name}.at, ptr %{name}.p2
  %{name}.p3 = getelementptr i64, ptr %{name}.p0, i64 3
  store i64 {last}, ptr %{name}.p3
  br label %{name}.good
{name}.good:
"""


def checks(access: Access, place: int, shift: int) -> str:
    """The units of one place, checked and tagged: all at once, and one by one where something is amiss."""
    return at_once(access, place, shift) + units(access, place, shift, read_unit if access.is_load else write_unit)


def at_once(access: Access, place: int, shift: int) -> str:
    """Looks at all units of a place; with nothing to report they are tagged and done.

    A tag is of this epoch and of another wave where its upper half differs from that of the own tag in the wave only.
    """
    p, count = f"u{place}", access.nbytes >> shift
    vector = f"<{count} x i64>"

    def splat(name: str, value: str) -> str:
        return f"""  %{p}.{name}0 = insertelement {vector} poison, i64 {value}, i64 0
  %{p}.{name} = shufflevector {vector} %{p}.{name}0, {vector} poison, <{count} x i32> zeroinitializer
"""

    def constant(value: int) -> str:
        return "<" + ", ".join([f"i64 {value}"] * count) + ">"

    def others(name: str, tags: str) -> str:
        return f"""  %{p}.{name}h = lshr {vector} {tags}, {constant(32)}
  %{p}.{name}x = xor {vector} %{p}.{name}h, %{p}.own
  %{p}.{name}y = sub {vector} %{p}.{name}x, {constant(1)}
  %{p}.{name} = icmp ult {vector} %{p}.{name}y, {constant(63)}
"""

    if access.is_load:
        bad = f"""  %{p}.no = icmp eq {vector} %{p}.fw, zeroinitializer
  %{p}.any = or <{count} x i1> %{p}.no, %{p}.ow
"""
        done = f"""{splat("many", "%many")}\
  %{p}.new = select <{count} x i1> %{p}.or, {vector} %{p}.many, {vector} %{p}.tag
  store {vector} %{p}.new, ptr %{p}.frp, align 8
"""
    else:
        bad = f"  %{p}.any = or <{count} x i1> %{p}.or, %{p}.ow\n"
        done = f"  store {vector} %{p}.tag, ptr %{p}.fwp, align 8\n"
    return f"""  %{p}.fk = lshr i64 %x{place}, {shift}
  %{p}.fwp = getelementptr i64, ptr %writer, i64 %{p}.fk
  %{p}.frp = getelementptr i64, ptr %reader, i64 %{p}.fk
  %{p}.fw = load {vector}, ptr %{p}.fwp, align 8
  %{p}.fr = load {vector}, ptr %{p}.frp, align 8
{splat("own", "%own")}{splat("tag", "%tag")}{others("ow", f"%{p}.fw")}{others("or", f"%{p}.fr")}{bad}\
  %{p}.amiss = call i1 @llvm.vector.reduce.or.v{count}i1(<{count} x i1> %{p}.any)
  br i1 %{p}.amiss, label %{p}.slow, label %{p}.fine
{p}.fine:
{done}  br label %{p}.done
"""


def units(access: Access, place: int, shift: int, unit: Callable[[str, Access, int, int], str]) -> str:
    """A loop over the units of a place."""
    p = f"u{place}"
    return f"""{p}.slow:
  %{p}.first = lshr i64 %x{place}, {shift}
  %{p}.end0 = add i64 %x{place}, {access.nbytes - 1}
  %{p}.end = lshr i64 %{p}.end0, {shift}
  br label %{p}.loop
{p}.loop:
  %{p}.k = phi i64 [%{p}.first, %{p}.slow], [%{p}.k1, %{p}.last]
  %{p}.wp = getelementptr i64, ptr %writer, i64 %{p}.k
  %{p}.rp = getelementptr i64, ptr %reader, i64 %{p}.k
  %{p}.wt = load i64, ptr %{p}.wp
  %{p}.rt = load i64, ptr %{p}.rp
{other(f"{p}.wo", f"%{p}.wt")}{other(f"{p}.ro", f"%{p}.rt")}{unit(p, access, place, shift)}  br label %{p}.last
{p}.last:
  %{p}.k1 = add i64 %{p}.k, 1
  %{p}.more = icmp ule i64 %{p}.k1, %{p}.end
  br i1 %{p}.more, label %{p}.loop, label %{p}.done
{p}.done:
"""


def read_unit(p: str, _access: Access, place: int, shift: int) -> str:
    """A read: of something written, by no other wave since the barrier; kept beside the other readers."""
    return f"""  %{p}.none = icmp eq i64 %{p}.wt, 0
  %{p}.bad = or i1 %{p}.none, %{p}.wo
  %{p}.kind = select i1 %{p}.none, i64 {UNWRITTEN}, i64 {WRITTEN}
{report(f"{p}.x", f"%{p}.bad", place, shift, f"%{p}.kind", f"%{p}.wt")}\
  %{p}.kept = select i1 %{p}.ro, i64 %many, i64 %tag
  store i64 %{p}.kept, ptr %{p}.rp
"""


def write_unit(p: str, access: Access, place: int, shift: int) -> str:
    """A write: of a place that no other wave wrote or read since the barrier, unless the value is there already.

    That is no excuse beside an atomic.
    """
    return f"""{changed(p, access, place, shift)}  %{p}.at0 = and i64 %{p}.wt, {ATOMIC}
  %{p}.at1 = icmp ne i64 %{p}.at0, 0
  %{p}.cha = or i1 %{p}.ch, %{p}.at1
  %{p}.wbad = and i1 %{p}.wo, %{p}.cha
  %{p}.rbad = and i1 %{p}.ro, %{p}.ch
  %{p}.bad = or i1 %{p}.wbad, %{p}.rbad
  %{p}.kind = select i1 %{p}.wbad, i64 {WRITTEN}, i64 {READ}
  %{p}.last.t = select i1 %{p}.wbad, i64 %{p}.wt, i64 %{p}.rt
  %{p}.kept = select i1 %{p}.wo, i64 %many, i64 %tag
{report(f"{p}.x", f"%{p}.bad", place, shift, f"%{p}.kind", f"%{p}.last.t")}  store i64 %{p}.kept, ptr %{p}.wp
"""


def changed(p: str, access: Access, place: int, shift: int) -> str:
    """Whether the dword that a unit lies in changes."""
    if access.nbytes < 4:
        typed = f"i{8 * access.nbytes}"
        k = place * access.dwords
        return f"""  %{p}.lp = getelementptr i8, ptr %lds, i64 %x{place}
  %{p}.old = load {typed}, ptr %{p}.lp, align 1
  %{p}.np = getelementptr i32, ptr %d{k}, i64 %i
  %{p}.nw = load i32, ptr %{p}.np
  %{p}.nt = trunc i32 %{p}.nw to {typed}
  %{p}.ch = icmp ne {typed} %{p}.old, %{p}.nt
"""
    # the dword of the place that the unit begins in
    return f"""  %{p}.at = shl i64 %{p}.k, {shift}
  %{p}.rel = sub i64 %{p}.at, %x{place}
  %{p}.dw = lshr i64 %{p}.rel, 2
  %{p}.off = shl i64 %{p}.dw, 2
  %{p}.la = add i64 %x{place}, %{p}.off
  %{p}.lp = getelementptr i8, ptr %lds, i64 %{p}.la
  %{p}.old = load i32, ptr %{p}.lp, align 1
  %{p}.ri = mul i64 %{p}.dw, %vs
  %{p}.rj = add i64 %{p}.ri, %i
  %{p}.np = getelementptr i32, ptr %d{place * access.dwords}, i64 %{p}.rj
  %{p}.nw = load i32, ptr %{p}.np
  %{p}.ch = icmp ne i32 %{p}.old, %{p}.nw
"""


def load(access: Access, count: int) -> str:
    """Loads all places, then writes the registers: they may hold the address."""
    lines: list[str] = []
    for k in range(count):
        place, n = divmod(k, access.dwords)
        lines.append(f"  %ly{k} = add i64 %x{place}, {4 * n}\n  %lp{k} = getelementptr i8, ptr %lds, i64 %ly{k}")
        if access.nbytes < 4:
            typed = f"i{8 * access.nbytes}"
            lines.append(f"  %lz{k} = load {typed}, ptr %lp{k}, align 1\n  %lv{k} = zext {typed} %lz{k} to i32")
        else:
            lines.append(f"  %lv{k} = load i32, ptr %lp{k}, align 1")
    for k in range(count):
        lines.append(f"  %lq{k} = getelementptr i32, ptr %d{k}, i64 %i\n  store i32 %lv{k}, ptr %lq{k}")
    return "\n".join(lines) + "\n"


def store(access: Access, place: int) -> str:
    """Stores the registers of one place."""
    lines: list[str] = []
    for n in range(access.dwords):
        k = place * access.dwords + n
        lines.append(f"  %sq{k} = getelementptr i32, ptr %d{k}, i64 %i\n  %sv{k} = load i32, ptr %sq{k}")
        lines.append(f"  %sy{k} = add i64 %x{place}, {4 * n}\n  %sp{k} = getelementptr i8, ptr %lds, i64 %sy{k}")
        if access.nbytes < 4:
            typed = f"i{8 * access.nbytes}"
            lines.append(f"  %st{k} = trunc i32 %sv{k} to {typed}\n  store {typed} %st{k}, ptr %sp{k}, align 1")
        else:
            lines.append(f"  store i32 %sv{k}, ptr %sp{k}, align 1")
    return "\n".join(lines) + "\n"


ALL = tuple(Access(is_load, n, places) for is_load in (True, False) for n in (1, 2, 4, 8, 12, 16) for places in (1, 2))

KEYS = tuple((access, shift) for access in ALL for shift in (None, *SHIFTS) if access.nbytes >> (shift or 0))


def module() -> str:
    """The IR of all accesses, with and without checks."""
    counts = sorted({access.nbytes >> shift for access, shift in KEYS if shift is not None})
    declared = [f"declare i1 @llvm.vector.reduce.or.v{n}i1(<{n} x i1>)" for n in counts]
    return "\n".join((*declared, *(function(access, shift) for access, shift in KEYS)))


@cache
def functions() -> dict[tuple[Access, int | None], Any]:
    """The functions, compiled once and kept on disk."""
    engine = loaded(module())
    return {key: SIGNATURE(engine.get_function_address(name_of(*key))) for key in KEYS}


def bind(one: Instruction, local: Callable[[], Lds], arrays: Step) -> Step:
    """An LDS access natively; with arrays where it is no plain one, and for the words of a fault."""
    access = access_of(one)
    if access is None:
        return arrays
    calls = {shift: function for (each, shift), function in functions().items() if each == access}
    if access.places == 2:
        offsets = list(pair_offsets(one, access.nbytes))
    else:
        offsets = [one.fields["offset0"] | one.fields["offset1"] << 8]
    if access.is_load:
        first = register(one.operands["vdst"])
        data = [first + n * access.dwords for n in range(access.places)]
    else:
        data = [register(one.operands[name]) for name in ("data0", "data1")[: access.places]]
    numbers = np.array([one.fields["addr"], *data, *offsets, one.address], np.int64)
    at = numbers.ctypes.data
    found = np.zeros(ANY + 1, np.int64)
    found_at = found.ctypes.data

    def step(w: Waves, _: Any = numbers) -> None:
        here = local()
        shadow = here.shadow
        mask = 0 if w.full else w.mask.ctypes.data
        head = (w.v_at, w.v_stride, mask, w.count, w.group_at, w.number_at, here.bytes_at, here.stride, here.size, at)
        if shadow is None:
            gave_up = calls[None](*head, 0, 0, 0, 0)
        elif shadow.shift in calls:
            gave_up = calls[shadow.shift](*head, *shadow.places, found_at)
        else:
            gave_up = True
        if found[ANY]:
            told(here, one, w, found)
            found[:] = 0
        if gave_up:
            arrays(w)

    return step


def told(here: Lds, one: Instruction, w: Waves, found: np.ndarray[Any, Any]) -> None:
    """Reports what was found."""
    does: Does = "read" if one.name.startswith("ds_read") else "write"
    slots = enumerate(found[:ANY].reshape(-1, SLOT))
    met = [
        Met(int(lane), int(address), "read" if number % (READ + 1) == READ else "written", int(tag))
        for number, (there, lane, address, tag) in slots
        if there
    ]
    here.told(one, w, does, met)
