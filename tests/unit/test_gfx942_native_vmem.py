"""Global memory accesses as machine code against arrays: the same registers, memory, findings and written bytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from amdgcn import assemble

from lowering.targets.amdgpu.emulator import native_vmem, vmem
from lowering.targets.amdgpu.emulator.decode import decode
from lowering.targets.amdgpu.emulator.findings import EmulationError, Findings
from lowering.targets.amdgpu.emulator.lds import Lds
from lowering.targets.amdgpu.emulator.memory import Memory
from lowering.targets.amdgpu.emulator.waves import EXEC, waves

COUNT, SIZE = 2, 4096
LOADS = {"ubyte": 1, "sbyte": 1, "ushort": 1, "sshort": 1, "dword": 1, "dwordx2": 2, "dwordx3": 3, "dwordx4": 4,
         "ubyte_d16": 1, "ubyte_d16_hi": 1, "sbyte_d16": 1, "sbyte_d16_hi": 1, "short_d16": 1,
         "short_d16_hi": 1}  # fmt: skip
STORES = {"byte": 1, "short": 1, "dword": 1, "dwordx2": 2, "dwordx3": 3, "dwordx4": 4, "byte_d16_hi": 1,
          "short_d16_hi": 1}  # fmt: skip
NAMES = [*(f"load_{name}" for name in LOADS), *(f"store_{name}" for name in STORES)]
WAYS = ("pair", "scalar", "offen", "scalar offset", "constant")


def line(name: str, way: str) -> str:
    """An access to v[20:..] with its address in v[2:3], s[8:9], or the resource s[4:7]."""
    count = {**LOADS, **STORES}[name.partition("_")[2]]
    data = f"v[20:{19 + count}]" if count > 1 else "v20"
    if way in ("pair", "scalar"):
        address, base = ("v[2:3]", "off") if way == "pair" else ("v2", "s[8:9]")
        parts = (data, address, base) if name.startswith("load") else (address, data, base)
        return f"global_{name} {', '.join(parts)} offset:-8"
    tail = {"offen": "v2, s[4:7], 0 offen offset:16", "scalar offset": "v2, s[4:7], s12 offen"}
    return f"buffer_{name} {data}, {tail.get(way, 'off, s[4:7], 4 offset:32')}"


class Bench:
    """Two buffers with a gap between, waves, and a machine; the same for the same seed."""

    def __init__(self, seed: int, way: str, full: bool) -> None:
        rng = np.random.default_rng(seed)
        self.memory = Memory()
        self.places = [self.memory.allocate(SIZE, name) for name in ("first", "second")]
        self.memory.bytes_[:] = rng.integers(0, 256, self.memory.bytes_.size)
        self.memory.track()
        self.findings = Findings("warn", groups=np.arange(COUNT))
        self.machine = vmem.Machine(self.memory, Lds(16, COUNT, self.findings, False), self.findings)
        self.w = waves(COUNT, np.arange(COUNT), np.zeros(COUNT, np.int64))
        self.w.v[:40] = rng.integers(0, 2**32, (40, COUNT, 64), dtype=np.uint32)
        self.w.put_lanes(EXEC, np.ones((COUNT, 64), bool) if full else rng.random((COUNT, 64)) < 0.6)
        # lanes of a store must not overlap: which comes first is defined, but here is about addresses
        lanes = (16 * rng.permutation(COUNT * 64).reshape(COUNT, 64)).astype(np.uint64)
        if way == "pair":
            at = lanes + np.uint64(self.places[1] + 8)
            at[:, ::2] -= np.uint64(self.places[1] - self.places[0])  # both buffers in one instruction
            self.w.v[2], self.w.v[3] = at & np.uint64(0xFFFFFFFF), at >> np.uint64(32)
        else:
            self.w.v[2] = lanes + 8
        base = self.places[0]
        self.w.s[8], self.w.s[9] = base & 0xFFFFFFFF, base >> 32
        self.w.s[4], self.w.s[5], self.w.s[6], self.w.s[7] = base & 0xFFFFFFFF, base >> 32, SIZE, 0x27000
        self.w.s[12] = np.array([64, 128], np.uint32)

    def run(self, one, natively: bool) -> bool:
        """Whether machine code did it."""
        arrays, went = vmem.bind(one, lambda: self.machine), []

        def noted(w) -> None:
            went.append(1)
            arrays(w)

        step = native_vmem.bind(one, lambda: self.machine, noted) if natively else arrays
        step(self.w)
        return natively and not went

    def same(self, other: Bench) -> None:
        """Compares all that an access may change."""
        np.testing.assert_array_equal(self.w.v, other.w.v)
        np.testing.assert_array_equal(self.memory.bytes_, other.memory.bytes_)
        np.testing.assert_array_equal(self.memory.written, other.memory.written)
        assert [str(each) for each in self.findings.found.values()] == [
            str(each) for each in other.findings.found.values()
        ]


@pytest.fixture(scope="module")
def code():
    """All accesses, decoded."""
    keys = [(name, way) for name in NAMES for way in WAYS]
    return {key: decode(word, 0) for key, word in zip(keys, assemble([line(*key) for key in keys]), strict=True)}


@pytest.mark.parametrize("full", [True, False], ids=["all lanes", "some lanes"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_accesses_are_those_of_arrays(name, way, full, code):
    first, second = (Bench(3, way, full) for _ in range(2))
    before = first.w.v.copy(), first.memory.bytes_.copy()
    first.run(code[name, way], False)
    assert second.run(code[name, way], True)
    second.same(first)
    changed = first.w.v != before[0] if name.startswith("load") else first.memory.bytes_ != before[1]
    assert changed.any()
    assert not first.findings.found


@pytest.mark.parametrize("way", ["offen", "scalar offset"])
@pytest.mark.parametrize("records", [0, 100, 1000, 1024])
@pytest.mark.parametrize("name", ["load_dword", "store_dword", "load_dwordx4", "store_dwordx4", "load_ubyte_d16"])
def test_what_a_resource_excludes(name, way, records, code):
    first, second = (Bench(4, way, True) for _ in range(2))
    for each in (first, second):
        each.w.s[6] = records
    first.run(code[name, way], False)
    second.run(code[name, way], True)
    second.same(first)


@pytest.mark.parametrize("natively", [True, False])
@pytest.mark.parametrize("name", ["load_dwordx4", "store_dwordx4", "store_byte"])
def test_a_lane_out_of_its_buffer_is_a_fault(name, natively, code):
    for address in (0, 5, 2**63, 2**64 - 1, 2**64 - 2):
        first, second = (Bench(5, "pair", True) for _ in range(2))
        for each in (first, second):
            each.w.v[2, 1, 9], each.w.v[3, 1, 9] = address & 0xFFFFFFFF, address >> 32
        first.run(code[name, "pair"], False)
        assert not second.run(code[name, "pair"], True)
        second.same(first)
        assert len(first.findings.found) == 1
    bench = Bench(5, "pair", True)
    bench.findings.on_fault = "error"
    nbytes = {"load_dwordx4": 16, "store_dwordx4": 16, "store_byte": 1}[name]
    end = bench.places[0] + SIZE + 8 - nbytes
    bench.w.v[2, 0, 3], bench.w.v[3, 0, 3] = end & 0xFFFFFFFF, end >> 32
    bench.run(code[name, "pair"], natively)  # the last place there is
    bench.w.v[2, 0, 3] += 1
    with pytest.raises(EmulationError, match="out of bounds"):
        bench.run(code[name, "pair"], natively)


def test_a_load_into_its_address(code):
    (word,) = assemble(["global_load_dwordx4 v[2:5], v[2:3], off"])
    first, second = (Bench(6, "pair", True) for _ in range(2))
    first.run(decode(word, 0), False)
    assert second.run(decode(word, 0), True)
    second.same(first)


def test_lanes_at_one_place_leave_the_last(code):
    benches = [Bench(7, "scalar", True) for _ in range(2)]
    for natively, bench in enumerate(benches):
        bench.w.v[2] = 8
        bench.run(code["store_dword", "scalar"], bool(natively))
    benches[1].same(benches[0])


@pytest.mark.parametrize(
    "text", ["buffer_load_dword v20, v2, s[4:7], 0 idxen", "global_load_lds_dword v[2:3], off",
             "scratch_load_dword v20, off, s3", "flat_load_dword v20, v[2:3]", "global_atomic_add v2, v20, s[8:9]"]
)  # fmt: skip
def test_what_arrays_must_do(text):
    (word,) = assemble([text])
    one = decode(word, 0)
    made = vmem.bind(one, lambda: pytest.fail("not run"))
    assert native_vmem.bind(one, lambda: pytest.fail("not run"), made) is made


@pytest.mark.parametrize("natively", [True, False])
def test_what_may_only_be_read_is_not_written(natively, code):
    bench = Bench(8, "scalar", True)
    first, *others = bench.memory.regions
    bench.memory.regions[:] = [replace(first, writable=False), *others]
    bench.run(code["load_dword", "scalar"], natively)
    assert not bench.findings.found
    before = bench.memory.bytes_.copy()
    bench.run(code["store_dword", "scalar"], natively)
    (found,) = bench.findings.found.values()
    assert "of first of 4096 bytes, which is read-only" in str(found)
    np.testing.assert_array_equal(bench.memory.bytes_, before)
