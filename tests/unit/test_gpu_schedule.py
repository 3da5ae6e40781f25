"""The schedule that GPUs share: its prefixes on the CPU, the code it ends in, its space, and a step left out of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container
from dataclasses import replace
from functools import partial

import pytest

from lowering import codegen, completion, mlir, verify
from lowering.bounds import arithmetic_of
from lowering.core import Binary, Failure, Pass, PassError, Problem, Schedule
from lowering.lower import lower
from lowering.passes import pipeline
from lowering.passes.common.pad import Pad
from lowering.passes.common.tile import Tile
from lowering.passes.common.tile_reduction import TileReduction
from lowering.problem import from_shape, from_text
from lowering.targets import load, simt
from lowering.targets.amdgpu.emulated import Emulated
from lowering.targets.families import FAMILIES
from lowering.targets.x86.runtime import CPU

CHIPS = ("gfx942", "sm_90")
# Without one of these there is no binary; every other step can go.
NEEDED = {
    "pad", "tile", "vectorize", "fold-padding-reads", "one-shot-bufferize", "fold-padding-writes", "map-blocks",
    "map-threads", "lower-contraction", "lower-transfers", "gpu-launch-sink-index-computations", "gpu-kernel-outlining",
    "lower-affine", "convert-scf-to-cf", "convert-vector-to-llvm",
}  # fmt: skip
NEEDED_TOO = {"gfx942": {"convert-gpu-to-rocdl", "convert-ub-to-llvm"}, "sm_90": {"convert-gpu-to-nvvm"}}
EPILOGUE = """
func.func @f(%a: tensor<7x9xf16>, %b: tensor<5x9xf16>, %c: tensor<7x5xf32>, %bias: tensor<5xf32>) -> tensor<7x5xf16> {
  %zero = arith.constant 0.0 : f32
  %r = linalg.matmul
    indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>]
    ins(%a, %b : tensor<7x9xf16>, tensor<5x9xf16>) outs(%c : tensor<7x5xf32>) -> tensor<7x5xf32>
  %e = tensor.empty() : tensor<7x5xf16>
  %g = linalg.generic {
      indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (j)>, affine_map<(i, j) -> (i, j)>],
      iterator_types = ["parallel", "parallel"]}
      ins(%r, %bias : tensor<7x5xf32>, tensor<5xf32>) outs(%e : tensor<7x5xf16>) {
  ^bb0(%x: f32, %y: f32, %o: f16):
    %s = arith.addf %x, %y : f32
    %t = arith.maximumf %s, %zero : f32
    %n = arith.truncf %t : f32 to f16
    linalg.yield %n : f16
  } -> tensor<7x5xf16>
  return %g : tensor<7x5xf16>
}"""


def epilogue() -> Problem:
    """A ragged problem that reads C, with a bias, a ReLU and a narrower result."""
    return from_text(EPILOGUE, "epilogue")


def schedule(problem: Problem, chip: str, **knobs: int) -> Schedule:
    """The schedule of these knobs on a chip."""
    target = load(chip)
    return FAMILIES[target.family].space.schedule(knobs, problem, target)


def built(problem: Problem, chip: str, texts: tuple[str, ...] = (), **knobs: int) -> Binary:
    """The binary of the default schedule, with knobs."""
    outcome = lower(problem, schedule(problem, chip, **knobs), load(chip), None, texts).outcome
    assert isinstance(outcome, Binary), outcome
    return outcome


def wrong_on_cpu(problem: Problem, steps: Schedule) -> list[str]:
    """The checks that fail when a prefix is completed to this machine's CPU and run; [] where all pass."""
    module = mlir.parse(problem.ir)
    for step in steps:
        step.apply(module)
    completion.complete_to_cpu(module)
    target = load("x86_64")
    binary = codegen.build(module, problem.arguments, target)
    with CPU().load(binary) as program:
        found = verify.verify_witness(problem, program, arithmetic_of(target))
    return [f"{check.name}: {check}" for check in found if not check.ok]


def on_host(steps: Schedule) -> list[Schedule]:
    """The prefixes without device ops."""
    until = next(i for i, step in enumerate(steps) if step.name == "map-blocks")
    return [Schedule(steps.passes[:i]) for i in range(1, until + 1)]


def loop_counts(assembly: str, opcode: str) -> Counter[str]:
    """How often each opcode occurs in the basic block that has the most of one."""
    blocks = re.split(r"^\S*BB\d+_\d+:", assembly, flags=re.MULTILINE)
    counts = [Counter(line.split()[0] for line in block.splitlines() if line.strip()) for block in blocks]
    return max(counts, key=lambda count: count[opcode])


@pytest.mark.parametrize(
    "name", ["pad", "tile", "tile-reduction", "vectorize", "fold-padding-reads", "fold-padding-writes"]
)
def test_a_prefix_is_a_right_program_on_the_cpu(name: str) -> None:
    problem = epilogue()
    prefixes = on_host(schedule(problem, "sm_90", block_m=4, block_n=8, block_k=4, thread_m=4, thread_n=4, unroll_k=2))
    prefix = [each for each in prefixes if each.passes[-1].name == name][-1]
    assert wrong_on_cpu(problem, prefix) == []


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["nn", "nt", "tn", "tt"])
@pytest.mark.parametrize("dtype", ["f32", "f16", "i8"])
def test_every_prefix_is_a_right_program_on_the_cpu(dtype: str, layout: str) -> None:
    problem = from_shape(19, 10, 9, dtype, layout, batch=2)
    for prefix in on_host(schedule(problem, "gfx942", block_m=8, block_n=8, block_k=4, thread_m=4, unroll_k=2)):
        assert wrong_on_cpu(problem, prefix) == [], str(prefix)


@pytest.mark.parametrize("chip", CHIPS)
def test_large_f32_ends_in_vector_loads_and_no_spill(chip: str) -> None:
    binary = built(
        from_shape(1024, 1024, 1024, "f32"), chip, ("asm",), block_m=128, block_n=128, thread_m=16, thread_n=4
    )
    (kernel,) = binary.kernels
    assert kernel.spills == 0
    assert not kernel.scratch_bytes
    assert kernel.shared_bytes == (2 if chip == "sm_90" else 1) * 16 * (132 + 128) * 4
    assert binary.launches[0].grid == (64, 1, 1)
    assert binary.launches[0].block == (256, 1, 1)
    if chip == "gfx942":
        counts = loop_counts(binary.texts["asm"], "v_pk_fma_f32")
        reads = sum(count for opcode, count in counts.items() if opcode.startswith("ds_read"))
        assert counts["ds_read_b128"] == reads == 20
        assert 2 * counts["v_pk_fma_f32"] + counts["v_fma_f32"] + counts["v_fmac_f32_e32"] >= 8 * reads
    else:
        counts = loop_counts(binary.texts["asm"], "fma.rn.f32")
        assert counts["fma.rn.f32"] == 256
        assert counts["ld.shared.v4.b32"] == 20
        assert "ld.global.nc.v4.b32" in binary.texts["asm"]


@pytest.mark.parametrize("layout", ["nn", "tt"])
def test_two_workgroups_of_f32_fit_an_sm_and_read_16_bytes_at_a_time(layout: str) -> None:
    binary = built(from_shape(4096, 4096, 4096, "f32", layout), "sm_90", ("asm",))
    (kernel,) = binary.kernels
    assert not kernel.spills
    assert 2 * 256 * (kernel.registers or 0) <= 65536
    counts = loop_counts(binary.texts["asm"], "fma.rn.f32")
    assert counts["fma.rn.f32"] == 4 * 8 * 8
    assert counts["ld.shared.v4.b32"] == 4 * (8 + 8) // 4
    assert not any(count for opcode, count in counts.items() if opcode in ("ld.shared.b32", "ld.shared.v2.b32"))


def test_copies_run_ahead_as_far_as_k_has_steps() -> None:
    def ahead(k: int, **knobs: int) -> list[str]:
        steps = schedule(from_shape(64, 64, k, "f32"), "gfx942", block_k=8, thread_m=8, **knobs)
        names = [step.name for step in steps]
        return [name for name in names if name in ("double-buffer", "fill-ahead", "prefetch")]

    assert ahead(64) == []
    assert ahead(8, stages=3, prefetch=True) == []
    assert ahead(9, stages=3, prefetch=True) == ["double-buffer", "fill-ahead"]
    assert ahead(9, stages=2, prefetch=True) == ["double-buffer", "prefetch"]
    assert ahead(17, stages=3, prefetch=True) == ["double-buffer", "fill-ahead", "prefetch"]


@pytest.mark.parametrize("layout", ["nn", "nt", "tn", "tt"])
@pytest.mark.parametrize("stages", [2, 3])
def test_copies_ahead_and_patches_of_lanes_are_right_in_the_emulator(layout: str, stages: int) -> None:
    problem = from_shape(65, 34, 43, "f32", layout)
    tile = partial(built, block_m=64, block_n=32, thread_m=8, thread_n=4, block_k=8)
    binary = tile(problem, "gfx942", patch_m=8, prefetch=True, stages=stages)
    with Emulated().load(binary) as program:
        found = verify.verify_witness(problem, program, arithmetic_of(load("gfx942")))
    assert [f"{check.name}: {check}" for check in found if not check.ok] == []


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("case", [(1, 1, 1, "f32", "nn", 0), (7, 5, 3, "bf16", "tt", 0), (100, 33, 17, "i8", "tn", 3)])
def test_odd_sizes_build(chip: str, case: tuple[int, int, int, str, str, int]) -> None:
    m, n, k, dtype, layout, batch = case
    binary = built(from_shape(m, n, k, dtype, layout, batch=batch), chip)
    assert len(binary.launches) == 1
    assert binary.kernels[0].spills == 0
    assert [type(arg).__name__ for arg in binary.launches[0].args] == ["Buffer"] * 3


def test_schedule_text_reads_back() -> None:
    for chip in CHIPS:
        for problem in (epilogue(), from_shape(64, 64, 64, batch=2)):
            text = str(schedule(problem, chip))
            assert str(pipeline.parse(text)) == text


def bare(step: Pass) -> str:
    """A step's name without anchors and options."""
    return re.split(r"[{)]", str(step))[0].split("(")[-1]


def left_out(problem: Problem, chip: str, index: int) -> Binary | Failure:
    """What a schedule without one step gives. What is left of its prefix without device ops is run on the CPU."""
    steps = schedule(problem, chip).passes
    outcome = lower(problem, Schedule(steps[:index] + steps[index + 1 :]), load(chip)).outcome
    host = on_host(schedule(problem, chip))[-1].passes
    if index < len(host):
        try:
            assert wrong_on_cpu(problem, Schedule(host[:index] + host[index + 1 :])) == [], str(steps[index])
        except PassError:
            if isinstance(outcome, Binary):
                raise
    return outcome


def needed(problem: Problem, chip: str, names: Container[str]) -> dict[str, str]:
    """The steps among `names` without which there is no binary, and why."""
    found: dict[str, str] = {}
    for index, step in enumerate(schedule(problem, chip)):
        outcome = left_out(problem, chip, index) if bare(step) in names else None
        if isinstance(outcome, Failure):
            assert "\n" not in outcome.reason, str(step)
            found[bare(step)] = outcome.reason
    return found


@pytest.mark.slow
@pytest.mark.parametrize("chip", CHIPS)
def test_the_steps_that_are_needed(chip: str) -> None:
    problem = epilogue()
    names = {bare(step) for step in schedule(problem, chip)}
    found = needed(problem, chip, names)
    assert found.keys() == NEEDED | NEEDED_TOO[chip]
    assert "pad first" in found["pad"]
    assert "sink the constant into the kernel" in found["gpu-launch-sink-index-computations"]


def test_without_a_step() -> None:
    sample = ("pad", "tile-reduction", "vectorize", "promote", "lower-affine", "loop-invariant-code-motion")
    found = needed(from_shape(5, 7, 9, "f32"), "sm_90", sample)
    assert found.keys() == {"pad", "vectorize", "lower-affine"}
    assert found["vectorize"] == "looked for a vector.contract and found none"


@pytest.mark.parametrize(
    ("knobs", "reason"),
    [
        ({"block_q": 1}, "there is no knob 'block_q'; did you mean block_n"),
        ({"block_m": 64, "thread_m": 48}, "block_m=64 is no multiple of thread_m=48"),
        ({"block_m": 256, "block_n": 256, "thread_m": 4, "thread_n": 4}, "4096 threads a workgroup, of 1024"),
        ({"block_m": 16, "block_n": 4, "thread_m": 16, "thread_n": 4}, "one thread a workgroup"),
        ({"thread_m": 16, "thread_n": 16, "block_m": 128, "block_n": 128}, "a thread tile of 16x16 takes"),
        ({"block_k": 64, "block_m": 128, "block_n": 128}, "bytes of workgroup memory, of 49152"),
        ({"block_k": 32, "block_m": 128, "block_n": 128, "stages": 2}, "bytes of workgroup memory, of 49152"),
        ({"block_k": 32, "block_m": 256, "block_n": 4, "thread_m": 16, "prefetch": True}, "what it loads ahead take"),
        ({"stages": 4}, "stages is 1, 2 or 3, found 4"),
        ({"patch_m": 3}, "patch_m is a power of two, at most the 32 threads of a wave, found 3"),
        ({"block_m": 16, "thread_m": 8, "patch_m": 4}, "2x16 threads are no patches of 4x8: those take patch_m=0"),
    ],
)
def test_illegal_knobs_have_a_reason(knobs: dict[str, int], reason: str) -> None:
    assert reason in str(simt.illegal(knobs, from_shape(1024, 1024, 1024, "f32"), load("sm_90")))


def test_too_many_resident_workgroups_are_illegal() -> None:
    problem, target = from_shape(4096, 4096, 4096, "f32"), load("sm_90")
    space = FAMILIES["nvidia"].space
    assert space.illegal({"cores": "vector", "resident": 2}, problem, target) is None
    assert "3 workgroups of 256 threads of" in str(space.illegal({"cores": "vector", "resident": 3}, problem, target))


@pytest.mark.parametrize("chip", CHIPS)
def test_the_rule_is_legal_and_fills_the_chip(chip: str) -> None:
    target = load(chip)
    for size in (1, 3, 16, 17, 100, 256, 1000, 1024, 4096, 8192):
        for m, n in ((size, size), (size, 1), (1, size), (size, 4096)):
            problem = from_shape(m, n, 77, "f32")
            knobs = simt.default(problem, target)
            assert simt.illegal(knobs, problem, target) is None, (m, n, knobs)
            assert FAMILIES[target.family].space.illegal({"cores": "vector"}, problem, target) is None, (m, n)
    assert simt.default(from_shape(4096, 4096, 4096, "f32"), target)["block_m"] == 128
    assert simt.default(from_shape(1024, 1024, 64, "f32"), target)["block_m"] < 128
    assert simt.default(from_shape(5, 7, 3, "f32"), target)["block_k"] == 4


def test_choices_fit_the_state() -> None:
    problem, target = from_shape(64, 64, 64, "f32"), load("sm_90")
    module = mlir.parse(problem.ir)
    tiles = [each for each in Tile.choices(module, problem, target) if isinstance(each, Tile)]
    assert {each.mapping for each in tiles} == {"none", "block", "thread"}
    assert max(max(each.tile_sizes) for each in tiles) == 64
    assert next(str(each) for each in TileReduction.choices(module, problem, target)) == "tile-reduction{tile-sizes=16}"
    assert Pad((128, 128, 16)) in list(Pad.choices(module, problem, target))
    assert Pad((64, 64, 16)) not in list(Pad.choices(module, problem, target))
    assert not list(Tile.choices(mlir.parse("module {}"), replace(problem, ir=""), target))


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize(("m", "n", "k"), [(64, 64, 64), (64, 80, 96), (7, 5, 3)])
@pytest.mark.parametrize("kind", ["tensor", "memref"])
def test_a_product_is_added_to_an_argument(chip: str, m: int, n: int, k: int, kind: str) -> None:
    """C is read by the kernel, where the thread needs it; the host only launches."""
    a, b, c = (f"{kind}<{size}xf32>" for size in (f"{m}x{k}", f"{k}x{n}", f"{m}x{n}"))
    arrow, value = (f" -> {c}", f"%r = linalg.matmul ins(%a, %b : {a}, {b}) outs(%c : {c}) -> {c} return %r : {c}")
    if kind == "memref":
        arrow, value = "", f"linalg.matmul ins(%a, %b : {a}, {b}) outs(%c : {c}) return"
    problem = from_text(f"func.func @f(%a: {a}, %b: {b}, %c: {c}){arrow} {{ {value} }}", "accumulated")
    assert problem.contraction.accumulates
    assert len(built(problem, chip).launches) == 1
    steps = schedule(problem, chip).passes
    prefix = Schedule(steps[: [step.name for step in steps].index("vectorize")])
    assert wrong_on_cpu(problem, prefix) == []
