"""The normal form forgets the order of constants, aliases and dead symbols, and nothing else."""

import random
import re

import pytest

from lowering import mlir
from lowering.normal import normal_digest, normal_text

STATE = """
#map = affine_map<(d0) -> (d0 * 4)>
module {
  func.func @main(%a: memref<16x16xf32>, %b: memref<16x16xf32>) {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c16 = arith.constant 16 : index
    %x = arith.constant 2.5 : f32
    scf.for %i = %c0 to %c16 step %c1 {
      %three = arith.constant 3 : index
      %j = affine.apply #map(%i)
      %u = memref.load %a[%i, %three] : memref<16x16xf32>
      %v = arith.subf %u, %x : f32
      %w = arith.divf %v, %u {fastmath = #arith.fastmath<contract>} : f32
      memref.store %w, %b[%three, %i] : memref<16x16xf32>
    } {lower.role = "k"}
    return
  }
}
"""


def digest(text):
    return normal_digest(mlir.parse(text))


ZERO, ONE = "    %c0 = arith.constant 0 : index\n", "    %c1 = arith.constant 1 : index\n"
THREE, APPLY = "      %three = arith.constant 3 : index\n", "      %j = affine.apply #map(%i)\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (ZERO + ONE, ONE + ZERO),
        ("#map(%i)", "affine_map<(d0) -> (d0 * 4)>(%i)"),
        (THREE + APPLY, APPLY + THREE),
        ("module {\n", "module {\n  func.func private @nobody(f32)\n"),
        ("%w", "%another_name"),
    ],
)
def test_what_has_no_meaning_is_forgotten(old, new):
    assert old in STATE
    assert digest(STATE.replace(old, new)) == digest(STATE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("module {\n", "module {\n  func.func @somebody() {\n    return\n  }\n"),
        ("      %three = arith.constant 3 : index\n", ""),
        ("arith.subf %u, %x", "arith.subf %x, %u"),
        ('"k"', '"m"'),
        ("<contract>", "<reassoc>"),
        ("f32>, %b", "f32>, %d"),
    ],
)
def test_what_has_a_meaning_is_kept(old, new):
    changed = STATE.replace(old, new)
    if "%three" in old:  # the same constant one block further out: another place to hoist from, so another state
        changed = changed.replace("    %x = ", "    %three = arith.constant 3 : index\n    %x = ")
    same = "%d" in new
    assert (digest(changed.replace("%b", "%d") if same else changed) == digest(STATE)) == same


def test_the_module_is_left_as_it_was():
    module = mlir.parse(STATE)
    before = mlir.text(module)
    normal_text(module)
    assert mlir.text(module) == before


def test_ten_thousand_states_that_differ_in_one_thing_never_merge():
    """One constant, attribute or operand is changed at random, so both texts are different programs."""
    choose = random.Random(0)
    base = body(choose)
    seen = {digest(base): base}
    for _ in range(10_000):
        text = changed(base, choose)
        base = text if choose.random() < 0.05 else base  # walk away from the start
        found = digest(text)
        assert seen.setdefault(found, text) == text, f"merged:\n{seen[found]}\n{text}"
    assert len(seen) > 3000


def body(choose):
    """A straight-line function with constants, attributes and operands to change."""
    lines = [f"  %c{i} = arith.constant {choose.randrange(100, 999)} : i32" for i in range(6)]
    for i in range(10):
        left, right = choose.sample([f"%c{n}" for n in range(6)] + [f"%v{n}" for n in range(i)], 2)
        lines.append(f'  %v{i} = arith.subi {left}, {right} {{tag = "{choose.randrange(100, 999)}"}} : i32')
    return "func.func @main() -> i32 {\n" + "\n".join(lines) + "\n  return %v9 : i32\n}\n"


def changed(text, choose):
    """The text with one number or one operand of a subtraction replaced by another; never the same text."""
    lines = text.split("\n")
    while True:
        at = choose.randrange(1, 17)
        line = lines[at]
        if choose.random() < 0.5:
            number = re.search(r"\d{3}", line)
            new = line[: number.start()] + str(choose.randrange(100, 999)) + line[number.end() :]
        elif "subi" in line:
            left, right = re.search(r"subi (%\w+), (%\w+)", line).groups()
            new = line.replace(f"subi {left}, {right}", f"subi {right}, {left}")
        else:
            continue
        if new != line:
            return "\n".join([*lines[:at], new, *lines[at + 1 :]])
