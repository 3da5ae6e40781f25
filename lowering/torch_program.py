"""A torch program -> its contractions as problems, with the values that torch itself computes them on.

`FILE.py:FUNCTION` names a function that returns a module (or is one itself). Parameters and buffers are lifted to
arguments before the export, so weights never become megabytes of constants, and their values are at hand for checking.
torch is imported here and nowhere else, and only when a torch program is given.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lowering import split
from lowering.core import Problem, UserError

TYPES = {  # MLIR's names of the types an input may have -> torch's
    "f64": "float64",
    "f32": "float32",
    "f16": "float16",
    "bf16": "bfloat16",
    "i8": "int8",
    "i32": "int32",
    "i64": "int64",
    "i1": "bool",
}


@dataclass(frozen=True, eq=False)
class Candidate:
    """One contraction of a torch program.

    `problem` is None where it cannot be lowered, and `reason` says why. `inputs` are the values of the problem's inputs
    in a run of the program on random data, `expected` what the problem's outputs are then: `from_torch` says whether
    torch computed them (`by_torch`) or our reference did, from torch's own inputs.
    """

    number: int  # from 1, as --pick takes it
    problem: Problem | None
    reason: str
    share: float  # of the program's FLOPs
    inputs: tuple[split.Array, ...] | None = None
    expected: tuple[split.Array, ...] | None = None
    by_torch: bool = False
    error: float | None = None  # the whole program: largest |reference - torch|, relative to torch's largest value


def from_torch(path: str, function: str, inputs: Sequence[str], strict_semantics: bool = False) -> list[Candidate]:
    """The contractions of the program that `function` of the file `path` makes, in program order.

    `inputs` are the shapes and types of its arguments (`128x512xf32`). Raises UserError for whatever is missing.
    """
    torch = imported()
    module = made(torch, path, function)
    examples = [example(torch, text) for text in given(inputs, module, f"{path}:{function}")]
    names = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    with users_code(f"running {function}() of {path}"), torch.no_grad():
        results = module(*examples)
    arguments = [*examples, *names.values()]
    text = exported(torch, module, tuple(names), arguments, path)
    parts = split.split(text, Path(path).stem, strict_semantics)
    return candidates(parts, [array(each) for each in arguments], flattened(torch, results))


def picked(candidates: Sequence[Candidate], number: int | None) -> list[Candidate]:
    """The candidate that --pick names, or all that can be lowered. Raises UserError with the list."""
    listed = "\n".join(listing(candidates))
    if number is None:
        found = [each for each in candidates if each.problem]
        if not found:
            raise UserError(f"none of the program's contractions can be lowered:\n{listed}")
        return found
    if not 1 <= number <= len(candidates):
        raise UserError(f"there is no contraction {number}; --pick takes one of these:\n{listed}")
    if candidates[number - 1].problem is None:
        raise UserError(f"contraction {number} cannot be lowered: {candidates[number - 1].reason}")
    return [candidates[number - 1]]


def listing(candidates: Sequence[Candidate]) -> Iterator[str]:
    """One line a contraction: number, shape, types, epilogue and share of the FLOPs."""
    for each in candidates:
        if each.problem is None:
            yield f"  {each.number}: {each.share:6.1%} of the FLOPs, cannot be lowered: {each.reason}"
            continue
        c = each.problem.contraction
        shape = "x".join(str(size) for size in (*((c.batch,) if c.batch else ()), c.m, c.n, c.k))
        after = f", then {', '.join(each.problem.epilogue)}" if each.problem.epilogue else ""
        yield f"  {each.number}: {each.share:6.1%} of the FLOPs, {shape} {c.element} {c.layout}{after}"


def agreement(candidates: Sequence[Candidate]) -> str:
    """One line on how what was read compares with what torch computed, for the whole program on random data."""
    error = candidates[0].error
    if error is None:
        return "not compared with torch as a whole: an op between the contractions is unknown to the reference"
    return f"the program as it was read agrees with torch to {error:.1e} of its largest result"


# --- values ----------------------------------------------------------------------------------------------------------


def candidates(parts: split.Split, arguments: Sequence[split.Array], results: list[Any]) -> list[Candidate]:
    """The pieces of a program with the values of one run."""
    values = parts.values(arguments)
    total = sum(piece.flops for piece in parts.pieces)
    error = disagreement(parts, values, results)
    outputs = {id(node): array(result) for node, result in zip(parts.whole.outputs, results, strict=False)}
    for node in parts.whole.outputs:  # a result that is only reshaped is what the problem's output is
        while id(node) in parts.whole.cuts:
            value, node = outputs[id(node)], parts.whole.cuts[id(node)]
            outputs.setdefault(id(node), value.reshape(node.shape))
    made: list[Candidate] = []
    for number, piece in enumerate(parts.pieces, start=1):
        inputs = typed(values, piece.inputs)
        by_torch = bool(piece.outputs) and all(id(node) in outputs for node in piece.outputs)
        expected = tuple(outputs[id(n)] for n in piece.outputs) if by_torch else typed(values, piece.outputs)
        share = piece.flops / total
        made.append(Candidate(number, piece.problem, piece.reason, share, inputs, expected, by_torch, error))
    return made


def typed(values: dict[int, split.Array], nodes: Sequence[Any]) -> tuple[split.Array, ...] | None:
    """The values of nodes in their types; None where one is unknown."""
    if not nodes or not all(id(node) in values for node in nodes):
        return None
    return tuple(split.as_argument(values[id(node)], node.dtype) for node in nodes)


def disagreement(parts: split.Split, values: dict[int, split.Array], results: list[Any]) -> float | None:
    """Largest |reference - torch| over the program's results, relative to torch's largest value; None if unknown."""
    worst: float | None = None
    for node, result in zip(parts.whole.outputs, results, strict=False):
        if id(node) not in values:
            return None
        torchs = array(result).astype(np.float64)
        scale = float(np.max(np.abs(torchs), initial=0)) or 1.0
        found = float(np.max(np.abs(values[id(node)] - torchs), initial=0)) / scale
        worst = found if worst is None else max(worst, found)
    return worst


def array(tensor: Any) -> split.Array:
    """A torch tensor as a numpy array; bf16 by way of its bits."""
    tensor = tensor.detach().cpu().contiguous()
    if str(tensor.dtype) == "torch.bfloat16":
        return tensor.view(importlib.import_module("torch").int16).numpy().view(split.DTYPES["bf16"].numpy)
    return tensor.numpy()


def flattened(torch: Any, results: Any) -> list[Any]:
    """The tensors that a module returned, in order."""
    return [each for each in torch.utils._pytree.tree_leaves(results) if isinstance(each, torch.Tensor)]


# --- torch -----------------------------------------------------------------------------------------------------------


def imported() -> Any:
    """torch. Raises UserError with the extra to install where it is missing."""
    for name in ("torch", "torch_mlir"):
        if importlib.util.find_spec(name) is None:
            raise UserError(f"a torch program needs the package {name}: pip install 'lower[torch]'")
    return importlib.import_module("torch")


@contextmanager
def users_code(what: str) -> Generator[None]:
    """Turns whatever the user's program raises into one UserError with the last line of theirs that ran."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 - a program of the user's may raise anything
        frames = traceback.extract_tb(error.__traceback__)
        last = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
        message = next(iter(str(error).splitlines()), "")
        raise UserError(f"{what} failed: {type(error).__name__}: {message[:200]}{last}") from None


def made(torch: Any, path: str, function: str) -> Any:
    """The module that `function` returns, in evaluation mode; a plain function is wrapped as one."""
    if not Path(path).is_file():
        raise UserError(f"there is no file '{path}'")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if spec is None or spec.loader is None:
        raise UserError(f"'{path}' is no Python file")
    code = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = code
    with users_code(f"importing {path}"):
        spec.loader.exec_module(code)
    if not hasattr(code, function):
        known = [name for name, what in vars(code).items() if callable(what) and not name.startswith("_")]
        close = difflib.get_close_matches(function, known, n=3) or known[:8]
        raise UserError(f"'{path}' has no function '{function}'; it has {', '.join(close) or 'none'}")
    torch.manual_seed(0)
    with users_code(f"{function}() of {path}"):
        module = getattr(code, function)
        module = module() if not isinstance(module, torch.nn.Module) else module
    if not isinstance(module, torch.nn.Module):
        raise UserError(f"{function}() of '{path}' returned {type(module).__name__}; return a torch.nn.Module")
    return module.eval()


def given(inputs: Sequence[str], module: Any, program: str) -> Sequence[str]:
    """The inputs, if there is one for each argument. Raises UserError that names the arguments."""
    parameters = inspect.signature(module.forward).parameters.values()
    needed = [
        each.name for each in parameters if each.default is each.empty and each.kind == each.POSITIONAL_OR_KEYWORD
    ]
    if len(inputs) < len(needed):
        names = ", ".join(needed)
        example = " ".join("--input 128x512xf32" for _ in needed)
        raise UserError(f"{program} takes {len(needed)} inputs ({names}), {len(inputs)} given: {example}")
    return inputs


def example(torch: Any, text: str) -> Any:
    """A random tensor of a shape and type: `128x512xf32`, or `f32` for a scalar. Raises UserError."""
    *sizes, kind = text.strip().split("x")
    if kind not in TYPES or not all(re.fullmatch(r"[1-9][0-9]*", size) for size in sizes):
        raise UserError(
            f"'{text}' is not an input: write its sizes and type, e.g. 128x512xf32 (types: {', '.join(TYPES)})"
        )
    dtype, shape = getattr(torch, TYPES[kind]), [int(size) for size in sizes]
    if dtype.is_floating_point:
        return torch.randn(shape).to(dtype)
    return torch.randint(0, 2, shape).to(dtype)


def exported(torch: Any, module: Any, names: tuple[str, ...], arguments: list[Any], path: str) -> str:
    """The program as MLIR text: a function of the inputs, then of the parameters and buffers."""

    class Lifted(torch.nn.Module):
        """The module with its state passed in. It is kept in a tuple, or it would register as a part of this one."""

        kept = (module,)

        def forward(self, *values: Any) -> Any:
            count = len(values) - len(names)
            state = dict(zip(names, values[count:], strict=True))
            return torch.func.functional_call(self.kept[0], state, values[:count])

    fx = importlib.import_module("torch_mlir.fx")
    with users_code(f"exporting {path} to MLIR"), torch.no_grad():
        return str(fx.export_and_import(Lifted(), *arguments, output_type="linalg-on-tensors"))
