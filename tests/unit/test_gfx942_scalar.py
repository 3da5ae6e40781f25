"""Every scalar instruction alone: result and SCC against LLVM on this processor and Python's integers."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from amdgcn import assemble
from gfx942_bench import Place, draw, inline, literal, mask_of, sgpr, span
from gfx942_scalar_cases import CASES, Case, signed_field, unsigned_field
from lane_oracle import ARRAYS, lanewise, signed, width

from lowering.targets.amdgpu.emulator import scalar
from lowering.targets.amdgpu.emulator.decode import decode
from lowering.targets.amdgpu.emulator.findings import EmulationError
from lowering.targets.amdgpu.emulator.formats import opcodes
from lowering.targets.amdgpu.emulator.operands import Unsupported
from lowering.targets.amdgpu.emulator.waves import EXEC, VCC, Waves

COUNT, DST, TURNS = 192, 40, 5


# --- one run ---------------------------------------------------------------------------------------------------------


def fresh(rng: np.random.Generator, some: bool) -> Waves:
    """Waves with random scalar registers, of which some may not run."""
    registers = np.zeros((1, COUNT, 64), np.uint32), np.zeros((128, COUNT), np.uint32), np.zeros(COUNT, bool)
    w = Waves(*registers, np.zeros(COUNT, np.int64), np.arange(COUNT))
    wide = draw(rng, "i64", (51, COUNT))
    w.s[0:102:2], w.s[1:102:2] = wide & np.uint64(0xFFFFFFFF), wide >> np.uint64(32)
    w.s[0:40:2] = draw(rng, "i32", (20, COUNT))
    w.s[VCC : VCC + 2, ::3] = 0
    w.s[EXEC : EXEC + 2, ::2] = 0xFFFFFFFF
    w.s[EXEC + 1, ::5] = 0
    w.s[EXEC, ::7] = 0
    w.scc[:] = rng.random(COUNT) < 0.5
    w.exec_changed()
    w.select(rng.random(COUNT) < 0.6 if some else None)
    return w


def source(rng: random.Random, n: int, kind: str, name: str, free: bool) -> Place:
    """A register, a constant, a condition, or VCC, EXEC and M0."""
    chance = rng.random()
    bits = width(kind)
    if chance < 0.55:
        return sgpr(4 * n + 2 * rng.randrange(2) if bits == 64 else 2 * n + rng.randrange(2), kind)
    if chance < 0.7 and free:
        return literal(rng, kind, "_i64" in name or "_i32_i64" in name)
    if chance < 0.8:
        return sgpr(VCC, kind)
    if chance < 0.85:
        return sgpr(DST, kind)
    return inline(rng, kind)


@dataclass
class Line:
    """A line, and how its sources are read and filled."""

    name: str
    text: str
    reads: list[Callable[[Waves], np.ndarray]]
    fills: list[Callable[[Waves, np.random.Generator], None]]
    destination: int


def draw_line(rng: random.Random, name: str, known: Case) -> Line:
    """A line and how its sources are read."""
    target = VCC if rng.random() < 0.1 else DST
    reads, texts, fills, free = [], [], [], True
    compares_constant = "cmpk" in name
    for n, kind in enumerate(known.sources):
        if kind == "c":
            reads.append(lambda w: np.broadcast_to(w.scc[:, None], w.shape))
        elif kind.startswith("d:"):
            reads.append(sgpr(target, kind[2:]).bits)
            texts += [sgpr(target, kind[2:]).text] if compares_constant else []
        elif kind.startswith("k:"):
            value = rng.choice([0, 1, 5, 0x7FFF, 0x8000, 0xFFFF, rng.getrandbits(16)])
            whole = value if name.endswith("u32") else signed(value, 16) & 0xFFFFFFFF
            reads.append(lambda w, v=whole: np.full(w.shape, v, np.uint32))
            texts.append(hex(value))
        else:
            place = source(rng, n, kind, name, free)
            free = free and not (place.uses_bus and not place.register)
            reads.append(place.bits)
            texts.append(place.text)
            fills.append(place.fill if place.register and place.index < 102 else lambda w, rng: None)
    results = [sgpr(target, known.kind).text if target == VCC else span("s", target, known.kind)] if known.kind else []
    return Line(name, f"{name} {', '.join([*results, *texts])}", reads, fills, target)


def check(line: Line, code: bytes, known: Case, rng: np.random.Generator, some: bool) -> str | None:
    """What an instruction did wrong."""
    w = fresh(rng, some)
    for fill in line.fills:
        fill(w, rng)
    kinds = ["m" if each == "c" else each.split(":")[-1] for each in known.sources]
    sources = [np.ascontiguousarray(read(w)[:, 0]).view(ARRAYS[k]) for read, k in zip(line.reads, kinds, strict=True)]
    s, scc = w.s.copy(), w.scc.copy()
    result = known.result(*sources) if known.result else None
    if result is not None and width(known.kind) == 64:
        s[line.destination] = np.where(w.active, result & np.uint64(0xFFFFFFFF), s[line.destination])
        s[line.destination + 1] = np.where(w.active, result >> np.uint64(32), s[line.destination + 1])
    elif result is not None:
        s[line.destination] = np.where(w.active, result, s[line.destination])
    if known.scc is not None:
        scc = np.where(w.active, result != 0 if known.scc == "nonzero" else known.scc(*sources), scc)
    try:
        scalar.bind(decode(code, 0))(w)
    except Unsupported as error:
        return f"{line.text}: unsupported: {error}"
    if not np.array_equal(w.s, s):
        row, wave = (int(each[0]) for each in np.nonzero(w.s != s))
        inputs = [hex(int(each[wave])) for each in sources]
        return f"{line.text}: s{row} is {w.s[row, wave]:#x}, not {s[row, wave]:#x}, of {inputs}"
    if not np.array_equal(w.scc, scc):
        wave = int(np.flatnonzero(w.scc != scc)[0])
        return f"{line.text}: SCC is {w.scc[wave]}, of {[hex(int(each[wave])) for each in sources]}"
    return None


def test_every_case():
    draws, rng = random.Random(5), np.random.default_rng(6)
    lines = [draw_line(draws, name, known) for name, known in CASES.items() for _ in range(2 * TURNS)]
    wrong, done = [], set()
    for n, (line, code) in enumerate(zip(lines, assemble([each.text for each in lines]), strict=True)):
        if isinstance(code, str):
            assert "literal" in code or "constant" in code or "operand" in code, (line.text, code)
            continue
        done.add(line.name)
        if complaint := check(line, code, CASES[line.name], rng, bool(n % 2)):
            wrong.append(complaint)
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong[:20])
    assert done == set(CASES)


def test_fields_of_all_offsets_and_widths():
    """s_bfe with every offset and the widths around the edges, of numbers of both signs."""
    rng = np.random.default_rng(1)
    for bits, kind in ((32, np.uint32), (64, np.uint64)):
        for sign, function in (("u", unsigned_field), ("i", signed_field)):
            (code,) = assemble([f"s_bfe_{sign}{bits} {span('s', DST, f'i{bits}')}, {span('s', 4, f'i{bits}')}, s8"])
            w = fresh(rng, False)
            offsets, widths = np.arange(COUNT) % bits, np.arange(COUNT) * 7 % (bits + 1)
            w.s[8] = offsets | widths << 16
            value = draw(rng, f"i{bits}", (COUNT,)).astype(np.uint64)
            w.s[4], w.s[5] = value & np.uint64(0xFFFFFFFF), value >> np.uint64(32)
            scalar.bind(decode(code, 0))(w)
            got = w.s[DST].astype(kind) | (w.s[DST + 1].astype(kind) << kind(32) if bits == 64 else kind(0))
            right = [function(int(v), int(b), bits) & (1 << bits) - 1 for v, b in zip(value, w.s[8], strict=True)]
            np.testing.assert_array_equal(got, np.array(right, kind))


# --- EXEC ------------------------------------------------------------------------------------------------------------

SAVES: dict[str, Callable[[int, int], int]] = {
    "and": lambda a, e: a & e, "or": lambda a, e: a | e, "xor": lambda a, e: a ^ e, "andn1": lambda a, e: ~a & e,
    "andn2": lambda a, e: a & ~e, "orn1": lambda a, e: ~a | e, "orn2": lambda a, e: a | ~e,
    "nand": lambda a, e: ~(a & e), "nor": lambda a, e: ~(a | e), "xnor": lambda a, e: ~(a ^ e),
}  # fmt: skip


def pair(w: Waves, index: int) -> np.ndarray:
    return w.s[index].astype(np.uint64) | w.s[index + 1].astype(np.uint64) << np.uint64(32)


@pytest.mark.parametrize("some", [False, True])
@pytest.mark.parametrize("form", ["saveexec", "wrexec"])
@pytest.mark.parametrize("source", ["s[4:5]", "vcc", "-1", "0", "exec"])
def test_saveexec(source, form, some):
    names = list(SAVES) if form == "saveexec" else ["andn1", "andn2"]
    lines = [f"s_{name}_{form}_b64 s[{DST}:{DST + 1}], {source}" for name in names]
    for name, code in zip(names, assemble(lines), strict=True):
        assert isinstance(code, bytes), code
        w = fresh(np.random.default_rng(3), some)
        place = {"s[4:5]": 4, "vcc": VCC, "exec": EXEC}.get(source)
        given = np.full(COUNT, -1 if source == "-1" else 0).astype(np.uint64) if place is None else pair(w, place)
        old, kept, scc = pair(w, EXEC), pair(w, DST), w.scc.copy()
        scalar.bind(decode(code, 0))(w)
        new = lanewise(SAVES[name], "i64")(given, old)
        np.testing.assert_array_equal(pair(w, EXEC), np.where(w.active, new, old), err_msg=name)
        saved = new if form == "wrexec" else old
        np.testing.assert_array_equal(pair(w, DST), np.where(w.active, saved, kept), err_msg=name)
        np.testing.assert_array_equal(w.scc, np.where(w.active, new != 0, scc), err_msg=name)
        np.testing.assert_array_equal(w.exec_mask, mask_of(EXEC)(w))
        np.testing.assert_array_equal(w.mask, mask_of(EXEC)(w) & w.active[:, None])


@pytest.mark.parametrize("some", [False, True])
@pytest.mark.parametrize(
    "text",
    ["s_mov_b64 exec, s[4:5]", "s_and_b64 exec, exec, s[4:5]", "s_mov_b32 exec_lo, s4", "s_mov_b32 exec_hi, s4",
     "s_not_b64 exec, exec", "s_lshr_b64 exec, exec, s6", "s_bfm_b64 exec, s6, 0"],
)  # fmt: skip
def test_writes_of_exec_change_who_takes_part(text, some):
    w = fresh(np.random.default_rng(4), some)
    (code,) = assemble([text])
    before = w.exec_mask.copy()
    scalar.bind(decode(code, 0))(w)
    np.testing.assert_array_equal(w.exec_mask, mask_of(EXEC)(w))
    assert not np.array_equal(w.exec_mask, before)
    assert w.full == bool(w.mask.all())


def test_conditions_as_sources():
    w = fresh(np.random.default_rng(8), False)
    for code in assemble(["s_mov_b32 s50, src_scc", "s_mov_b32 s51, src_vccz", "s_mov_b32 s52, src_execz"]):
        scalar.bind(decode(code, 0))(w)
    np.testing.assert_array_equal(w.s[50], w.scc)
    np.testing.assert_array_equal(w.s[51], pair(w, VCC) == 0)
    np.testing.assert_array_equal(w.s[52], pair(w, EXEC) == 0)


def test_mode_is_what_kernels_run_with():
    w = fresh(np.random.default_rng(8), False)
    lines = ["s_getreg_b32 s50, hwreg(HW_REG_MODE)", "s_getreg_b32 s51, hwreg(HW_REG_MODE, 4, 4)"]
    lines += ["s_setreg_imm32_b32 hwreg(HW_REG_MODE, 4, 4), 15", "s_setreg_b32 hwreg(HW_REG_MODE, 4, 4), s51"]
    for code in assemble(lines):
        scalar.bind(decode(code, 0))(w)
    assert (w.s[51] == 15).all()
    (code,) = assemble(["s_setreg_imm32_b32 hwreg(HW_REG_MODE, 4, 4), 0"])
    with pytest.raises(EmulationError, match="float mode"):
        scalar.bind(decode(code, 0))(w)


@pytest.mark.parametrize("text", ["s_nop 3", "s_waitcnt vmcnt(0)", "s_setprio 1", "s_sleep 2", "s_icache_inv"])
def test_hints_do_nothing(text):
    w = fresh(np.random.default_rng(8), False)
    before = w.s.copy()
    scalar.bind(decode(assemble([text])[0], 0))(w)
    np.testing.assert_array_equal(w.s, before)


ELSEWHERE = {
    "s_getpc_b64": "the engine", "s_setpc_b64": "the engine", "s_swappc_b64": "the engine",
    "s_call_b64": "not emitted", "s_rfe_b64": "traps", "s_rfe_restore_b64": "traps", "s_setvskip": "not emitted",
    "s_cbranch_join": "not emitted", "s_cbranch_g_fork": "not emitted", "s_cbranch_i_fork": "not emitted",
    "s_movrels_b32": "indexed registers", "s_movrels_b64": "indexed registers", "s_movreld_b32": "indexed registers",
    "s_movreld_b64": "indexed registers", "s_set_gpr_idx_idx": "indexed registers",
    "s_set_gpr_idx_on": "indexed registers", "s_getreg_b32": "tested above", "s_setreg_b32": "tested above",
    "s_setreg_imm32_b32": "tested above",
}  # fmt: skip


def test_all_scalar_operations_are_tested_or_named():
    names = {each.name for each in opcodes().values() if each.format in ("SOP1", "SOP2", "SOPC", "SOPK")}
    saves = {f"s_{name}_saveexec_b64" for name in SAVES} | {"s_andn1_wrexec_b64", "s_andn2_wrexec_b64"}
    assert names == set(CASES) | saves | set(ELSEWHERE)
