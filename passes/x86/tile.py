"""The tiling step that the x86 tile passes share: tile one contraction, and mark the loops with their roles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowering import find, mlir
from lowering.passes.x86.kernel import Kernel

MARK = "lower.tiled"


def tile(module: Any, kernel: Kernel, steps: Sequence[tuple[int, int, str]]) -> None:
    """Tiles the loops of `steps`, each (loop dimension, size, role), outermost first, into `scf.for` with that role.

    A size that is not smaller than a static extent makes no loop.
    """
    wanted = [(dim, size, role) for dim, size, role in steps if not 0 <= kernel.size(dim) <= size]
    if not wanted:
        return
    sizes = [0] * kernel.loops
    for dim, size, _ in wanted:
        sizes[dim] = size
    order = [dim for dim, _, _ in wanted]
    order += [dim for dim in range(kernel.loops) if dim not in order]
    with mlir.context():
        kernel.op.attributes[MARK] = mlir.ir.UnitAttr.get()
    count, op = len(wanted), "!transform.any_op"
    script = f"""
      %c = transform.structured.match attributes {{{MARK}}} in %root : ({op}) -> {op}
      %t, %l:{count} = transform.structured.tile_using_for %c tile_sizes {sizes} interchange = {order}
        : ({op}) -> ({", ".join([op] * (count + 1))})
    """
    for number, (_, _, role) in enumerate(wanted):
        script += f"""
      %p{number} = transform.param.constant "{role}" -> !transform.any_param
      transform.annotate %l#{number} "{find.ROLE}" = %p{number} : {op}, !transform.any_param
    """
    mlir.transform(module, script)
    for tiled in mlir.walk(module, lambda each: MARK in each.operation.attributes):
        del tiled.attributes[MARK]


def clean(module: Any) -> None:
    """Simplifies the sizes of what was tiled, and moves slices out of the loops that they do not depend on."""
    mlir.run(module, "resolve-ranked-shaped-type-result-dims,canonicalize,cse,loop-invariant-code-motion,cse")
