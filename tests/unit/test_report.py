"""Reports are made from the record alone, in words that claim no more than was done."""

import dataclasses

import pytest

from lowering import report, store

PROBLEM = store.ProblemRecord(
    name="p", digest="0", m=100, n=200, k=300, batch=0, layout="nt", element="f16", accumulator="f32", output="f16",
    accumulates=True, epilogue=["addf", "cast"], notes=["an f16 result is accumulated in f32"], flops=12_000_000,
    witness="10x20x4",
)  # fmt: skip
STAGES = [
    store.StageRecord(index=0, text="input", seconds=0, digest="a", bytes=500, file="00-input.mlir"),
    store.StageRecord(
        index=1, text="tile{tile-sizes=4,4}", seconds=0.0123, digest="b", bytes=20_000, file="01-tile.mlir"
    ),
]
RECORD = store.Record(
    run=7, folder="runs/7", command="lower --target t", problem=PROBLEM, target="t", cpu="c", proposer="default",
    knobs={"m": 3}, schedule="tile{tile-sizes=4,4}", stages=STAGES, outcome="verified (witness+full)",
    files=["00-input.mlir", "01-tile.mlir", "kernel.o"],
)  # fmt: skip
KERNEL = store.KernelRecord(name="k", grid=(16, 2, 1), block=(64, 1, 1), vgprs=12, spills=0, shared_bytes=1024)
TIMING = store.TimingRecord(
    device="cpu", hot=1e-3, rotated=2e-3, baseline_name="blas", baseline_hot=5e-4, drift=1.05,
    hot_samples=[1e-3] * 8, rotated_samples=[2e-3] * 8, baseline_samples=[5e-4] * 8,
)  # fmt: skip
FAILURE = store.FailureRecord(
    stage="lower", kind="illegal", reason="found none", step=2, pass_text="promote{padding=4}", log="runs/7/02.log",
    reproduce="lower opt runs/7/01-tile.mlir --pass-pipeline='builtin.module(promote{padding=4})'",
)  # fmt: skip


def changed(**fields):
    return RECORD.model_copy(update=fields)


def test_a_terminal_shows_problem_schedule_stages_verdict_and_files():
    text = report.text(RECORD, 120)
    for words in (
        "run 7",
        "C + A·B, 100x200x300 (MxNxK), layout nt, f16 in, f32 accumulated, then addf, cast, f16 out",
        "an f16 result is accumulated in f32",
        "default, for t (c): m=3",
        "01-tile                   12.3 ms",
        "verified (witness+full)",
        "runs/7 (00-input.mlir to 01-tile.mlir, kernel.o, record.json, report.md)",
    ):
        assert words in text


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_stages_fit_the_width(width):
    stages = [STAGES[1].model_copy(update={"index": i, "file": f"{i:02d}-{'x' * 40}.mlir"}) for i in range(60)]
    lines = list(report.grid(changed(stages=stages), width))
    assert max(map(len, lines)) <= max(width, 60)
    assert sum(line.count(" ms") for line in lines) == 60


def test_resources_show_what_the_format_says_and_no_more():
    text = report.text(changed(format="hsaco", image="kernel.hsaco", image_digest="a" * 64, kernels=[KERNEL]))
    assert "VGPR" in text
    assert "16x2" in text
    assert "AGPR" not in text


def test_times_are_called_measured_and_stand_beside_the_baseline():
    text = report.text(changed(word="measured", timing=TIMING))
    assert "measured, hot" in text
    assert "measured, rotated past the last cache" in text
    assert "0.50 times the speed of blas" in text
    assert "drifted by +5.0 %" in text
    assert "12.0 GFLOP/s" in text
    assert "measured" not in report.text(RECORD)


def test_a_wrong_check_is_shown_with_what_was_wrong():
    checks = [
        store.CheckRecord(name="random, seed 0", scope="witness", ok=True, figure=0.25, bound=0.5),
        store.CheckRecord(name="guards", scope="full", ok=False, detail="written past the end of %out"),
    ]
    wrong = changed(checks=checks, outcome="WRONG: guards")
    text = report.text(wrong)
    assert "1 checks on the witness 10x20x4, 1 at full size, largest error 0.500 of its bound" in text
    assert "full: guards: written past the end of %out" in text
    assert report.exit_code(wrong) == 1


def test_a_failure_names_stage_pass_reason_and_the_command():
    failed = changed(outcome="failed", failure=FAILURE)
    text = report.text(failed)
    assert "lower: illegal in promote{padding=4}: found none" in text
    assert f"again: {FAILURE.reproduce}" in text
    assert "02-promote{padding=4}" in text
    assert report.exit_code(failed) == 1


@pytest.mark.parametrize(
    "outcome", ["verified (witness+full)", "built, not executed: no device", "not verified: --verify none"]
)
def test_what_is_valid_is_exit_code_0(outcome):
    assert report.exit_code(changed(outcome=outcome)) == 0


def test_markdown_has_a_row_for_every_stage_and_escapes_bars():
    stage = STAGES[1].model_copy(update={"text": "a{b=c|d}"})
    text = report.markdown(changed(stages=[stage], timing=TIMING, word="measured", kernels=[KERNEL], format="obj"))
    assert "| 01 | a{b=c\\|d} | 12.3 ms | 20 kB | 01-tile.mlir |" in text
    assert text.startswith("# Run 7: p on t: verified (witness+full)\n\n    lower --target t\n")
    for table in (block for block in text.split("\n\n") if block.startswith("| ")):
        assert len({row.replace("\\|", "").count("|") for row in table.splitlines()}) == 1


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(2.5, "2.5 s"), (0.0123, "12.3 ms"), (4.37e-6, "4.37 µs"), (9.996e-1, "1000 ms"), (0, "0 µs"), (1234.0, "1234 s")],
)
def test_durations(seconds, shown):
    assert report.duration(seconds) == shown


def test_sections_say_nothing_twice():
    titles = [section.title for section in report.sections(changed(timing=TIMING, word="measured", failure=FAILURE))]
    assert len(titles) == len(set(titles))
    assert all(dataclasses.is_dataclass(section) for section in report.sections(RECORD))
