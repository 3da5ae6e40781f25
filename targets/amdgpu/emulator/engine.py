"""Runs the waves of a batch of workgroups: decoded blocks, branches, barriers.

Waves that are at the same instruction run it together. Where they part, those at the lowest address go first, so that
they meet again behind a branch or a loop. With a wave order, the waves of a workgroup run one at a time instead, each
to its next barrier, in an order drawn anew for every stretch: what only lock-step hides then shows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lowering.targets.amdgpu.emulator import lds, lds_steps, native_lds, native_vmem, packed, scalar, smem, vector, vmem
from lowering.targets.amdgpu.emulator.decode import ENDS, DecodeError, Instruction, decode
from lowering.targets.amdgpu.emulator.findings import EmulationError, Endless
from lowering.targets.amdgpu.emulator.matrix_steps import Cache
from lowering.targets.amdgpu.emulator.matrix_steps import bind as bind_matrix
from lowering.targets.amdgpu.emulator.native import Native
from lowering.targets.amdgpu.emulator.operands import Unsupported, joined
from lowering.targets.amdgpu.emulator.text import listing
from lowering.targets.amdgpu.emulator.waves import EXEC, VCC, Waves

Array = np.ndarray[Any, Any]
Step = Callable[[Waves], None]


class Watcher(Protocol):
    """Who is told of instructions before they are executed."""

    def wants(self, one: Instruction) -> bool:
        """Whether it is to be told of an instruction."""
        ...

    def watch(self, one: Instruction, w: Waves) -> None:
        """Is told of one that the active waves are about to execute."""
        ...


JUMPS = frozenset({"s_setpc_b64", "s_swappc_b64"})
CONDITIONS: dict[str, Callable[[Waves], Array]] = {
    "s_cbranch_scc0": lambda w: ~w.scc,
    "s_cbranch_scc1": lambda w: w.scc,
    "s_cbranch_vccz": lambda w: (w.s[VCC] | w.s[VCC + 1]) == 0,
    "s_cbranch_vccnz": lambda w: (w.s[VCC] | w.s[VCC + 1]) != 0,
    "s_cbranch_execz": lambda w: (w.s[EXEC] | w.s[EXEC + 1]) == 0,
    "s_cbranch_execnz": lambda w: (w.s[EXEC] | w.s[EXEC + 1]) != 0,
    "s_branch": lambda w: np.ones(w.count, bool),
}
BEFORE = 4  # instructions shown before one that does not decode
DONE, WAITING = -1, -2


@dataclass(frozen=True)
class Block:
    """Instructions in a row and what ends them."""

    steps: tuple[Step, ...]
    instructions: tuple[Instruction, ...]  # of the steps
    last: Instruction


class Program:
    """Decoded code: blocks by address, made when they are first reached. `base`: where the code lies in memory."""

    def __init__(
        self,
        code: bytes,
        base: int,
        machine: vmem.Get,
        exact: bool,
        native: Native | None = None,
    ) -> None:
        self.code, self.base, self.machine, self.exact = code, base, machine, exact
        self.native = native
        self.lds_unit = 4  # bytes: the smallest LDS access of the code, up to a dword
        self.counts: Counter[int] = Counter()  # how often waves went through the block at an address
        self.blocks: dict[int, Block] = {}
        self.fragments: Cache = {}

    def local(self) -> lds.Lds:
        """The workgroup memory of the current batch."""
        return self.machine().lds

    def block(self, address: int) -> Block:
        """The block that begins at an address of the code object."""
        if address not in self.blocks:
            self.blocks[address] = self.decoded(address)
        return self.blocks[address]

    def executed(self) -> Mapping[Instruction, int]:
        """How many waves executed each instruction."""
        found: Counter[int] = Counter()
        instructions: dict[int, Instruction] = {}
        for address, count in self.counts.items():
            block = self.blocks[address]
            for one in (*block.instructions, block.last):
                found[one.address] += count
                instructions[one.address] = one
        return {instructions[address]: count for address, count in found.items()}

    def decoded(self, address: int) -> Block:
        """Decodes up to the next instruction that decides where to go on. Raises EmulationError."""
        row: list[Instruction] = []
        while True:
            try:
                one = decode(self.code, address)
            except DecodeError as error:
                before = "".join(f"\n    {listing(each)}" for each in row[-BEFORE:])
                raise EmulationError(f"cannot decode {error}{'; before it:' if before else ''}{before}") from None
            if decides(one):
                return Block(tuple(self.step(each) for each in row), tuple(row), one)
            row.append(one)
            address = one.end

    def step(self, one: Instruction) -> Step:
        """What an instruction does; one without semantics says so when it is reached."""
        try:
            return self.bind(one)
        except (Unsupported, ValueError) as error:  # ValueError: a DPP control that there is not
            return refusal(one, str(error))

    def bind(self, one: Instruction) -> Step:
        """The semantics of an instruction. Raises Unsupported."""
        form = one.opcode.format
        if one.name == "s_getpc_b64":
            target, value = one.operands["sdst"].index, np.uint64(self.base + one.end)
            return lambda w: w.put_scalar_pair(target, np.full(w.count, value))
        if form.startswith("SOP"):
            return scalar.bind(one)
        if form == "SMEM":
            return smem.bind(one, self.machine)
        if form == "DS":
            arrays = lds_steps.bind(one, self.local)
            return arrays if self.native is None else native_lds.bind(one, self.local, arrays)
        if form in ("FLAT", "GLOBAL", "SCRATCH", "MUBUF"):
            access = vmem.bind(one, self.machine)
            return access if self.native is None else native_vmem.bind(one, self.machine, access)
        if self.native is not None and (step := self.native.bind(one)) is not None:
            return step
        if one.opcode.is_matrix:
            product = bind_matrix(one, self.exact, self.fragments)
            return product if self.native is None or self.exact else self.native.matrix.bind(one, product)
        if form == "VOP3P" and not one.name.startswith("v_accvgpr"):
            return packed.bind(one)
        return vector.bind(one)


def decides(one: Instruction) -> bool:
    """Whether an instruction may go on elsewhere, or wait."""
    return one.name in ENDS or one.name in CONDITIONS or one.name in JUMPS or one.name == "s_barrier"


def refusal(one: Instruction, why: str) -> Step:
    """A step that stops the kernel."""

    def step(w: Waves) -> None:
        raise EmulationError(f"unsupported instruction: {listing(one)}: {why}")

    return step


@dataclass
class Budget:
    """Wave-instructions that a launch may still execute."""

    left: int
    most: int
    executed: int = 0

    def spend(self, count: int) -> None:
        """Books instructions. Raises EmulationError where there are too many."""
        self.executed += count
        self.left -= count
        if self.left < 0:
            raise Endless(
                f"no end after {self.most} wave-instructions (--max-instructions): an endless loop, or a larger problem"
            )


class Team:
    """Waves that run together, and where each of them is: an address, DONE or WAITING at a barrier."""

    def __init__(self, w: Waves, program: Program, entry: int, budget: Budget, watcher: Watcher | None = None) -> None:
        self.w, self.program, self.budget, self.watcher = w, program, budget, watcher
        self.wanted: dict[int, tuple[bool, ...]] = {}  # of each block, the instructions that the watcher is told of
        self.pc = np.full(w.count, entry, np.int64)
        self.resume = np.zeros(w.count, np.int64)  # where those that wait go on

    def run(self) -> None:
        """Runs until every wave is done or waits."""
        while True:
            going = self.pc >= 0
            if not going.any():
                return
            at = int(self.pc[going].min())
            here = self.pc == at
            whole = bool(here.all())
            self.w.select(None if whole else here)
            self.straight(at, here, whole)

    def straight(self, at: int, here: Array, whole: bool) -> None:
        """Runs the waves that are at an address until they may part from each other, or meet others."""
        w, count = self.w, int(here.sum())
        while True:
            block = self.program.block(at)
            if self.watcher is None:
                for step in block.steps:
                    step(w)
            else:
                self.watched(at, block, self.watcher)
            self.program.counts[at] += count
            self.budget.spend(count * (len(block.steps) + 1))
            after = self.follow(block.last)
            if after is None or not whole:
                return
            at = after

    def watched(self, at: int, block: Block, watcher: Watcher) -> None:
        """Runs a block under a watcher's eyes."""
        if at not in self.wanted:
            self.wanted[at] = tuple(watcher.wants(one) for one in (*block.instructions, block.last))
        *wanted, last = self.wanted[at]
        for one, step, wants in zip(block.instructions, block.steps, wanted, strict=True):
            if wants:
                watcher.watch(one, self.w)
            step(self.w)
        if last:
            watcher.watch(block.last, self.w)

    def follow(self, last: Instruction) -> int | None:
        """Moves the active waves on. The address where all go on together, or None."""
        w, active = self.w, self.w.active
        if last.name in ENDS:
            self.pc[active] = DONE
            return None
        if last.name == "s_barrier":
            self.resume[active], self.pc[active] = last.end, WAITING
            return None
        if last.name in JUMPS:
            return self.jump(last)
        if not 0 <= last.target < len(self.program.code):
            raise EmulationError(f"a branch out of the code object: {listing(last)}")
        taken = CONDITIONS[last.name](w)
        goes = np.where(taken, last.target, last.end)
        self.pc[active] = goes[active]
        first = int(goes[np.argmax(active)])
        return first if w.uniform and bool((goes == first).all()) else None

    def jump(self, last: Instruction) -> int | None:
        """A jump to an address in registers."""
        w, source = self.w, last.operands["ssrc0"].index
        goes = (joined(w.s[source], w.s[source + 1]) - np.uint64(self.program.base)).view(np.int64)
        if last.name == "s_swappc_b64":
            back = np.uint64(self.program.base + last.end)
            w.put_scalar_pair(last.operands["sdst"].index, np.full(w.count, back))
        outside = (goes < 0) | (goes >= len(self.program.code))
        if (outside & w.active).any():
            raise EmulationError(f"a jump out of the code object: {listing(last)}")
        self.pc[w.active] = goes[w.active]
        return None


def run_batch(teams: list[Team], groups: int, memory: lds.Lds, rng: np.random.Generator | None) -> None:
    """Runs teams to the end. At a barrier the waves of a workgroup wait for each other; ended waves are not waited for.

    With `rng` the teams take turns in an order drawn anew each time.
    """
    while True:
        order = range(len(teams)) if rng is None else rng.permutation(len(teams))
        for number in order:
            teams[number].run()
        waiting = np.zeros(groups, bool)
        for team in teams:
            waiting[team.w.group[team.pc == WAITING]] = True
        if not waiting.any():
            return
        memory.barrier(waiting)
        for team in teams:
            stopped = team.pc == WAITING
            team.pc[stopped] = team.resume[stopped]
