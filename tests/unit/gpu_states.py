"""Final states of small GPU programs, for the tests of code generation and of the launch plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lowering import mlir
from lowering.core import Argument

DATA = Path(__file__).parent / "data"
CONVERT = {
    "gfx942": "convert-gpu-to-rocdl{{chipset=gfx942 use-bare-ptr-memref-call-conv=1 index-bitwidth={bits}}}",
    "sm_90": "convert-gpu-to-nvvm{{use-bare-ptr-memref-call-conv=1 index-bitwidth={bits}}},convert-nvvm-to-llvm",
}
MATMUL = tuple(
    Argument(name, role, (64, 64), "f32") for name, role in (("a", "input"), ("b", "input"), ("out", "output"))
)
VECTORS = (Argument("a", "input", (64,), "f32"), Argument("out", "output", (64,), "f32"))
SQUARES = (Argument("a", "input", (128, 128), "f16"), Argument("out", "output", (128, 128), "f16"))


def source(name: str) -> str:
    """The text of a state in `data/`, still in the gpu dialect."""
    return (DATA / f"{name}.mlir").read_text()


def lowered(text: str, chip: str, bits: int = 0) -> Any:
    """A module whose kernels are in the LLVM dialect, for a chip; `bits` is the index width (0: 64)."""
    module = mlir.parse(text)
    tma = "convert-nvgpu-to-nvvm," if chip == "sm_90" else ""
    mlir.run(
        module,
        f"gpu.module({tma}fold-memref-alias-ops,lower-affine,expand-strided-metadata,lower-affine,canonicalize,cse,"
        f"convert-scf-to-cf,convert-vector-to-llvm,{CONVERT[chip].format(bits=bits)},canonicalize,cse,"
        "reconcile-unrealized-casts)",
    )
    return module
