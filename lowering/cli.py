"""argv -> the right function, and every outcome -> an exit code.

0 ok, 1 nothing valid found, 2 the user's mistake, 3 ours, 130 interrupted, 143 terminated. Nothing heavy is imported
here: `lower --help` is to come at once, so a command imports what it needs when it runs.
"""

from __future__ import annotations

import difflib
import errno
import os
import re
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lowering.core import UserError

MAIN = "lower"  # the command that runs where none is named
BROKEN_PIPE = 141  # what a shell says of a process that died of SIGPIPE


class Commands(TyperGroup):
    """`lower FILE --target X` without naming a command, beside `lower report 7`: the main command is put in front."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first = args[0] if args else ""
        if first in self.commands or first in ("--help", "-h", "--version"):
            return super().parse_args(ctx, args)
        if not first.startswith("-"):
            check_source(first, [name for name in self.commands if name != MAIN])
        return super().parse_args(ctx, [MAIN, *args])

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["[FILE | - | x.py:f] [OPTIONS]", "|", "COMMAND ..."]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The main command's arguments and options, then the commands."""
        self.params = [*self.commands[MAIN].params, *self.params]
        super().format_help(ctx, formatter)


def check_source(word: str, commands: list[str]) -> None:
    """Raises UserError for a word that is neither a command, a file, '-' nor x.py:f; with the nearest command."""
    if word in ("", "-") or Path(word).is_file() or re.fullmatch(r".+\.py:\w+", word):
        return
    if "/" in word or Path(word).suffix:
        raise UserError(f"there is no file '{word}'")
    close = difflib.get_close_matches(word, commands, n=1, cutoff=0.5)
    hint = f"did you mean `lower {close[0]}`?" if close else f"the commands are {', '.join(commands)}"
    raise UserError(f"'{word}' is neither a command, a file, '-' nor x.py:f; {hint}")


app = typer.Typer(
    cls=Commands,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Lowers a linalg contraction to a verified binary, and keeps every stage as a file.",
    epilog="Exit codes: 0 ok, 1 nothing valid found, 2 a mistake in the command, 3 a bug of lower, 130 interrupted, "
    "143 terminated.",
)


def show_version(wanted: bool) -> None:
    """Prints the version and ends."""
    if wanted:
        from importlib import metadata

        print(f"lower {metadata.version('lower')}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Nothing is common to the commands but this."""


SOURCE = typer.Argument(metavar="FILE|-", help="An MLIR module, or stdin. None: the problem of --shape.")
TARGET = typer.Option(help="See `lower targets`.", show_default="this machine's CPU")
SHAPE = typer.Option(help="MxNxK, or BxMxNxK for a batch.", show_default="1024x1024x1024")
DTYPE = typer.Option(help="Element type of A and B.", show_default="f16")
OUT_DTYPE = typer.Option(help="Element type of the result.", show_default="that of A and B")
LAYOUT = typer.Option(help="nn, nt, tn or tt: how A and B are stored.", show_default="nn")
KNOBS = typer.Option(help="Knobs of the target's space, as block_m=128; several, or one after another in quotes.")
STRICT = typer.Option("--strict-semantics", help="Keep MLIR's f16 or bf16 accumulation.")
VERIFY = typer.Option(help="How far to check: full, witness, none; auto is full, of large emulated problems a sample.")
EXECUTOR = typer.Option(help="What runs the binary: cpu, cuda, hip, emulator.", show_default="a device, else emulator")
TIME = typer.Option(help="Time the binary after it is verified.")
SEED = typer.Option(help="Of the random inputs.")
RUNS = typer.Option(help="Where the run folders are.")
OUTPUT = typer.Option("-o", "--output", help="Write here instead of to stdout.")


@app.command(MAIN, hidden=True)
def main_job(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|-|x.py:f", help="An MLIR module, stdin, or a torch program. None: the problem of --shape."
        ),
    ] = "",
    target: Annotated[str, TARGET] = "",
    shape: Annotated[str, SHAPE] = "",
    dtype: Annotated[str, DTYPE] = "",
    out_dtype: Annotated[str, OUT_DTYPE] = "",
    layout: Annotated[str, LAYOUT] = "",
    schedule: Annotated[
        str | None,
        typer.Option(
            help="A file with a pass pipeline, or its text; with --from, what follows the state.",
            show_default="the target's default",
        ),
    ] = None,
    knobs: Annotated[list[str], KNOBS] = [],  # noqa: B006
    print_schedule: Annotated[
        bool, typer.Option("--print-schedule", help="Print the schedule that would be used, and stop.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record instead of the report.")] = False,
    emit: Annotated[str, typer.Option(help="Print mlir, llvm, asm, obj, hsaco, ptx or cubin instead.")] = "",
    output: Annotated[str, OUTPUT] = "",
    start: Annotated[str, typer.Option("--from", help="Go on from a stored state, runs/7/03-....mlir.")] = "",
    verify: Annotated[str, VERIFY] = "auto",
    executor: Annotated[str, EXECUTOR] = "",
    time: Annotated[bool, TIME] = True,
    runs: Annotated[str, RUNS] = "runs",
    pick: Annotated[
        int, typer.Option(help="Of a torch program: lower only contraction N.", show_default="each in turn")
    ] = 0,
    example: Annotated[list[str], typer.Option("--input", help="Of a torch program: an input, as 128x512xf32.")] = [],  # noqa: B006
    strict_semantics: Annotated[bool, STRICT] = False,
    timeout: Annotated[float, typer.Option(help="Seconds a candidate may take.")] = 300.0,
    seed: Annotated[int, SEED] = 0,
) -> int:
    """Lowers one problem: build, verify, time, report."""
    words = locals()
    check_source(source, [command.name or "" for command in app.registered_commands if not command.hidden])
    from lowering import frontend

    return frontend.main(frontend.Request(**words))


@app.command("opt")
def opt_command(
    source: Annotated[str, typer.Argument(metavar="FILE|-", help="Any MLIR module.")],
    pass_pipeline: Annotated[str, typer.Option(help="builtin.module(...) or a comma list; our passes and upstream's.")],
    output: Annotated[str, OUTPUT] = "",
    print_after_all: Annotated[
        bool, typer.Option("--mlir-print-ir-after-all", help="Print each state to stderr.")
    ] = False,
) -> int:
    """Runs passes on a module and prints the result."""
    from lowering import opt

    return opt.main(source, pass_pipeline, output, print_after_all)


@app.command("targets")
def targets_command() -> int:
    """Lists the chips, and what can run on this machine."""
    from lowering import listing

    return listing.targets()


@app.command("passes")
def passes_command(
    name: Annotated[str, typer.Argument(help="Show this one with its options.", show_default=False)] = "",
) -> int:
    """Lists our passes and upstream's."""
    from lowering import listing

    return listing.passes(name)


@app.command("doctor")
def doctor_command() -> int:
    """Says what this machine can do, and what to install for what is missing."""
    from lowering import doctor

    return doctor.main()


@app.command("report")
def report_command(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's number, its folder, `last`, or the folder of a graph.")
    ] = "last",
    runs: Annotated[str, RUNS] = "runs",
    as_json: Annotated[bool, typer.Option("--json", help="Print the record.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> int:
    """Shows a run again, from its record alone."""
    from lowering import again

    return again.main(run, Path(runs), "json" if as_json else "markdown" if markdown else "text")


@app.command("graph")
def graph_command(
    source: Annotated[str, SOURCE] = "",
    target: Annotated[str, TARGET] = "",
    shape: Annotated[str, SHAPE] = "",
    dtype: Annotated[str, DTYPE] = "",
    out_dtype: Annotated[str, OUT_DTYPE] = "",
    layout: Annotated[str, LAYOUT] = "",
    strict_semantics: Annotated[bool, STRICT] = False,
    passes: Annotated[
        str, typer.Option(help="A list of passes, or a file with one; a bare name of ours stands for all it offers.")
    ] = "",
    depth: Annotated[
        int | None, typer.Option(min=0, max=1000, help="The most passes in a row.", show_default="6")
    ] = None,
    around: Annotated[
        str, typer.Option(help="Explore around a schedule: `default`, a file, or its text; --passes are inserted.")
    ] = "",
    window: Annotated[
        int | None,
        typer.Option(
            min=1, help="Steps of it whose order is free: dropped, repeated once, permuted.", show_default="3"
        ),
    ] = None,
    at: Annotated[
        int | None, typer.Option(min=1, help="Only the window that begins at this step.", show_default="each in turn")
    ] = None,
    goal: Annotated[str, typer.Option(help="Dialects: a state with no others is not taken further, e.g. llvm.")] = "",
    states: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many states.", show_default="no limit")
    ] = None,
    prune_learned: Annotated[
        bool, typer.Option("--prune-learned", help="Do not try a pass where what it seems to need is missing.")
    ] = False,
    check: Annotated[bool, typer.Option(help="Check every state, on the witness problem.")] = True,
    build: Annotated[int, typer.Option(min=0, help="The most end states that are built.")] = 500,
    time: Annotated[int, typer.Option(min=0, help="The most distinct binaries that are verified and timed.")] = 12,
    processes: Annotated[int | None, typer.Option(min=1, help="Worker processes.", show_default="one a core")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds a pass may take.")] = 30.0,
    runs: Annotated[str, RUNS] = "runs",
    export: Annotated[list[str], typer.Option(help="Write the graph to FILE.json, .graphml, .dot or .svg.")] = [],  # noqa: B006
    as_json: Annotated[bool, typer.Option("--json", help="Print the record instead of the report.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Forget what an earlier call with the same words found.")
    ] = False,
) -> int:
    """Explores pass orders as a graph: merges states, checks each, builds and times the distinct binaries."""
    words = locals()
    from lowering import graph_command as command

    return command.main(command.Request(**words))


MODELLED = typer.Option("--target", help="See `lower targets`.", show_default="the first that has a model")


@app.command("rank")
def rank_command(
    source: Annotated[str, SOURCE] = "",
    target: Annotated[str, MODELLED] = "",
    shape: Annotated[str, SHAPE] = "",
    dtype: Annotated[str, DTYPE] = "",
    out_dtype: Annotated[str, OUT_DTYPE] = "",
    layout: Annotated[str, LAYOUT] = "",
    strict_semantics: Annotated[bool, STRICT] = False,
    knobs: Annotated[list[str], KNOBS] = [],  # noqa: B006
    top: Annotated[int, typer.Option(min=1, help="How many.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Ranks schedules by their predicted time; compiles and runs nothing."""
    words = locals()
    from lowering import rank

    return rank.rank(rank.Request(**words))


@app.command("explain")
def explain_command(
    source: Annotated[str, SOURCE] = "",
    target: Annotated[str, MODELLED] = "",
    shape: Annotated[str, SHAPE] = "",
    dtype: Annotated[str, DTYPE] = "",
    out_dtype: Annotated[str, OUT_DTYPE] = "",
    layout: Annotated[str, LAYOUT] = "",
    strict_semantics: Annotated[bool, STRICT] = False,
    knobs: Annotated[list[str], KNOBS] = [],  # noqa: B006
) -> int:
    """Says why an instance of a space is illegal, or where each of its knobs comes from."""
    words = locals()
    from lowering import rank

    return rank.explain(rank.Request(**words))


@app.command("ladder")
def ladder_command(
    source: Annotated[str, SOURCE] = "",
    target: Annotated[str, TARGET] = "",
    shape: Annotated[str, SHAPE] = "",
    dtype: Annotated[str, DTYPE] = "",
    out_dtype: Annotated[str, OUT_DTYPE] = "",
    layout: Annotated[str, LAYOUT] = "",
    strict_semantics: Annotated[bool, STRICT] = False,
    knobs: Annotated[list[str], KNOBS] = [],  # noqa: B006
    rungs: Annotated[str, typer.Option(help="Only these, as 4 or 2-5.", show_default="all")] = "",
    verify: Annotated[str, VERIFY] = "auto",
    executor: Annotated[str, EXECUTOR] = "",
    time: Annotated[bool, TIME] = True,
    timeout: Annotated[float, typer.Option(help="Seconds a rung may take.")] = 300.0,
    seed: Annotated[int, SEED] = 0,
    runs: Annotated[str, RUNS] = "runs",
    as_json: Annotated[bool, typer.Option("--json", help="Print the record instead of the report.")] = False,
) -> int:
    """Climbs from a naive schedule to the default: each step built, verified, timed, and why it is made."""
    words = locals()
    from lowering import ladder_command as command

    return command.main(command.Request(**words))


@app.command("bisect")
def bisect_command(
    source: Annotated[str, SOURCE] = "",
    target: Annotated[str, TARGET] = "",
    shape: Annotated[str, SHAPE] = "",
    dtype: Annotated[str, DTYPE] = "",
    out_dtype: Annotated[str, OUT_DTYPE] = "",
    layout: Annotated[str, LAYOUT] = "",
    strict_semantics: Annotated[bool, STRICT] = False,
    schedule: Annotated[
        str | None,
        typer.Option(help="A file with a pass pipeline, or its text.", show_default="the target's default"),
    ] = None,
    reduce: Annotated[bool, typer.Option("--reduce/--no-reduce", help="Make schedule and sizes smaller.")] = True,
    timeout: Annotated[float, typer.Option(help="Seconds a lowering or a check may take.")] = 60.0,
    runs: Annotated[str, RUNS] = "runs",
    as_json: Annotated[bool, typer.Option("--json", help="Print the record instead of the report.")] = False,
) -> int:
    """Finds the step that breaks a schedule, and makes the case as small as it can."""
    words = locals()
    from lowering import bisect_command as command

    return command.main(command.Request(**words))


@app.command("diff")
def diff_command(
    first: Annotated[str, typer.Argument(metavar="RUN-A", help="A run's number, its folder, or `last`.")],
    second: Annotated[str, typer.Argument(metavar="RUN-B", help="The run to compare it with.")],
    runs: Annotated[str, RUNS] = "runs",
    lines: Annotated[
        int | None,
        typer.Option(help="Most lines of each pass's diff; 0 for all.", show_default="the first passes apart, 20"),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="The whole diff of each pass.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> int:
    """Shows where the schedules of two runs part, and what each pass did there."""
    from lowering import diff_report

    form = "json" if as_json else "markdown" if markdown else "text"
    return diff_report.main(first, second, Path(runs), 0 if full else lines, form)


@app.command("emulate")
def emulate_command(
    image: Annotated[str, typer.Argument(metavar="FILE", help="An AMD GPU's code object (HSACO).")],
    grid: Annotated[str, typer.Option(help="Workgroups: X,Y,Z.")],
    block: Annotated[str, typer.Option(help="Work-items a workgroup: X,Y,Z.")],
    kernel: Annotated[str, typer.Option(help="Its name.", show_default="the only one")] = "",
    lds: Annotated[int, typer.Option(min=0, help="Bytes of dynamic LDS.")] = 0,
    arg: Annotated[
        list[str],
        typer.Option(
            help="In order: in:FILE.npy, out:FILE.npy[:64x64xf32], inout:FILE.npy, i32:7 (i8 to f64), null, raw:HEX."
        ),
    ] = [],  # noqa: B006
    stats: Annotated[bool, typer.Option("--stats", help="Count instructions, conflicts, lines, occupancy.")] = False,
    trace: Annotated[int | None, typer.Option(min=0, help="Print what this wave executes.")] = None,
    mfma: Annotated[str, typer.Option(help="fast, or exact: the rounding of CDNA3 hardware.")] = "fast",
    wave_order: Annotated[str, typer.Option(help="lock-step, or random:SEED.")] = "lock-step",
    on_fault: Annotated[
        str,
        typer.Option(
            help="Of an access out of bounds: error stops; warn and zero read 0 and store nothing, listed or counted."
        ),
    ] = "error",
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 on any finding.")] = False,
    max_instructions: Annotated[
        int, typer.Option(min=1, help="Stop with a fault after so many wave-instructions.")
    ] = 10**9,
) -> int:
    """Runs an AMD GPU's kernel without a device, and checks every access."""
    words = locals()
    from lowering.targets.amdgpu import emulate

    return emulate.main(emulate.Request(**words))


@app.command("disasm")
def disasm_command(
    image: Annotated[str, typer.Argument(metavar="FILE", help="An AMD GPU's code object (HSACO).")],
) -> int:
    """Shows the kernels of a code object: arguments, descriptor, instructions."""
    from lowering.targets.amdgpu import disasm

    return disasm.disassemble(image)


def run(arguments: list[str]) -> int:
    """The exit code of a command line. Raises what only `main` may swallow: the interrupt and the broken pipe."""
    command = typer.main.get_command(app)
    try:
        with command.make_context("lower", list(arguments)) as context:
            code = command.invoke(context)
        sys.stdout.flush()
        return code or 0
    except typer.Exit as end:
        return end.exit_code
    except UserError as error:
        return complain(str(error), 2)
    except typer.TyperException as error:
        message = error.format_message()
        return complain(message[:1].lower() + message[1:], 2)


def complain(message: str, code: int) -> int:
    """Prints an error and gives back its exit code."""
    print(f"error: {message}", file=sys.stderr)
    return code


def crash(error: Exception) -> int:
    """A bug of ours: one line, and the traceback in a file."""
    with tempfile.NamedTemporaryFile("w", prefix="lower-", suffix=".log", delete=False) as log:
        log.write(f"{' '.join(sys.argv)}\n{traceback.format_exc()}")
    line = f"{type(error).__name__}: {error}".splitlines()[0]
    return complain(f"lower has a bug, and it is not your command: {line}\n  the details are in {log.name}", 3)


class Interrupt:
    """Ctrl-C or SIGTERM, remembered: raised inside a callback of MLIR's, it comes out as an error of the bindings."""

    number = 0  # of the signal

    @classmethod
    def handle(cls, number: int, frame: Any) -> None:
        """Does what Python does on Ctrl-C, and keeps in mind that it happened."""
        cls.number = number
        raise KeyboardInterrupt

    @classmethod
    def end(cls) -> int:
        """Says how it ended; the exit code is the one that shells use."""
        word = "terminated" if cls.number == signal.SIGTERM else "interrupted"
        return complain(word, 128 + (cls.number or signal.SIGINT))


def drop_output() -> None:
    """Sends what is still buffered to nowhere: the interpreter flushes it once more at the end."""
    if sys.stdout is not None:  # pyright: ignore[reportUnnecessaryComparison]  (it is where the shell closed it)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> None:
    """The entry point: no traceback ever reaches the terminal."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, Interrupt.handle)
    try:
        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = Interrupt.end()
    except BrokenPipeError:
        drop_output()
        code = BROKEN_PIPE
    except OSError as error:
        ours = error.errno not in (errno.ENOSPC, errno.EDQUOT) and (error.errno != errno.EIO or error.filename)
        if ours or Interrupt.number:
            code = Interrupt.end() if Interrupt.number else crash(error)
        else:  # the disk's or the terminal's, and no bug
            drop_output()
            code = complain(f"cannot write {error.filename or 'the output'}: {error.strerror}", 2)
    except Exception as error:  # noqa: BLE001  (the outermost boundary: what comes here is a bug, and is reported as one)
        code = Interrupt.end() if Interrupt.number else crash(error)
    sys.exit(code)


if __name__ == "__main__":
    main()
