"""Versions of what a result depends on: no record is comparable without them."""

from __future__ import annotations

import platform
from functools import cache
from importlib import metadata

from lowering import mlir

PACKAGES = (
    "torch-mlir", "mlir-python-bindings", "llvmlite", "numpy", "ziglang", "nvidia-cuda-nvcc", "cuda-bindings", "torch"
)  # fmt: skip


@cache
def versions() -> dict[str, str]:
    """Name -> version of the packages that are installed, of this project and of Python."""
    found = {"python": platform.python_version(), "mlir": mlir.PACKAGE}
    for name in ("lower", *PACKAGES):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
