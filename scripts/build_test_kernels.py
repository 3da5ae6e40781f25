"""Builds tests/kernels: code objects of compilers that are not ours, which the emulator's tests run.

    pip install 'triton==3.9.0' 'iree-base-compiler==3.13.0' numpy
    python scripts/build_test_kernels.py

No GPU is needed. `kernels.json` says how each is launched, and what it computes; versions of the compilers included.
"""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ["TRITON_DISABLE_LINE_INFO"] = "1"  # no paths in the code objects
FOLDER = Path(__file__).parent.parent / "tests" / "kernels"


def buffer(role, dtype, *shape):
    """A buffer argument: `in` or `out`."""
    return {"kind": role, "dtype": dtype, "shape": list(shape)}


def scalar(kind, value):
    """A scalar argument."""
    return {"kind": kind, "value": value}


@dataclass(frozen=True)
class TritonKernel:
    """A Triton function for some types and constants, and the launch of it that the tests make."""

    name: str
    function: Any
    signature: dict[str, str]
    constants: dict[str, Any]
    grid: tuple[int, int, int]
    arguments: list[dict[str, Any]]
    computes: str
    options: dict[str, Any] = field(default_factory=dict)


def triton_kernels():
    """All of them."""
    import test_kernels_triton as source

    f32 = "float32"
    yield TritonKernel(
        "add_f32", source.add, {"a": "*fp32", "b": "*fp32", "c": "*fp32", "n": "i32"}, {"BLOCK": 256}, (4, 1, 1),
        [buffer("in", f32, 1000), buffer("in", f32, 1000), buffer("out", f32, 1000), scalar("i32", 1000)], "add",
    )  # fmt: skip
    yield from map(triton_matmul, matmuls())
    yield TritonKernel(
        "softmax_f32", source.softmax, {"x": "*fp32", "y": "*fp32", "columns": "i32"}, {"BLOCK": 256}, (5, 1, 1),
        [buffer("in", f32, 5, 200), buffer("out", f32, 5, 200), scalar("i32", 200)], "softmax",
    )  # fmt: skip
    names = {"x": "*fp32", "weight": "*fp32", "bias": "*fp32", "y": "*fp32", "columns": "i32", "eps": "fp32"}
    rows, row = buffer("in", f32, 6, 200), buffer("in", f32, 200)
    arguments = [rows, row, row, buffer("out", f32, 6, 200), scalar("i32", 200), scalar("f32", 1e-5)]
    yield TritonKernel("layer_norm_f32", source.layer_norm, names, {"BLOCK": 256}, (6, 1, 1), arguments, "layer_norm")
    names = {"q": "*fp16", "k": "*fp16", "v": "*fp16", "out": "*fp16", "scale": "fp32"}
    head = [buffer("in", "float16", 128, 64)] * 3
    yield TritonKernel(
        "attention_f16", source.attention, names, {"N": 128, "D": 64, "BM": 64, "BN": 32}, (2, 1, 1),
        [*head, buffer("out", "float16", 128, 64), scalar("f32", 0.125)], "attention",
    )  # fmt: skip
    yield TritonKernel(
        "histogram_i32", source.histogram, {"x": "*i32", "counts": "*i32", "n": "i32"}, {"BLOCK": 256}, (4, 1, 1),
        [buffer("in", "int32", 1000), buffer("inout", "int32", 16), scalar("i32", 1000)], "histogram",
    )  # fmt: skip


def triton_matmul(row):
    """A matrix product for a row of `matmuls`."""
    import test_kernels_triton as source

    name, kind, out, total, (m, n, k), (bm, bn, bk), options = row
    pointers = {"a": f"*{TRITON[kind]}", "b": f"*{TRITON[kind]}", "c": f"*{TRITON[out]}"}
    precision = "tf32" if "xf32" in name else "ieee"  # Triton's tf32 is xf32 here
    constants = {"KIND": total, "PRECISION": precision, "BM": bm, "BN": bn, "BK": bk}
    buffers = [buffer("in", kind, m, k), buffer("in", kind, k, n), buffer("out", out, m, n)]
    return TritonKernel(
        name, source.matmul, pointers | dict.fromkeys("mnk", "i32"), constants, (-(-m // bm), -(-n // bn), 1),
        buffers + [scalar("i32", size) for size in (m, n, k)], "matmul", options,
    )  # fmt: skip


TRITON = {
    "float16": "fp16", "bfloat16": "bf16", "float32": "fp32", "int8": "i8", "int32": "i32",
    "float8_e4m3fnuz": "fp8e4b8", "float8_e5m2fnuz": "fp8e5b16",
}  # fmt: skip


def matmuls():
    """Kinds, sizes, tiles and options."""
    import triton.language as tl

    f32, i32 = tl.float32, tl.int32
    even, odd, tiles = (128, 128, 64), (70, 50, 33), (64, 64, 32)
    yield "matmul_f16_16", "float16", "float32", f32, even, tiles, {"matrix_instr_nonkdim": 16}
    yield "matmul_f16_32", "float16", "float16", f32, even, tiles, {"matrix_instr_nonkdim": 32}
    yield "matmul_f16_odd", "float16", "float32", f32, odd, tiles, {}
    yield "matmul_f16_staged", "float16", "float32", f32, (128, 128, 128), tiles, {"num_stages": 2}
    yield "matmul_f16_large", "float16", "float32", f32, (256, 256, 128), (128, 128, 64), {"num_stages": 2}
    yield "matmul_bf16", "bfloat16", "float32", f32, even, tiles, {}
    yield "matmul_bf16_out", "bfloat16", "bfloat16", f32, odd, tiles, {}
    yield "matmul_f32", "float32", "float32", f32, odd, (32, 32, 32), {}
    yield "matmul_xf32", "float32", "float32", f32, odd, (32, 32, 32), {}
    yield "matmul_i8", "int8", "int32", i32, even, tiles, {}
    yield "matmul_fp8", "float8_e4m3fnuz", "float32", f32, even, tiles, {}
    yield "matmul_bf8", "float8_e5m2fnuz", "float32", f32, odd, tiles, {}


def build_triton():
    """Compiles the Triton kernels."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    version = f"triton {importlib.metadata.version('triton')}"
    for each in triton_kernels():
        signature = each.signature | dict.fromkeys(each.constants, "constexpr")
        places = {(each.function.arg_names.index(name),): value for name, value in each.constants.items()}
        source = ASTSource(each.function, signature, places)
        options = {"num_warps": 4, **each.options}
        made = triton.compile(source, target=GPUTarget("hip", "gfx942", 64), options=options)
        file = f"triton_{each.name}.hsaco"
        (FOLDER / file).write_bytes(made.asm["hsaco"])
        hidden = [{"kind": "null"}] * 2  # scratch memories that are not used
        yield {
            "file": file, "kernel": made.metadata.name, "compiler": version, "grid": list(each.grid),
            "block": [64 * made.metadata.num_warps, 1, 1], "lds": made.metadata.shared,
            "arguments": each.arguments + hidden, "function": each.computes,
        }  # fmt: skip


IREE_MATMUL = """
func.func @{name}(%a: tensor<{m}x{k}x{kind}>, %b: tensor<{k}x{n}x{kind}>) -> tensor<{m}x{n}x{out}> {{
  %zero = arith.constant {zero} : {out}
  %empty = tensor.empty() : tensor<{m}x{n}x{out}>
  %start = linalg.fill ins(%zero : {out}) outs(%empty : tensor<{m}x{n}x{out}>) -> tensor<{m}x{n}x{out}>
  %c = linalg.matmul ins(%a, %b : tensor<{m}x{k}x{kind}>, tensor<{k}x{n}x{kind}>)
    outs(%start : tensor<{m}x{n}x{out}>) -> tensor<{m}x{n}x{out}>
  return %c : tensor<{m}x{n}x{out}>
}}
"""
IREE_SOFTMAX = """
func.func @softmax(%x: tensor<16x256xf32>) -> tensor<16x256xf32> {
  %empty = tensor.empty() : tensor<16x256xf32>
  %y = linalg.softmax dimension(1) ins(%x : tensor<16x256xf32>) outs(%empty : tensor<16x256xf32>) -> tensor<16x256xf32>
  return %y : tensor<16x256xf32>
}
"""
IREE = {
    "matmul_f16": ("f16", "f32", 128, 128, 128),
    "matmul_bf16": ("bf16", "f32", 128, 256, 64),
    "matmul_f32": ("f32", "f32", 64, 64, 32),
    "matmul_i8": ("i8", "i32", 128, 128, 64),
    "matmul_f16_odd": ("f16", "f32", 130, 66, 40),
}
NUMPY = {"f16": "float16", "bf16": "bfloat16", "f32": "float32", "i8": "int8", "i32": "int32"}


def build_iree():
    """Compiles the IREE programs; each has one dispatch."""
    version = f"iree {importlib.metadata.version('iree-base-compiler')}"
    for name, (kind, out, m, n, k) in IREE.items():
        text = IREE_MATMUL.format(name=name, kind=kind, out=out, m=m, n=n, k=k, zero="0" if out == "i32" else "0.0")
        arguments = [buffer("in", NUMPY[kind], m, k), buffer("in", NUMPY[kind], k, n), buffer("out", NUMPY[out], m, n)]
        yield from iree(name, text, arguments, version, "matmul")
    arguments = [buffer("in", "float32", 16, 256), buffer("out", "float32", 16, 256)]
    yield from iree("softmax", IREE_SOFTMAX, arguments, version, "softmax")


def iree(name, text, arguments, version, function):
    """One program: the code object and the launch that the compiler wrote down for it."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, f"{name}.mlir")
        source.write_text(text)
        command = [
            str(Path(sys.executable).parent / "iree-compile"), str(source), "--iree-hal-target-device=hip",
            "--iree-rocm-target=gfx942", f"--iree-hal-dump-executable-binaries-to={folder}/b",
            "-o", f"{folder}/x.vmfb", "--mlir-print-ir-after=iree-hal-translate-all-executables",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{name}: {done.stderr[-3000:]}")
        binary = next(each for each in Path(folder, "b").iterdir() if each.suffix == ".hsaco")
        (FOLDER / f"iree_{name}.hsaco").write_bytes(binary.read_bytes())
        counts = re.search(r"hal.return %c(\d+)\w*, %c(\d+)\w*, %c(\d+)\w* : index, index, index", done.stderr)
        sizes = re.search(r"workgroup_size = \[(\d+) : index, (\d+) : index, (\d+) : index\]", done.stderr)
        yield {
            "file": f"iree_{name}.hsaco", "kernel": None, "compiler": version,
            "grid": [int(n) for n in counts.groups()], "block": [int(n) for n in sizes.groups()], "lds": 0,
            "arguments": arguments, "function": function,
        }  # fmt: skip


def main():
    """Builds all."""
    FOLDER.mkdir(exist_ok=True)
    sys.path.insert(0, str(Path(__file__).parent))
    made = [*build_triton(), *build_iree()]
    (FOLDER / "kernels.json").write_text(json.dumps(made, indent=1) + "\n")
    print(f"{len(made)} kernels in {FOLDER}")


if __name__ == "__main__":
    main()
