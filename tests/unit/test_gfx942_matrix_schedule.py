"""Schedules on gfx942's matrix cores: verified in the emulator, whatever is left out or exchanged."""

from __future__ import annotations

import hashlib
from functools import cache
from itertools import product

import numpy as np
import pytest

from lowering import dtypes, neighbours, problem, targets, verify
from lowering.bounds import arithmetic_of
from lowering.core import Binary, Failure, Problem
from lowering.lower import lower
from lowering.passes import pipeline
from lowering.passes.amdgpu.matrix_layout import DEPTHS, LANES, Layout
from lowering.problem import from_text
from lowering.targets.amdgpu import lds_swizzle, matrix, space
from lowering.targets.amdgpu.emulated import Emulated
from lowering.targets.amdgpu.emulator.decode import reachable
from lowering.targets.amdgpu.emulator.emulator import Emulator, Options
from lowering.targets.amdgpu.emulator.image import load
from lowering.targets.amdgpu.emulator.statistics import Statistics
from lowering.targets.amdgpu.main_loop import main_loop

CHIP = targets.load("gfx942")
SMALL = {"block_m": 64, "block_n": 64, "wave_m": 32, "wave_n": 32}


def built(of: Problem, **knobs: object) -> Binary:
    """The binary of a schedule on matrix cores."""
    assert space.illegal(knobs, of, CHIP) is None
    assert space.full(knobs, of, CHIP)["cores"] == "matrix"
    outcome = lower(of, space.schedule(knobs, of, CHIP), CHIP).outcome
    assert isinstance(outcome, Binary), outcome
    return outcome


def wrong(of: Problem, binary: Binary) -> list[str]:
    """The checks that fail in the emulator, faults and races among them."""
    with Emulated().load(binary) as program:
        return [str(check) for check in verify.verify_full(of, program, arithmetic_of(CHIP)) if not check.ok]


# --- what each step is for -------------------------------------------------------------------------------------------


NEIGHBOURS = problem.from_shape(128, 128, 256, "f16", layout="nt")


@cache
def variants(**knobs: object) -> dict[str, Binary | Failure]:
    """What becomes of the default schedule, with some knobs, with one step left out or two exchanged."""
    of = NEIGHBOURS
    whole = space.schedule({**SMALL, "run": 2, **knobs}, of, CHIP)
    found = {"default": lower(of, whole, CHIP).outcome}
    for number, each in neighbours.left_out(whole):
        found[f"without {whole.passes[number - 1]}"] = lower(of, each, CHIP).outcome
    for number, each in neighbours.exchanged(whole):
        found[f"{whole.passes[number]} before {whole.passes[number - 1]}"] = lower(of, each, CHIP).outcome
    return found


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"stages": 3, "ping_pong": True},
        {"shuffle": True, "stream_k": 1, "direct": True},
        pytest.param({"stages": 3, "direct": True}, marks=pytest.mark.slow),
        pytest.param({"split_k": 2, "shuffle": True}, marks=pytest.mark.slow),
        pytest.param({"stages": 2, "ahead": 1, "swizzle": False, "padding": 8}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_what_is_left_out_or_exchanged_is_verified_or_fails_with_a_reason(knobs):
    of = NEIGHBOURS
    judged: dict[str, list[str]] = {}
    optional: set[str] = set()
    for name, outcome in variants(**knobs).items():
        if isinstance(outcome, Failure):
            assert outcome.reason, name
            assert outcome.kind == "illegal", (name, outcome)
            continue
        digest = hashlib.sha256(outcome.image).hexdigest()
        if digest not in judged:
            judged[digest] = wrong(of, outcome)
        assert not judged[digest], (name, judged[digest])
        if name.startswith("without"):
            optional.add(name)
    assert len(judged) >= 8
    assert len(optional) >= 10


@pytest.mark.parametrize(
    ("step", "changes"), [("swizzle{rows=1,2,4}", "conflicts"), ("prefetch", "slack"), ("fence-products", "slack")]
)
def test_a_step_does_what_it_is_for(step, changes):
    whole, without = variants()["default"], variants()[f"without {step}"]
    loops = [main_loop(load(each.image), None, CHIP) for each in (whole, without)]
    if changes == "slack":
        assert loops[0].load_slack > (loops[1].load_slack or 0)
    else:
        assert whole.image != without.image


# --- elements, layouts, sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["nn", "nt", "tn", "tt"])
@pytest.mark.parametrize("element", ["f16", "bf16", "i8", "f8E4M3FNUZ", "f8E5M2FNUZ", "f32", "f64"])
def test_every_element_in_every_layout(element, layout):
    of = problem.from_shape(48, 80, 72, element, layout=layout)
    assert not wrong(of, built(of))


@pytest.mark.parametrize("element", ["f16", "i8", "f32"])
@pytest.mark.parametrize("knobs", [{"mfma": 32}, {"mfma": 32, "run": 2}, {"mfma": 32, "run": 4, "wave_n": 64}])
def test_instructions_of_32_rows(element, knobs):
    of = problem.from_shape(64, 128, 64, element, layout="nt")
    assert not wrong(of, built(of, **{**SMALL, **knobs}))


@pytest.mark.parametrize("knobs", [{}, {"mfma": 32}, {"stages": 3, "block_k": 16}], ids=str)
def test_f32_that_may_be_rounded_is_multiplied_as_xf32(knobs):
    of = problem.from_shape(70, 64, 72, "tf32", layout="nt")
    binary = built(of, **{**SMALL, **knobs})
    image = load(binary.image)
    names = {one.name for one in reachable(image.code, image.kernel(None).descriptor.entry)}
    assert any("xf32" in name for name in names)
    assert not wrong(of, binary)


@pytest.mark.parametrize("depth", [1, 4, 9])
def test_the_default_for_a_short_sum_of_tf32_is_legal(depth):
    of = problem.from_shape(64, 64, depth, "tf32", layout="nt")
    assert not wrong(of, built(of))


def test_parts_that_indices_cannot_count_are_refused():
    of = problem.from_shape(16384, 16384, 2048, "f16", layout="nt")
    knobs = {"block_m": 256, "block_n": 256, "wave_m": 64, "wave_n": 128, "split_k": 16}
    outcome = lower(of, space.schedule(knobs, of, CHIP), CHIP).outcome
    assert isinstance(outcome, Failure)
    assert "4294967296 elements, more than indices of 32 bits can count" in outcome.reason


def test_a_tile_after_the_other_with_memory_that_comes_later():
    """promote behind persist, and a place for each turn: the last step of one tile and the first of the next meet."""
    of = problem.from_shape(128, 192, 192, "f16", layout="nt")
    text = str(space.schedule({**SMALL, "stages": 2}, of, CHIP))
    step = next(each for each in map(str, space.schedule(SMALL, of, CHIP).passes) if each.startswith("map-waves"))
    outcome = lower(of, pipeline.parse(text.replace(step, f"{step},persist{{workgroups=2}}")), CHIP).outcome
    assert isinstance(outcome, Binary), outcome
    assert not wrong(of, outcome)


@pytest.mark.parametrize("sizes", [(1, 256, 64), (17, 33, 300), (100, 72, 7), (16, 16, 1), (129, 65, 130)])
def test_sizes_that_no_tile_divides(sizes):
    of = problem.from_shape(*sizes, "bf16", layout="nn")
    assert not wrong(of, built(of))


@pytest.mark.parametrize(
    "knobs",
    [{"swizzle": False}, {"swizzle": False, "padding": 8}, {"prefetch": False}, {"ahead": 1}, {"fences": False},
     {"buffers": False}, {"raster_m": 1, "chiplets": 1}, {"raster_m": 3, "chiplets": 5}, {"run": 1}, {"stages": 2}],
    ids=str,
)  # fmt: skip
def test_every_knob(knobs):
    of = problem.from_shape(200, 136, 128, "f16", layout="nt", batch=2)
    assert not wrong(of, built(of, **{**SMALL, **knobs}))


@pytest.mark.parametrize(
    "knobs",
    [{"prefetch": False}, {}, {"ping_pong": True}, {"ping_pong": True, "prefetch": False, "fences": False},
     {"ping_pong": True, "block_k": 32, "mfma": 32}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize(("sizes", "layout"), [((200, 136, 256), "nt"), ((64, 64, 200), "nn"), ((64, 64, 64), "tt")])
def test_three_stages(sizes, layout, knobs):
    of = problem.from_shape(*sizes, "f16", layout=layout)
    assert not wrong(of, built(of, **{**SMALL, "stages": 3, **knobs}))


@pytest.mark.parametrize("knobs", [{}, {"stages": 2}, {"prefetch": False, "raster_m": 1, "chiplets": 1}], ids=str)
def test_workgroups_that_make_one_tile_after_the_other(knobs):
    of = problem.from_shape(650, 300, 48, "bf16", layout="nt")  # 399 tiles of three K steps, made by two waves each
    tile = {"block_m": 32, "block_n": 16, "block_k": 16, "wave_m": 16, "wave_n": 16, "run": 1, "swizzle": False}
    binary = built(of, **{**tile, "persistent": 1, **knobs})
    assert binary.launches[0].grid == (304, 1, 1)
    assert not wrong(of, binary)


@pytest.mark.parametrize(
    ("element", "layout", "knobs"),
    [("f16", "nt", {}), ("f16", "nn", {"swizzle": False, "padding": 8}), ("bf16", "nt", {"mfma": 32, "wave_n": 64}),
     ("i8", "tt", {}),
     ("f32", "nt", {}), ("i8", "nt", {"stages": 2}), ("f64", "nt", {"block_k": 16}), ("f16", "tn", {"stream_k": 1}),
     ("f16", "nt", {"prefetch": False, "buffers": False, "run": 1})],
)  # fmt: skip
def test_results_that_go_through_workgroup_memory(element, layout, knobs):
    of = problem.from_shape(130, 200, 128, element, layout=layout, batch=2)
    assert not wrong(of, built(of, **{**SMALL, "shuffle": True, **knobs}))


def test_the_compiler_does_not_move_what_meets_in_other_lanes():
    """One column: most lanes store nothing, and would be taken through the next round before the others read."""
    of = problem.from_shape(32, 1, 1, "f16")
    tile = {"block_m": 32, "block_n": 32, "wave_m": 32, "wave_n": 32, "block_k": 16}
    assert not wrong(of, built(of, **tile, shuffle=True, buffers=False))


@pytest.mark.parametrize(
    ("element", "layout", "knobs"),
    [("f16", "nt", {}), ("f16", "nt", {"stages": 2}), ("bf16", "nt", {"stages": 3}), ("i8", "nt", {"stages": 3}),
     ("f16", "nt", {"stages": 3, "ping_pong": True}), ("f16", "nn", {}), ("f32", "tt", {"ahead": 1}),
     ("f8E4M3FNUZ", "nt", {"swizzle": False}), ("f64", "nt", {"block_k": 16}), ("f16", "nt", {"split_k": 2})],
)  # fmt: skip
def test_copies_by_no_register(element, layout, knobs):
    of = problem.from_shape(128, 128, 512, element, layout=layout)
    binary = built(of, **{**SMALL, "direct": True, **knobs})
    image = load(binary.image)
    names = [one.name for one in reachable(image.code, image.kernel(binary.launches[0].kernel).descriptor.entry)]
    assert ("global_load_lds_dword" in names) == (element != "f64")
    assert not wrong(of, binary)


def test_ragged_tiles_are_copied_by_registers():
    of = problem.from_shape(100, 128, 256, "f16", layout="nt")
    assert not wrong(of, built(of, **SMALL, direct=True))


def test_shuffled_results_fill_whole_lines():
    of, touched = problem.from_shape(128, 128, 64, "f16", layout="nt"), {}
    for shuffle in (False, True):
        binary = built(of, block_m=64, block_n=128, wave_m=32, wave_n=64, shuffle=shuffle)
        counted, (launch,) = Statistics(), binary.launches
        buffers = [np.zeros(each.shape, np.float16) for each in of.arguments]
        options = Options(watcher=counted)
        Emulator(binary.image).launch(None, launch.grid, launch.block, buffers, launch.shared_bytes, options)
        rows = [each for each in counted.memory.values() if "_store_" in each.instruction.name]
        touched[shuffle] = sum(each.lines[128] for each in rows) / sum(each.ideal[128] for each in rows)
        assert all(each.taken == each.least for each in counted.lds.values())
    assert touched == {False: 2.0, True: 1.0}


@pytest.mark.parametrize("shared", [{"stream_k": 1}, {"split_k": 2}, {"split_k": 8}], ids=str)
@pytest.mark.parametrize("knobs", [{}, {"prefetch": False, "buffers": False}], ids=str)
@pytest.mark.parametrize(
    ("sizes", "element", "batch"),
    [((200, 136, 256), "f16", 0), ((300, 280, 96), "bf16", 0), ((64, 64, 1000), "i8", 0), ((80, 48, 64), "f64", 3)],
)  # 768 steps of 304 workgroups among them, and fewer steps than workgroups
def test_steps_that_are_shared_out(sizes, element, batch, knobs, shared):
    of = problem.from_shape(*sizes, element, layout="nt", batch=batch)
    tile = {"block_m": 32, "block_n": 32, "block_k": 32, "wave_m": 16, "wave_n": 32}
    binary = built(of, **tile, **shared, **knobs)
    assert len(binary.launches) == 2
    assert not wrong(of, binary)


EPILOGUE = """
#rows = affine_map<(m, n) -> (m, n)>
#columns = affine_map<(m, n) -> (n)>
func.func @f(%a: tensor<64x96xbf16>, %b: tensor<96x80xbf16>, %bias: tensor<80xf32>, %more: tensor<64x80xbf16>) -> tensor<64x80xbf16> {
  %zero = arith.constant 0.0 : f32
  %none = tensor.empty() : tensor<64x80xf32>
  %start = linalg.fill ins(%zero : f32) outs(%none : tensor<64x80xf32>) -> tensor<64x80xf32>
  %c = linalg.matmul ins(%a, %b : tensor<64x96xbf16>, tensor<96x80xbf16>) outs(%start : tensor<64x80xf32>) -> tensor<64x80xf32>
  %out = tensor.empty() : tensor<64x80xbf16>
  %r = linalg.generic {indexing_maps = [#rows, #columns, #rows, #rows], iterator_types = ["parallel", "parallel"]}
      ins(%c, %bias, %more : tensor<64x80xf32>, tensor<80xf32>, tensor<64x80xbf16>) outs(%out : tensor<64x80xbf16>) {
  ^bb0(%x: f32, %y: f32, %z: bf16, %o: bf16):
    %s = arith.addf %x, %y : f32
    %t = arith.maximumf %s, %zero : f32
    %w = arith.extf %z : bf16 to f32
    %u = arith.addf %t, %w : f32
    %v = arith.truncf %u : f32 to bf16
    linalg.yield %v : bf16
  } -> tensor<64x80xbf16>
  return %r : tensor<64x80xbf16>
}
"""  # noqa: E501


@pytest.mark.parametrize("knobs", [{}, {"block_k": 32, "stream_k": 1}, {"block_k": 32, "split_k": 2}], ids=str)
def test_an_epilogue_is_what_the_payload_says(knobs):
    of = from_text(EPILOGUE, "epilogue")
    assert not wrong(of, built(of, **knobs))


@pytest.mark.parametrize("knobs", [{}, {"block_k": 32, "stream_k": 1}, {"block_k": 32, "split_k": 2}], ids=str)
def test_a_product_is_added_to_what_is_there(knobs):
    a, b, c = "memref<32x64xf16>", "memref<64x48xf16>", "memref<32x48xf32>"
    of = from_text(
        f"func.func @f(%a: {a}, %b: {b}, %c: {c}) {{ linalg.matmul ins(%a, %b : {a}, {b}) outs(%c : {c}) return }}",
        "added",
    )
    assert of.contraction.accumulates
    assert not wrong(of, built(of, **knobs))


# --- what is known before anything is built --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("knobs", "reason"),
    [
        ({"block_m": 256, "block_n": 256, "block_k": 128}, "131072 bytes of workgroup memory, of 65536"),
        ({"block_m": 256, "block_n": 256, "wave_m": 128, "wave_n": 128}, "vector registers, of 256"),
        ({"block_m": 256, "block_n": 256, "wave_m": 16, "wave_n": 16, "run": 1}, "16384 threads a workgroup, of 1024"),
        ({"block_m": 64, "wave_m": 128}, "block_m=64 is no multiple of wave_m=128"),
        ({"mfma": 32, "wave_m": 16, "block_m": 16}, "wave_m=16 is no multiple of 32"),
        ({"run": 4, "wave_n": 32, "block_n": 64}, "wave_n=32 is no multiple of 64"),
        ({"ping_pong": True}, "ping_pong takes stages=3, found 1"),
        ({"stages": 3, "ping_pong": True, **dict.fromkeys(("block_m", "wave_m", "block_n", "wave_n"), 64)}, "found 1"),
        ({"stream_k": 1, "stages": 2}, "split_k and stream_k take stages=1, found 2"),
        ({"stream_k": 1, "split_k": 2}, "the steps of a tile are shared out once: by split_k or by stream_k"),
        ({"stream_k": 1, "persistent": 1}, "stream_k is persistent itself"),
        ({"shuffle": True, "stages": 2}, "shuffle takes stages=1, found 2"),
        (
            {"shuffle": True, "wave_n": 16, "block_n": 64, "run": 1},
            "shuffle gives 64 lanes 16 bytes each, of 32",
        ),
        ({"swizzle": True, "padding": 8}, "rows are either permuted or padded"),
        ({"cores": "tensor"}, "cores is matrix or vector, found 'tensor'"),
        ({"cores": "matrix", "thread_m": 4}, "there is no knob 'thread_m' for matrix cores"),
    ],
    ids=str,
)
def test_what_is_illegal_says_why(knobs, reason):
    assert reason in str(space.illegal(knobs, problem.from_shape(1024, 1024, 1024, "f16", layout="nt"), CHIP))


@pytest.mark.parametrize("knob", ["ping_pong", "ahead"])
def test_one_operand_by_registers_beside_a_direct_one(knob):
    """Of row-major operands only A is direct."""
    knobs = {**SMALL, "direct": True, "stages": 3, "prefetch": True, knob: 1}
    of = problem.from_shape(64, 64, 320, "f16", layout="nn")
    assert f"{knob} takes both operands by registers or both directly" in str(space.illegal(knobs, of, CHIP))
    assert not wrong(of, built(of, **{**knobs, "prefetch": False}))


def test_what_has_no_instruction_goes_to_vector_cores():
    accumulated = from_text(
        "func.func @f(%a: tensor<8x8xf16>, %b: tensor<8x8xf16>, %c: tensor<8x8xf16>) -> tensor<8x8xf16> {"
        "%r = linalg.matmul ins(%a, %b : tensor<8x8xf16>, tensor<8x8xf16>) outs(%c : tensor<8x8xf16>)"
        " -> tensor<8x8xf16> return %r : tensor<8x8xf16> }", "half", True,
    )  # fmt: skip
    assert "accumulate in f32" in str(matrix.possible(accumulated))
    assert space.default(accumulated, CHIP)["cores"] == "vector"


def test_the_default_of_any_problem_is_legal():
    sizes = (1, 5, 16, 100, 1024, 8192)
    for m, n, k in product(sizes, (1, 24, 4096), (1, 64, 1000)):
        for element, layout in product(("f16", "i8", "f64"), ("nt", "tn")):
            of = problem.from_shape(m, n, k, element, layout=layout)
            knobs = space.default(of, CHIP)
            assert space.illegal(knobs, of, CHIP) is None, (of.name, knobs)


@pytest.mark.parametrize(("element", "tile"), list(DEPTHS))
@pytest.mark.parametrize("run", [1, 2, 4])
def test_lanes_hold_every_row_once(element, tile, run):
    layout = Layout(tile, run, element)
    tiles = 4 * run
    rows = sorted(layout.first_row(t, lane) for t in range(tiles) for lane in range(tile))
    assert rows == list(range(tiles * tile))
    quads = [each for r in range(tiles * tile // layout.span) for each in layout.quads_of(r)]
    assert sorted(quads) == [(t, q) for t in range(tiles) for q in range(layout.quads)]
    starts = sorted({layout.run_start(r, lane) for r in range(tiles * tile // layout.span) for lane in range(LANES)})
    assert starts == list(range(0, tiles * tile, layout.width))


@pytest.mark.parametrize("element", ["f16", "i8", "f32"])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(("tile", "run"), [(16, 1), (16, 2), (32, 2)])
def test_swizzles_leave_no_conflict(tile, run, first, turned, element):
    nbytes = dtypes.lookup(element).bytes
    piece = matrix.turned_piece(128, matrix.LINE // nbytes, nbytes, 256) if turned else (0, 0)
    tile_ = lds_swizzle.Tile(Layout(tile, run, element), 128, 8, first, *piece)
    assert all(taken == least for taken, least in tile_.cycles(lds_swizzle.masks(tile_)))
    assert any(taken > least for taken, least in tile_.cycles(()))
