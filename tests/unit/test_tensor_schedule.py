"""The schedule on tensor cores, compiled: sizes, layouts and types to cubins without spills; what it refuses."""

from __future__ import annotations

from functools import cache

import pytest

from lowering import mlir, neighbours, problem, targets
from lowering.core import Binary, Buffer, Failure, Problem, Schedule, TensorMap, Workspace
from lowering.lower import lower
from lowering.passes import pipeline
from lowering.state_check import StateJob, ask
from lowering.targets import simt
from lowering.targets.nvidia import matrix, ptx, space
from lowering.worker import Limits, Worker

CHIP = targets.load("sm_90")


def built(of: Problem, **knobs: object) -> Binary:
    """The binary of a schedule on tensor cores."""
    assert space.illegal(knobs, of, CHIP) is None
    assert space.full(knobs, of, CHIP)["cores"] == "matrix"
    outcome = lower(of, space.schedule(knobs, of, CHIP), CHIP).outcome
    assert isinstance(outcome, Binary), outcome
    return outcome


def clean(binary: Binary) -> None:
    """Nothing spilled, and wgmma neither serialised nor made to wait."""
    for kernel in binary.kernels:
        if ptx.ptxas() is not None:
            assert (kernel.spills, kernel.scratch_bytes, kernel.notes) == (0, 0, ())


@pytest.mark.parametrize("layout", ["nn", "nt", "tn", "tt"])
@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_layouts_and_types(dtype, layout):
    binary = built(problem.from_shape(512, 512, 256, dtype, layout=layout))
    clean(binary)
    (launch,) = binary.launches
    maps = [each for each in launch.args if isinstance(each, TensorMap)]
    assert [(each.swizzle, each.box) for each in maps] == [(128, (64, 64))] * 3  # of A, B and C
    assert (launch.grid, launch.block, launch.shared_bytes) == ((64, 1, 1), (256, 1, 1), (4 * 2 + 1) * 64 * 64 * 2)


@pytest.mark.parametrize(
    ("dtype", "elements", "output"),
    [
        ("f8E4M3FN", ("f8E4M3FN", 128), ("bf16", 64)),
        ("f8E5M2", ("f8E5M2", 128), ("bf16", 64)),
        ("tf32", ("tf32", 32), ("f32", 32)),
        ("i8", ("i8", 128), ("i32", 32)),
    ],
)
@pytest.mark.parametrize("knobs", [{}, {"specialised": False}, {"block_m": 128, "block_n": 256, "blocks": 1}])
def test_other_types(dtype, elements, output, knobs):
    """Rows of 128 bytes of A, B and C; f32 is rounded to tf32 where it is copied in, and nothing where C is out."""
    binary = built(problem.from_shape(512, 512, 512, dtype, layout="nt"), **knobs)
    clean(binary)
    (launch,) = binary.launches
    maps = [each for each in launch.args if isinstance(each, TensorMap)]
    assert sorted((each.element, each.box[0]) for each in maps) == sorted([elements, elements, output])
    assert {each.swizzle for each in maps} == {128}


@pytest.mark.parametrize("layout", ["nn", "nt"])
@pytest.mark.parametrize(
    "knobs",
    [
        {"block_m": 128, "block_n": 256, "wave_m": 64, "wave_n": 256},
        {"block_m": 128, "block_n": 128, "wave_m": 128, "wave_n": 128},
        {"block_m": 256, "block_n": 128, "wave_m": 64, "wave_n": 128, "raster_m": 1, "specialised": False},
        {"block_m": 128, "block_n": 128, "wave_m": 64, "wave_n": 64, "block_k": 128},
        {"block_m": 64, "block_n": 192, "wave_m": 64, "wave_n": 192},
        {"block_m": 128, "block_n": 256, "specialised": False},
        {"block_m": 128, "block_n": 256, "specialised": False, "stages": 1},
        {"block_m": 128, "block_n": 128, "stages": 5},
        {"block_m": 128, "block_n": 256, "blocks": 0},
        {"block_m": 64, "block_n": 64, "persistent": 0},
        {"block_m": 64, "block_n": 64, "specialised": False},
        {"block_m": 128, "block_n": 256, "blocks": 4, "stages": 3},
        {"block_m": 192, "block_n": 192, "blocks": 1},
        {"block_m": 256, "block_n": 192, "wave_m": 128},
        {"block_m": 128, "block_n": 256, "copier_registers": 24, "cluster": 2},
        {"block_m": 128, "block_n": 64, "cluster": 4, "persistent": 0},
        {"block_m": 128, "block_n": 256, "flight": 1},
        {"block_m": 128, "block_n": 128, "cluster": 2, "blocks": 0},
    ],
    ids=lambda knobs: "-".join(map(str, knobs.values())),
)
def test_tiles(knobs, layout):
    clean(built(problem.from_shape(512, 768, 512, "bf16", layout=layout), **knobs))


@pytest.mark.parametrize("layout", ["nn", "nt", "tn", "tt"])
def test_batches(layout):
    """Maps of three dimensions, boxes of one matrix; the workgroups take the tiles of all of them in turn."""
    binary = built(problem.from_shape(512, 512, 256, "bf16", layout=layout, batch=64))
    clean(binary)
    (launch,) = binary.launches
    maps = [each for each in launch.args if isinstance(each, TensorMap)]
    assert {(each.dims[2], each.box[0], each.box[2]) for each in maps} == {(64, 64, 1)}
    rows = [128 if layout[0] == "n" else 64, 256 if layout[1] == "t" else 64, 64]  # of A, B and C
    assert sorted(each.box[1] for each in maps) == sorted(rows)
    assert launch.grid == (128, 1, 1)  # 8 tiles of 64 matrices: 4 rounds


@pytest.mark.parametrize(
    "knobs",
    [
        {"specialised": False, "block_m": 128, "block_n": 256},
        {"specialised": False, "stages": 1},
        {"blocks": 0, "block_m": 64, "block_n": 64},
        {"persistent": 0, "block_k": 128},
        {"split_k": 2},
    ],
    ids=lambda knobs: "-".join(map(str, knobs.values())),
)
@pytest.mark.parametrize("layout", ["nn", "tt"])
def test_batches_of_sizes_that_tiles_do_not_divide(layout, knobs):
    clean(built(problem.from_shape(136, 200, 328, "f16", layout=layout, batch=3), **knobs))


@pytest.mark.parametrize(
    "knobs",
    [{}, {"specialised": False}, {"specialised": False, "stages": 1}, {"blocks": 0, "block_m": 64, "block_n": 64}],
    ids=lambda knobs: "-".join(map(str, knobs.values())),
)
def test_k_of_one_step(knobs):
    """Workgroups make several tiles in turn all the same, and copies run ahead."""
    of = problem.from_shape(4096, 4104, 64, "bf16", layout="nn")
    binary = built(of, **knobs)
    clean(binary)
    full = space.full(knobs, of, CHIP)
    (launch,) = binary.launches
    assert launch.grid[0] <= 132 < matrix.tiles(full["block_m"], full["block_n"], of)
    assert launch.shared_bytes == matrix.memory(full, 2)


@pytest.mark.parametrize("layout", ["nn", "nt", "tn", "tt"])
@pytest.mark.parametrize("shape", [(256, 256, 4096), (200, 136, 1000)])
def test_parts_of_k(shape, layout):
    """A launch of as many workgroups as there are parts, whose sums are the workspace of a second."""
    of = problem.from_shape(*shape, "bf16", layout=layout)
    binary = built(of, split_k=5, block_m=64, block_n=128)
    clean(binary)
    first, second = binary.launches
    tiles = matrix.tiles(64, 128, of)
    assert first.grid[0] == 5 * tiles
    (parts,) = (each for each in first.args if isinstance(each, Workspace))
    assert parts in second.args
    assert (first.early, second.early) == (False, True)
    assert parts.bytes == 5 * tiles * 64 * 128 * 4
    assert second.grid[0] * 128 * 2 == tiles * 64 * 128  # two columns of a row a thread


def test_an_epilogue_follows_the_sum_of_parts():
    of = problem.from_text(
        "func.func @f(%a: tensor<128x1024xbf16>, %b: tensor<1024x128xbf16>, %c: tensor<128x128xf32>)"
        " -> tensor<128x128xf32> {"
        "%r = linalg.matmul ins(%a, %b : tensor<128x1024xbf16>, tensor<1024x128xbf16>) outs(%c : tensor<128x128xf32>)"
        " -> tensor<128x128xf32> return %r : tensor<128x128xf32> }", "added",
    )  # fmt: skip
    first, second = built(of, split_k=4).launches
    assert Buffer(2) not in first.args
    assert Buffer(2) in second.args


@pytest.mark.parametrize("shape", [(130, 72, 48), (1000, 1544, 1104), (64, 64, 64), (8, 8, 8), (1, 4096, 4096)])
def test_sizes_that_tiles_do_not_divide(shape):
    clean(built(problem.from_shape(*shape, "f16", layout="nt")))


@pytest.mark.parametrize(
    ("of", "reason"),
    [
        (problem.from_shape(64, 64, 64, "f32"), "there is no wgmma for f32; as tf32, with fewer bits, there is"),
        (problem.from_shape(64, 64, 64, "f64"), "there is no wgmma for f64"),
        (problem.from_shape(64, 64, 64, "tf32"), "wgmma of tf32 takes K along the rows of both operands, layout nt"),
        (problem.from_shape(64, 64, 64, "i8", layout="tt"), "wgmma of i8 takes K along the rows of both operands"),
    ],
)
def test_what_has_no_tensor_copies_runs_on_single_threads(of, reason):
    assert reason in str(matrix.possible(of))
    assert reason in str(space.illegal({"cores": "matrix"}, of, CHIP))
    assert space.default(of, CHIP)["cores"] == "vector"


@pytest.mark.parametrize(
    ("of", "reason"),
    [
        (problem.from_shape(64, 64, 72, "i8", layout="nt"), "a row of A has 72 bytes, no multiple of 16"),
        (problem.from_shape(64, 64, 66, "tf32", layout="nt"), "a row of A has 264 bytes, no multiple of 16"),
        (problem.from_shape(64, 64, 68, "f16", layout="nt"), "a row of A has 136 bytes, no multiple of 16"),
        (problem.from_shape(64, 68, 64, "f16", layout="nn"), "a row of B has 136 bytes, no multiple of 16"),
    ],
)
def test_rows_of_no_16_bytes_are_copied_first_where_that_pays(of, reason):
    assert reason in str(space.illegal({"cores": "matrix", "align": 0}, of, CHIP))
    assert space.default(of, CHIP)["cores"] == "vector"
    assert space.full({"cores": "matrix"}, of, CHIP)["align"] == 128
    clean(built(of, cores="matrix"))


def test_copies_of_large_operands_pay():
    of = problem.from_shape(2047, 1030, 2049, "bf16", layout="nn")
    full = space.default(of, CHIP)
    assert (full["cores"], full["align"]) == ("matrix", 128)
    *copies, product_ = built(of).launches
    assert [each.block for each in copies] == [(160, 1, 1), (160, 1, 1)]
    maps = [each for each in product_.args if isinstance(each, TensorMap)]
    assert [(type(each.buffer), each.dims) for each in maps] == [(Workspace, (2112, 2047)), (Workspace, (1088, 2049))]


def test_one_operand_that_lies_well_is_read_where_it_lies():
    of = problem.from_shape(1024, 1028, 1024, "bf16", layout="nn")
    *copies, product_ = built(of, cores="matrix").launches
    maps = [each for each in product_.args if isinstance(each, TensorMap)]
    assert len(copies) == 1
    assert [type(each.buffer) for each in maps] == [Buffer, Workspace]


@pytest.mark.parametrize(
    ("knobs", "reason"),
    [
        ({"block_m": 192, "wave_m": 128}, "block_m=192 is no multiple of wave_m=128"),
        ({"block_m": 128, "wave_m": 32}, "wave_m=32 is no multiple of 64, the rows of wgmma"),
        ({"block_k": 96}, "block_k=96 is no multiple of 64, the elements of 128 bytes"),
        ({"block_n": 512, "wave_n": 256}, "a tensor copy has at most 256 rows, found 512"),
        ({"block_n": 96, "wave_n": 96}, "wave_n=96 is no multiple of 64, a row of B's tile"),
        (
            {"block_m": 128, "block_n": 256, "wave_m": 128, "wave_n": 256},
            "296 registers a thread for 128x256 of C, of 255",
        ),
        ({"block_m": 256, "block_n": 256, "block_k": 256, "wave_m": 128}, "bytes of workgroup memory, of 232448"),
        ({"block_m": 256, "block_n": 256, "wave_m": 64, "wave_n": 64}, "2176 threads a workgroup, of 1024"),
        ({"block_m": 128, "block_n": 256, "stages": 5}, "279552 bytes of workgroup memory, of 232448"),
        (
            {"block_m": 256, "block_n": 256, "wave_m": 64, "wave_n": 256, "copier_registers": 0},
            "640 threads of 168 registers, of 65536",
        ),
        ({"block_m": 192, "block_n": 256}, "168 registers a thread for 64x256 of C, of 152 that the copies leave"),
        ({"flight": 1, "stages": 1}, "products in flight hold a place of their tiles"),
        ({"cluster": 2, "block_m": 128, "block_n": 256, "split_k": 2}, "clusters make tiles of all of K"),
        ({"cluster": 2, "specialised": False}, "shared copies have a warpgroup of their own"),
        ({"block_m": 64, "block_n": 192, "wave_n": 96, "blocks": 1, "block_k": 64}, "wave_n=96 is no multiple of 64"),
        ({"split_k": 17}, "split_k=17 parts of 16 steps"),
        ({"split_k": 2, "blocks": 1}, "parts of sums are of 32 bits, which threads write: blocks=0"),
        ({"stream_k": 3}, "there is no knob 'stream_k' for matrix cores"),
    ],
)
def test_illegal_knobs_have_a_reason(knobs, reason):
    of = problem.from_shape(1024, 1024, 1024, "f16", layout="nn")
    assert reason in str(space.illegal({"cores": "matrix", **knobs}, of, CHIP))


@pytest.mark.parametrize(
    ("dtype", "knobs", "reason"),
    [
        ("f8E4M3FN", {"block_k": 64}, "block_k=64 is no multiple of 128, the elements of 128 bytes"),
        ("tf32", {"block_k": 48}, "block_k=48 is no multiple of 32, the elements of 128 bytes"),
        ("i8", {"block_n": 264, "wave_n": 264}, "wave_n=264: wgmma has a multiple of 16 columns, at most 256"),
        ("i8", {"block_n": 40, "wave_n": 40}, "wave_n=40: wgmma has a multiple of 16 columns"),
        ("tf32", {"block_n": 48, "wave_n": 48, "blocks": 1}, "wave_n=48 is no multiple of 32, a block's columns"),
        ("f8E4M3FN", {"block_n": 96, "wave_n": 96, "blocks": 1}, "wave_n=96 is no multiple of 64, a block's columns"),
        ("f8E4M3FN", {"block_m": 128, "block_n": 256, "stages": 5}, "279552 bytes of workgroup memory, of 232448"),
    ],
)
def test_illegal_knobs_of_other_types(dtype, knobs, reason):
    of = problem.from_shape(1024, 1024, 1024, dtype, layout="nt")
    assert reason in str(space.illegal({"cores": "matrix", **knobs}, of, CHIP))


@pytest.mark.parametrize(
    "knobs",
    [
        {"block_m": 128, "block_n": 128, "wave_n": 128},
        {"block_m": 128, "block_n": 128, "wave_n": 128, "specialised": False},
        {"block_m": 64, "block_n": 192, "wave_n": 192},
        {"block_m": 128, "block_n": 64, "wave_m": 64, "wave_n": 64, "blocks": 1},
    ],
)
def test_sums_apart(knobs):
    clean(built(problem.from_shape(512, 768, 1024, "f8E4M3FN", layout="nt"), apart=True, **knobs))


@pytest.mark.parametrize(
    ("dtype", "knobs", "reason"),
    [
        ("f8E4M3FN", {"block_m": 128, "block_n": 256}, "296 registers a thread for 64x256 of C, of 255"),
        ("i8", {}, "sums of integers are exact, there is nothing to gain"),
        (
            "f8E4M3FN",
            {"block_n": 128, "flight": 1},
            "sums that are added up apart are waited for in each step: flight=0",
        ),
    ],
)
def test_sums_that_cannot_be_apart(dtype, knobs, reason):
    of = problem.from_shape(512, 768, 1024, dtype, layout="nt")
    assert reason in str(space.illegal({"cores": "matrix", "apart": True, **knobs}, of, CHIP))


@pytest.mark.parametrize("layout", ["nn", "tn", "tt"])
def test_8_bit_floats_in_other_layouts_are_refused(layout):
    of = problem.from_shape(64, 64, 64, "f8E4M3FN", layout=layout)
    assert "takes K along the rows of both operands" in str(space.illegal({"cores": "matrix"}, of, CHIP))
    assert "widens it here; and wgmma of f8E4M3FN takes K along the rows" in str(space.illegal({}, of, CHIP))


def test_few_workgroups_make_many_tiles():
    of = problem.from_shape(2048, 2048, 256, "bf16", layout="nt")  # 128 tiles of 128x256, 1024 of 64x64
    grids = {
        persistent: built(of, block_m=64, block_n=64, persistent=persistent).launches[0].grid[0]
        for persistent in (0, 1, 2)
    }
    assert grids == {0: 1024, 1: 128, 2: 256}  # as few as need no more rounds: 8 of 128, not of 132


def test_results_of_32_bits_are_written_by_tensor_copies():
    of = problem.from_text(
        "func.func @f(%a: tensor<256x128xbf16>, %b: tensor<128x256xbf16>, %c: tensor<256x256xf32>)"
        " -> tensor<256x256xf32> {"
        "%r = linalg.matmul ins(%a, %b : tensor<256x128xbf16>, tensor<128x256xbf16>) outs(%c : tensor<256x256xf32>)"
        " -> tensor<256x256xf32> return %r : tensor<256x256xf32> }", "wide",
    )  # fmt: skip
    assert space.default(of, CHIP)["blocks"] == 2
    clean(built(of))
    odd = problem.from_shape(64, 66, 64, "tf32", layout="nt")
    assert space.default(odd, CHIP)["blocks"] == 0
    assert "in rows of a multiple of 16 bytes" in str(space.illegal({"cores": "matrix", "blocks": 2}, odd, CHIP))
    clean(built(odd))


def test_the_rule_is_legal():
    for size in (1, 8, 64, 100, 512, 1000, 4096, 8192):
        for m, n in ((size, size), (size, 8), (8, size), (size, 4096)):
            for layout in ("nn", "nt", "tn", "tt"):
                of = problem.from_shape(m, n, 128, "f16", layout=layout)
                assert space.illegal(space.default(of, CHIP), of, CHIP) is None, (m, n, layout)
            for dtype in ("f8E4M3FN", "tf32", "i8"):
                of = problem.from_shape(m, n, 128, dtype, layout="nt")
                assert space.illegal(space.default(of, CHIP), of, CHIP) is None, (m, n, dtype)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"warp-specialise{stages=3}": "warp-specialise{stages=9}"},
            "147456 + 294912 + 32768 = 475136 bytes of workgroup memory (9x128x64xbf16, 9x256x64xbf16, 2x2x64x64xbf16),"
            " of 232448",
        ),
        ({"warp-specialise{stages=3}": "ring{stages=5}"}, "of 232448"),
        (
            {"=64,256}": "=128,256}", "most=16384": "most=32768"},
            "128x256 results of 128 threads take 256 registers of each, of 255",
        ),
        (
            {"=128,256": "=256,256", "{stages=3}": "{stages=2}"},
            "256x256 results of a workgroup take 65536 registers, of 65536 with all others",
        ),
    ],
)
def test_a_schedule_that_takes_more_than_there_is_is_refused_before_it_is_compiled(changes, reason):
    of = problem.from_shape(512, 512, 1024, "bf16", layout="nt")
    text = str(
        space.schedule({"block_m": 128, "block_n": 256, "stages": 3, "split_k": 1, "copier_registers": 0}, of, CHIP)
    )
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    outcome = lower(of, pipeline.parse(text), CHIP).outcome
    assert isinstance(outcome, Failure)
    assert (outcome.stage, outcome.kind) == ("lower", "resources")
    assert reason in outcome.reason


@pytest.mark.parametrize("knobs", [{}, {"cluster": 2}, {"hilbert": True}], ids=lambda knobs: "-".join(knobs))
def test_a_schedule_of_many_tiles_is_one_of_a_few(knobs):
    """As on the witness, where a workgroup has one step in all: registers stay, and copies are each one's own."""
    steps = space.schedule(knobs, problem.from_shape(4096, 4096, 64, "bf16", layout="nt"), CHIP)
    for shape in ((256, 512, 64), (256, 1024, 64)):
        outcome = lower(problem.from_shape(*shape, "bf16", layout="nt"), steps, CHIP).outcome
        assert isinstance(outcome, Binary), outcome
        clean(outcome)


PAIRS = problem.from_shape(1024, 2048, 576, "bf16", layout="nt")
OPTIONAL = {
    "rasterise",
    "cluster",
    "persist",
    "warp-specialise",
    "share-registers",
    "first-product",
    "overlap-steps",
    "multicast",
    "by-value-maps",
    "linalg-fuse-elementwise-ops",
    "canonicalize",
    "cse",
    "loop-invariant-code-motion",
}
REFUSED = {"cluster": "cluster makes it", "warp-specialise": "warp-specialise"}


def test_pairs_without_an_optional_step():
    """Each is dropped alone: the kernel is another and as clean, or what needs the step says so."""
    of = PAIRS
    steps = space.schedule({"block_m": 128, "block_n": 64, "cluster": 2, "flight": 1}, of, CHIP).passes
    names = {str(step).split("{")[0] for step in steps}
    for number, step in enumerate(steps):
        if str(step).split("{")[0] in OPTIONAL:
            outcome = lower(of, Schedule((*steps[:number], *steps[number + 1 :])), CHIP).outcome
            if isinstance(outcome, Binary):
                clean(outcome)
            else:
                assert REFUSED[step.name] in outcome.reason, (step, outcome)
    assert names >= OPTIONAL


def test_pairs_with_neighbouring_steps_swapped():
    """A kernel as clean, or a refusal: never one that ptxas has to save."""
    steps = space.schedule({"block_m": 128, "block_n": 128, "cluster": 2, "flight": 1}, PAIRS, CHIP).passes
    first = next(number for number, step in enumerate(steps) if step.name == "map-blocks")
    last = next(number for number, step in enumerate(steps) if step.name == "dynamic-workgroup")
    outcomes = [
        lower(PAIRS, Schedule((*steps[:n], steps[n + 1], steps[n], *steps[n + 2 :])), CHIP).outcome
        for n in range(first, last)
    ]
    for outcome in outcomes:
        if isinstance(outcome, Binary):
            clean(outcome)
        else:
            assert (outcome.stage, outcome.kind) == ("lower", "illegal"), outcome
    assert any(isinstance(outcome, Binary) for outcome in outcomes)


@pytest.mark.parametrize("layout", ["nn", "nt", "tn", "tt"])
def test_workgroups_share_copies_of_a_matrix_of_a_batch(layout):
    of = problem.from_shape(640, 512, 256, "bf16", layout=layout, batch=3)
    binary = built(of, block_m=128, block_n=128, cluster=2)
    clean(binary)
    (launch,) = binary.launches
    boxes = {each.box for each in launch.args if isinstance(each, TensorMap)}
    assert (64, 64 if layout[1] == "t" else 32, 1) in boxes  # a half of B's rows, as they lie in memory
    assert (launch.grid, launch.cluster) == ((3 * 3 * 4 * 2, 1, 1), (2, 1, 1))


def test_clusters_have_whole_pairs_of_tiles():
    """Five rows of tiles are three pairs: 3 x 8 pairs, of which 66 would run at once."""
    of = problem.from_shape(5 * 128, 8 * 128, 256, "bf16", layout="nt")
    (launch,) = built(of, block_m=128, block_n=128, cluster=2).launches
    assert (launch.grid, launch.cluster) == ((48, 1, 1), (2, 1, 1))
    (launch,) = built(of, block_m=64, block_n=64, cluster=2, persistent=1).launches
    assert launch.grid == (80, 1, 1)  # 160 tiles, two rounds of 40 pairs


@pytest.mark.parametrize(
    ("of", "size"),
    [
        (problem.from_shape(4096, 4096, 4096, "bf16", layout="nt"), 1),
        (problem.from_shape(4096, 4104, 4104, "bf16", layout="nt"), 2),
        (problem.from_shape(4096, 4104, 4096, "bf16", layout="nn"), 1),  # rows of B alone: 256x192 hides them
        (problem.from_shape(64, 4104, 4104, "bf16", layout="nt"), 1),  # one row of tiles: there are no pairs
    ],
)
def test_the_rule_shares_copies_whose_rows_straddle_sectors(of, size):
    assert space.default(of, CHIP)["cluster"] == size


# --- what can be left out or exchanged: scripts/check_orders.py runs the binaries on a device -------------------------

TILE = {"block_m": 64, "block_n": 64}
NEIGHBOURS = problem.from_shape(1000, 1048, 320, "bf16", layout="nt")  # 272 tiles, which none of the sizes divides


@cache
def variants() -> tuple[dict[str, Binary | Failure], list[int]]:
    """The default schedule with one step left out or two exchanged; the numbers of the steps that make a difference."""
    whole = space.schedule(TILE, NEIGHBOURS, CHIP)
    found = {"default": lower(NEIGHBOURS, whole, CHIP).outcome}
    different: list[int] = []
    for number, each in neighbours.left_out(whole):
        outcome = found[f"without {number} {whole.passes[number - 1]}"] = lower(NEIGHBOURS, each, CHIP).outcome
        if isinstance(outcome, Binary) and outcome.image != found["default"].image:
            different.append(number)
    for number, each in neighbours.exchanged(whole):
        found[f"{number + 1} before {number}"] = lower(NEIGHBOURS, each, CHIP).outcome
    return found, different


def test_what_is_left_out_or_exchanged_is_clean_or_refused_with_words():
    found, _ = variants()
    for name, outcome in found.items():
        if isinstance(outcome, Failure):
            assert outcome.reason, name
            assert outcome.kind in ("illegal", "resources"), (name, outcome)
            assert "\n" not in outcome.reason
        else:
            clean(outcome)
    assert sum(isinstance(outcome, Binary) for name, outcome in found.items() if name.startswith("without")) >= 10


def test_steps_that_make_a_difference_make_it_in_every_combination():
    whole = space.schedule(TILE, NEIGHBOURS, CHIP)
    found, different = variants()
    names = [whole.passes[number - 1].name for number in different]
    assert names == ["rasterise", "persist", "warp-specialise", "first-product", "by-value-maps"]
    images = {outcome.image for outcome in found.values() if isinstance(outcome, Binary)}
    for numbers, each in neighbours.several_left_out(whole, different):
        outcome = lower(NEIGHBOURS, each, CHIP).outcome
        assert isinstance(outcome, Binary), (numbers, outcome)
        clean(outcome)
        assert outcome.image not in images, numbers
        images.add(outcome.image)
    assert len(images) >= 8


@pytest.mark.parametrize(
    ("without", "reason"),
    [
        ("tile-reduction", "too large for vectors of 4096: tile it first"),
        ("map-blocks", "looked for one gpu.launch and found 0; map-blocks makes it"),
        ("promote-tma", "promote-tma asks for them"),
        ("wgmma", "looked for wgmma that adds to zeros and found none; wgmma makes it"),
        ("dynamic-workgroup", "bytes of shared memory, of 49152"),
        ("convert-nvgpu-to-nvvm", "convert-nvgpu-to-nvvm should have taken it"),
        ("convert-nvvm-to-llvm", "convert-nvvm-to-llvm should have taken it"),
        ("convert-scf-to-cf", "convert-scf-to-cf should have taken it"),
    ],
)
def test_a_step_that_cannot_be_left_out_is_named(without, reason):
    (outcome,) = (outcome for name, outcome in variants()[0].items() if name.startswith("wit") and without in name)
    assert isinstance(outcome, Failure)
    assert reason in outcome.reason


@pytest.mark.parametrize(
    ("size", "tile"), [(512, (64, 64)), (1024, (64, 128)), (2048, (128, 256)), (3072, (192, 192)), (8192, (128, 256))]
)
def test_the_rule_takes_tiles_that_fill_their_rounds(size, tile):
    """288 tiles of 128x256 are 2.2 rounds of 132 SMs, 256 of 192x192 are 1.9."""
    found = space.default(problem.from_shape(size, size, size, "bf16", layout="nt"), CHIP)
    assert (found["block_m"], found["block_n"]) == tile


@pytest.mark.parametrize(
    ("shape", "parts"),
    [
        ((256, 256, 65536), 16),
        ((512, 512, 8192), 4),
        ((512, 512, 512), 1),
        ((2048, 2048, 65536), 1),
        ((64, 64, 128), 1),
    ],
)
def test_the_rule_cuts_k_where_tiles_leave_sms_idle(shape, parts):
    """Tiles that fill the chip stay whole, however deep, and so does a K that a second launch would not pay for."""
    of = problem.from_shape(*shape, "bf16", layout="nt")
    found = space.default(of, CHIP)
    assert found["split_k"] == parts
    assert matrix.work(found, of) <= 132


def test_no_part_is_left_without_a_step():
    """33 parts of 136 steps would be 27 of five, one of one, and five of none."""
    of = problem.from_shape(128, 128, 8704, "bf16", layout="nt")
    found = space.full({"block_m": 64, "block_n": 64}, of, CHIP)
    assert found["split_k"] == 28


def test_the_rule_counts_the_tiles_of_all_batches():
    found = space.default(problem.from_shape(512, 512, 512, "bf16", layout="nt", batch=64), CHIP)
    assert (found["block_m"], found["block_n"], found["split_k"]) == (128, 256, 1)


PARTS = (
    "pad{tile-sizes=8,8,48}",
    "split-reduction{parts=3 step=16}",
    "tile{mapping=block tile-sizes=8,8}",
    "tile-reduction{tile-sizes=16}",
    *simt.DROP_BATCH,
    "tile{mapping=block role=sum tile-sizes=4,8}",
    "tile{mapping=thread role=sum tile-sizes=1,4}",
    "vectorize,func.func(lower-vector-multi-reduction)",
    "fold-split-reads",
    "fold-padding-reads",
)


@pytest.mark.parametrize("batch", [0, 2])
def test_every_step_that_cuts_k_is_right_on_a_cpu(batch):
    of = problem.from_shape(10, 12, 104, "f32", layout="nt", batch=batch)
    module, host = mlir.parse(of.ir), targets.this_machine()
    with Worker(Limits(seconds=60)) as worker:
        for steps in PARTS:
            for step in pipeline.parse(steps).passes:
                step.apply(module)
            verdict = ask(worker, StateJob(mlir.text(module), of, host))
            assert verdict.word == "right", (steps, verdict)


@pytest.mark.parametrize(
    ("shape", "swap"),
    [
        ((16, 4096, 4096), True),
        ((1, 4096, 4096), True),
        ((128, 8192, 8192), True),  # a workgroup a tile is enough for most SMs
        ((128, 4096, 4096), False),
        ((4096, 4096, 4096), False),
        ((4096, 16, 4096), False),
    ],
)
@pytest.mark.parametrize("layout", ["nn", "nt"])
def test_few_rows_are_multiplied_transposed(shape, layout, swap):
    of = problem.from_shape(*shape, "bf16", layout=layout)
    assert space.default(of, CHIP)["swap"] is swap
    assert ("transpose-product" in str(space.schedule({}, of, CHIP))) is swap


@pytest.mark.parametrize(
    ("knobs", "reason"),
    [
        ({"swap": True, "blocks": 1}, "with swap=true threads write the results: blocks=0"),
        ({"cluster": 3}, "cluster=3: 1, 2, 4 or 8 workgroups share copies"),
        ({"swap": True, "block_n": 64, "wave_n": 32}, "wave_n=32 is no multiple of 64, the rows of wgmma"),
    ],
)
def test_illegal_knobs_of_few_rows(knobs, reason):
    assert reason in str(space.illegal({"cores": "matrix", **knobs}, problem.from_shape(16, 4096, 4096), CHIP))


def test_an_epilogue_follows_a_transposed_product():
    of = problem.from_text(
        """func.func @main(%a: tensor<16x512xbf16>, %b: tensor<512x256xbf16>, %bias: tensor<256xf32>)
              -> tensor<16x256xbf16> {
          %z = arith.constant 0.0 : f32
          %e = tensor.empty() : tensor<16x256xf32>
          %f = linalg.fill ins(%z : f32) outs(%e : tensor<16x256xf32>) -> tensor<16x256xf32>
          %r = linalg.matmul ins(%a, %b : tensor<16x512xbf16>, tensor<512x256xbf16>) outs(%f : tensor<16x256xf32>)
            -> tensor<16x256xf32>
          %o = tensor.empty() : tensor<16x256xbf16>
          %g = linalg.generic {iterator_types = ["parallel", "parallel"], indexing_maps =
              [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (j)>, affine_map<(i, j) -> (i, j)>]}
              ins(%r, %bias : tensor<16x256xf32>, tensor<256xf32>) outs(%o : tensor<16x256xbf16>) {
            ^bb0(%x: f32, %y: f32, %unused: bf16):
              %s = arith.addf %x, %y : f32
              %p = arith.mulf %s, %s : f32
              %q = arith.mulf %p, %s : f32
              %t = arith.truncf %q : f32 to bf16
              linalg.yield %t : bf16
          } -> tensor<16x256xbf16>
          return %g : tensor<16x256xbf16>
        }"""
    )
    assert space.default(of, CHIP)["swap"] is True
    clean(built(of))
