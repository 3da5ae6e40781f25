"""The emulator as the executor of a family, and its commands."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_library import kernels

from lowering import partial, problem, targets, verify
from lowering.bounds import arithmetic_of
from lowering.candidate import Job, evaluate
from lowering.core import Schedule
from lowering.lower import lower
from lowering.passes import pipeline
from lowering.targets.amdgpu.emulated import Emulated, sample
from lowering.targets.amdgpu.emulator.emulator import EmulationError, Emulator, ImageError, Options
from lowering.targets.amdgpu.emulator.image import load
from lowering.targets.families import FAMILIES

CHIP = targets.load("gfx942")
SPACE = FAMILIES["amdgpu"].space
KERNEL = next(each for each in kernels() if each.name == "triton_add_f32")


def schedule(of, **knobs) -> Schedule:
    return SPACE.schedule(knobs, of, CHIP)


@pytest.mark.parametrize(("sizes", "dtype"), [((33, 20, 17), "f32"), ((48, 64, 32), "f16"), ((20, 30, 9), "i8")])
def test_the_default_schedule_is_verified(tmp_path, sizes, dtype):
    small = problem.from_shape(*sizes, dtype)
    found = evaluate(Job(small, None, CHIP, str(schedule(small)), tmp_path, executor="emulator"), lambda _: None)
    assert (found.words, found.word, found.timing) == ("verified (full)", "emulated", None)
    assert any(check.name.startswith("faults and races") for check in found.checks)


FOUR_WAVES = {"block_m": 64, "block_n": 64, "thread_m": 4, "thread_n": 4}


def test_a_missing_barrier_is_a_wrong_verdict(tmp_path):
    small = problem.from_shape(64, 64, 32, "f32")
    text = str(schedule(small, **FOUR_WAVES)).replace("lower-contraction", "test-drop-barrier,lower-contraction")
    found = evaluate(Job(small, None, CHIP, text, tmp_path), lambda _: None)
    assert found.failure is not None
    assert found.words.startswith("WRONG: faults and races, integers, seed 0: race: a ")
    assert "with no barrier between; at 0x" in found.words


def test_a_sample_of_workgroups_is_compared_element_for_element(monkeypatch):
    monkeypatch.setattr(partial, "WORK", 2**15)
    large = problem.from_shape(96, 80, 64, "f32")
    built = lower(large, schedule(large, block_m=16, block_n=16, thread_m=4, thread_n=4), CHIP).outcome
    with Emulated().load(built) as program:
        assert partial.suits(large, program)
        found, words = partial.verify_some(large, program, arithmetic_of(CHIP), 0)
        assert all(check.ok for check in found), found
        assert words == "8 of 30 workgroups"
        assert verify.verdict(found[:1], found, words).words == "verified (witness, 8 of 30 workgroups)"
        program.emulator.memory.write = damaging(program)
        broken, _ = partial.verify_some(large, program, arithmetic_of(CHIP), 0)
        assert not all(check.ok for check in broken)


def damaging(program):
    """Memory whose input A is changed behind the checker's back."""
    write = type(program.emulator.memory).write

    def changed(address, data):
        written = np.frombuffer(data, np.uint8).copy()
        written[4096 + 3 : 4096 + 4096 : 4] ^= 0x40
        write(program.emulator.memory, address, written.tobytes())

    return changed


def test_the_sample_has_the_corners():
    assert set(sample((5, 7, 1), 0.3, 0)) >= {0, 4, 30, 34}
    assert len(sample((5, 7, 1), 0.3, 0)) == 10
    assert sample((2, 1, 1), 0.1, 0) == (0, 1)
    assert sample((100, 1, 1), 0.1, 1) != sample((100, 1, 1), 0.1, 2)


def test_bisect_names_the_barrier(tmp_path):
    text = str(schedule(problem.from_shape(64, 64, 32, "f32"), **FOUR_WAVES))
    (tmp_path / "bad.txt").write_text(text.replace("lower-contraction", "test-drop-barrier,lower-contraction"))
    words = [
        "bisect",
        "--target",
        "gfx942",
        "--shape",
        "64x64x32",
        "--dtype",
        "f32",
        "--schedule",
        "bad.txt",
        "--no-reduce",
    ]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "lowering.cli", *words], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert "each of these makes the binary right: step 16, test-drop-barrier" in done.stdout, done.stdout
    assert "race: " in done.stdout


def command(folder, *words):
    """A finished command of lower."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "lowering.cli", *words], capture_output=True, text=True, cwd=folder, check=False
    )


@pytest.fixture
def folder(tmp_path):
    """A code object beside its inputs."""
    (tmp_path / "k.hsaco").write_bytes(KERNEL.image)
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", np.arange(1000, dtype=np.float32))
    return tmp_path


ADD = ("emulate", "k.hsaco", "--block", "256", "--arg", "in:a.npy", "--arg", "in:b.npy", "--arg", "out:c.npy:1000xf32",
       "--arg", "i32:1000", "--arg", "null", "--arg", "null")  # fmt: skip


def test_emulate_writes_the_output_and_says_what_ran(folder):
    done = command(folder, *ADD, "--grid", "4", "--strict", "--stats")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("emulated  kernel 'add', 4 of 4 workgroups of 256x1x1, ")
    assert "wrote     c.npy (1000, float32)" in done.stdout
    assert "occupancy: 8 waves a SIMD" in done.stdout
    np.testing.assert_array_equal(np.load(folder / "c.npy"), 2 * np.arange(1000, dtype=np.float32))


def test_emulate_finds_a_partial_grid(folder):
    done = command(folder, *ADD, "--grid", "3", "--strict")
    assert done.returncode == 1
    assert "found     unwritten output: 232 of 1000 elements of argument 2, first [768]" in done.stdout
    assert command(folder, *ADD, "--grid", "3").returncode == 0


def test_emulate_names_a_fault(folder):
    words = [word.replace("i32:1000", "i32:1001") for word in ADD]
    done = command(folder, *words, "--grid", "4")
    assert done.returncode == 1
    assert "emulated: FAULT: out of bounds: address 0x" in done.stdout
    assert "past the end of argument" in done.stdout
    assert "kept      c.npy as it was: the kernel did not end, nothing was written" in done.stdout
    assert not (folder / "c.npy").exists()


def test_emulate_counts_the_faults_that_it_lives_with(folder):
    words = [word.replace("i32:1000", "i32:1001") for word in ADD]
    done = command(folder, *words, "--grid", "4", "--on-fault", "zero", "--strict")
    assert done.returncode == 1
    assert "found     3 accesses of lanes that are faults (--on-fault warn tells which)" in done.stdout
    assert command(folder, *words, "--grid", "4", "--on-fault", "zero").returncode == 0


def test_emulate_does_not_let_an_input_be_written(folder):
    np.save(folder / "c.npy", np.zeros(1000, np.float32))
    words = [word.replace("out:c.npy:1000xf32", "in:c.npy") for word in ADD]
    done = command(folder, *words, "--grid", "4")
    assert done.returncode == 1
    assert "byte 0 of argument 2 of 4000 bytes, which is read-only" in done.stdout


def test_emulate_writes_under_the_very_name(folder):
    words = [word.replace("c.npy", "result") for word in ADD]
    assert "wrote     result (1000, float32)" in command(folder, *words, "--grid", "4").stdout
    assert np.load(folder / "result").shape == (1000,)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros(4, ">f4"), "elements of type >f4, big-endian"),
        (np.zeros(4, complex), "elements of type complex128"),
        (np.array(["a"]), "elements of type <U1"),
        (np.array([None]), "no .npy file of numbers"),
    ],
)
def test_emulate_takes_numbers_as_the_device_has_them(folder, array, words):
    np.save(folder / "a.npy", array, allow_pickle=True)
    done = command(folder, *ADD, "--grid", "4")
    assert done.returncode == 2
    assert f"error: --arg in:a.npy: {words}" in done.stderr


def test_emulate_writes_no_file_twice(folder):
    words = [word.replace("out:c.npy:1000xf32", "inout:a.npy") for word in ADD]
    done = command(folder, *words, "--grid", "4")
    assert done.returncode == 2
    assert "two arguments are of a.npy, and one is written: inout: is a buffer that is both" in done.stderr


def test_emulate_names_the_seed_of_a_random_order(folder):
    assert "waves in random order, seed 0, " in command(folder, *ADD, "--grid", "4", "--wave-order", "random").stdout


def test_emulate_traces_a_wave(folder):
    done = command(folder, *ADD, "--grid", "1", "--trace", "2")
    rows = [line for line in done.stdout.splitlines() if line.endswith("[64 lanes]")]
    assert "s_endpgm" in rows[-1]
    assert len(rows) > 15
    none = command(folder, *ADD, "--grid", "1", "--trace", "4")
    assert "--trace 4: a workgroup of 256 work-items has waves 0 to 3" in none.stderr


def test_disasm_shows_arguments_and_instructions(folder):
    done = command(folder, "disasm", "k.hsaco")
    assert "kernel add" in done.stdout
    assert "     0 global_buffer, 8 bytes" in done.stdout
    assert done.stdout.rstrip().endswith("s_endpgm")


# --- damaged files ---------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_files_are_errors_in_words(data):
    image = bytearray(KERNEL.image)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(image) - 1) | st.integers(0, 1023))
        image[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.none() | st.integers(0, len(image)))
    with suppress(ImageError):  # and nothing else
        assert load(bytes(image[:cut])).kernels


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_code_ends_in_words(data):
    good = load(KERNEL.image).kernel("add").descriptor
    image = bytearray(KERNEL.image)
    start = KERNEL.image.find(load(KERNEL.image).code[good.entry : good.entry + 512])
    for _ in range(data.draw(st.integers(1, 4))):
        image[start + data.draw(st.integers(0, 511))] = data.draw(st.integers(0, 255))
    values = KERNEL.values(integers=True)
    with suppress(EmulationError, ImageError):  # and nothing else
        Emulator(bytes(image)).launch(
            "add",
            (1, 1, 1),
            (256, 1, 1),
            values,
            options=Options(max_instructions=5000, engine="numpy", on_fault="zero"),
        )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda image: image[:100], "a damaged or truncated ELF file"),
        (lambda image: image[:18] + b"\x3e\x00" + image[20:], "an ELF file for EM_X86_64, expected AMD GPU"),
        (lambda image: image[:48] + b"\x4f" + image[49:], "code for gfx950; the emulator runs gfx942"),
        (lambda image: image[:8] + b"\x09" + image[9:], "code object ABI number 9; known are versions 4, 5, 6"),
        (lambda image: image[:16] + b"\x01\x00" + image[18:], "not linked: link it with `ld.lld -shared` first"),
        (lambda image: b"MZ" + image[2:], "no ELF file: it begins with 4d 5a 4c 46"),
        (lambda image: image.replace(b"add.kd", b"ade.kd", 1), r"kernel .* has no kernel|the file has no symbol"),
    ],
)
def test_what_is_no_gfx942_code_object_says_what_it_is(change, words):
    with pytest.raises(ImageError, match=words):
        load(change(KERNEL.image)).kernel("add")


def test_a_schedule_reads_back():
    assert pipeline.parse("test-drop-barrier").passes[0].name == "test-drop-barrier"
