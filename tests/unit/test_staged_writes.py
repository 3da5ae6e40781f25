"""Where threads put results of 32 bits for tensor copies: every bank once an access, every element at its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lowering import find, mlir
from lowering.passes import pipeline

STATE = Path(__file__).parents[1] / "passes" / "Inputs" / "warpgroup_f32.mlir"
COMPARED: dict[int, Callable[[int, int], int]] = {
    0: lambda a, b: a == b,
    2: lambda a, b: a < b,
}  # arith.cmpi's eq and slt
ARITHMETIC: dict[str, Callable[..., int]] = {
    "arith.addi": lambda a, b: a + b,
    "arith.subi": lambda a, b: a - b,
    "arith.muli": lambda a, b: a * b,
    "arith.divui": lambda a, b: a // b,
    "arith.divsi": lambda a, b: a // b,
    "arith.remui": lambda a, b: a % b,
    "arith.remsi": lambda a, b: a % b,
    "arith.xori": lambda a, b: a ^ b,
    "arith.shli": lambda a, b: a << b,
    "arith.shrui": lambda a, b: a >> b,
    "arith.andi": lambda a, b: a & b,
    "arith.ori": lambda a, b: a | b,
    "arith.index_cast": lambda a: a,
    "llvm.inttoptr": lambda a: a,
}


@pytest.fixture(scope="module")
def state() -> Any:
    """A kernel whose warpgroups write 64 x 128 results, two blocks of 64 x 32 at a time."""
    module = mlir.parse(STATE.read_text())
    for step in pipeline.parse("promote-tma,wgmma{blocks=2 truncate=true},lower-affine").passes:
        step.apply(module)
    return module


def stores(module: Any) -> list[Any]:
    """The stores of a thread, in order."""
    return mlir.walk(module, lambda op: op.operation.name == "llvm.store")


def number(value: Any, thread: int) -> int:
    """A value of a thread: the buffer begins at 0."""
    op: Any = find.defining(value)
    if op is None:
        return thread
    if op.name == "arith.constant":
        return int(op.attributes["value"].value)
    if op.name == "memref.extract_aligned_pointer_as_index":
        return 0
    if op.name == "arith.select":
        condition, yes, no = op.operands
        return number(yes if number(condition, thread) else no, thread)
    rule = COMPARED[op.attributes["predicate"].value] if op.name == "arith.cmpi" else ARITHMETIC[op.name]
    return rule(*(number(each, thread) for each in op.operands))


def held(value: Any, thread: int) -> int:
    """Which of a thread's results a stored pair begins with."""
    op: Any = find.defining(value)
    if op.name == "arith.select":
        condition, yes, no = op.operands
        return held(yes if number(condition, thread) else no, thread)
    if op.name == "llvm.extractvalue":
        return int(op.attributes["position"][0])
    return held(op.operands[0], thread)


def test_no_two_threads_of_an_access_meet_in_a_bank(state: Any) -> None:
    """Of 8-byte stores 16 threads go together."""
    for store in stores(state):
        for first in range(0, 128, 16):
            addresses = [number(store.operands[1], thread) for thread in range(first, first + 16)]
            banks = Counter((address + more) // 4 % 32 for address in addresses for more in (0, 4))
            assert len(banks) == 32, store


def test_every_element_is_where_the_copy_looks_for_it(state: Any) -> None:
    """Rows and columns of a thread: PTX ISA, "wgmma.mma_async", D; chunks of a row are exchanged by its number."""
    found: dict[tuple[int, int], int] = {}
    for turn, store in enumerate(stores(state)):
        for thread in range(128):
            address, result = number(store.operands[1], thread), held(store.operands[0], thread)
            row = thread // 32 * 16 + thread % 32 // 4 + result // 2 % 2 * 8
            column = result // 4 * 8 + thread % 4 * 2
            round_, block = turn // 16, address // 8192
            assert address % 8192 == row * 128 + (column % 32 // 4 ^ row % 8) * 16 + column % 4 * 4
            assert column // 32 == 2 * round_ + block
            found[row, column] = found.get((row, column), 0) + 1
    assert found == {(row, column): 1 for row in range(64) for column in range(0, 128, 2)}
