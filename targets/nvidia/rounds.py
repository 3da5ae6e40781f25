"""Contenders timed on an NVIDIA GPU with a cold L2: each once a round, in random order, in one queue.

What is timed one after the other meets another clock and another temperature; what is timed in turn does not. Before
every call a kernel reads four times what the L2 holds, so operands come from memory, as they do where a product is one
of many. Overwriting would empty the cache as well, but leave it full of lines that the timed kernel must first write
back: 50 MB that are not its own.
"""

from __future__ import annotations

import ctypes
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lowering.targets.nvidia import runtime

FLUSH = 256 << 20  # bytes, four times the L2
GROUPS, THREADS = 1056, 256  # of the kernel that reads them: eight workgroups an SM
SWEEP = """
.version 8.0
.target sm_90
.address_size 64
.visible .entry sweep(.param .u64 begin, .param .u64 bytes, .param .u64 out)
{
  .reg .u64 %at, %end, %stride, %own;
  .reg .u32 %thread, %threads, %group, %groups, %a, %b, %c, %d, %all;
  .reg .pred %p;
  ld.param.u64 %at, [begin];
  ld.param.u64 %end, [bytes];
  add.u64 %end, %at, %end;
  mov.u32 %thread, %tid.x;
  mov.u32 %threads, %ntid.x;
  mov.u32 %group, %ctaid.x;
  mov.u32 %groups, %nctaid.x;
  mad.lo.u32 %thread, %group, %threads, %thread;
  mul.lo.u32 %threads, %threads, %groups;
  mul.wide.u32 %own, %thread, 16;
  mul.wide.u32 %stride, %threads, 16;
  add.u64 %at, %at, %own;
  mov.u32 %all, 0;
more:
  setp.ge.u64 %p, %at, %end;
  @%p bra done;
  ld.global.v4.u32 {%a, %b, %c, %d}, [%at];
  xor.b32 %a, %a, %b;
  xor.b32 %c, %c, %d;
  xor.b32 %a, %a, %c;
  xor.b32 %all, %all, %a;
  add.u64 %at, %at, %stride;
  bra more;
done:
  setp.ne.u32 %p, %all, 0x9E3779B9;  // what was read must matter
  @%p bra end;
  ld.param.u64 %at, [out];
  st.global.u32 [%at], %all;
end:
  ret;
}
"""


@dataclass(frozen=True)
class Contender:
    """What is timed: a name, and what puts one call on the stream."""

    name: str
    call: Callable[[], None]


class Rounds:
    """A stream, and the memory that is overwritten to empty the cache."""

    def __init__(self, stream: Any) -> None:
        self.cu, self.stream = runtime.bindings(), stream
        self.waste = int(runtime.ok(self.cu.cuMemAlloc(FLUSH)))
        runtime.ok(self.cu.cuMemsetD8Async(self.waste, 0, FLUSH, stream))
        self.module = runtime.ok(self.cu.cuModuleLoadData(SWEEP.encode() + b"\0"))
        self.sweep = runtime.ok(self.cu.cuModuleGetFunction(self.module, b"sweep"))
        self.arguments = [ctypes.c_uint64(each) for each in (self.waste, FLUSH, self.waste)]
        self.slots = (ctypes.c_void_p * 3)(*(ctypes.addressof(each) for each in self.arguments))

    def flush(self) -> None:
        """Fills the L2 with what no contender uses."""
        slots = ctypes.addressof(self.slots)
        runtime.ok(self.cu.cuLaunchKernel(self.sweep, GROUPS, 1, 1, THREADS, 1, 1, 0, self.stream, slots, 0))

    def medians(self, contenders: Sequence[Contender], rounds: int) -> list[float]:
        """Seconds of each: all once a round, in random order."""
        order = [n for _ in range(rounds) for n in random.sample(range(len(contenders)), len(contenders))]
        found: list[list[float]] = [[] for _ in contenders]
        seconds = runtime.timed(self.cu, self.stream, [contenders[n].call for n in order], self.flush)
        for n, each in zip(order, seconds, strict=True):
            found[n].append(each)
        return [statistics.median(each) for each in found]

    def bandwidth(self) -> float:
        """Bytes a second of a copy on the device, read and written: the best of several."""
        half, copy = FLUSH // 2, self.cu.cuMemcpyDtoDAsync
        calls = [lambda: runtime.ok(copy(self.waste, self.waste + half, half, self.stream))] * 8
        return 2 * half / min(runtime.timed(self.cu, self.stream, calls))

    def close(self) -> None:
        """Frees what it holds on the device."""
        self.cu.cuMemFree(self.waste)
        self.cu.cuModuleUnload(self.module)
