"""The words of `lower emulate` -> a code object, the shape of a launch, what its kernel gets, the files of outputs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from lowering.core import UserError
from lowering.targets.amdgpu.emulator.emulator import PACKED, Argument, ImageError, Value, unsuited
from lowering.targets.amdgpu.emulator.memory import room

Array = np.ndarray[Any, Any]
T = TypeVar("T")

BUFFERS = ("in", "out", "inout")
KINDS = (*BUFFERS, *PACKED, "null", "raw")
DTYPES = {
    "f16": "float16", "f32": "float32", "f64": "float64", "bf16": "uint16", "fp8": "uint8", "bf8": "uint8",
    **{f"{sign}{bits}": f"{'u' * (sign == 'u')}int{bits}" for sign in "iu" for bits in (8, 16, 32, 64)},
}  # fmt: skip
POISON = 0xFF  # what an output that is new holds before the launch


@dataclass(frozen=True)
class Given:
    """One argument: what the kernel gets, and the file that an output goes to."""

    value: Argument
    role: str
    file: Path | None = None

    @property
    def output(self) -> tuple[Path, Array] | None:
        """The file and the array of one that is written; None for others."""
        if self.file is None or self.role == "in" or not isinstance(self.value, np.ndarray):
            return None
        return self.file, self.value


def of_file(path: str, make: Callable[[bytes], T]) -> T:
    """What is made of a code object's bytes. Raises UserError."""
    try:
        return make(Path(path).read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except ImageError as error:
        raise UserError(f"{path}: {error}") from None


def triple(option: str, text: str) -> tuple[int, int, int]:
    """x,y,z with y and z left out at will. Raises UserError."""
    parts = text.split(",")
    if not 1 <= len(parts) <= 3 or not all(re.fullmatch(r"[0-9]{1,10}", part) and int(part) > 0 for part in parts):
        raise UserError(f"{option} takes X,Y,Z of numbers above 0 and below 2^32, found '{text}'")
    x, y, z = (*map(int, parts), *(1,) * (3 - len(parts)))
    return x, y, z


def argument(text: str) -> Given:
    """One --arg. Raises UserError that says what there is."""
    kind, _, rest = text.partition(":")
    if kind == "null" and not rest:
        return Given(None, kind)
    if kind in BUFFERS:
        return buffer(kind, rest)
    if kind == "raw":
        if not re.fullmatch(r"([0-9a-fA-F]{2})+", rest):
            raise UserError(f"--arg raw: takes bytes as pairs of hexadecimal digits, lowest first, found '{rest}'")
        return Given(bytes.fromhex(rest), kind)
    if kind not in PACKED:
        raise UserError(f"--arg has no kind '{text}'; it takes {', '.join(KINDS)}, e.g. in:a.npy or i32:1024")
    return Given(scalar(kind, rest), kind)


def scalar(kind: str, rest: str) -> Value:
    """A number of a kind. Raises UserError for none, and for one that does not fit."""
    try:
        value = Value(kind, float(rest) if kind[0] == "f" else int(rest, 0))
    except ValueError:
        raise UserError(
            f"--arg {kind}:{rest}: '{rest}' is no number such as {'0.5' if kind[0] == 'f' else '7'}"
        ) from None
    try:
        value.bytes()
    except ImageError as error:
        raise UserError(f"--arg {kind}:{rest}: {error}") from None
    return value


def buffer(role: str, rest: str) -> Given:
    """A buffer from a .npy file; a new output says its shape: out:c.npy:64x64xf32."""
    name, _, shape = rest.partition(":")
    file = Path(name)
    if role != "in":
        writable(role, file)
    if shape:
        if role != "out":
            raise UserError(f"--arg {role}:{rest}: only a new output (out:) has a shape")
        return Given(fresh(f"--arg {role}:{rest}", shape), role, file)
    if not file.is_file():
        hint = f"; a new output says its shape: out:{name}:64x64xf32" if role == "out" else ""
        raise UserError(f"--arg {role}:{name}: there is no file '{name}'{hint}")
    found = loaded(f"--arg {role}:{name}", file)
    if role == "out":
        found.view(np.uint8).reshape(-1)[:] = POISON
    found.flags.writeable = role != "in"
    return Given(found, role, file)


def loaded(word: str, file: Path) -> Array:
    """The array of a .npy file. Raises UserError."""
    fits(word, file.stat().st_size)
    try:
        with file.open("rb") as stream:
            array = np.lib.format.read_array(stream, allow_pickle=False)
    except (ValueError, OSError, EOFError):
        raise UserError(f"{word}: no .npy file of numbers") from None
    if why := unsuited(array):
        raise UserError(f"{word}: {why}")
    return np.array(array, order="C")


def fresh(word: str, text: str) -> Array:
    """A poisoned array of a shape like 64x64xf32. Raises UserError."""
    *sizes, kind = text.split("x")
    if not sizes or kind not in DTYPES or not all(re.fullmatch(r"[0-9]{1,12}", n) and int(n) for n in sizes):
        raise UserError(f"{word}: '{text}' is no shape like 64x64xf32 (with one of {', '.join(DTYPES)})")
    dtype, shape = np.dtype(DTYPES[kind]), [int(n) for n in sizes]
    count = 1
    for n in shape:
        count *= n
    fits(word, count * dtype.itemsize)
    array = np.empty(shape, dtype)
    array.view(np.uint8).reshape(-1)[:] = POISON
    return array


def fits(word: str, nbytes: int) -> None:
    """Raises UserError for a buffer that this machine has no room for."""
    if nbytes > room():
        raise UserError(f"{word}: {nbytes:,} bytes; this machine has room for buffers of {room():,}")


def writable(role: str, file: Path) -> None:
    """Raises UserError, before anything runs, for a file that an output cannot go to."""
    folder = file.parent
    if not file.name or file.is_dir():
        raise UserError(f"--arg {role}:{file}: a file is needed, to write the array to")
    if not folder.is_dir():
        raise UserError(f"--arg {role}:{file}: there is no folder '{folder}'")
    if not os.access(file if file.exists() else folder, os.W_OK):
        raise UserError(f"--arg {role}:{file}: the file may not be written")


def save(given: Sequence[Given]) -> list[str]:
    """Writes the outputs to their files, under their very names; says so. Raises UserError."""
    words: list[str] = []
    for file, array in (each.output for each in given if each.output is not None):
        try:
            with file.open("wb") as stream:
                np.save(stream, array)
        except OSError as error:
            raise UserError(f"{file}: {error.strerror}") from None
        words.append(f"{file} ({'x'.join(map(str, array.shape))}, {array.dtype})")
    return words
