"""Ladders: what each rung changes and why, what is skipped, and the command with its record and report."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from lowering import cli, ladder_record, problem, store, targets
from lowering.ladder import changes, ladder, sentence, shown, unnested
from lowering.passes import pipeline
from lowering.targets.families import FAMILIES


def rungs(chip: str, size: int, dtype: str, **given: object) -> dict[str, object]:
    """The rungs of a cube by their names."""
    found = ladder(problem.from_shape(size, size, size, dtype, layout="nt"), targets.load(chip), given)
    steps = {each.name: each for each in found}
    assert len(steps) == len(found)
    return steps


# --- what a rung is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chip", "size", "dtype"),
    [("sm_90", 8192, "bf16"), ("sm_90", 300, "f16"), ("sm_90", 512, "f32"), ("gfx942", 4096, "bf16"),
     ("gfx942", 48, "i8"), ("x86_64", 256, "f32"), ("x86_64", 7, "f64")],
)  # fmt: skip
def test_a_ladder_ends_at_the_default_and_every_rung_is_another_schedule(chip, size, dtype):
    of, target = problem.from_shape(size, size, size, dtype, layout="nt"), targets.load(chip)
    space, found = FAMILIES[target.family].space, ladder(of, target, {})
    built = [each for each in found if each.schedule is not None]
    assert built[-1].schedule == space.schedule({}, of, target)
    assert len({str(each.schedule) for each in built}) == len(built)
    assert all(each.skipped for each in found if each.schedule is None)
    assert all(space.illegal(each.knobs, of, target) is None for each in built)
    assert not built[0].changes
    for low, high in pairwise(built):
        assert [*map(shown, changes(low.schedule, high.schedule))] == list(high.changes)
        assert high.changes
        assert high.why


@pytest.mark.parametrize(
    ("chip", "name", "change"),
    [
        ("sm_90", "copies run ahead", ("+ ring",)),
        ("sm_90", "a warpgroup for the copies", ("- ring", "+ warp-specialise")),
        ("sm_90", "results by tensor copies", ("wgmma -> wgmma{blocks=2}",)),
        ("sm_90", "workgroups that stay", ("+ persist{workgroups=128}",)),
        ("sm_90", "neighbours share operands", ("+ rasterise{rows=16}",)),
        ("gfx942", "buffer instructions", ("+ buffer-accesses",)),
        ("gfx942", "no bank conflicts", ("+ swizzle{rows=1,2,4}", "+ swizzle{buffer=1 rows=1,2,4}")),
        ("gfx942", "the next tiles are on their way", ("+ prefetch",)),
        ("gfx942", "and stay ahead", ("+ fence-products",)),
    ],
)
def test_a_rung_is_one_change(chip, name, change):
    assert rungs(chip, 4096, "bf16")[name].changes == change


def test_why_is_what_the_passes_or_the_knobs_say():
    found = rungs("sm_90", 4096, "bf16")
    assert found["copies run ahead"].why == (
        "ring: Lets tensor copies run ahead of the products: several places for each tile, taken in turn.",
    )
    (words,) = found["results by tensor copies"].why
    assert words.startswith("blocks 0 -> 2: blocks of 64 rows of 128 bytes")
    assert [words.split(":")[0] for words in found["tensor cores and tensor copies"].why][:3] == [
        "map-waves",
        "promote-tma",
        "wgmma",
    ]


def test_sentences_of_ours_and_of_upstream():
    assert sentence("tile-k") == "The K loop of the register kernels."
    assert sentence("convert-nvgpu-to-nvvm") == "Convert NVGPU dialect to NVVM dialect"


def test_what_a_small_problem_has_no_use_for_is_skipped():
    found = rungs("sm_90", 512, "bf16")  # tiles of 64x64, fewer than SMs
    idle = [name for name, each in found.items() if each.skipped == "it changes nothing here"]
    assert idle == [
        "larger tiles", "a wider tile", "more warpgroups", "workgroups that stay", "registers from the copies",
        "copies shared in a cluster", "parts of K",
    ]  # fmt: skip


def test_what_only_a_few_problems_need_is_a_rung_of_theirs():
    deep = ladder(problem.from_shape(128, 256, 8192, "bf16", layout="nt"), targets.load("sm_90"), {})
    assert deep[-1].name == "parts of K"
    assert any(change.startswith("+ split-reduction{parts=") for change in deep[-1].changes)


def test_what_is_illegal_is_skipped_with_the_reason():
    found = rungs("gfx942", 512, "f8E4M3FNUZ")
    reason = "there are no multiply-adds of f8E4M3FNUZ, and nothing widens it here"
    assert [name for name, each in found.items() if each.skipped == reason] == [*found][:3]
    assert found["matrix cores"].skipped == ""
    assert not found["matrix cores"].changes


def test_the_ladder_is_that_of_the_cores():
    assert [*rungs("sm_90", 4096, "bf16", cores="vector")] == [*rungs("sm_90", 4096, "f32")]
    assert [*rungs("sm_90", 4096, "bf16")][:3] == [*rungs("sm_90", 4096, "f32")]


def test_given_knobs_are_those_of_the_highest_rung():
    found = rungs("sm_90", 4096, "bf16", stages=3)
    assert found["neighbours share operands"].knobs["stages"] == 3
    assert found["copies run ahead"].changes == ("+ ring{stages=3}",)


def test_changes_of_nested_passes():
    old, new = (pipeline.parse(text) for text in ("canonicalize,gpu.module(cse)", "gpu.module(cse),cse,canonicalize"))
    assert [*map(shown, changes(old, new))] == ["- canonicalize", "+ cse", "+ canonicalize"]
    assert unnested("gpu.module(convert-gpu-to-nvvm{index-bitwidth=64})") == "convert-gpu-to-nvvm{index-bitwidth=64}"


# --- the command -----------------------------------------------------------------------------------------------------


def typed(capsys, *words: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command line."""
    code = cli.run([str(word) for word in words])
    found = capsys.readouterr()
    return code, found.out, found.err


def test_a_ladder_is_measured_recorded_and_shown_again(capsys, tmp_path):
    words = ("ladder", "--target", "x86_64", "--shape", "40x48x32", "--dtype", "f32", "--runs", tmp_path)
    code, out, _ = typed(capsys, *words)
    assert code == 0
    assert "times are measured on x86_64" in out
    assert "each in turn with numpy" in out
    record = ladder_record.read(tmp_path / "1")
    built = [rung for rung in record.rungs if rung.run]
    assert [rung.run for rung in built] == list(range(1, len(built) + 1))
    assert all(rung.word == "measured" and rung.seconds and rung.baseline for rung in built)
    for rung in built:
        own = store.read_record(tmp_path / "1" / "run" / str(rung.run))
        assert (own.schedule, own.outcome, own.timing.hot) == (rung.schedule, rung.outcome, rung.seconds)
    assert typed(capsys, "report", "1", "--runs", tmp_path)[1] == out
    assert typed(capsys, "report", "last", "--runs", tmp_path, "--json")[1] == ladder_record.as_json(record) + "\n"
    text = (tmp_path / "1" / "report.md").read_text()
    assert typed(capsys, "report", "1", "--runs", tmp_path, "--markdown")[1] == text + "\n"
    assert f"| {record.flops / built[-1].seconds / 1e12:.3g} |" in text
    assert f"| {built[0].seconds / built[1].seconds:.2f} |" in text


def test_the_first_pass_that_changes_is_in_the_report(capsys, tmp_path):
    words = ("--shape", "40x48x32", "--dtype", "f32", "--runs", tmp_path, "--no-time", "--verify", "witness")
    code, out, err = typed(capsys, "ladder", "--target", "x86_64", *words, "--rungs", "7-8")
    assert code == 0
    assert "+ peel" in out
    assert "scalar-a: A vector of A that is only taken apart again is read as scalars" in out
    assert "skipped: --rungs 7-8" in out
    assert "prefetch-c" not in out
    assert "measured" not in out.replace("nothing was measured: --no-time", "")
    assert [line.split(":")[0] for line in err.splitlines()] == ["full tiles without masks", "broadcasts from memory"]


def test_emulated_is_not_measured(capsys, tmp_path):
    words = ("--target", "gfx942", "--shape", "64x64x128", "--dtype", "f16", "--layout", "nt", "--runs", tmp_path)
    code, out, _ = typed(capsys, "ladder", *words, "--rungs", "6-8", "--json")
    assert code == 0
    found = [rung for rung in json.loads(out)["rungs"] if rung["run"]]
    assert [rung["word"] for rung in found] == ["emulated"] * 3
    assert all(rung["seconds"] is None and rung["predicted"] and rung["model"] for rung in found)
    _, out, _ = typed(capsys, "report", "1", "--runs", tmp_path)
    assert "nothing was measured: an emulator has no clock" in out
    assert "predicted TFLOP/s" in out
    assert "emulated, verified (witness+full)" in out
    buffers, swizzled = out.split("\n6  ")[1].split("\n7  ")
    assert "emulated: LDS reads: " in buffers
    assert "4.00x" in next(line for line in buffers.splitlines() if "LDS reads" in line)
    assert "1.00x" in next(line for line in swizzled.splitlines() if "LDS reads" in line)


def test_without_the_device_rungs_are_built(capsys, tmp_path):
    if any(each.unavailable() is None for each in FAMILIES["nvidia"].executors):
        pytest.skip("there is a device")
    words = ("--target", "sm_90", "--shape", "256x256x192", "--dtype", "bf16", "--layout", "nt", "--runs", tmp_path)
    code, out, _ = typed(capsys, "ladder", *words, "--rungs", "4-6")
    assert code == 0
    assert "nothing was measured: built, not executed: " in out
    assert "+ ring" in out
    record = ladder_record.read(tmp_path / "1")
    first, second = [rung for rung in record.rungs if rung.run]
    assert first.shared_bytes < second.shared_bytes
    assert (tmp_path / "1" / "run" / "2" / second_image(tmp_path)).is_file()


def second_image(runs) -> str:
    """The file of the second rung's binary: without ptxas it is PTX."""
    return store.read_record(runs / "1" / "run" / "2").image


def test_a_rung_that_fails_is_said_and_the_others_go_on(capsys, tmp_path):
    words = ("--target", "x86_64", "--shape", "512x512x512", "--dtype", "f32", "--runs", tmp_path, "--rungs", "8-9")
    code, out, _ = typed(capsys, "ladder", *words, "--timeout", "0.05")
    assert code == 1
    assert out.count("failed: ") >= 2
    assert "timeout" in out
    assert "nothing was measured: no rung was built" in out
