"""A diff of two states shows what changed, and neither new names nor indentation."""

import re
from itertools import pairwise

import pytest

from lowering import mlir, targets
from lowering.agent.default import Default
from lowering.ir_diff import compared, ir_diff, settled
from lowering.lower import lower
from lowering.problem import from_shape

BEFORE = """#map = affine_map<(d0) -> (d0 * 4)>
#map1 = affine_map<(d0) -> (d0 * 8)>
module {
  func.func @f(%arg0: index, %arg1: memref<?xf32>) -> index {
    %c1 = arith.constant 1 : index
    %0 = arith.addi %arg0, %c1 : index
    %1 = arith.muli %0, %c1 : index
    %2 = affine.apply #map1(%1)
    %3 = arith.subi %2, %arg0 : index
    cf.br ^bb1(%3 : index)
  ^bb1(%4: index):  // pred: ^bb0
    "x.asm"() {text = "add %0, %1"} : () -> ()
    return %4 : index
  }
  func.func @g(%arg0: index) -> index {
    %0 = arith.addi %arg0, %arg0 : index
    cf.br ^bb1(%0 : index)
  ^bb1(%1: index):  // pred: ^bb0
    return %1 : index
  }
}
"""


def changed(before, after):
    """The changed lines without their context and indentation."""
    return [line[0] + line[1:].strip() for line in ir_diff(before, after) if line[0] in "+-"]


def replaced(*pairs):
    """BEFORE with some texts replaced; each must be there."""
    text = BEFORE
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new, 1)
    return text


@pytest.fixture(scope="module", params=["x86_64", "gfx942"])
def states(request, tmp_path_factory):
    """The text of every state of a target's default schedule."""
    folder = tmp_path_factory.mktemp("states")
    problem, target = from_shape(130, 70, 50, "f16", "nn"), targets.load(request.param)
    (proposal,) = Default().propose(problem, target, (), 1)
    lower(problem, proposal.schedule, target, folder)
    return [file.read_text() for file in sorted(folder.glob("*.mlir"))]


def test_other_names_are_no_change(states):
    for state in (BEFORE, *states):
        renamed = re.sub(r"%(?=\w)", "%other_", re.sub(r"\^bb", "^block", re.sub(r"#map", "#mapping", state)))
        renamed = renamed.replace("add %other_0, %other_1", "add %0, %1")
        assert renamed != state
        assert ir_diff(state, renamed) == []


def test_every_line_of_both_texts_is_there_once_and_in_order(states):
    for before, after in pairwise(states):
        rows = list(settled(compared(before.splitlines(), after.splitlines())))
        assert [row.line for row in rows if row.mark != "-"] == after.splitlines()
        assert [row.new for row in rows if row.mark != "-"] == list(range(1, len(after.splitlines()) + 1))
        assert [row.old for row in rows if row.mark != "+"] == list(range(1, len(before.splitlines()) + 1))
        old = before.splitlines()
        assert all(row.line == old[row.old - 1] for row in rows if row.mark == "-")


def test_an_op_less_is_one_line_though_all_names_after_it_are_others():
    module = mlir.parse(BEFORE.replace('    "x.asm"() {text = "add %0, %1"} : () -> ()\n', ""))
    before = mlir.text(module)
    mlir.run(module, "canonicalize")
    lines = changed(before, mlir.text(module))
    assert "-%1 = arith.muli %0, %c1 : index" in lines
    assert not [line for line in lines if "subi" in line or "addi" in line]


def test_a_loop_around_lines_is_two_lines():
    body = "    %1 = arith.muli %0, %c1 : index\n"
    loop = f"    scf.for %i = %c1 to %c1 step %c1 {{\n  {body}    }}\n"
    assert changed(BEFORE, replaced((body, loop))) == ["+scf.for %i = %c1 to %c1 step %c1 {", "+}"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("arith.subi %2, %arg0", "arith.subi %arg0, %2"),
        ("arith.subi %2, %arg0", "arith.subi %1, %arg0"),
        ("arith.constant 1", "arith.constant 2"),
        ("affine.apply #map1(%1)", "affine.apply #map(%1)"),
        ("cf.br ^bb1(%3 : index)", "cf.br ^bb1(%2 : index)"),
        ('"add %0, %1"', '"add %1, %0"'),
        ("return %4", "return %3"),
        ("return %1", "return %0"),
    ],
)
def test_another_operand_or_attribute_is_a_change(old, new):
    lines = changed(BEFORE, replaced((old, new)))
    assert len(lines) == 2
    assert old in lines[0]
    assert new in lines[1]


def test_what_uses_a_replaced_definition_is_no_change():
    lines = changed(BEFORE, replaced(("%1 = arith.muli %0, %c1", "%7 = arith.shli %0, %c1"), ("(%1)", "(%7)")))
    assert lines == ["-%1 = arith.muli %0, %c1 : index", "+%7 = arith.shli %0, %c1 : index"]


def test_names_are_those_of_their_own_region_and_function():
    """`%x` of one loop is another value than `%x` of the next, and `^bb1` of @f another block than that of @g."""
    loop = "scf.for %i = %a to %b step %c {\n  %NAME = OP %i\n  use %NAME\n}\n"
    one, two = loop.replace("OP", "a.one"), loop.replace("OP", "a.two")
    before = one.replace("NAME", "x") + two.replace("NAME", "x")
    for first, second in (("x", "z"), ("z", "z"), ("z", "x")):
        after = one.replace("NAME", first) + two.replace("a.two", "a.new").replace("NAME", second)
        assert changed(before, after) == ["-%x = a.two %i", f"+%{second} = a.new %i"]
    assert changed(before, one.replace("NAME", "y") + two.replace("NAME", "z")) == []
    apart = before.replace("%x", "%y", 2)
    assert changed(apart, one.replace("NAME", "z") + loop.replace("OP", "a.new").replace("NAME", "z")) == [
        "-%x = a.two %i",
        "+%z = a.new %i",
    ]
    block = (
        "    cf.br ^bb1(%3 : index)\n",
        "    cf.br ^bb2(%3 : index)\n  ^bb1:  // no predecessors\n    llvm.unreachable\n",
    )
    assert changed(BEFORE, replaced(block, ("^bb1(%4", "^bb2(%4"))) == [
        "+^bb1:  // no predecessors",
        "+llvm.unreachable",
    ]


def test_a_use_of_a_merged_value_is_a_change():
    lines = changed(BEFORE, replaced(("    %1 = arith.muli %0, %c1 : index\n", ""), ("(%1)", "(%0)")))
    assert lines == ["-%1 = arith.muli %0, %c1 : index", "-%2 = affine.apply #map1(%1)", "+%2 = affine.apply #map1(%0)"]


def test_lines_that_stand_there_often_are_aligned_too():
    before = "%0 = arith.addi %0, %0\narith.store %0\n" * 200
    after = before.replace("store", "load", 101).replace("load", "store", 100)
    assert changed(before, after) == ["-arith.store %0", "+arith.load %0"]


def test_each_part_has_its_lines_and_three_lines_of_context():
    lines = ir_diff(BEFORE, replaced(("constant 1", "constant 2"), ("return %1", "return %0")))
    assert [line for line in lines if line.startswith("@@")] == ["@@ -2 +2 @@", "@@ -16 +16 @@"]
    assert lines[1:4] == [f" {line}" for line in BEFORE.splitlines()[1:4]]
    assert len(lines) == 2 + 2 * 2 + 3 + 3 + 3 + 2
