"""Which step breaks a schedule: faults of every kind, planted in real schedules and found again, and made small."""

import shlex
import subprocess
import sys

import pytest
from faults.positions import CHIPS, MISCOMPILES, RAGGED, default, planted, positions
from hypothesis import given
from hypothesis import strategies as st

from lowering import bisect, bisect_record, bisect_report, completion, mlir, problem, reproducer, targets
from lowering.bisect import WRONG, Culprit, States, Symptom, examine
from lowering.candidate import sizes
from lowering.core import Failure, Schedule
from lowering.lower import lower, split
from lowering.passes import pipeline
from lowering.reproducer import Case, Suspicion
from lowering.state_check import StateVerdict
from lowering.subject import Bench, Subject
from lowering.witness import witness_of
from lowering.worker import Limits, Worker

HOST = targets.this_machine()
PROBLEM = problem.from_shape(9, 7, 21, "f32")
BUFFERS = "one-shot-bufferize{bufferize-function-boundaries=true function-boundary-type-conversion=identity-layout-map}"
TO_LLVM = ",".join(completion.TAIL)
VERDICTS = {word: StateVerdict(word, f"because {word}") for word in ("right", "wrong", "not checkable")}


def subject(schedule, given=PROBLEM):
    passes, steps = split(pipeline.parse(schedule))
    return Subject(given, passes, str(Schedule(steps)))


@pytest.fixture
def bench():
    with Worker(Limits(60.0, 1 << 30)) as worker:
        yield Bench(worker, HOST)


def smallest(bench, examined):
    """The culprit's smallest case."""
    return Suspicion(bench, examined.subject, examined.culprit).smallest(True)


def step(examined):
    """The number of a culprit of one step."""
    assert examined.culprit.first == examined.culprit.last
    return examined.culprit.first


# --- one fault of each kind -------------------------------------------------------------------------------------------


def test_a_miscompile_is_found_and_made_small(bench):
    examined = examine(bench, subject("cse,generalize-contraction,test-drop-store,canonicalize"))
    culprit = examined.culprit
    assert (step(examined), culprit.symptom) == (3, WRONG)
    assert (culprit.before.word, culprit.after.word) == ("right", "wrong")
    found = smallest(bench, examined)
    assert (found.passes.items, found.passes.least, found.sizes.least) == ((), True, True)
    assert sizes(found.case.problem) == "1x2x1"
    assert "first at [0, 1]: got nan, expected " in found.case.after.reason
    module = mlir.parse(found.case.right)
    found.case.suspects[0].apply(module)
    assert mlir.text(module) == found.case.wrong


def test_a_miscompile_keeps_the_pass_that_it_needs(bench):
    """Without the loop that carries the sum, there is nothing that this fault could break."""
    schedule = "cse,generalize-contraction,tile-reduction{tile-sizes=4},canonicalize,test-hoist-past-write,cse"
    examined = examine(bench, subject(schedule))
    assert step(examined) == 5
    found = smallest(bench, examined)
    assert [str(each) for each in found.passes.items] == ["tile-reduction{tile-sizes=4}"]
    assert sizes(found.case.problem) == "1x1x5"  # one step of four, and the one after it


def test_a_pass_that_fails_keeps_the_pass_that_it_needs(bench):
    examined = examine(bench, subject(f"cse,{BUFFERS},canonicalize,pad{{tile-sizes=4,4,4}},cse"))
    assert (step(examined), examined.culprit.symptom.stage) == (4, "lower")
    assert "is on buffers" in examined.culprit.failure.reason
    assert examined.survey.right > 0
    found = smallest(bench, examined)
    assert [each.of for each in found.passes.items] == ["one-shot-bufferize"]
    assert (sizes(found.case.problem), found.case.wrong) == ("1x1x1", "")


def test_a_crash_names_its_pass(bench):
    examined = examine(bench, subject("cse,test-crash,canonicalize"))
    assert (step(examined), examined.culprit.failure.kind) == (2, "crash")
    assert smallest(bench, examined).passes.items == ()


def test_a_pass_that_eats_memory_is_named(bench):
    examined = examine(bench, subject("cse,test-eat-memory,canonicalize"))
    assert (step(examined), examined.culprit.failure.kind) == (2, "memory")


def test_a_hang_names_its_pass():
    with Worker(Limits(4.0)) as worker:
        bench = Bench(worker, HOST)
        bench.lower(subject("cse"))  # the process is there
        examined = examine(bench, subject("cse,test-hang,canonicalize"))
    assert (step(examined), examined.culprit.failure.kind) == (2, "timeout")


def test_what_was_wrong_before_another_pass_failed_comes_first(bench):
    examined = examine(bench, subject("test-drop-store,cse,test-fail"))
    assert (step(examined), examined.culprit.symptom, examined.failure.step) == (1, WRONG, 3)


FAILS_ALIKE = Symptom("lower", "illegal", "test-fail fails on every state")


@pytest.mark.parametrize(
    ("passes", "symptom", "shows"),
    [
        ("cse,test-drop-store", WRONG, True),
        ("cse,generalize-contraction", WRONG, False),  # what comes out is right
        ("test-drop-store,cse", WRONG, False),  # what goes in is wrong
        ("test-fail,test-drop-store", WRONG, False),
        ("cse,test-fail", FAILS_ALIKE, True),
        ("cse,cse", FAILS_ALIKE, False),
        ("test-fail,cse", FAILS_ALIKE, False),  # another pass fails
        ("cse,test-crash", FAILS_ALIKE, False),  # in another way
    ],
)
def test_a_case_is_one_only_where_the_last_pass_shows_the_symptom(bench, passes, symptom, shows):
    tried = subject(passes)
    found = Suspicion(bench, tried, Culprit(2, 2, symptom)).case(PROBLEM, tried.passes[:1])
    assert (found is not None) == shows


def test_code_generation_that_fails_is_named(bench):
    openmp = f"cse,{BUFFERS},func.func(convert-linalg-to-parallel-loops),convert-scf-to-openmp"
    examined = examine(bench, subject(openmp))
    assert (step(examined), examined.culprit.symptom.stage) == (5, "codegen")
    assert "left unlowered" in examined.culprit.failure.reason
    assert "omp.yield is left after the standard tail" in examined.culprit.failure.reason


def test_a_schedule_for_a_cpu_that_stops_before_the_end_is_completed(bench):
    examined = examine(bench, subject(f"cse,{BUFFERS},llvm{{opt=0}}"))
    assert (examined.culprit, examined.failure, examined.completed) == (None, None, True)
    assert (examined.survey.right, examined.survey.binary.word) == (3, "right")
    assert not bench.lower(subject(TO_LLVM)).completed


def test_no_other_schedule_is_completed():
    with Worker() as worker:
        lowering = Bench(worker, targets.load("gfx942")).lower(subject("cse"))
    assert (lowering.completed, lowering.failure.stage) == (False, "codegen")


# --- libraries of transform scripts: a context keeps what was loaded into it ------------------------------------------

LIBRARY = """
module attributes {{transform.with_named_sequence}} {{
  transform.named_sequence @__transform_main(%root: !transform.any_op) {{
    %m = transform.structured.match ops{{["linalg.matmul"]}} in %root : (!transform.any_op) -> !transform.any_op
    {what}
    transform.yield
  }}
}}"""
IN_STEPS_OF_FOUR = """%t, %l = transform.structured.tile_using_for %m tile_sizes [0, 0, 4]
      : (!transform.any_op) -> (!transform.any_op, !transform.any_op)"""
FAILS = """%t, %f = transform.structured.convert_conv2d_to_img2col %m
      : (!transform.any_op) -> (!transform.any_op, !transform.any_op)"""


@pytest.fixture
def loaded(tmp_path):
    """A pass that loads a library of some steps."""

    def load(what):
        (tmp_path / "library.mlir").write_text(LIBRARY.format(what=what))
        return f"transform-preload-library{{transform-library-paths={tmp_path / 'library.mlir'}}}"

    return load


def test_a_library_is_there_for_one_lowering_alone(bench, loaded):
    whole = subject(f"cse,{loaded(IN_STEPS_OF_FOUR)},transform-interpreter,{TO_LLVM}")
    assert bench.lower(subject(f"cse,{TO_LLVM}")).failure is None
    for _ in range(2):
        lowering = bench.lower(whole)
        assert (lowering.failure, "scf.for" in lowering.states[3]) == (None, True)
    without = bench.lower(subject("cse,transform-interpreter"))
    assert (without.failed_pass, "could not find a nested named sequence" in without.failure.reason) == (2, True)
    assert bench.lower(subject(f"cse,{TO_LLVM}")).failure is None


def test_a_library_is_loaded_again_where_a_lowering_goes_on_after_it(bench, loaded):
    whole = subject(f"cse,{loaded(IN_STEPS_OF_FOUR)},transform-interpreter,{TO_LLVM}")
    state = bench.lower(whole).states[2]
    gone_on = lower(whole.problem, pipeline.parse(whole.schedule), HOST, start=(2, state))
    assert not isinstance(gone_on.outcome, Failure)


def test_an_interpreter_keeps_its_library_where_a_schedule_is_made_smaller(bench, loaded):
    load = loaded(IN_STEPS_OF_FOUR)
    examined = examine(bench, subject(f"cse,{load},transform-interpreter,canonicalize,test-hoist-past-write,cse"))
    assert step(examined) == 5
    found = smallest(bench, examined)
    assert [each.of for each in found.passes.items] == ["transform-preload-library", "transform-interpreter"]
    assert sizes(found.case.problem) == "1x1x5"


def test_an_interpreter_that_fails_is_shown_with_its_library(bench, loaded, tmp_path):
    examined = examine(bench, subject(f"cse,{loaded(FAILS)},canonicalize,transform-interpreter,cse"))
    assert (step(examined), "img2col" in examined.culprit.failure.reason) == (4, True)
    found = smallest(bench, examined)
    assert [each.of for each in found.passes.items] == ["transform-preload-library"]
    reproducer.write(found.case, tmp_path)
    commands = reproducer.commands(found.case, examined.subject, examined.culprit, tmp_path, HOST)
    assert [shlex.split(command)[0] for command in commands] == ["mlir-opt", "lower"]
    assert all("transform-preload-library" in command for command in commands)
    done = run(*shlex.split(commands[1])[1:], cwd=tmp_path)
    assert "convert_conv2d_to_img2col failed to apply" in done.stderr


def test_another_pass_is_shown_without_the_library(loaded):
    tried = subject(f"{loaded(IN_STEPS_OF_FOUR)},transform-interpreter,test-drop-store")
    case = Case(PROBLEM, tried.passes[:2], tried.passes[2:], PROBLEM.ir)
    assert reproducer.libraries(case) == []


def test_a_wrong_binary_is_shown_by_what_completes_its_schedule(tmp_path):
    tried = subject("cse")
    case = Case(PROBLEM, tried.passes, (), PROBLEM.ir)
    (again,) = reproducer.commands(case, tried, Culprit(2, 2, WRONG), tmp_path, HOST)
    assert shlex.split(again)[:2] == ["lower", "bisect"]
    (again,) = reproducer.commands(case, tried, Culprit(2, 2, Symptom("codegen", "illegal")), tmp_path, HOST)
    assert shlex.split(again)[:2] == ["lower", str(tmp_path / "input.mlir")]


def test_a_right_schedule_has_no_culprit_and_all_its_states_are_checked(bench):
    examined = examine(bench, subject(f"generalize-contraction,{TO_LLVM}"))
    assert examined.culprit is None
    assert examined.survey.right == examined.survey.states == len(completion.TAIL) + 2
    assert examined.survey.binary.word == "right"


# --- the long table ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("fault", MISCOMPILES)
def test_every_miscompile_is_found_wherever_it_stands(fault, chip):
    target, schedule = targets.load(chip), default(RAGGED, chip)
    small = witness_of(RAGGED, schedule)
    with Worker(Limits(120.0, 2 << 30)) as worker:
        bench = Bench(worker, target)
        for at in positions(schedule, fault):
            passes, steps = split(planted(schedule, fault, at))
            examined = examine(bench, Subject(small, passes, str(Schedule(steps))))
            assert (step(examined), examined.culprit.symptom) == (at + 1, WRONG)
            found = smallest(bench, examined)
            assert found.passes.least
            assert found.sizes.least
            assert [str(each) for each in found.case.suspects] == [fault]
            assert len(found.case.passes) <= 2  # these faults need no more than what makes the thing that they break


# --- halving ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(sorted(VERDICTS))))
def test_halving_ends_at_a_right_state_and_the_next_that_can_be_checked(words):
    words = ["right", *words, "wrong"]
    low, high = bisect.halved(lambda i: VERDICTS[words[i]], 0, len(words) - 1)
    assert (words[low], words[high]) == ("right", "wrong")
    assert set(words[low + 1 : high]) <= {"not checkable"}


def test_halving_asks_few_states():
    asked = set()

    def check(number):
        asked.add(number)
        return VERDICTS["right" if number < 37 else "wrong"]

    assert bisect.halved(check, 0, 64) == (36, 37)
    assert len(asked) == 6


def culprit_of(*words):
    """First and last step of the culprit of states with these verdicts."""
    found = bisect.wrong_step(lambda i: VERDICTS[words[i]], len(words))
    return found and (found.first, found.last, found.before and found.before.word)


def test_states_that_cannot_be_checked_make_a_culprit_a_range():
    assert culprit_of("right", "not checkable", "not checkable", "wrong") == (1, 3, "right")
    assert culprit_of("right", "not checkable", "wrong", "not checkable") == (1, 2, "right")
    assert culprit_of("right", "right", "not checkable") is None
    assert culprit_of("not checkable") is None


def test_an_input_that_is_wrong_is_no_pass():
    assert culprit_of("wrong", "wrong") == (0, 0, None)
    assert culprit_of("not checkable", "wrong") == (1, 1, None)


def states(words, binary):
    """States whose verdicts are known, and their binary's."""
    found = {number: VERDICTS[word] for number, word in enumerate(words)}
    return States(None, None, tuple(words), "", found), VERDICTS[binary]


def test_a_wrong_binary_of_right_states_is_code_generation():
    found = bisect.after_last(*states(["right", "right", "right"], "wrong"))
    assert (found.first, found.last, found.before.word) == (3, 3, "right")


def test_a_wrong_binary_after_states_that_need_a_device_is_a_range():
    found = bisect.after_last(*states(["right", "right", "not checkable", "not checkable"], "wrong"))
    assert (found.first, found.last) == (2, 4)


def test_the_step_of_a_range_without_which_the_binary_is_right(bench):
    """As where the states of the range need a device: here they are only taken as unchecked."""
    whole = subject(f"cse,generalize-contraction,canonicalize,test-drop-store,canonicalize,{TO_LLVM}")
    one = Culprit(4, 4, WRONG)
    assert list(bisect.mending(bench, whole, one)) == []  # no range
    assert list(bisect.mending(bench, whole, Culprit(2, 6, WRONG))) == [4]
    assert list(bisect.mending(bench, whole, Culprit(1, 3, WRONG))) == []


def test_a_wrong_state_that_later_becomes_right_is_seen():
    found = bisect.wrong_between(states(["right", "right", "wrong", "right"], "right")[0])
    assert (found.first, found.last) == (2, 2)


# --- the command, and what it leaves behind ----------------------------------------------------------------


def run(*words, cwd):
    """A finished command."""
    command = [sys.executable, "-P", "-m", "lowering.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300, check=False)


def test_the_command_finds_shows_and_keeps_a_culprit(tmp_path):
    schedule = "cse,generalize-contraction,test-off-by-one"
    done = run("bisect", "--shape", "9x7x21", "--dtype", "f32", "--schedule", schedule, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert "step 3 of 3, test-off-by-one, makes a right state wrong" in done.stdout
    assert "right (36 checks on the problem itself, 9x7x21, run by cpu)" in done.stdout
    assert "no size can be smaller by itself" in done.stdout
    record = bisect_record.read((tmp_path / "runs/1/bisect.json").read_text())
    assert (record.culprit.first, record.culprit.last, record.least.passes) == (3, 3, ())
    assert set(record.files) == {"bisect.json", "input.mlir", "report.md", "right.mlir", "wrong.mlir"}
    assert set(record.files) == {file.name for file in (tmp_path / "runs/1").iterdir()}
    opt, again = (shlex.split(command)[1:] for command in record.again)
    assert run(*opt, cwd=tmp_path).stdout == (tmp_path / "runs/1/wrong.mlir").read_text()
    assert "step 1 of 1, test-off-by-one, makes a right state wrong" in run(*again, "--no-reduce", cwd=tmp_path).stdout


def test_the_command_says_what_was_checked_where_nothing_is_wrong(tmp_path):
    done = run("bisect", "--shape", "8x8x8", "--dtype", "f32", "--json", cwd=tmp_path)
    record = bisect_record.read(done.stdout)
    assert (done.returncode, record.culprit, record.source) == (0, None, "default")
    assert record.right == record.states == record.passes + 1
    assert record.binary.word == "right"


SCRIPT = """
  %matmul = transform.structured.match ops{{["linalg.matmul"]}} filter_result_type = tensor<{shape}xf32> in %root
    : (!transform.any_op) -> !transform.any_op
  {what}
"""


@pytest.mark.slow
def test_what_fails_at_full_size_alone_is_found_there(tmp_path):
    """The script finds its op by a type that only the whole problem has."""
    (tmp_path / "s.mlir").write_text(SCRIPT.format(shape="40x40", what=FAILS.replace("%m", "%matmul")))
    (tmp_path / "schedule").write_text(f"cse,transform{{script=s.mlir}},{TO_LLVM}")
    done = run("bisect", "--shape", "40x40x64", "--dtype", "f32", "--schedule", "schedule", "--json", cwd=tmp_path)
    record = bisect_record.read(done.stdout)
    assert (record.on, record.notes) == ("the problem itself, 40x40x64", ("nothing is wrong on the witness 16x16x32",))
    assert (record.culprit.first, record.culprit.does, record.least.sizes) == (2, "fails", "40x40x1")
    assert (tmp_path / "runs/1/script-0.mlir").is_file()


def test_upstream_itself_repeats_a_script(tmp_path):
    (tmp_path / "s.mlir").write_text(
        SCRIPT.format(shape="9x7", what='transform.annotate %matmul "mark" : !transform.any_op')
    )
    script = pipeline.parse(f"transform{{script={tmp_path}/s.mlir}}").passes[0]
    case = Case(PROBLEM, (), (script,), PROBLEM.ir)
    reproducer.write(case, tmp_path)
    first = reproducer.commands(case, subject(str(script)), Culprit(1, 1, WRONG), tmp_path, HOST)[0]
    words = shlex.split(first)
    assert words[:2] == ["mlir-opt", str(tmp_path / "right.mlir")]
    expected, found = mlir.parse(PROBLEM.ir), mlir.parse(PROBLEM.ir)
    script.apply(expected)
    mlir.run(found, words[2].removeprefix("--pass-pipeline=builtin.module(")[:-1])
    assert "mark" in mlir.text(found)
    assert mlir.text(found) == mlir.text(expected)


def told(first, last, suspects, does="wrong", before="right", **fields):
    """The lines of a verdict on a culprit of a schedule of nine passes."""
    culprit = bisect_record.Found(first, last, suspects, does, before=VERDICTS.get(before), **fields)
    record = record_of(right=1, wrong=1, culprit=culprit)
    assert bisect_report.exit_code(record) == 1
    return list(bisect_report.verdict(record))


def test_the_words_of_a_culprit():
    assert told(3, 3, ("cse",)) == ["step 3 of 9, cse, makes a right state wrong"]
    assert told(1, 1, ("cse",), before="") == ["the state after step 1 of 9, cse, is wrong"]
    assert told(10, 10, ()) == ["code generation makes a wrong binary of a right state"]
    assert told(0, 0, (), before="") == ["the input is wrong before any pass, once it is completed to a binary"]
    assert told(3, 6, ("a", "b", "c", "d")) == [
        "the first wrong one is among steps 3 to 6 of 9 (a, ..., d): the states between them cannot be checked"
    ]
    assert told(9, 10, ("a",))[0].startswith("the first wrong one is among steps 9 to 9 of 9 and code generation")
    assert told(3, 3, ("cse",), "fails", stage="lower", kind="crash", reason="it died", where="here") == [
        "step 3 of 9, cse, fails: lower: crash: it died",
        "at here",
    ]


def record_of(**fields):
    """A record of a schedule of nine passes, checked on the problem w."""
    words = {
        "run": 1, "folder": "", "command": "", "problem": "p", "target": "t", "source": "given", "schedule": "",
        "passes": 9, "on": "w", "states": 10, "right": 0, "wrong": 0, "unchecked": 0, "why": (), "binary": None,
    }  # fmt: skip
    return bisect_record.BisectRecord(**{**words, **fields})


def test_states_that_were_not_looked_at_are_counted():
    some, every = record_of(right=2, wrong=3, unchecked=1), record_of(right=10)
    assert list(bisect_report.checked(some)) == [
        "10 states of w: 2 right, 3 wrong, 1 not checkable; not looked at: 4, since a wrong one is searched for by "
        "halving"
    ]
    assert list(bisect_report.checked(every)) == ["10 states of w: 10 right"]


def test_a_schedule_that_was_completed_says_so():
    assert list(bisect_report.schedule(record_of(completed=True))) == [
        "given, for t: 9 passes",
        "completed by the standard tail: it does not lower to the end",
    ]
    assert list(bisect_report.schedule(record_of(passes=1))) == ["given, for t: 1 pass"]


@pytest.mark.parametrize(
    ("right", "words", "code"),
    [
        (0, "nothing could be checked", 1),
        (2, "nothing wrong was found: 2 of 3 states were checked", 0),
        (3, "nothing is wrong: 3 states checked", 0),
    ],
)
def test_what_was_not_checked_is_not_called_right(right, words, code):
    record = record_of(states=3, right=right, unchecked=3 - right, why=("x",))
    assert list(bisect_report.verdict(record)) == [words]
    assert bisect_report.exit_code(record) == code


FULL_SIZE_ONLY = """
%m = transform.structured.match ops{["linalg.matmul"]} filter_result_type = tensor<64x64xf32> in %root
  : (!transform.any_op) -> !transform.any_op
%a = transform.split_handle %m {pass_through_empty_handle = false} : (!transform.any_op) -> !transform.any_op
"""


def test_a_pass_that_fails_on_the_witness_alone_is_no_culprit(tmp_path):
    """A script that finds its op by its size fails on every other size."""
    script = tmp_path / "script.mlir"
    script.write_text(FULL_SIZE_ONLY)
    schedule = f"transform{{script={script}}},tile{{tile-sizes=16,16}},{TO_LLVM}"
    words = ("bisect", "--shape", "64x64x64", "--dtype", "f32", "--schedule", schedule, "--json")
    done = run(*words, cwd=tmp_path)
    record = bisect_record.read(done.stdout)
    assert record.culprit is None, done.stderr
    assert done.returncode == 0
    assert "alone" in record.notes[0]
    assert record.on.startswith("the problem itself")
