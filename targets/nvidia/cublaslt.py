"""A product as NVIDIA's cuBLASLt makes it, with each of the algorithms that its heuristic offers.

cuBLASLt takes columns, and our matrices lie in rows: the same bytes read as columns are the transposed matrices, so
D^T = B^T.A^T is asked for. The numbers of enumerations and the layout of the heuristic's result are those of cublasLt.h
and library_types.h (cuBLAS documentation, "cuBLASLt data types reference").
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Iterator
from ctypes import byref, c_float, c_int, c_int8, c_int32, c_int64, c_size_t, c_uint64, c_void_p, sizeof
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lowering.core import Contraction

DATA = {"f32": 0, "f16": 2, "i8": 3, "i32": 10, "bf16": 14, "f8E4M3FN": 28, "f8E5M2": 29}  # cudaDataType
COMPUTE_F32, COMPUTE_I32, COMPUTE_TF32 = 68, 72, 77  # cublasComputeType_t
TRANSPOSE_A, TRANSPOSE_B, FAST_ACCUMULATION = 3, 4, 25  # cublasLtMatmulDescAttributes_t
BATCH_COUNT, BATCH_STRIDE = 5, 6  # cublasLtMatrixLayoutAttribute_t
WORKSPACE_LIMIT = 1  # cublasLtMatmulPreferenceAttributes_t
WORKSPACE = 64 << 20  # bytes; NVIDIA advises 32 MiB on Hopper
ASKED = 32  # algorithms
NAMES = ("libcublasLt.so.13", "libcublasLt.so.12")


class Heuristic(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t."""

    _fields_ = (
        ("algorithm", c_uint64 * 8),
        ("workspace", c_size_t),
        ("state", c_int),
        ("waves", c_float),
        ("reserved", c_int * 4),
    )


class LibraryError(Exception):
    """cuBLASLt refused something."""


@cache
def library() -> Any | None:
    """The library, where the system or NVIDIA's Python packages have it; None otherwise."""
    for name in (*NAMES, *map(str, installed())):
        try:
            found = ctypes.CDLL(name)
        except OSError:
            continue
        found.cublasLtGetVersion.restype = c_size_t
        return found
    return None


def installed() -> Iterator[Path]:
    """The library in NVIDIA's Python packages."""
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        yield from sorted(Path(folder).glob("*/lib/libcublasLt.so.*"))


def objection(c: Contraction) -> str | None:
    """Why cuBLASLt has no such product; None where it has."""
    if c.element not in DATA or c.output not in DATA:
        return f"cuBLASLt has no {c.element} giving {c.output}"
    if c.layout not in ("nn", "nt", "tn", "tt"):
        return "operands that are not matrices"
    return None


def ok(status: int, what: str) -> None:
    """Raises LibraryError with what was asked for, where a call failed."""
    if status != 0:
        raise LibraryError(f"{what}: status {status}")


@dataclass(frozen=True)
class Matrix:
    """A row-major matrix: rows, columns, element type, how many, and elements between two of them."""

    rows: int
    columns: int
    element: str
    batch: int


class Product:
    """D = A.B of a contraction. Raises LibraryError where the library refuses it or offers no algorithm.

    A and B lie as the contraction's layout says, D in rows; all are dense, batches one behind the other. 8-bit floats
    are multiplied with the fast accumulation, which is how the hardware sums; f32 in f32, or in TF32 where the
    contraction allows it.
    """

    def __init__(self, c: Contraction) -> None:
        reason = objection(c)
        found = library()
        if found is None or reason is not None:
            raise LibraryError(reason or "no libcublasLt")
        self.lib, batch = found, max(1, c.batch)
        self.handle = c_void_p()
        ok(self.lib.cublasLtCreate(byref(self.handle)), "cublasLtCreate")
        integer = c.accumulator == "i32"
        self.one, self.zero = (c_int32(1), c_int32(0)) if integer else (c_float(1), c_float(0))
        self.description = self.described(c, integer)
        left = Matrix(*((c.m, c.k) if c.layout[0] == "n" else (c.k, c.m)), c.element, batch)
        right = Matrix(*((c.k, c.n) if c.layout[1] == "n" else (c.n, c.k)), c.element, batch)
        self.layouts = [self.layout(each) for each in (right, left, Matrix(c.m, c.n, c.output, batch))]
        self.algorithms = self.offered()

    @property
    def version(self) -> str:
        """The library's version, as 13.1.0."""
        number = int(self.lib.cublasLtGetVersion())
        major = 10000 if number >= 100000 else 1000
        return f"{number // major}.{number % major // 100}.{number % 100}"

    def described(self, c: Contraction, integer: bool) -> c_void_p:
        """The operation."""
        compute = COMPUTE_I32 if integer else COMPUTE_TF32 if c.multiplied == "tf32" else COMPUTE_F32
        found = c_void_p()
        scale = DATA["i32" if integer else "f32"]
        ok(self.lib.cublasLtMatmulDescCreate(byref(found), compute, scale), "cublasLtMatmulDescCreate")
        right, left = c_int32(c.layout[1] == "t"), c_int32(c.layout[0] == "t")
        settings: list[tuple[int, Any]] = [(TRANSPOSE_A, right), (TRANSPOSE_B, left)]
        if c.element.startswith("f8"):
            settings.append((FAST_ACCUMULATION, c_int8(1)))
        for name, value in settings:
            ok(
                self.lib.cublasLtMatmulDescSetAttribute(found, name, byref(value), c_size_t(sizeof(value))),
                f"attribute {name}",
            )
        return found

    def layout(self, each: Matrix) -> c_void_p:
        """A matrix in rows, told as one in columns."""
        found, rows, columns = c_void_p(), c_uint64(each.columns), c_uint64(each.rows)
        create = self.lib.cublasLtMatrixLayoutCreate
        ok(create(byref(found), DATA[each.element], rows, columns, c_int64(each.columns)), "cublasLtMatrixLayoutCreate")
        if each.batch > 1:
            for name, value in ((BATCH_COUNT, c_int32(each.batch)), (BATCH_STRIDE, c_int64(each.rows * each.columns))):
                ok(
                    self.lib.cublasLtMatrixLayoutSetAttribute(found, name, byref(value), c_size_t(sizeof(value))),
                    f"attribute {name} of a layout",
                )
        return found

    def offered(self) -> list[Heuristic]:
        """The algorithms that the heuristic offers, the one it thinks best first."""
        preference, most, got = c_void_p(), c_uint64(WORKSPACE), c_int(0)
        ok(self.lib.cublasLtMatmulPreferenceCreate(byref(preference)), "cublasLtMatmulPreferenceCreate")
        set_ = self.lib.cublasLtMatmulPreferenceSetAttribute
        ok(set_(preference, WORKSPACE_LIMIT, byref(most), c_size_t(8)), "the workspace's limit")
        found = (Heuristic * ASKED)()
        right, left, out = self.layouts
        ok(
            self.lib.cublasLtMatmulAlgoGetHeuristic(
                self.handle, self.description, right, left, out, out, preference, ASKED, found, byref(got)
            ),
            "cublasLtMatmulAlgoGetHeuristic",
        )
        self.lib.cublasLtMatmulPreferenceDestroy(preference)
        usable = [found[i] for i in range(got.value) if found[i].state == 0]
        if not usable:
            raise LibraryError("the heuristic offers no algorithm")
        return usable

    def enqueue(self, number: int, a: int, b: int, d: int, workspace: int, stream: int) -> None:
        """Puts one product by algorithm `number` on a stream; all are device addresses."""
        right, left, out = self.layouts
        ok(
            self.lib.cublasLtMatmul(
                self.handle, self.description, byref(self.one), c_void_p(b), right, c_void_p(a), left,
                byref(self.zero), c_void_p(d), out, c_void_p(d), out, byref(self.algorithms[number]),
                c_void_p(workspace), c_size_t(WORKSPACE), c_void_p(stream),
            ),
            f"algorithm {number}",
        )  # fmt: skip

    def close(self) -> None:
        """Frees what the library holds for it."""
        for each in self.layouts:
            self.lib.cublasLtMatrixLayoutDestroy(each)
        self.lib.cublasLtMatmulDescDestroy(self.description)
        self.lib.cublasLtDestroy(self.handle)
