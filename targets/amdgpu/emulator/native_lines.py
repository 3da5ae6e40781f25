"""Lines of memory that the accesses of waves touch, counted by machine code."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from lowering.targets.amdgpu.emulator.machine_code import loaded

Array = np.ndarray[Any, Any]

# A table of the lines of one wave: more places than 64 lanes of 16 bytes can have lines. What is in it from an earlier
# wave is told by its stamp.
SIZE, SHIFT = 512, 55
SPREAD = 0x9E3779B97F4A7C15 - (1 << 64)  # 2^64 over the golden ratio: Fibonacci hashing (Knuth, volume 3, 6.4)
TEXT = f"""define void @lines(ptr %at, i64 %waves, i64 %nbytes, i64 %shift, ptr %out) "no-builtins" {{
entry:
  %keys = alloca [{SIZE} x i64], align 64
  %stamps = alloca [{SIZE} x i64], align 64
  call void @llvm.memset.p0.i64(ptr %stamps, i8 0, i64 {8 * SIZE}, i1 false)
  %more0 = sub i64 %nbytes, 1
  %unit = shl i64 1, %shift
  %round = sub i64 %unit, 1
  br label %wave
wave:
  %w = phi i64 [0, %entry], [%stamp, %wnext]
  %wcount = phi i64 [0, %entry], [%count2, %wnext]
  %ideal = phi i64 [0, %entry], [%ideal1, %wnext]
  %bytes = phi i64 [0, %entry], [%bytes1, %wnext]
  %there = phi i64 [0, %entry], [%there1, %wnext]
  %base = shl i64 %w, 6
  %stamp = add i64 %w, 1
  br label %lane
lane:
  %in = phi i64 [0, %wave], [%in1, %next]
  %count = phi i64 [%wcount, %wave], [%count2, %next]
  %known = phi i64 [-1, %wave], [%before2, %next]
  %active = phi i64 [0, %wave], [%active2, %next]
  %i = add i64 %base, %in
  %p = getelementptr i64, ptr %at, i64 %i
  %a = load i64, ptr %p
  %idle = icmp slt i64 %a, 0
  br i1 %idle, label %next, label %some
some:
  %active1 = add i64 %active, 1
  %first = lshr i64 %a, %shift
  %end = add i64 %a, %more0
  %last = lshr i64 %end, %shift
  br label %line
line:
  %l = phi i64 [%first, %some], [%l1, %counted]
  %c = phi i64 [%count, %some], [%c2, %counted]
  %same = icmp eq i64 %l, %known
  br i1 %same, label %counted, label %look
look:
  %h0 = mul i64 %l, {SPREAD}
  %h = lshr i64 %h0, {SHIFT}
  br label %probe
probe:
  %s = phi i64 [%h, %look], [%s2, %other]
  %sp = getelementptr i64, ptr %stamps, i64 %s
  %kp = getelementptr i64, ptr %keys, i64 %s
  %sv = load i64, ptr %sp
  %mine = icmp eq i64 %sv, %stamp
  br i1 %mine, label %taken, label %free
free:
  store i64 %stamp, ptr %sp
  store i64 %l, ptr %kp
  %c1 = add i64 %c, 1
  br label %counted
taken:
  %kv = load i64, ptr %kp
  %equal = icmp eq i64 %kv, %l
  br i1 %equal, label %counted, label %other
other:
  %s1 = add i64 %s, 1
  %s2 = and i64 %s1, {SIZE - 1}
  br label %probe
counted:
  %c2 = phi i64 [%c, %line], [%c1, %free], [%c, %taken]
  %l1 = add i64 %l, 1
  %again = icmp ule i64 %l1, %last
  br i1 %again, label %line, label %next
next:
  %count2 = phi i64 [%count, %lane], [%c2, %counted]
  %before2 = phi i64 [%known, %lane], [%last, %counted]
  %active2 = phi i64 [%active, %lane], [%active1, %counted]
  %in1 = add i64 %in, 1
  %more = icmp ult i64 %in1, 64
  br i1 %more, label %lane, label %wnext
wnext:
  %moved = mul i64 %active2, %nbytes
  %full = add i64 %moved, %round
  %fewest = lshr i64 %full, %shift
  %ideal1 = add i64 %ideal, %fewest
  %bytes1 = add i64 %bytes, %moved
  %any = icmp ne i64 %active2, 0
  %one = zext i1 %any to i64
  %there1 = add i64 %there, %one
  %again1 = icmp ult i64 %stamp, %waves
  br i1 %again1, label %wave, label %done
done:
  %o1 = getelementptr i64, ptr %out, i64 1
  %o2 = getelementptr i64, ptr %out, i64 2
  %o3 = getelementptr i64, ptr %out, i64 3
  store i64 %count2, ptr %out
  store i64 %ideal1, ptr %o1
  store i64 %bytes1, ptr %o2
  store i64 %there1, ptr %o3
  ret void
}}
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
"""


@cache
def function() -> Any:
    """The function, compiled once and kept on disk."""
    return ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 5)(loaded(TEXT).get_function_address("lines"))


@dataclass(frozen=True)
class Touched:
    """Distinct lines that each wave touches, the fewest that hold as many bytes, bytes, and waves; all summed."""

    lines: int
    ideal: int
    bytes: int
    waves: int


def touched(places: Array, nbytes: int, line: int) -> Touched:
    """Counts one access. `places`: an address a lane, int64, negative where there is no access."""
    found = (ctypes.c_int64 * 4)()
    function()(places.ctypes.data, len(places) // 64, nbytes, line.bit_length() - 1, ctypes.addressof(found))
    return Touched(*found)
