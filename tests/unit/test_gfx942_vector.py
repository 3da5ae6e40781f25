"""Every vector instruction alone, against LLVM on this processor and exact arithmetic; its encodings and modifiers."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from amdgcn import assemble
from gfx942_bench import Trial, run
from gfx942_vector_cases import CASES, Case
from gfx942_vector_lines import controls, long, permuted, selected, short

from lowering.targets.amdgpu.emulator.decode import decode
from lowering.targets.amdgpu.emulator.formats import opcodes
from lowering.targets.amdgpu.emulator.operands import Unsupported

MODES = ("full", "some", "waves")


def suffixes() -> set[str]:
    """All mnemonics with their suffixes."""
    return {opcode.mnemonic for opcode in opcodes().values()}


def trials(rng: random.Random, case: Case, name: str, known: set[str]) -> list[Trial]:
    """Lines of a case in all its encodings; the assembler still refuses some."""
    found: list[Trial] = []
    case = Case(name, case.sources, case.results, case.clamped, case.ulps)
    if f"{name}_e32" in known:
        found += [short(rng, case) for _ in range(3)]
        found += [permuted(rng, case) for _ in range(2)] + [selected(rng, case) for _ in range(3)]
    if f"{name}_e64" in known or name in known:
        found += [long(rng, case, "_e64" if f"{name}_e64" in known else "") for _ in range(6)]
    return found


def check(tried: list[Trial], seed: int) -> Counter[str]:
    """Runs what assembles; how many lines of each name and encoding there were."""
    made = assemble([each.line for each in tried])
    rng, wrong, counts = np.random.default_rng(seed), [], Counter[str]()
    for n, (trial, code) in enumerate(zip(tried, made, strict=True)):
        if isinstance(code, str):
            counts[f"refused: {code}"] += 1
            continue
        counts[trial.name] += 1
        counts[trial.line.split()[0].rpartition("_")[2]] += 1
        try:
            complaint = run(trial, decode(code, 0), rng, MODES[n % 3])
        except Unsupported as error:
            counts[f"unsupported: {error}"] += 1
            complaint = f"{trial.line}: unsupported: {error}"
        if complaint:
            wrong.append(complaint)
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong[:20])
    return counts


def test_every_case_in_every_encoding():
    rng, known = random.Random(7), suffixes()
    tried = [trial for name, case in CASES.items() for trial in trials(rng, case, name, known)]
    counts = check(tried, 8)
    assert not set(CASES) - set(counts), sorted(set(CASES) - set(counts))
    for encoding, least in (("e32", 700), ("e64", 1200), ("dpp", 200), ("sdwa", 600)):
        assert counts[encoding] >= least, (encoding, counts)


@pytest.mark.parametrize("name", ["v_mov_b32", "v_add_f32"])
def test_every_lane_permutation(name):
    rng = random.Random(3)
    counts = check([permuted(rng, CASES[name], control) for control in controls() for _ in range(3)], 4)
    assert counts["dpp"] == 3 * len(controls()), counts
