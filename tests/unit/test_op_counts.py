"""The counts read off a state's text are those of a walk, but for what is not printed."""

from collections import Counter

import pytest

from lowering import mlir, targets
from lowering.agent.default import Default
from lowering.lower import lower
from lowering.op_counts import count_changes, op_counts
from lowering.problem import from_shape

HIDDEN = {"scf.yield", "scf.forall.in_parallel", "affine.yield"}  # left out of the text where they have no operands
WITH_BODY = {"linalg.generic", "linalg.map", "linalg.reduce"}

SPELLED = """module {
  func.func private @f(f32) -> (f32, f32)
  func.func @main(%a: tensor<4xf32>, %i: index, %x: f32) -> tensor<4xf32> {
    %f = constant @f : (f32) -> (f32, f32)
    %0:2 = call @f(%x) : (f32) -> (f32, f32)
    %1:2 = call_indirect %f(%x) : (f32) -> (f32, f32)
    %2 = builtin.unrealized_conversion_cast %i : index to i64
    %j = arith.addi %2, %2 {note = "{ a = b.c"} : i64
    %e = tensor.empty() : tensor<4xf32>
    %m = linalg.map { arith.negf } ins(%a : tensor<4xf32>) outs(%e : tensor<4xf32>)
    %low, %high = arith.mulsi_extended %2, %2 : i64
    cf.switch %low : i64, [
      default: ^bb1(%m : tensor<4xf32>),
      0: ^bb1(%a : tensor<4xf32>)
    ]
  ^bb1(%r: tensor<4xf32>):
    return %r : tensor<4xf32>
  }
}
"""


def walked(module):
    """The ops of a module by name, without what a printed text leaves out."""

    def printed(op):
        parent = op.operation.parent
        if op.operation.name in HIDDEN:
            return len(op.operation.operands) > 0 or any(len(b.operations) for r in op.operation.regions for b in r)
        named = parent is not None and parent.name.startswith("linalg.") and parent.name not in WITH_BODY
        return not named

    return Counter(op.name for op in mlir.walk(module, printed))


@pytest.fixture(scope="module", params=["x86_64", "gfx942"])
def states(request, tmp_path_factory):
    """The text of every state of a target's default schedule."""
    folder = tmp_path_factory.mktemp("states")
    problem, target = from_shape(130, 70, 50, "f16", "nn"), targets.load(request.param)
    (proposal,) = Default().propose(problem, target, (), 1)
    lower(problem, proposal.schedule, target, folder)
    return {file.name: file.read_text() for file in sorted(folder.glob("*.mlir"))}


def test_every_state_counts_as_a_walk_does(states):
    assert len(states) > 30
    for name, text in states.items():
        assert op_counts(text) == walked(mlir.parse(text)), name


def test_every_op_is_printed_in_the_generic_form(states):
    for name, text in states.items():
        module = mlir.parse(text)
        generic = module.operation.get_asm(print_generic_op_form=True)
        assert op_counts(generic) == Counter(op.name for op in mlir.walk(module, lambda _: True)), name


def test_ops_that_are_printed_in_another_way():
    module = mlir.parse(SPELLED)
    everything = Counter(op.name for op in mlir.walk(module, lambda _: True))
    assert Counter(op_counts(mlir.text(module))) == everything - Counter(["linalg.yield"])  # that of linalg.map


def test_changes_are_after_minus_before_and_leave_out_what_is_equal():
    before = "scf.for a\n  %0 = arith.addf b\n  arith.addf c\n  func.return\n"
    assert count_changes(before, before) == {}
    assert count_changes(before, "  arith.addf b\nlinalg.fill\n  func.return\n") == {
        "arith.addf": -1,
        "linalg.fill": 1,
        "scf.for": -1,
    }
