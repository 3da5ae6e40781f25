"""Builds tests/kernels: code objects of compilers that are not ours, which the emulator's tests run.

    pip install 'triton==3.9.0' 'iree-base-compiler==3.13.0' numpy
    python scripts/build_test_kernels.py

No GPU is needed. `kernels.json` says how each is launched, and what it computes; versions of the compilers included.
"""

import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "tests" / "kernels"


def buffer(role, dtype, *shape):
    """A buffer argument: `in` or `out`."""
    return {"kind": role, "dtype": dtype, "shape": list(shape)}


def scalar(kind, value):
    """A scalar argument."""
    return {"kind": kind, "value": value}


def triton_kernels():
    """(name, function, signature, constants, options, grid, arguments, what it computes)."""
    import test_kernels_triton as source

    yield "add_f32", source.add, {"a": "*fp32", "b": "*fp32", "c": "*fp32", "n": "i32"}, {"BLOCK": 256}, {}, (4, 1, 1), [
        buffer("in", "float32", 1000), buffer("in", "float32", 1000), buffer("out", "float32", 1000), scalar("i32", 1000)
    ], {"function": "add"}  # fmt: skip
    for name, kind, out, total, sizes, blocks, options in MATMULS:
        m, n, k = sizes
        bm, bn, bk = blocks
        signature = {
            "a": f"*{TRITON[kind]}",
            "b": f"*{TRITON[kind]}",
            "c": f"*{TRITON[out]}",
            "m": "i32",
            "n": "i32",
            "k": "i32",
        }
        precision = "tf32" if "xf32" in name else "ieee"  # Triton's tf32 is xf32 here
        constants = {"KIND": total, "PRECISION": precision, "BM": bm, "BN": bn, "BK": bk}
        arguments = [
            buffer("in", kind, m, k), buffer("in", kind, k, n), buffer("out", out, m, n), scalar("i32", m),
            scalar("i32", n), scalar("i32", k),
        ]  # fmt: skip
        grid = (-(-m // bm), -(-n // bn), 1)
        yield name, source.matmul, signature, constants, options, grid, arguments, {"function": "matmul"}
    yield "softmax_f32", source.softmax, {"x": "*fp32", "y": "*fp32", "columns": "i32"}, {"BLOCK": 256}, {}, (5, 1, 1), [
        buffer("in", "float32", 5, 200), buffer("out", "float32", 5, 200), scalar("i32", 200)
    ], {"function": "softmax"}  # fmt: skip
    names = {"x": "*fp32", "weight": "*fp32", "bias": "*fp32", "y": "*fp32", "columns": "i32", "eps": "fp32"}
    yield "layer_norm_f32", source.layer_norm, names, {"BLOCK": 256}, {}, (6, 1, 1), [
        buffer("in", "float32", 6, 200), buffer("in", "float32", 200), buffer("in", "float32", 200),
        buffer("out", "float32", 6, 200), scalar("i32", 200), scalar("f32", 1e-5)
    ], {"function": "layer_norm"}  # fmt: skip
    names = {"q": "*fp16", "k": "*fp16", "v": "*fp16", "out": "*fp16", "scale": "fp32"}
    yield "attention_f16", source.attention, names, {"N": 128, "D": 64, "BM": 64, "BN": 32}, {}, (2, 1, 1), [
        *(buffer("in", "float16", 128, 64) for _ in range(3)), buffer("out", "float16", 128, 64), scalar("f32", 0.125)
    ], {"function": "attention"}  # fmt: skip
    yield "histogram_i32", source.histogram, {"x": "*i32", "counts": "*i32", "n": "i32"}, {"BLOCK": 256}, {}, (4, 1, 1), [
        buffer("in", "int32", 1000), buffer("inout", "int32", 16), scalar("i32", 1000)
    ], {"function": "histogram"}  # fmt: skip


TRITON = {
    "float16": "fp16", "bfloat16": "bf16", "float32": "fp32", "int8": "i8", "int32": "i32", "float8_e4m3fnuz": "fp8e4b8",
    "float8_e5m2fnuz": "fp8e5b16",
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

    global MATMULS
    MATMULS = list(matmuls())
    version = f"triton {importlib.metadata.version('triton')}"
    for name, function, signature, constants, options, grid, arguments, computes in triton_kernels():
        signature = signature | dict.fromkeys(constants, "constexpr")
        source = ASTSource(function, signature, {(function.arg_names.index(c),): v for c, v in constants.items()})
        made = triton.compile(source, target=GPUTarget("hip", "gfx942", 64), options={"num_warps": 4, **options})
        file = f"triton_{name}.hsaco"
        (FOLDER / file).write_bytes(made.asm["hsaco"])
        hidden = [{"kind": "null"}] * 2  # scratch memories that are not used
        yield {
            "file": file, "kernel": made.metadata.name, "compiler": version, "grid": list(grid),
            "block": [64 * made.metadata.num_warps, 1, 1], "lds": made.metadata.shared, "arguments": arguments + hidden,
            **computes,
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
            str(Path(sys.executable).parent / "iree-compile"), str(source), "--iree-hal-target-device=hip", "--iree-rocm-target=gfx942",
            f"--iree-hal-dump-executable-binaries-to={folder}/b", f"--iree-hal-dump-executable-files-to={folder}/f",
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
            "file": f"iree_{name}.hsaco", "kernel": None, "compiler": version, "grid": [int(n) for n in counts.groups()],
            "block": [int(n) for n in sizes.groups()], "lds": 0, "arguments": arguments, "function": function,
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
