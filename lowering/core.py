"""The frozen values that everything else passes around. Imports nothing of ours.

A *state* is an IR module; a *pass* takes a state to a state; a *schedule* is a tuple of passes and its text is an MLIR
pass pipeline. A schedule ends in a *binary* or in a *failure*, and a failure is a value too: it has a stage, a class
and a one-line reason, for people and for the proposers alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

Stage = Literal["parse", "lower", "codegen", "link", "load", "verify", "time"]
Class = Literal[
    "illegal", "unsupported", "compiler bug", "resources", "timeout", "crash", "memory", "wrong", "no device"
]  # fmt: skip


class UserError(Exception):
    """The user's mistake: place, what was expected, what would work. The command line prints it and exits with 2."""


class PassError(Exception):
    """A pass that cannot do its work on a state. `reason`: one line, `where` a location or op, `log` the long text."""

    def __init__(self, reason: str, where: str = "", log: str = "", kind: Class = "illegal") -> None:
        super().__init__(reason)
        self.reason, self.where, self.log = reason, where, log
        self.kind: Class = kind


# --- the problem -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Argument:
    """One argument of `@main`: a ranked, static, row-major buffer. Inputs come first, then one output a result."""

    name: str
    role: Literal["input", "output"]
    shape: tuple[int, ...]
    dtype: str  # MLIR's spelling: f32, f16, bf16, i8, i32, ...


@dataclass(frozen=True)
class Contraction:
    """C[b,m,n] = sum_k A[b,m,k] B[b,k,n], `layout` being how A and B are stored: n as MxK and KxN, t as KxM and NxK."""

    m: int
    n: int
    k: int
    batch: int  # 0: no batch dimension
    layout: str  # nn, nt, tn, tt; 'other' for a generic whose maps are none of these
    element: str
    accumulator: str
    output: str  # of the problem's result, after the epilogue
    accumulates: bool  # reads C instead of starting at zero
    multiplied: str = ""  # tf32: f32 operands may be multiplied with 10 bits of mantissa (gfx942 calls it xf32)

    @property
    def flops(self) -> int:
        """Multiply-adds times two."""
        return 2 * self.m * self.n * self.k * max(self.batch, 1)


@dataclass(frozen=True)
class Problem:
    """A normalised payload: one `@main(inputs..., outputs...)` whose results are tied to its last arguments."""

    name: str
    ir: str
    contraction: Contraction
    arguments: tuple[Argument, ...]
    epilogue: tuple[str, ...] = ()  # names of the elementwise ops after the contraction, in order
    notes: tuple[str, ...] = ()  # what the report must say, e.g. an f16 result accumulated in f32


# --- the target ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """A chip of a family; every number comes from `targets/<name>.toml`, which names its source."""

    name: str
    family: str
    triple: str
    cpu: str  # what LLVM's -mcpu is called
    features: str
    facts: Mapping[str, Any] = field(hash=False, compare=False, default_factory=dict)


# --- passes and schedules --------------------------------------------------------------------------------------------


def kebab(name: str) -> str:
    """A field's name as it is spelt in a pipeline: `tile_sizes` -> `tile-sizes`."""
    return name.rstrip("_").replace("_", "-")


def option_text(value: object) -> str:
    """An option's value as MLIR spells it: booleans in lower case, lists with commas, text with blanks in quotes."""
    text = bare_text(value)
    return f'"{text}"' if not text or any(c in text for c in " {}\t\n") else text


def bare_text(value: object) -> str:
    """An option's value without quotes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(bare_text, value)) if isinstance(value, tuple) else str(value)


@dataclass(frozen=True)
class Pass:
    """A state-to-state step. A subclass is a frozen dataclass in a file of its own; its fields are its options.

    The text of an instance is `name{option=value ...}` with options sorted and defaults left out.
    """

    name: ClassVar[str]

    def apply(self, module: Any) -> None:
        """Changes the live `ir.Module` in place, seeing only it and the fields. Raises PassError where it cannot."""
        raise NotImplementedError

    @classmethod
    def choices(cls, state: Any, problem: Problem, target: Target) -> Iterator[Pass]:
        """The instances that are legal on this state, cheapest first; by default the one without options."""
        yield cls()

    def tile(self) -> tuple[int, int, int]:
        """The tile of M, N and K that this pass makes, 0 where it makes none: the witness problem keeps one of each."""
        return (0, 0, 0)

    def k_steps(self) -> int:
        """How many tiles of K the witness problem keeps: as many as leave a loop behind this pass."""
        return 2

    def options(self) -> Iterable[tuple[str, str]]:
        """The options that differ from their default, sorted by name."""
        pairs = ((kebab(f.name), getattr(self, f.name), f.default) for f in fields(self))
        return sorted((name, option_text(value)) for name, value, default in pairs if value != default)

    def __str__(self) -> str:
        options = " ".join(f"{name}={value}" for name, value in self.options())
        return f"{self.name}{{{options}}}" if options else self.name


@dataclass(frozen=True)
class Schedule:
    """A tuple of passes; its text is the whole recipe (`lowering.passes.pipeline.parse` reads it back)."""

    passes: tuple[Pass, ...] = ()

    def __str__(self) -> str:
        return ",".join(map(str, self.passes))

    def __iter__(self) -> Iterator[Pass]:
        return iter(self.passes)

    def __len__(self) -> int:
        return len(self.passes)

    @property
    def tile(self) -> tuple[int, int, int]:
        """The largest tile of M, N and K that any of the passes makes; 1 where none does."""
        m, n, k = zip((1, 1, 1), *(each.tile() for each in self.passes), strict=True)
        return max(m), max(n), max(k)


# --- what comes out --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Buffer:
    """A kernel argument that points into the buffer of `@main`'s argument number `index`, `offset` bytes in."""

    index: int
    offset: int = 0


@dataclass(frozen=True)
class Scalar:
    """A by-value kernel argument: `bits` wide, `value` its two's-complement or IEEE bit pattern."""

    bits: int
    value: int


@dataclass(frozen=True)
class Workspace:
    """A kernel argument that points to scratch device memory; launches that name the same `index` share it."""

    index: int
    bytes: int
    zeroed: bool = False


@dataclass(frozen=True)
class TensorMap:
    """A TMA descriptor over memory: sizes and strides as `cuTensorMapEncodeTiled` takes them, innermost first."""

    buffer: Buffer | Workspace
    element: str
    dims: tuple[int, ...]
    strides: tuple[int, ...]  # bytes, of all dimensions but the innermost
    box: tuple[int, ...]
    swizzle: int = 0  # bytes: 0, 32, 64, 128
    oob: str = "zero"


KernelArgument = Buffer | Scalar | Workspace | TensorMap
Dim3 = tuple[int, int, int]


@dataclass(frozen=True)
class Launch:
    """One kernel launch. `grid` counts workgroups."""

    kernel: str
    grid: Dim3
    block: Dim3
    args: tuple[KernelArgument, ...]
    cluster: Dim3 = (1, 1, 1)
    shared_bytes: int = 0  # dynamic
    early: bool = False  # may start while the launch before it runs: the kernel waits for it


@dataclass(frozen=True)
class Kernel:
    """What the code object says of one kernel; None where the format does not say."""

    name: str
    vgprs: int | None = None
    agprs: int | None = None
    sgprs: int | None = None
    registers: int | None = None  # a thread, NVIDIA
    spills: int | None = None
    shared_bytes: int | None = None  # static
    scratch_bytes: int | None = None
    notes: tuple[str, ...] = ()  # warnings of the assembler


@dataclass(frozen=True)
class Binary:
    """A built candidate. `launches` is empty for x86, whose entry is `_mlir_ciface_main` over `arguments`."""

    format: Literal["obj", "hsaco", "ptx", "cubin"]
    image: bytes = field(repr=False)
    arguments: tuple[Argument, ...]
    launches: tuple[Launch, ...] = ()
    kernels: tuple[Kernel, ...] = ()
    # llvm, asm, ptx: where they were asked for
    texts: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False, compare=False)


@dataclass(frozen=True)
class Failure:
    """Why a schedule gave nothing: a stage, a class and one line. `step` is the index of the pass in the schedule."""

    stage: Stage
    kind: Class
    reason: str
    step: int | None = None
    pass_text: str = ""
    where: str = ""
    log: Path | None = None

    def __str__(self) -> str:
        at = f" in {self.pass_text}" if self.pass_text else ""
        return f"{self.stage}: {self.kind}{at}: {self.reason}" + (f" (at {self.where})" if self.where else "")
