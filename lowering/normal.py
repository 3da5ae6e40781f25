"""The normal form of a state: what is left when differences without a meaning are forgotten.

Forgotten, and nothing else:

* where in its block a constant stands: constants are moved to the start of their block, in the order of their text. A
  constant has no operands and no effect, so every place before its uses is the same program. Two constants of one text
  keep their order, and a constant stays in its block.
* attribute and type aliases (`#map`, `!type`): they are names for text, which is printed in full here.
* private symbols that nothing refers to: they cannot be called from outside, and no code of the module reaches them.

Names of SSA values and locations are no part of a state's text in the first place. All else is kept, so two states of
one normal form are the same program, and build to the same binary. The pass graph is to merge its nodes by it.
"""

from __future__ import annotations

import hashlib
from typing import Any

from lowering import mlir

CONSTANTS = frozenset({"arith.constant", "index.constant", "llvm.mlir.constant", "complex.constant", "ub.poison"})


def normal_text(module: Any) -> str:
    """The normal form's text. The module is left as it was."""
    copy = mlir.clone(module)
    with mlir.context():
        if any(is_private(op) for op in copy.operation.regions[0].blocks[0].operations):
            mlir.run(copy, "symbol-dce")
        for block in blocks(copy.operation):
            sort_constants(block)
        return copy.operation.get_asm(use_local_scope=True)


def normal_digest(module: Any) -> str:
    """SHA-256 of the normal form."""
    return hashlib.sha256(normal_text(module).encode()).hexdigest()


def is_private(op: Any) -> bool:
    """Whether a symbol cannot be seen from outside its module."""
    attributes = op.operation.attributes
    return "sym_visibility" in attributes and attributes["sym_visibility"].value == "private"


def blocks(op: Any) -> list[Any]:
    """All blocks under an op."""
    found: list[Any] = []
    pending = [op]
    while pending:
        for region in pending.pop().regions:
            for block in region.blocks:
                found.append(block)
                pending.extend(each.operation for each in block.operations if len(each.operation.regions))
    return found


def sort_constants(block: Any) -> None:
    """Moves a block's constants to its start, in the order of their text."""
    constants = [op.operation for op in block.operations if op.operation.name in CONSTANTS]
    keyed = sorted(((str(op).split("=", 1)[1], i) for i, op in enumerate(constants)), reverse=True)
    for _, index in keyed:
        first = block.operations[0].operation
        if constants[index] != first:
            constants[index].move_before(first)
