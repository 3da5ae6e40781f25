"""The native engine against arrays: every shape of every operation, with and without a mask, bit for bit."""

from __future__ import annotations

import io

import numpy as np
import pytest
from amdgcn import assemble
from elftools.elf.elffile import ELFFile

from lowering.targets.amdgpu.emulator import lds_steps, machine_code, native_lds, packed, vector
from lowering.targets.amdgpu.emulator.decode import decode
from lowering.targets.amdgpu.emulator.findings import Findings
from lowering.targets.amdgpu.emulator.formats import opcodes
from lowering.targets.amdgpu.emulator.lds import Lds
from lowering.targets.amdgpu.emulator.native import Native, calls
from lowering.targets.amdgpu.emulator.text import text
from lowering.targets.amdgpu.emulator.vector_table import VECTOR
from lowering.targets.amdgpu.emulator.waves import EXEC, Waves, waves

COUNT = 2
FILES = {"src0": ("v[{0}:{1}]", "s[8:9]", "2.0"), "src1": ("v[2:3]",), "vsrc1": ("v[2:3]",), "src2": ("v[4:5]", "-1")}


def operand(name: str, width: int, choice: int, opcode) -> str:
    """An operand's text, of one of the files that it may be in."""
    if name == "sdst" or (name == "vdst" and opcode.name.startswith("v_cmp")):
        return "s[40:41]"
    if name == "vdst":
        return "v20" if width == 1 else "v[20:21]"
    if name == "src2" and VECTOR[opcode.name].sources[-1] == "mask":
        return "s[44:45]"
    first = {"src0": 0, "src1": 2, "vsrc1": 2, "src2": 4}[name]
    if choice == 1 and name == "src0":
        return "s8" if width == 1 else "s[8:9]"
    if choice == 2 and name == "src0":
        return "1.0" if VECTOR[opcode.name].sources[0][0] == "f" else "-3"
    return f"v{first}" if width == 1 else f"v[{first}:{first + 1}]"


def lines() -> list[str]:
    """Every operation of the table in every encoding, with sources in each file; and with signs."""
    found: list[str] = []
    for opcode in opcodes().values():
        if opcode.name not in VECTOR or not opcode.format.startswith("VOP") or "accvgpr" in opcode.name:
            continue
        for choice in {0, len(opcode.name) % 3}:  # every file of a source for some operations
            parts = [
                operand(n, w, choice, opcode) if w else ("0x3fc00000" if n == "literal" else n)
                for n, w in opcode.operands
            ]
            found.append(f"{opcode.mnemonic} {', '.join(parts)}")
        if opcode.format == "VOP3" and VECTOR[opcode.name].sources[0] in ("f16", "f32", "f64"):
            parts = [operand(n, w, 0, opcode) for n, w in opcode.operands]
            parts[-1] = f"-{parts[-1]}"
            found.append(f"{opcode.mnemonic} {', '.join(parts)}")
    for name in ("v_pk_fma_f32 v[20:21], v[0:1], v[2:3], v[4:5]", "v_pk_mul_f32 v[20:21], v[0:1], s[8:9]",
                 "v_pk_add_f32 v[20:21], v[0:1], v[2:3] op_sel:[1,0] op_sel_hi:[0,1] neg_lo:[0,1]",
                 "v_pk_add_f32 v[0:1], v[0:1], v[2:3] op_sel_hi:[0,1]"):  # fmt: skip
        found.append(name)
    return found


@pytest.fixture(scope="module")
def instructions():
    """All lines that the assembler takes, decoded."""
    return [decode(code, 0) for code in assemble(lines()) if isinstance(code, bytes)]


@pytest.fixture(scope="module")
def engine(instructions, tmp_path_factory):
    """One engine for all of them, and the folder that its object is kept in."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        return Native(instructions), folder / "lower" / "emulator"


def fresh(seed: int) -> Waves:
    """Waves of noise: plain floats, halves and bits."""
    rng = np.random.default_rng(seed)
    w = waves(COUNT, np.arange(COUNT), np.zeros(COUNT, np.int64))
    noise = rng.integers(0, 2**32, (24, COUNT, 64), dtype=np.uint32)
    plain = (rng.standard_normal((24, COUNT, 64)) * 100).astype(np.float32).view(np.uint32)
    halves = rng.standard_normal((24, COUNT, 128)).astype(np.float16).view(np.uint32)
    w.v[:24] = np.choose(rng.integers(0, 3, (24, COUNT, 64)), [noise, plain, halves])
    w.s[:104] = rng.integers(0, 2**32, (104, COUNT), dtype=np.uint32)
    w.put_lanes(EXEC, np.ones((COUNT, 64), bool) if seed % 2 else rng.random((COUNT, 64)) < 0.7)
    return w


def state(w: Waves, bits: str) -> list[np.ndarray]:
    """Registers, with all NaN alike in the kind of the result."""
    found = w.v[:24].copy()
    if bits == "f64":
        pair = (found[20].astype(np.uint64) | found[21].astype(np.uint64) << np.uint64(32)).view(np.float64)
        found[20:22, np.isnan(pair)] = 0
    elif bits in ("f32", "f16"):
        values = (
            found[20:22].view(np.float32) if bits == "f32" else found[20:22].view(np.uint16)[..., ::2].view(np.float16)
        )
        found[20:22][np.isnan(values)] = 0
    return [found, w.s.copy()]


def test_every_shape_gives_the_bits_of_arrays(instructions, engine):
    covered: set[str] = set()
    for one in instructions:
        step = engine[0].bind(one)
        if step is None:
            continue
        covered.add(one.name)
        is_packed = one.opcode.format == "VOP3P"
        kind = "f32" if is_packed else VECTOR[one.name].results[0]
        for seed in (1, 2):
            first, second = fresh(seed), fresh(seed)
            with np.errstate(all="ignore"):
                (packed if is_packed else vector).bind(one)(first)
            step(second)
            for a, b in zip(state(first, kind), state(second, kind), strict=True):
                np.testing.assert_array_equal(a, b, err_msg=f"{text(one)}, seed {seed}")
    assert len(covered) > 280


def test_code_needs_nothing_from_outside(engine):
    (file,) = engine[1].glob("*.o")
    table = ELFFile(io.BytesIO(file.read_bytes())).get_section_by_name(".symtab")
    symbols = table.iter_symbols()
    assert not [each.name for each in symbols if each["st_shndx"] == "SHN_UNDEF" and each.name]


def test_most_of_what_kernels_execute_is_native(instructions):
    names = {one.name for one in instructions}
    left = {name for name in names if all(calls(one) is None for one in instructions if one.name == name)}
    assert {"v_fma_f32", "v_add_u32", "v_cndmask_b32", "v_cmp_lt_i32", "v_perm_b32", "v_mul_lo_u32"} <= names - left
    assert {name for name in left if not name.startswith("v_cmpx")} <= {
        "v_exp_f32", "v_log_f32", "v_sin_f32", "v_cos_f32", "v_exp_f16", "v_log_f16", "v_sin_f16", "v_cos_f16",
        "v_exp_legacy_f32", "v_log_legacy_f32", "v_fma_f16", "v_fma_legacy_f16", "v_frexp_exp_i32_f32",
        "v_frexp_exp_i32_f64", "v_frexp_exp_i16_f16", "v_frexp_mant_f16", "v_frexp_mant_f32", "v_frexp_mant_f64",
        "v_ldexp_f16", "v_ldexp_f32", "v_ldexp_f64", "v_div_scale_f32", "v_div_scale_f64", "v_div_fmas_f32",
        "v_div_fmas_f64", "v_rcp_f16", "v_rsq_f16", "v_sqrt_f16", "v_cvt_f32_fp8", "v_cvt_f32_bf8",
        "v_cvt_pk_fp8_f32", "v_cvt_pk_bf8_f32",
    }, left  # fmt: skip


def test_objects_are_kept_and_used_again(tmp_path, monkeypatch, instructions):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    some = [one for one in instructions if one.name in ("v_add_u32", "v_xor_b32")]
    Native(some)
    (file,) = (tmp_path / "lower" / "emulator").glob("*.o")
    monkeypatch.setattr(machine_code, "emitted", lambda text: pytest.fail("compiled again"))
    made = Native(some)
    assert made.bind(some[0]) is not None
    file.write_bytes(b"")
    monkeypatch.undo()


def test_a_cache_that_cannot_be_written_is_no_mistake(tmp_path, monkeypatch, instructions):
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    assert Native(instructions[:1]).forms is not None


ACCESSES = (
    "ds_write_b8 v2, v4", "ds_write_b16 v2, v4", "ds_write_b32 v2, v4 offset:4", "ds_write_b64 v2, v[4:5]",
    "ds_write_b96 v2, v[4:6]", "ds_write_b128 v2, v[4:7]", "ds_write2_b32 v2, v4, v6 offset0:1 offset1:3",
    "ds_write2_b64 v2, v[4:5], v[6:7] offset1:2", "ds_read_u8 v8, v2",
    "ds_read_u16 v8, v2", "ds_read_b32 v8, v2", "ds_read_b64 v[8:9], v2 offset:8", "ds_read_b96 v[8:10], v2",
    "ds_read_b128 v[8:11], v2", "ds_read2_b32 v[2:3], v2 offset1:5", "ds_read2_b64 v[8:11], v2 offset1:1",
    "ds_read2st64_b32 v[8:9], v2 offset1:1", "ds_read_b32 a5, v2", "ds_write_b32 v2, a5",
)  # fmt: skip
SIZE = 1024


@pytest.mark.parametrize("unit", [4, 1])
@pytest.mark.parametrize("aligned", [True, False])
def test_lds_accesses_are_those_of_arrays(aligned, unit):
    """Random accesses with barriers between some of them: the same memory, registers and kinds of findings."""
    code = [decode(each, 0, 256 * number) for number, each in enumerate(assemble(ACCESSES))]
    for seed in range(12):
        first, second = (accesses(code, seed, natively, aligned, unit) for natively in (False, True))
        for a, b in zip(first[:3], second[:3], strict=True):
            np.testing.assert_array_equal(a, b)
        assert first[3] == second[3]


def accesses(code, seed, natively, aligned, unit):
    """Memory, registers, who wrote, and the instructions that something was found at after each of 24 accesses."""
    rng = np.random.default_rng(seed)
    w = waves(4, np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1]))
    memory = Lds(SIZE, 2, Findings("warn", groups=np.arange(2)), True, unit)
    found: list[set[int]] = []
    for _ in range(24):
        one = code[rng.integers(len(code))]
        w.v[:12] = rng.integers(0, 2**32, (12, 4, 64), dtype=np.uint32)
        # stores overlap whole or not at all: which of two lanes of one instruction comes first is not defined
        w.v[2] = rng.integers(0, rng.integers(4, 600), (4, 64)) & (
            ~63 if "write" in one.name else ~15 if aligned else ~0
        )
        w.v[2] += np.where(rng.random((4, 64)) < 0.002, np.uint32(2000), np.uint32(0))
        w.put_lanes(EXEC, rng.random((4, 64)) < rng.choice([0.02, 0.5, 1.0]))
        if rng.random() < 0.3:
            memory.barrier(np.ones(2, bool))
        arrays = lds_steps.bind(one, lambda: memory)
        (native_lds.bind(one, lambda: memory, arrays) if natively else arrays)(w)
        found.append({address for _, address in memory.findings.found})
    assert memory.shadow is not None
    return memory.bytes_.copy(), w.v[:12].copy(), memory.shadow.writer.copy(), found
