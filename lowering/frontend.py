"""The main command: from the words of the command line to a problem, a target and a proposer; from records to stdout.

With `--json` or `--emit`, stdout holds only that, and the report goes to stderr.
"""

from __future__ import annotations

import difflib
import re
import shlex
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from lowering import dtypes, report, resume, search, targets
from lowering import problem as payload
from lowering.agent.default import Default, Given
from lowering.agent.proposer import Proposer
from lowering.core import Problem, Schedule, Target, UserError
from lowering.given import Values
from lowering.lower import split
from lowering.opt import read_source, write
from lowering.passes import pipeline
from lowering.source import read_text
from lowering.store import Record
from lowering.targets.families import FAMILIES
from lowering.targets.space import chosen
from lowering.worker import Limits

if TYPE_CHECKING:
    from lowering.torch_program import Candidate

KEPT = {"llvm": "kernel.ll", "asm": "kernel.s", "obj": "kernel.o"}  # hsaco, ptx and cubin are their own suffix
TEXTS = ("mlir", "llvm", "asm")  # what every target can emit, beside its images
EMITS = (*TEXTS, "obj", "hsaco", "ptx", "cubin")
CHECKS = ("auto", "full", "witness", "none")
DEFAULT_SHAPE = "1024x1024x1024"
FILE_NAME = re.compile(r"[^\s,{}()=]*(?:/|\.\w+$)[^\s,{}()=]*")
TORCH = re.compile(r"(?P<file>.+\.py):(?P<function>\w+)")


@dataclass(frozen=True)
class ProblemWords:
    """The words that name a problem and its target, of every command that takes them; an empty one was left out."""

    source: str
    target: str
    shape: str
    dtype: str
    out_dtype: str
    layout: str
    strict_semantics: bool


@dataclass(frozen=True)
class Request(ProblemWords):
    """The main command's words, as typed; an empty one was left out."""

    schedule: str | None
    knobs: list[str]
    print_schedule: bool
    as_json: bool
    emit: str
    output: str
    start: str
    verify: str
    executor: str
    time: bool
    runs: str
    pick: int
    example: list[str]
    timeout: float
    seed: int


@dataclass(frozen=True)
class Work:
    """What the words come to."""

    problems: tuple[Problem, ...]
    target: Target
    proposer: Proposer
    start: tuple[int, str] | None = None
    edited: bool = False  # the state to start from is not the one that its run wrote
    values: tuple[Values | None, ...] = ()  # one a problem out of a torch program: torch's own


def main(request: Request) -> int:
    """The exit code of the main command: 1 where one of its problems came to nothing valid."""
    check_words(request)
    work = resumed(request) if request.start else fresh(request)
    has_form(request.emit, work.target)
    one_of("--executor", request.executor, [each.name for each in FAMILIES[work.target.family].executors])
    if request.print_schedule:
        for each in work.problems:
            print(following(work.proposer.propose(each, work.target, (), 1)[0].schedule, work.start))
        return 0
    if request.emit and len(work.problems) > 1:
        raise UserError(f"--emit takes one problem, and there are {len(work.problems)}: choose with --pick")
    values = work.values or (None,) * len(work.problems)
    records = [one(each, given, work, request) for each, given in zip(work.problems, values, strict=True)]
    if request.as_json:
        texts = [report.as_json(record) for record in records]
        whole = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
        write(f"{whole}\n".encode(), "" if request.emit else request.output)
    return max(map(report.exit_code, records))


def check_words(request: Request) -> None:
    """Raises UserError for a word that is none of the known ones, and for words that exclude each other."""
    one_of("--emit", request.emit, EMITS)
    one_of("--verify", request.verify, CHECKS)
    if request.as_json and request.emit and not request.output:
        raise UserError("--json and --emit both want stdout: give --emit a file with -o FILE")
    if request.output and not request.emit and not request.as_json:
        raise UserError("-o says where --emit or --json writes: give one of them, or --runs for the run folders")
    if request.output and not Path(request.output).parent.is_dir():
        raise UserError(f"-o {request.output}: there is no folder '{Path(request.output).parent}'")
    check_source(request, request.start)
    if request.knobs and (request.schedule is not None or request.start):
        raise UserError("--knobs are the default schedule's: leave out --schedule and --from, or the knobs")
    if request.source and request.start:
        raise UserError(f"--from {request.start} goes on with that run's problem: leave out '{request.source}'")
    if not TORCH.fullmatch(request.source) and (request.pick or request.example):
        raise UserError("--pick and --input are for a torch program: x.py:f")
    if request.seed < 0:
        raise UserError(f"--seed is a number of at least 0, found {request.seed}")
    if request.timeout <= 0:
        raise UserError(f"--timeout is a number of seconds above 0, found {request.timeout:g}")


def one_of(option: str, word: str, known: Iterable[str]) -> None:
    """Raises UserError with the nearest words where a word is not known."""
    if word and word not in known:
        close = difflib.get_close_matches(word, list(known), n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}? It takes" if close else "it takes"
        raise UserError(f"{option} has no '{word}'; {hint} {', '.join(known)}")


def has_form(form: str, target: Target) -> None:
    """Raises UserError where the target's binaries have no such form."""
    forms = (*TEXTS, *FAMILIES[target.family].images)
    if form and form not in forms:
        raise UserError(f"--emit {form}: a binary of {target.name} has no such form; it has {', '.join(forms)}")


def fresh(request: Request) -> Work:
    """The work of a command that names a problem, or a torch program with several."""
    target = targets.load(request.target) if request.target else targets.this_machine()
    given = request.schedule is not None
    space = FAMILIES[target.family].space
    knobs = chosen(request.knobs, space.KNOBS)
    proposer = Given(pipeline.parse(schedule_text(request.schedule or ""))) if given else Default(knobs)
    program = TORCH.fullmatch(request.source)
    if program is None:
        found = [(problem(request), None)]
    else:
        found = torch_problems(program["file"], program["function"], request)
    for each, _ in found:
        asked = knobs or dtypes.is_small(each.contraction.element)
        reason = space.illegal(knobs, each, target) if asked and not given else None
        if reason is not None:
            what = f"--knobs {' '.join(request.knobs)}" if knobs else "there is no default schedule"
            raise UserError(f"{what}: {reason} ({each.name} on {target.name})")
    return Work(tuple(each for each, _ in found), target, proposer, values=tuple(values for _, values in found))


def resumed(request: Request) -> Work:
    """The work of `--from`: the run's own problem and target; `--schedule` is what follows the state."""
    found = resume.resume(Path(request.start))
    rest = pipeline.parse(schedule_text(request.schedule)) if request.schedule is not None else None
    schedule = found.schedule if rest is None else resume.continued(found, rest)
    target = targets.load(request.target or found.target)
    if target.name != found.target and rest is None:
        raise UserError(
            f"{request.start} is a state of a run for {found.target}, whose schedule does not lead to {target.name}: "
            "say what follows the state with --schedule"
        )
    return Work((found.problem,), target, Given(schedule), found.start, found.edited)


def following(schedule: Schedule, start: tuple[int, str] | None) -> Schedule:
    """What of a schedule is still to be done after the state that is started from."""
    passes, steps = split(schedule)
    return Schedule((*passes[start[0] if start else 0 :], *steps))


def schedule_text(schedule: str) -> str:
    """The text of `--schedule`: that of the file, if one of this name exists.

    Raises UserError for what can only be the name of a file that does not exist.
    """
    try:
        file = Path(schedule) if Path(schedule).is_file() else None
    except OSError:  # a schedule's text can be longer than any file's name
        file = None
    if not file and FILE_NAME.fullmatch(schedule.strip()):
        raise UserError(f"there is no file '{schedule}'; a pass pipeline's text has no '.' or '/' in a pass's name")
    return read_text(file, "a pass pipeline") if file else schedule


def check_source(words: ProblemWords, start: str = "") -> None:
    """Raises UserError for the options of the built-in problem beside another one."""
    shaped = [f"--{n.replace('_', '-')}" for n in ("shape", "dtype", "out_dtype", "layout") if getattr(words, n)]
    given = words.source or start
    if given and shaped:
        raise UserError(f"{', '.join(shaped)}: only for the built-in problem, and '{given}' is one of its own")


def problem(request: ProblemWords) -> Problem:
    """The problem of a shape, a file or stdin. Raises UserError for what is none."""
    check_source(request)
    if not request.source:
        m, n, k, batch = payload.parse_shape(request.shape or DEFAULT_SHAPE)
        dtype, layout = request.dtype or "f16", request.layout or "nn"
        return payload.from_shape(m, n, k, dtype, layout, request.out_dtype or None, batch)
    text = read_source(request.source)
    return payload.from_text(text.text, text.name, request.strict_semantics)


def one(problem: Problem, values: Values | None, work: Work, request: Request) -> Record:
    """Runs the loop with budget 1, writes report.md, prints the report and what --emit names. The record."""
    options = search.Options(
        runs=Path(request.runs),
        checks=request.verify,
        executor=request.executor,
        timed=request.time,
        seed=request.seed,
        limits=Limits(seconds=request.timeout),
        start=work.start,
        texts=("llvm", "asm", "ptx") if request.emit == "ptx" else ("llvm", "asm"),
        edited=work.edited,
        command=shlex.join(["lower", *sys.argv[1:]]),
        values=values,
    )
    with progress() as on_step:
        (record,) = search.run(problem, work.target, work.proposer, options, on_step)
    (Path(record.folder) / "report.md").write_text(report.markdown(record))
    print(report.text(record), file=aside(request))
    if request.emit and record.image and report.exit_code(record):
        print(f"error: --emit {request.emit}: nothing is written of a binary that failed", file=sys.stderr)
    elif request.emit and record.image:
        write(read_form(record, request.emit), request.output)
    return record


def read_form(record: Record, form: str) -> bytes:
    """The bytes of a form of the binary. Raises UserError where this machine could not make it."""
    try:
        return (Path(record.folder) / emitted(record, form)).read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"--emit {form}: there is none, only {record.image}: `lower doctor` says what is missing here"
        ) from None


def emitted(record: Record, form: str) -> str:
    """The name of the file that holds a form of the binary; `mlir` is the last state."""
    if form == "mlir":
        return next(stage.file for stage in reversed(record.stages) if stage.file)
    return KEPT.get(form, f"kernel.{form}")


def torch_problems(file: str, function: str, request: Request) -> list[tuple[Problem, Values | None]]:
    """The contractions of a torch program that are to be lowered, with torch's own values; all of them are listed."""
    from lowering import torch_program  # torch is an extra, and slow to import

    found = torch_program.from_torch(file, function, request.example, request.strict_semantics)
    chosen = torch_program.picked(found, request.pick or None)
    listed = "\n".join(torch_program.listing(found))
    print(f"{file}:{function} has these contractions:\n{listed}", file=aside(request))
    print(torch_program.agreement(found), file=aside(request))
    return [(each.problem, values_of(each)) for each in chosen if each.problem]


def values_of(found: Candidate) -> Values | None:
    """What a torch program's own run had at a contraction, where that is known."""
    if found.inputs is None:
        return None
    return Values(found.inputs, found.expected if found.by_torch else None, "torch")


def aside(request: Request) -> TextIO:
    """Where everything goes that was not asked for: stdout, unless that holds a record or a binary."""
    return sys.stderr if request.as_json or request.emit or request.print_schedule else sys.stdout


@contextmanager
def progress() -> Generator[Callable[[str], None]]:
    """Shows the current step on a terminal's last line; silent elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:
        yield lambda step: status.update(step if len(step) < 70 else f"{step[:69]}…")
