"""The CUDA executor on a real device. Skips, with the reason, where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from gpu_states import MATMUL, SQUARES, VECTORS, lowered, source

from lowering import codegen
from lowering.core import Binary, Buffer
from lowering.targets import load
from lowering.targets.executor import DeviceError
from lowering.targets.nvidia import ptx
from lowering.targets.nvidia.runtime import Cuda

REASON = Cuda().unavailable()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(REASON is not None, reason=str(REASON))]


def built(name: str) -> Binary:
    arguments = {"matmul_gpu": MATMUL, "two_kernels": VECTORS, "tma_copy": SQUARES}[name]
    return codegen.build(lowered(source(name), "sm_90"), arguments, load("sm_90"))


def result(binary: Binary, inputs: list[np.ndarray], shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """The output of one run, poisoned with NaN before it."""
    with Cuda().load(binary) as program:
        pointers = [program.allocate(a.nbytes) for a in inputs]
        for pointer, array in zip(pointers, inputs, strict=True):
            program.write(pointer, array)
        out = np.full(shape, np.nan, dtype)
        pointers.append(program.allocate(out.nbytes))
        program.write(pointers[-1], out)
        program.run(pointers)
        return np.frombuffer(program.read(pointers[-1], out.nbytes), dtype).reshape(shape)


def integers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-3, 4, shape).astype(np.float32)


def test_a_matmul_is_exact() -> None:
    a, b = integers(64, 64), integers(64, 64)
    assert np.array_equal(result(built("matmul_gpu"), [a, b], (64, 64), np.float32), a @ b)


def test_ptx_is_compiled_by_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ptx, "ptxas", lambda: None)
    a, b = integers(64, 64), integers(64, 64)
    binary = built("matmul_gpu")
    assert binary.format == "ptx"
    assert np.array_equal(result(binary, [a, b], (64, 64), np.float32), a @ b)
    with pytest.raises(DeviceError, match=r"INVALID_PTX.*line \d+"):
        Cuda().load(replace(binary, image=binary.image.replace(b"ld.param", b"ld.parm")))


def test_two_kernels_share_a_workspace_that_is_zeroed_before_every_run() -> None:
    a, binary = integers(64), built("two_kernels")
    with Cuda().load(binary) as program:
        pointers = [program.allocate(256), program.allocate(256)]
        program.write(pointers[0], a)
        for _ in range(3):
            program.run(pointers)
            assert np.array_equal(np.frombuffer(program.read(pointers[1], 256), np.float32), 2 * a + 1)


def test_a_tensor_map_and_a_cluster() -> None:
    a = np.arange(128 * 128, dtype=np.float32).reshape(128, 128).astype(np.float16)
    assert np.array_equal(result(built("tma_copy"), [a], (128, 128), np.float16), a)


def test_times_are_of_the_device_and_the_pointer_sets_rotate() -> None:
    with Cuda().load(built("matmul_gpu")) as program:
        sets = [[program.allocate(64 * 64 * 4) for _ in range(3)] for _ in range(2)]
        for a, b, out in sets:
            program.write(a, np.eye(64, dtype=np.float32))
            program.write(b, integers(64, 64))
            program.write(out, np.full((64, 64), np.nan, np.float32))
        times = program.time(sets, 10)
        assert len(times) == 10
        assert all(1e-7 < t < 1e-2 for t in times)
        for _, _, out in sets:
            assert np.array_equal(np.frombuffer(program.read(out, 64 * 64 * 4), np.float32), integers(64, 64).ravel())


def test_a_fault_is_sticky_and_named() -> None:
    """In a process of its own: the context is lost after it."""
    if os.environ.get("LOWER_FAULT") != "1":
        node = f"{__file__}::test_a_fault_is_sticky_and_named"
        command = [sys.executable, "-P", "-m", "pytest", "-m", "gpu", "-o", "addopts=", node]
        done = subprocess.run(
            command, env={**os.environ, "LOWER_FAULT": "1"}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout
        return
    binary = built("matmul_gpu")
    (launch,) = binary.launches
    wild = replace(launch, args=(Buffer(2, 1 << 44), *launch.args[1:]))
    with Cuda().load(replace(binary, launches=(wild,))) as program, pytest.raises(DeviceError) as caught:
        program.run([program.allocate(64 * 64 * 4) for _ in range(3)])
    assert (caught.value.reason, caught.value.sticky) == ("CUDA_ERROR_ILLEGAL_ADDRESS", True)


def test_a_run_comes_after_what_was_written_before_it() -> None:
    """The poison of an output must not land on what the kernel wrote: copies and launches are on one stream."""
    a, b = integers(64, 64), integers(64, 64)
    poison, wanted = np.full((64, 64), np.nan, np.float32), (a @ b).tobytes()
    with Cuda().load(built("matmul_gpu")) as program:
        pointers = [program.allocate(a.nbytes) for _ in range(3)]
        for _ in range(500):
            for pointer, array in zip(pointers, (a, b, poison), strict=True):
                program.write(pointer, array)
            program.run(pointers)
            assert program.read(pointers[2], poison.nbytes) == wanted
