"""Two stored runs, compared: where they part, where they meet, and what each pass did in between."""

import dataclasses
import json
import re
import shutil
from dataclasses import dataclass
from itertools import pairwise, product

import pytest

from lowering import cli, diff_report, mlir, search, store, targets
from lowering.agent.default import Default
from lowering.agent.proposer import Proposal
from lowering.core import UserError
from lowering.diff import NOTHING, ORDER, diff, paired
from lowering.passes import pipeline
from lowering.problem import from_shape
from lowering.targets.families import FAMILIES

SMALL = from_shape(64, 64, 16, "f32", "nn")
OTHER = from_shape(64, 128, 16, "f32", "nn")
CHIP = targets.load("gfx942")
SPACE = FAMILIES[CHIP.family].space
TIMING = store.TimingRecord(
    device="cpu", hot=1e-3, rotated=2e-3, baseline_name="blas", hot_samples=[1e-3 + i * 1e-6 for i in range(8)],
    rotated_samples=[2e-3] * 8, drift=1.0,
)  # fmt: skip


@dataclass(frozen=True)
class Several:
    """Proposes schedules given as texts, one after the other."""

    texts: tuple[str, ...]
    name: str = "several"

    def propose(self, problem, target, records, n):
        return tuple(Proposal(pipeline.parse(text), None) for text in self.texts[len(records) :][:n])


def default_text(problem):
    return str(SPACE.schedule({"cores": "vector"}, problem, CHIP))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs by name: real ones, lowered and built, but not executed."""
    root = tmp_path_factory.mktemp("runs")
    default = default_text(SMALL)
    texts = {
        "default": default,
        "again": default,
        "no-cse": default.replace(",cse,", ",", 1),
        "failed": default.replace(",vectorize,", ","),
        "no-op": default.replace(",expand-math,", ",expand-math,expand-math,"),
        "codegen": re.sub(r",llvm\{.*?\}", "", default) + ",llvm{opt=0}",
    }
    assert len({*texts.values()}) == len(texts) - 1
    options = search.Options(runs=root, budget=len(texts), checks="none", timed=False, command="lower --x")
    records = search.run(SMALL, CHIP, Several(tuple(texts.values())), options)
    found = {name: root / str(record.run) for name, record in zip(texts, records, strict=True)}
    (other,) = search.run(OTHER, CHIP, Default(), search.Options(runs=root, checks="none", timed=False))
    state = (found["default"] / "18-expand-math.mlir").read_text()
    start = search.Options(runs=root, checks="none", timed=False, start=(18, state))
    (resumed,) = search.run(SMALL, CHIP, Several((default,)), start)
    return {**found, "other": root / str(other.run), "resumed": root / str(resumed.run)}


@pytest.fixture(scope="module")
def parted(runs):
    """The default schedule beside the one without its first cse."""
    return diff(runs["default"], runs["no-cse"])


def copied(folder, to, **fields):
    """A copy of a run, its record changed."""
    shutil.copytree(folder, to)
    store.write_record(store.read_record(to).model_copy(update=fields), to)
    return to


def marks(found):
    return "".join(step.mark for step in found.steps)


def printed(found):
    return diff_report.text(found)


def only(found, mark):
    """The steps with a mark, by the pass's text."""
    return {(step.a or step.b).text: step for step in found.steps if step.mark == mark}


def test_equal_schedules_do_not_part(runs):
    for a, b in (("default", "default"), ("default", "again")):
        found = diff(runs[a], runs[b])
        assert set(marks(found)) == {" "}
        assert (found.parts, found.notes, found.same_problem) == ((), (), True)
        assert "parts     the runs do not part\n" in printed(found)
        assert "the same, bit for bit" in printed(found)


def test_a_pass_less_parts_the_runs_until_the_states_are_the_same_again(runs, parted):
    (part,) = parted.parts
    assert (part.after.a.text, part.a[0].text, part.b[0].text) == ("canonicalize", "cse", "loop-invariant-code-motion")
    assert part.after.a.digest == part.after.b.digest
    assert part.meet.a.key == part.meet.b.key
    assert parted.steps[parted.steps.index(part.meet) - 1].mark != " "
    assert part.a[-1].key != part.b[-1].key
    assert f"after {runs['default']}/24-canonicalize.mlir = {runs['no-cse']}/24-canonicalize.mlir" in printed(parted)
    assert f"they meet again at {runs['default']}/{part.meet.a.file} = " in printed(parted)
    assert re.fullmatch(r" {25}[-+]+ +", marks(parted))
    assert only(parted, "-")["cse"].change.counts["arith.muli"] < 0
    assert [step.a.index for step in parted.steps if step.a] == list(range(36))
    assert [step.b.index for step in parted.steps if step.b] == list(range(35))


def test_the_same_pass_of_both_runs_stands_side_by_side(parted):
    steps = parted.steps
    beside = [(x.a.text, y.b.text) for x, y in pairwise(steps) if (x.mark, y.mark) == ("-", "+")]
    assert len(beside) > 3
    assert all(a == b for a, b in beside)


def test_a_pass_that_changed_nothing_says_so(runs):
    found = diff(runs["default"], runs["no-op"])
    (step,) = [step for step in found.steps if step.mark == "+"]
    assert (step.b.text, step.change.word, step.change.lines) == ("expand-math", NOTHING, ())
    assert marks(found).count(" ") == 36
    assert f"only {runs['no-op']} with 18 expand-math" in printed(found)


def test_every_change_is_said_by_a_word_or_by_a_diff(runs):
    found = diff(runs["default"], runs["failed"])
    for step in found.steps:
        assert (step.change is None) == (step.mark == " ")
        if step.change and not step.change.word:
            assert any(line[0] in "+-" for line in step.change.lines)
    digests = [s.digest for s in store.read_record(runs["default"]).stages]
    assert digests[7] == digests[8]
    assert only(found, "-")["fold-padding-reads"].change.word == NOTHING


def test_a_pass_that_did_the_same_in_both_runs_is_shown_once(parted):
    (one, two) = [step.change for step in parted.steps if (step.a or step.b).text == "gpu.module(convert-ub-to-llvm)"]
    assert one.lines
    assert (two.word, two.lines) == ("changed the same lines as 31-convert-ub-to-llvm.mlir", ())
    assert one.counts == two.counts


def test_a_failure_is_shown_at_its_step(runs):
    for a, b, mark in (("default", "failed", "+"), ("failed", "default", "-")):
        found = diff(runs[a], runs[b])
        step = only(found, mark)["promote{padding=4}"]
        assert step.change.word == "failed: illegal: looked for a vector.contract and found none"
        assert (step.a or step.b).index == 14
        text = printed(found)
        assert "they do not meet again" in text
        assert "failure" in text
        assert f"none in {runs['failed']}" in text


def test_runs_that_fail_in_the_same_way_do_not_part(runs):
    found = diff(runs["failed"], runs["failed"])
    assert found.parts == ()
    assert "failed: illegal: looked for a vector.contract" in printed(found)


def test_the_same_failure_of_other_states_is_no_meeting(runs, tmp_path):
    text = (runs["failed"] / "13-map-threads.mlir").read_text().replace("module {", 'module attributes {x = "y"} {', 1)
    record = store.read_record(runs["failed"])
    stages = [*record.stages[:-1], record.stages[-1].model_copy(update={"digest": mlir.digest(text)})]
    other = copied(runs["failed"], tmp_path / "1", stages=stages)
    (other / "13-map-threads.mlir").write_text(text)
    (part,) = diff(runs["failed"], other).parts
    assert (part.after.a.index, part.meet, len(part.a), len(part.b)) == (12, None, 2, 2)


def test_different_problems_are_said_and_aligned_by_passes(runs):
    found = diff(runs["default"], runs["other"])
    assert not found.same_problem
    assert "different problems" in printed(found)
    common = [(step.a, step.b) for step in found.steps if step.mark == " "]
    assert len(common) > 20
    assert all(a.text == b.text for a, b in common)
    assert all(a.digest != b.digest for a, b in common)


def test_states_of_one_normal_form_are_the_same(runs, tmp_path):
    file = "25-cse.mlir"
    text = (runs["default"] / file).read_text()
    one, two = re.findall(r"^ *%c\d+ = arith\.constant \d+ : index\n", text, re.MULTILINE)[-2:]
    swapped = text.replace(one + two, two + one)
    assert swapped != text
    record = store.read_record(runs["default"])
    stages = [s.model_copy(update={"digest": mlir.digest(swapped)}) if s.file == file else s for s in record.stages]
    other = copied(runs["default"], tmp_path / "1", stages=stages)
    (other / file).write_text(swapped)
    found = diff(runs["default"], other)
    assert found.parts == ()
    (step,) = [step for step in found.steps if step.a.digest != step.b.digest]
    assert diff_report.said(step, found) == ORDER.replace(NOTHING, "the same")


def test_a_run_that_starts_with_a_state_of_the_other(runs):
    found = diff(runs["default"], runs["resumed"])
    assert found.parts == ()
    assert found.steps[0].a.index == found.steps[0].b.index == 18
    (note,) = found.notes
    assert note.startswith(f"{runs['resumed']} starts with {runs['resumed']}/18-from.mlir")
    assert marks(diff(runs["resumed"], runs["default"])) == marks(found)


def test_an_edited_file_is_said_to_be_one(runs, tmp_path):
    edited = copied(runs["default"], tmp_path / "1")
    with (edited / "25-cse.mlir").open("a") as file:
        file.write("// mine\n")
    (note,) = diff(edited, runs["no-cse"]).notes
    assert note == f"{edited}/25-cse.mlir was changed after the run, and is compared as it is now"
    assert diff(edited, runs["again"]).notes == ()
    with (edited / "28-convert-math-to-rocdl.mlir").open("a") as file:
        file.write("// mine\n")
    assert only(diff(edited, runs["no-cse"]), "-")["convert-math-to-rocdl{chipset=gfx942}"].change.word == NOTHING


def test_a_file_that_is_not_the_runs_own_makes_no_states_the_same(runs, tmp_path):
    record = store.read_record(runs["default"])
    stages = [s.model_copy(update={"digest": "0"}) if s.index == 25 else s for s in record.stages]
    (part,) = diff(runs["default"], copied(runs["default"], tmp_path / "1", stages=stages)).parts
    assert (part.a[0].index, part.b[0].index) == (25, 25)


def test_only_files_that_are_needed_are_missed(runs, tmp_path):
    less = copied(runs["default"], tmp_path / "1")
    (less / "03-tile.mlir").unlink()
    assert diff(less, runs["no-cse"]).parts
    (less / "26-loop-invariant-code-motion.mlir").unlink()
    with pytest.raises(UserError, match=r"lacks states .*03-tile.mlir, 26-loop.*`lower --x` makes a new run") as error:
        diff(less, runs["no-cse"])
    assert str(less) in str(error.value)


def test_a_run_without_a_state_is_refused(runs, tmp_path):
    with pytest.raises(UserError, match="has no states"):
        diff(runs["default"], copied(runs["failed"], tmp_path / "1", stages=[]))


def test_the_steps_of_code_generation_have_no_states(runs):
    found = diff(runs["default"], runs["codegen"])
    assert found.parts == ()
    assert re.search(r"then +llvm\{unroll=false\} +llvm\{opt=0\}", printed(found))
    assert "binaries  not the same: sha256" in printed(found)
    assert re.search(r"main_kernel: VGPR +\d+ +\d+", printed(found))


def test_lines_are_left_out_and_counted(runs, parted):
    lines = 7
    cut = diff(runs["default"], runs["no-cse"], lines)
    for full, short in zip(parted.steps, cut.steps, strict=True):
        if full.change:
            assert len(short.change.lines) == min(lines, len(full.change.lines))
            assert len(short.change.lines) + short.change.left_out == len(full.change.lines)
            assert full.change.left_out == 0
    assert max(len(line) for step in cut.steps if step.change for line in step.change.lines) <= 160
    assert f"… {cut.steps[25].change.left_out} more lines" in printed(cut)


def test_times_stand_side_by_side_where_they_can_be_compared(runs, tmp_path):
    slow = {name: [2 * s for s in getattr(TIMING, name)] for name in ("hot_samples", "rotated_samples")}
    twice = TIMING.model_copy(update={"hot": 2e-3, "rotated": 4e-3, **slow})

    def shown(name, **fields):
        b = copied(runs["again"], tmp_path / name, timing=twice.model_copy(update=fields), word="measured")
        return printed(diff(a, b)), b

    a = copied(runs["default"], tmp_path / "a", timing=TIMING, word="measured")
    text, b = shown("b")
    assert f"{b} takes 2.00 times as long as {a}, hot\n" in text
    assert re.search(r"hot +1 ms .* 2 ms ", text)
    assert "cpu, measured" in text
    assert "hot: the middle halves of their samples overlap" in shown("c", hot_samples=TIMING.hot_samples)[0]
    assert "hot: the machine was not quiet" in shown("d", drift=1.2)[0]
    assert "timed on cpu and on gpu: not compared" in shown("e", device="gpu")[0]
    assert "not timed" in printed(diff(a, runs["again"]))


def test_knobs_and_tools_that_differ_are_shown(runs, tmp_path):
    a = copied(runs["default"], tmp_path / "a", knobs={"m": 3, "n": 4}, toolchain={"t": "1", "u": "5"})
    b = copied(runs["again"], tmp_path / "b", knobs={"m": 6, "n": 4}, toolchain={"t": "2", "u": "5"})
    text = printed(diff(a, b))
    assert re.search(r"m +3 +6\n", text)
    assert re.search(r"t +1 +2\n", text)
    assert not re.search(r"\n +[nu] ", text)


def test_text_markdown_and_json_say_the_same(runs):
    found = diff(runs["default"], runs["no-cse"], 5)
    text, markdown, value = diff_report.text(found), diff_report.markdown(found), json.loads(diff_report.as_json(found))
    assert [step["mark"] for step in value["steps"]] == [step.mark for step in found.steps]
    assert value["same_binary"] in (True, False)
    for step in found.steps:
        for line in step.change.lines if step.change else ():
            assert f"    {line.rstrip()}" in text
            assert line in markdown
    assert markdown.count("```diff") == sum(bool(step.change and step.change.lines) for step in found.steps)
    for table in (block for block in markdown.split("\n\n") if block.startswith("| ")):
        assert len({row.replace("\\|", "").count("|") for row in table.splitlines()}) == 1
    assert all(part["after"] in text for part in value["parts"])


def test_pairs_add_up_to_the_most():
    def score(x, y):
        return (x == y) * (1 + (x == "c"))

    def best(a, b):
        if not a or not b:
            return 0
        return max(best(a[1:], b), best(a, b[1:]), score(a[0], b[0]) + best(a[1:], b[1:]))

    words = ["".join(word) for n in range(4) for word in product("abc", repeat=n)]
    for a, b in product(words, words):
        pairs = list(paired(a, b, score))
        assert "".join(x for x, _ in pairs if x) == a
        assert "".join(y for _, y in pairs if y) == b
        assert all(x == y for x, y in pairs if x and y)
        assert sum(score(x, y) for x, y in pairs if x and y) == best(a, b)


def test_the_command(runs, capsys):
    words = ["diff", runs["default"].name, str(runs["no-cse"]), "--runs", str(runs["default"].parent)]

    def said(*more):
        assert cli.run([*words, *more]) == 0
        return capsys.readouterr().out

    assert json.loads(said("--json"))["b"] == str(runs["no-cse"])
    assert said("--markdown").startswith(f"# {runs['default']} and {runs['no-cse']}\n")
    assert said("--full") == said("--lines", "0") == f"{printed(diff(runs['default'], runs['no-cse']))}\n"
    assert len(said()) < len(said("--lines", "20")) < len(said("--full"))


def test_by_default_only_the_first_passes_apart_are_shown_whole(runs, capsys):
    assert cli.run(["diff", str(runs["default"]), str(runs["no-cse"])]) == 0
    said = capsys.readouterr().out
    headings = re.findall(r"^\S*/(\d+-[\w.-]+)\.mlir: ", said, re.MULTILINE)
    assert headings == ["25-cse", "25-loop-invariant-code-motion"]
    left = sum(step.change is not None for step in diff(runs["default"], runs["no-cse"]).steps) - 2
    assert said.endswith(f"\n{left} more steps are in one run alone: what each did, with --lines N or --full\n")
    assert "23 more steps, alike in both" in said


def test_runs_of_two_problems_part_by_their_passes(runs, capsys):
    found = diff(runs["default"], runs["no-cse"])
    said = printed(dataclasses.replace(found, same_problem=False))
    assert "their passes part after" in said
    assert "their passes are one again at" in said
    assert "they meet" not in said
