"""The main loop of a gfx942 kernel, read off its instructions: what it is made of, and how long its loads have.

The *slack* of a load is how many clocks of matrix instructions are issued between it and the first `s_waitcnt` that
waits for it: what hides its latency within one wave. It is counted over two trips, so that loads of one trip that the
next one waits for are seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lowering.core import Target
from lowering.targets.amdgpu.emulator.decode import Instruction, reachable
from lowering.targets.amdgpu.emulator.image import Image
from lowering.targets.amdgpu.emulator.statistics import class_of
from lowering.targets.amdgpu.emulator.text import counters


@dataclass(frozen=True)
class MainLoop:
    """Instructions of one trip, by class and in all; `slack` in clocks, None where there is no such load."""

    instructions: int
    classes: Mapping[str, int]
    copies: int  # between vector and accumulation registers
    load_slack: int | None  # of global memory
    lds_slack: int | None

    @property
    def matrix_share(self) -> float:
        """Matrix instructions of all."""
        return self.classes.get("matrix", 0) / self.instructions

    @property
    def barriers(self) -> int:
        """Barriers of one trip."""
        return self.classes.get("barrier", 0)


def main_loop(image: Image, kernel: str | None, target: Target) -> MainLoop | None:
    """The innermost loop with the most matrix instructions; None where there is no loop with any."""
    descriptor = image.kernel(kernel).descriptor
    code = reachable(image.code, descriptor.entry + (256 if descriptor.preload_dwords else 0))
    loops = [body(code, one) for one in code if "branch" in one.name and one.target <= one.address]
    found = [loop for loop in loops if any(one.opcode.is_matrix for one in loop)]
    if not found:
        return None
    inner = [each for each in found if not any(other is not each and set(other) < set(each) for other in found)]
    loop = max(inner, key=lambda each: (sum(one.opcode.is_matrix for one in each), -len(each)))
    cycles = {row["name"]: int(row["cycles"]) for row in target.facts["matrix"]}
    loads, lds = slack(loop, cycles, "load"), slack(loop, cycles, "LDS")
    copies = sum(one.name.startswith("v_accvgpr") for one in loop)
    return MainLoop(len(loop), Counter(class_of(one) for one in loop), copies, loads, lds)


def body(code: Sequence[Instruction], branch: Instruction) -> list[Instruction]:
    """The instructions from a backward branch's target to it."""
    return [one for one in code if branch.target <= one.address <= branch.address]


def slack(loop: Sequence[Instruction], cycles: Mapping[str, int], of: str) -> int | None:
    """The least clocks of matrix instructions between a load of a class and the wait for it."""
    clock, least = 0, None
    waiting: list[tuple[int, bool]] = []  # what the counter counts, oldest first: when issued, whether it is a load
    for one in (*loop, *loop):
        if one.opcode.is_matrix:
            clock += cycles.get(one.name, 0)
        elif one.name == "s_waitcnt":
            vm, _, lgkm = counters(one.fields["simm16"])
            left = vm if of == "load" else lgkm
            while len(waiting) > left:
                issued, is_load = waiting.pop(0)
                if is_load:
                    least = clock - issued if least is None else min(least, clock - issued)
        elif class_of(one) == of:
            waiting.append((clock, "_read" in one.name or of == "load"))
        elif (of == "load" and class_of(one) == "store") or (of == "LDS" and class_of(one) == "scalar memory"):
            waiting.append((clock, False))
    return least
