"""The normal form forgets the order of constants, aliases and names, and nothing else."""

import os
import random
from collections import defaultdict
from dataclasses import replace
from math import comb
from pathlib import Path

import mutants
import pytest

from lowering import mlir, targets
from lowering.agent.default import Default
from lowering.lower import split
from lowering.normal import normal_digest, normal_text
from lowering.problem import from_shape
from lowering.worker import Casualty, Limits, Worker

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
        ("module {\n", "module {\n  func.func private @nobody(f32)\n"),
        ("module {\n", 'module {\n  memref.global "private" constant @g : memref<2xf32> = dense<1.0>\n'),
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


@pytest.fixture(scope="module")
def states():
    """Every distinct state of the default schedules of two targets."""
    texts = {}
    for name, dtype in (("x86_64", "f32"), ("gfx942", "f16")):
        problem, target = from_shape(128, 128, 128, dtype), targets.load(name)
        if target.cpu == "host":
            target = replace(target, cpu="znver3", features="+avx,+avx2,+fma,+f16c")
        (proposal,) = Default().propose(problem, target, (), 1)
        module = mlir.parse(problem.ir)
        texts[mlir.text(module)] = None
        for step in split(proposal.schedule)[0]:
            step.apply(module)
            texts[mlir.text(module)] = None
    return list(texts)


@pytest.fixture
def worker(monkeypatch):
    """A worker that knows the tests' own modules: MLIR's parser may fall over a mutant."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    with Worker(Limits(seconds=120.0)) as worker:
        yield worker


def test_ten_thousand_pairs_that_differ_in_one_token_never_merge(states, worker):
    assert len(states) > 60
    assert sum(pairs_apart(state, worker, 5) for state in states) >= 10_000


@pytest.mark.slow
def test_a_hundred_thousand_pairs_that_differ_in_one_token_never_merge(states, worker):
    assert sum(pairs_apart(state, worker, 60) for state in states) >= 100_000


def pairs_apart(state, worker, most):
    """How many pairs of valid states that differ in one token, and in one normal form never, were found.

    Up to `most` tokens of each kind are changed, each in up to nine ways; a pair is the state and a variant, or two
    variants of one token. That no two variants of different tokens merge is asserted too, and not counted. Left alone:

    * names where they are defined, the names of aliases and comments: the normal form forgets them;
    * the order of lines: no change of one token moves a constant;
    * symbols: one that is renamed at one of its places alone is another symbol or none, which seldom verifies.

    A variant whose printed text is the state's own is the same state.
    """
    choose = random.Random(state)
    found = mutants.sites(state)
    chosen = [site for kind in found for site in choose.sample(found[kind], min(most, len(found[kind])))]
    changes = [(at, end, new) for at, end, news in chosen for new in choose.sample(news, min(9, len(news)))]
    own, *judged = judge([state, *(state[:at] + new + state[end:] for at, end, new in changes)], worker)
    texts, variants = {own[1]: own[0]}, defaultdict(set)
    for (at, end, new), both in zip(changes, judged, strict=True):
        if both is None or both[0] == own[0]:
            continue
        line = state[state.rfind("\n", 0, at) + 1 : state.find("\n", end)]
        assert texts.setdefault(both[1], both[0]) == both[0], f"merged: {state[at:end]} -> {new} in {line}"
        variants[at].add(both[0])
    return sum(comb(len(each) + 1, 2) for each in variants.values())


def judge(texts, worker):
    """What `mutants.judged` says of each text; None for one that the process fell over."""
    found = []
    while len(found) < len(texts):
        result = worker.call(mutants.judged, texts[len(found) :])
        if not isinstance(result, Casualty):
            return found + result
        assert result.kind == "crash", result
        good = texts[len(found) : len(found) + int(result.at)]
        found += [*(worker.call(mutants.judged, good) if good else []), None]
    return found
