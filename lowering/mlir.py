"""Where MLIR's Python bindings come from, and the few things done with them: parse, clone, print, digest, run.

The package `mlir` (the real mlir-python-bindings wheel) is taken where it is installed, otherwise torch-mlir's wheel,
which carries the same bindings. Every other file imports MLIR from here, so one file decides.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any

from lowering.core import PassError

PACKAGE = "mlir" if importlib.util.find_spec("mlir") and importlib.util.find_spec("mlir._mlir_libs") else "torch_mlir"

ir: Any = importlib.import_module(f"{PACKAGE}.ir")
passmanager: Any = importlib.import_module(f"{PACKAGE}.passmanager")


def dialect(name: str) -> Any:
    """The Python module of a dialect: `dialect("linalg")`."""
    return importlib.import_module(f"{PACKAGE}.dialects.{name}")


PRELOAD = "transform-preload-library"  # the pass that leaves its library in the context, for whatever runs later there
OWN: list[Any] = []  # the context of `own_context`, while there is one


def context() -> Any:
    """The context that everything happens in: the one of this process (a fresh one costs 8 ms), or `own_context`'s."""
    return OWN[-1] if OWN else shared()


@cache
def shared() -> Any:
    """The one context of this process."""
    return new_context()


def new_context() -> Any:
    """A context without threads: processes scale, threads do not."""
    made = ir.Context()
    made.enable_multithreading(False)
    return made


@contextmanager
def own_context(pipeline: str) -> Generator[None]:
    """A context of its own for a pipeline that would leave something in the shared one; for any other the shared one.

    No module is carried in or out: a live one belongs to the context that it was parsed in.
    """
    if PRELOAD not in pipeline:
        yield
        return
    manager.cache_clear()  # a pass manager belongs to a context too
    OWN.append(new_context())
    try:
        yield
    finally:
        OWN.pop()
        manager.cache_clear()


@contextmanager
def scope() -> Generator[None]:
    """Enters the context and an unknown location, which creating an op needs."""
    with context(), ir.Location.unknown():
        yield


def parse(text: str, name: str = "-") -> Any:
    """The module of `text`. Raises PassError with the parser's own message, and file:line:col as `where`."""
    with context():
        try:
            return ir.Module.parse(text)
        except ir.MLIRError as error:
            message, where = first_diagnostic(error, name)
            raise PassError(message, where, str(error)) from None


def clone(module: Any) -> Any:
    """A copy of a live module: 9 to 20 times cheaper than printing and parsing it."""
    with context():
        return module.operation.clone()


def text(module: Any) -> str:
    """The printed text that is the identity of a state. Locations are not part of it."""
    return str(module)


def digest(state: str) -> str:
    """SHA-256 of a state's text."""
    return hashlib.sha256(state.encode()).hexdigest()


def first_diagnostic(error: Any, name: str = "-") -> tuple[str, str]:
    """The first error message of an MLIRError, on one line, and where it points; not the rest, often the whole IR."""
    for diagnostic in error.error_diagnostics:
        return one_line(diagnostic.message), place(str(diagnostic.location), name)
    return one_line(str(error)), ""


def place(location: str, name: str = "-") -> str:
    """A location as file:line:col, `name` standing for text that was parsed from memory; empty where it is unknown."""
    bare = location.removeprefix("loc(").removesuffix(")").replace('"-"', name).replace('"', "")
    return "" if bare == "unknown" else bare


def one_line(message: str, most: int = 300) -> str:
    """The first line of a message, without the IR that MLIR appends to it."""
    line = next((part for part in message.strip().splitlines() if part.strip()), "no message")
    line = re.sub(r"\s+", " ", line)
    return line if len(line) <= most else line[: most - 1] + "…"


@lru_cache(maxsize=512)
def manager(pipeline: str, verified: bool = True) -> Any:
    """A pass manager of a textual pipeline, kept for the next run. Raises PassError where MLIR does not read it.

    It verifies the IR after each pass, or not at all.
    """
    try:
        made = passmanager.PassManager.parse(f"builtin.module({pipeline})")
    except ValueError as error:
        raise PassError(one_line(str(error)), log=str(error)) from None
    made.enable_verifier(verified)
    return made


def run(module: Any, pipeline: str, verified: bool = True) -> None:
    """Runs a textual pipeline (without `builtin.module(...)` around it) on a module. Raises PassError on failure."""
    with context():
        try:
            manager(pipeline, verified).run(module.operation)
        except ir.MLIRError as error:
            reason, where = first_diagnostic(error)
            raise PassError(reason, where, str(error)) from None


def verify(module: Any) -> None:
    """Raises PassError where a pass left IR that does not verify: that is a bug of the pass."""
    try:
        module.operation.verify()
    except ir.MLIRError as error:
        reason, where = first_diagnostic(error)
        raise PassError(f"it left invalid IR: {reason}", where, str(error), "compiler bug") from None


def script_module(script: str) -> str:
    """The text of a whole transform script: a module as it is, or one around named sequences or around a mere body."""
    code = re.sub(r"//[^\n]*", lambda comment: " " * len(comment[0]), script)
    if "transform.with_named_sequence" in code:
        return script
    first = code.find("transform.named_sequence")
    if first >= 0:  # no line is moved; aliases stay before the module
        return f"{script[:first]}module attributes {{transform.with_named_sequence}} {{ {script[first:]}\n}}"
    return f"""module attributes {{transform.with_named_sequence}} {{
          transform.named_sequence @__transform_main(%root: !transform.any_op) {{
            {script}
            transform.yield
          }}
        }}"""


def transform(module: Any, script: str) -> None:
    """Interprets a transform script on a module. `script` is a module with `@__transform_main`, or just its body.

    A body sees the payload's root as `%root`. Raises PassError with the interpreter's message.
    """
    interpreter = dialect("transform.interpreter")
    with context():
        schedule = parse(script_module(script), "transform script")
        entry = next((op for op in schedule.body.operations if op.operation.name == "transform.named_sequence"), None)
        if entry is None:
            raise PassError("the script has no transform.named_sequence")
        try:
            interpreter.apply_named_sequence(module.operation, entry.operation, schedule.operation)
        except (ir.MLIRError, ValueError) as error:
            raise script_error(str(error)) from None


def script_error(message: str) -> PassError:
    """The interpreter's complaint: its first diagnostic says more than its first line, and points into the script."""
    found = re.search(r"Diagnostic message at (loc\(.*?\)): (.*)", message)
    if found is None:
        return PassError(one_line(message), log=message)
    return PassError(one_line(found[2]), place(found[1], "script"), message)


def walk(root: Any, wanted: Callable[[Any], bool]) -> list[Any]:
    """All ops under `root` (a module or an op), post-order, for which `wanted(op)`; a list, so they may be changed."""
    found: list[Any] = []

    def visit(op: Any) -> Any:
        if wanted(op):
            found.append(op.operation)
        return ir.WalkResult.ADVANCE

    root.operation.walk(visit)
    return found
