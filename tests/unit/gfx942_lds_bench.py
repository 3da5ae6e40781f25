"""LDS instructions one at a time, on four waves of two workgroups."""

from __future__ import annotations

import numpy as np
from amdgcn import assemble
from gfx942_bench import mask_of

from lowering.targets.amdgpu.emulator import lds, lds_steps
from lowering.targets.amdgpu.emulator.decode import decode
from lowering.targets.amdgpu.emulator.findings import Findings
from lowering.targets.amdgpu.emulator.waves import EXEC, Waves, waves

GROUPS, SIZE = 2, 16384  # each of the groups has two waves and its own memory
MODES = ("full", "some", "waves")


def fresh(mode: str, seed: int = 1) -> tuple[Waves, np.random.Generator]:
    """Four waves with random registers."""
    rng = np.random.default_rng(seed)
    w = waves(2 * GROUPS, np.repeat(np.arange(GROUPS), 2), np.tile(np.arange(2), GROUPS))
    w.v[:32] = rng.integers(0, 2**32, (32, *w.shape), np.uint32)
    w.v[256:272] = rng.integers(0, 2**32, (16, *w.shape), np.uint32)
    w.s[EXEC : EXEC + 2] = 0xFFFFFFFF if mode == "full" else rng.integers(0, 2**32, (2, w.count), np.uint32)
    w.exec_changed()
    w.select(np.array([True, False, True, True]) if mode == "waves" else None)
    return w, rng


def memory(rng: np.random.Generator, checked: bool = False) -> lds.Lds:
    """Workgroup memory of random bytes, all of them written."""
    found = Findings()
    found.groups = np.arange(GROUPS)
    made = lds.Lds(SIZE, GROUPS, found, checked)
    made.bytes_[:] = rng.integers(0, 256, made.bytes_.size, np.uint8)
    if made.shadow is not None:
        made.shadow.writer[:] = 9 << 40  # in another epoch
    return made


CODES: dict[str, bytes | str] = {}


def prepare(lines: list[str]) -> None:
    """Assembles many lines at once."""
    left = [line for line in lines if line not in CODES]
    CODES.update(zip(left, assemble(left), strict=True) if left else ())


def code_of(line: str) -> bytes:
    """An instruction's bytes."""
    prepare([line])
    code = CODES[line]
    assert isinstance(code, bytes), (line, code)
    return code


def run(line: str, w: Waves, space: lds.Lds) -> None:
    """Executes a line."""
    with np.errstate(all="ignore"):
        lds_steps.bind(decode(code_of(line), 0), lambda: space)(w)


def taking(w: Waves) -> list[tuple[int, int]]:
    """Waves and lanes that take part, in order."""
    return [(int(a), int(b)) for a, b in np.argwhere(mask_of(EXEC)(w) & w.active[:, None])]


def put_addresses(w: Waves, rng: np.random.Generator, unit: int, top: int, distinct: bool) -> None:
    """Addresses below `top`, in units; `distinct` within a group."""
    count = top // unit
    for group in range(GROUPS):
        some = rng.permutation(count)[:128] if distinct else rng.integers(0, count, 128)
        w.v[1, 2 * group : 2 * group + 2] = (some * unit).reshape(2, 64)


READS = {"u8": (1, False), "i8": (1, True), "u16": (2, False), "i16": (2, True), "b32": (4, False), "b64": (8, False),
         "b96": (12, False), "b128": (16, False)}  # fmt: skip


def span(letter: str, index: int, nbytes: int) -> str:
    """The text of the registers that hold some bytes."""
    count = max(1, nbytes // 4)
    return f"{letter}{index}" if count == 1 else f"{letter}[{index}:{index + count - 1}]"
