"""`lower rank` and `lower explain`, as typed."""

from __future__ import annotations

import json

import pytest

from lowering import cli


def typed(capsys, *words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command line."""
    code = cli.run(list(words))
    found = capsys.readouterr()
    return code, found.out, found.err


def test_rank_prints_predictions_and_says_so(capsys):
    code, out, _ = typed(
        capsys, "rank", "--target", "gfx942", "--shape", "4096x4096x4096", "--dtype", "bf16", "--top", "3"
    )
    assert code == 0
    assert "by *predicted* time" in out
    assert "nothing ran" in out
    assert "default" in out
    lines = out.splitlines()
    assert len([line for line in lines if "GHz" in line]) == 3
    assert "measured" not in out


def test_rank_as_json(capsys):
    code, out, _ = typed(capsys, "rank", "--shape", "512x512x512", "--knobs", "block_m=64 block_n=64", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["target"] == "gfx942"
    assert all(row["knobs"]["block_m"] == 64 for row in found["best"])
    first, *others = [row["predicted"]["seconds"] for row in found["best"]]
    assert others == sorted(others)
    assert first <= 1.05 * others[0]


WORDS = "(512 rows of block_m and block_n, 128 elements of 2 bytes, 1 of each)\n"


def test_explain_says_why_an_instance_is_illegal(capsys):
    code, out, _ = typed(
        capsys, "explain", "--shape", "1024x1024x1024", "--knobs", "block_m=256 block_n=256 block_k=128"
    )
    assert (code, out) == (1, "illegal   131072 bytes of workgroup memory, of 65536 " + WORDS)


def test_explain_says_where_a_knob_comes_from(capsys):
    code, out, _ = typed(
        capsys, "explain", "--shape", "1024x1024x1024", "--knobs", "block_m=128", "--knobs", "fences=false"
    )
    assert code == 0
    assert "block_m=128" in out
    rows = {line.split()[0]: line for line in out.splitlines() if "=" in line.split()[0]}
    assert "given:" in rows["block_m=128"]
    assert "given:" in rows["fences=False"]
    assert "the default's:" in rows["mfma=16"]
    assert "predicted" in out


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["rank", "--target", "sm_90"], "there is no model for sm_90; targets that have one: gfx942"),
        (["rank", "--knobs", "blok_m=3"], "there is no knob 'blok_m'; did you mean block_m"),
        (["rank", "--knobs", "block_m=large"], "block_m is a number"),
        (["explain", "--knobs", "swizzle=maybe"], "swizzle is true or false, found 'maybe'"),
        (["rank", "--knobs", "cores=vector"], "only schedules on matrix cores have a model"),
    ],
    ids=str,
)
def test_mistakes(capsys, words, error):
    code, _, err = typed(capsys, *words)
    assert code == 2
    assert error in err


def test_rank_offers_to_share_k_out_where_compute_units_are_idle(capsys):
    _, out, _ = typed(capsys, "rank", "--shape", "64x64x65536", "--json", "--top", "1000")
    default, *others = json.loads(out)["best"]
    assert default["knobs"]["split_k"] == 1
    assert others[0]["knobs"]["split_k"] > 1
    assert others[0]["predicted"]["seconds"] < default["predicted"]["seconds"] / 2
    _, out, _ = typed(capsys, "rank", "--shape", "64x64x65536", "--knobs", "split_k=8", "--json", "--top", "1000")
    assert {row["knobs"]["split_k"] for row in json.loads(out)["best"]} == {8}


def test_explain_says_which_knobs_do_nothing(capsys):
    words = "stages=3,ping_pong=true,persistent=2"
    _, out, _ = typed(capsys, "explain", "--shape", "512x512x64", "--knobs", words)
    for start in ("stages=3", "ping_pong=True", "persistent=2"):
        assert any(line.strip().startswith(start) and "does nothing here" in line for line in out.splitlines())
    _, out, _ = typed(
        capsys, "explain", "--shape", "4096x4096x4096", "--knobs", "stages=3", "--knobs", "ping_pong=true"
    )
    assert "does nothing here" not in out


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("split_k=64", "leaves workgroups idle (64 parts of 8 steps)"),
        ("stream_k=50", "leaves workgroups idle (15200 workgroups for"),
    ],
)
def test_more_workgroups_than_steps(capsys, words, found):
    _, out, _ = typed(capsys, "explain", "--shape", "512x512x512", "--knobs", words)
    assert found in out


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("block_m", "error: knob 'block_m' wants a value: block_m=256\n"),
        ("block_m=64,block_m=32", "error: knob 'block_m' is given twice: 64 and 32\n"),
    ],
)
def test_knobs_as_typed(capsys, words, found):
    code, _, err = typed(capsys, "explain", "--shape", "512x512x512", "--knobs", words)
    assert (code, err) == (2, found)
