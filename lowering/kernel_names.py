"""What the kernels of a state's gpu.modules are called in its one image."""

from __future__ import annotations

from typing import Any

from lowering import mlir


def flat_names(module: Any) -> dict[str, str]:
    """What each symbol of the gpu.modules is called in the one image: its name, with its module's before it if taken.

    Outlining calls every kernel of `@main` `main_kernel`, each in a module of its own.
    """
    names: dict[str, str] = {}
    for symbol in symbols(module):
        prefix, name = symbol.removeprefix("@").split("::@")
        names[symbol] = f"{prefix}_{name}" if name in names.values() else name
    return names


def symbols(module: Any) -> dict[str, Any]:
    """The functions and globals of a state's gpu.modules by symbol, as in `@module::@kernel`."""
    found: dict[str, Any] = {}
    for kernels in mlir.walk(module, lambda op: op.name == "gpu.module"):
        prefix = kernels.attributes["sym_name"].value
        for op in kernels.regions[0].blocks[0].operations:
            if "sym_name" in op.operation.attributes:
                found[f"@{prefix}::@{op.operation.attributes['sym_name'].value}"] = op.operation
    return found
