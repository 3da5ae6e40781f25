"""The default x86-64 schedule on real problems: right for every size, type, layout and epilogue."""

from __future__ import annotations

import ctypes
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowering import codegen, completion, mlir, verify
from lowering.core import Binary, Pass, PassError, Problem, Schedule, Target
from lowering.passes import pipeline
from lowering.passes.common.cpu_tail import BUFFERIZE, TO_LLVM, TO_LOOPS
from lowering.passes.table import PASSES
from lowering.passes.x86.tile_cache import TileCache
from lowering.problem import from_shape, from_text
from lowering.targets import load
from lowering.targets.executor import DeviceError
from lowering.targets.x86 import space
from lowering.targets.x86.runtime import ALIGNMENT, CPU

HOST = load("x86_64")
PLAIN = replace(HOST, cpu="x86-64", features="")
AVX2 = replace(HOST, cpu="haswell", features="+avx,+avx2,+fma,+f16c")
AVX512 = replace(HOST, cpu="skylake-avx512", features="+avx,+avx2,+fma,+f16c,+avx512f,+avx512vl")
EDGES = {"mc": 12, "nc": 32, "kc": 8}  # with 29x50x19 every loop has a short last step
EVERY_EDGE = (29, 50, 19)
UPSTREAM = {*BUFFERIZE, *TO_LOOPS, *TO_LLVM}


def states(problem: Problem, schedule: Schedule) -> Any:
    """The module after a schedule."""
    module = mlir.parse(problem.ir)
    for step in schedule:
        step.apply(module)
        module.operation.verify()
    return module


def built(problem: Problem, schedule: Schedule, target: Target = HOST, texts: tuple[str, ...] = ()) -> Binary:
    return codegen.build(states(problem, schedule), problem.arguments, target, (), texts)


def checked(problem: Problem, binary: Binary, seeds: tuple[int, ...] = (0,)) -> None:
    """Every check of the verification protocol, special values and guard bands included."""
    with CPU().load(binary) as program:
        found = verify.verify_witness(problem, program, seeds=seeds)
    assert found
    assert not [check for check in found if not check.ok]


def right(problem: Problem, knobs: dict[str, Any] | None = None, target: Target = HOST) -> None:
    checked(problem, built(problem, space.schedule(knobs or {}, problem, target), target))


# --- right for every problem -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 5, 3), (1, 40, 9), (40, 1, 9), (33, 31, 2)], ids=str)
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "i8"])
def test_small_sizes(dtype: str, shape: tuple[int, int, int]) -> None:
    right(from_shape(*shape, dtype))


@pytest.mark.parametrize("layout", ["nn", "nt", "tn", "tt"])
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "i8"])
def test_every_edge_in_every_layout(dtype: str, layout: str) -> None:
    right(from_shape(*EVERY_EDGE, dtype, layout), EDGES)


@pytest.mark.parametrize("switch", ["pack_a", "pack_b", "widen", "peel", "scalar_a", "prefetch_c"])
def test_every_switch_off(switch: str) -> None:
    right(from_shape(*EVERY_EDGE, "f16", "nt"), {**EDGES, switch: False})


def test_f64_and_batch() -> None:
    right(from_shape(*EVERY_EDGE, "f64", "tn"), EDGES)
    right(from_shape(*EVERY_EDGE, "f32", "nt", batch=3), EDGES)


CONTRACTION = """#a = affine_map<({loops}) -> ({a})>
#b = affine_map<({loops}) -> ({b})>
#c = affine_map<({loops}) -> ({c})>
func.func @main(%a: tensor<{ta}xf32>, %b: tensor<{tb}xf32>) -> tensor<{tc}xf32> {{
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<{tc}xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<{tc}xf32>) -> tensor<{tc}xf32>
  %r = linalg.generic {{indexing_maps = [#a, #b, #c], iterator_types = [{kinds}]}}
      ins(%a, %b : tensor<{ta}xf32>, tensor<{tb}xf32>) outs(%f : tensor<{tc}xf32>) {{
  ^bb0(%x: f32, %y: f32, %o: f32):
    %m = arith.mulf %y, %x : f32
    %s = arith.addf %m, %o : f32
    linalg.yield %s : f32
  }} -> tensor<{tc}xf32>
  return %r : tensor<{tc}xf32>
}}"""


@pytest.mark.parametrize(
    "spec",
    [
        ("m, k", "k, n", "n, m", {"m": 20, "n": 30, "k": 9}),  # C stored transposed
        ("b, m, h, k", "b, n, h, k", "b, h, m, n", {"b": 2, "h": 3, "m": 7, "n": 18, "k": 5}),  # two outer loops
        ("m, k, l", "l, k, n", "m, n", {"m": 8, "n": 17, "k": 3, "l": 5}),  # two reduction loops
        ("a, p, k", "k, c, d", "a, c, p, d", {"a": 3, "p": 4, "k": 5, "c": 2, "d": 7}),  # two of m and of n
    ],
    ids=lambda spec: f"{spec[0]}_{spec[1]}_{spec[2]}".replace(", ", ""),
)
def test_generic_contractions(spec: tuple[str, str, str, dict[str, int]]) -> None:
    a, b, c, extent = spec

    def shape(dims: str) -> str:
        return "x".join(str(extent[dim]) for dim in dims.split(", "))

    kinds = ", ".join('"parallel"' if dim in c.split(", ") else '"reduction"' for dim in extent)
    text = CONTRACTION.format(
        loops=", ".join(extent), a=a, b=b, c=c, ta=shape(a), tb=shape(b), tc=shape(c), kinds=kinds
    )
    right(from_text(text, "generic"))


EPILOGUE = """#id = affine_map<(i, j) -> (i, j)>
#row = affine_map<(i, j) -> (j)>
func.func @main(%a: tensor<29x19xf16>, %b: tensor<19x50xf16>, %c: tensor<29x50xf32>, %bias: tensor<50xf32>,
                %res: tensor<29x50xf32>) -> tensor<29x50xf16> {
  %r = linalg.matmul ins(%a, %b : tensor<29x19xf16>, tensor<19x50xf16>)
                     outs(%c : tensor<29x50xf32>) -> tensor<29x50xf32>
  %e = tensor.empty() : tensor<29x50xf16>
  %z = arith.constant 0.0 : f32
  %s = linalg.generic {indexing_maps = [#id, #row, #id, #id], iterator_types = ["parallel", "parallel"]}
      ins(%r, %bias, %res : tensor<29x50xf32>, tensor<50xf32>, tensor<29x50xf32>) outs(%e : tensor<29x50xf16>) {
  ^bb0(%x: f32, %y: f32, %w: f32, %o: f16):
    %p = arith.addf %x, %y : f32
    %q = arith.addf %p, %w : f32
    %m = arith.maximumf %q, %z : f32
    %t = arith.truncf %m : f32 to f16
    linalg.yield %t : f16
  } -> tensor<29x50xf16>
  return %s : tensor<29x50xf16>
}"""


def test_a_read_accumulator_and_an_epilogue() -> None:
    right(from_text(EPILOGUE, "epilogue"), EDGES)


FUNCTION = """#id = affine_map<(i, j) -> (i, j)>
func.func @main(%a: tensor<9x8xf32>, %b: tensor<8x20xf32>) -> tensor<9x20xf32> {{
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<9x20xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<9x20xf32>) -> tensor<9x20xf32>
  %r = linalg.matmul ins(%a, %b : tensor<9x8xf32>, tensor<8x20xf32>) outs(%f : tensor<9x20xf32>) -> tensor<9x20xf32>
  %s = linalg.generic {{indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]}}
      ins(%r : tensor<9x20xf32>) outs(%e : tensor<9x20xf32>) {{
  ^bb0(%x: f32, %o: f32):
    %y = math.{name} %x : f32
    linalg.yield %y : f32
  }} -> tensor<9x20xf32>
  return %s : tensor<9x20xf32>
}}"""


@pytest.mark.parametrize("name", ["exp", "tanh", "erf", "log1p", "floor"])
def test_a_function_in_the_epilogue(name: str) -> None:
    right(from_text(FUNCTION.format(name=name), name))


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1000, 333, 77), (4095, 4097, 31)], ids=str)
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "i8"])
def test_sizes_that_divide_nothing(dtype: str, shape: tuple[int, int, int]) -> None:
    for layout in ("nn", "tt"):
        problem = from_shape(*shape, dtype, layout)
        with CPU().load(built(problem, space.schedule({}, problem, HOST))) as program:
            assert all(check.ok for check in verify.verify_full(problem, program))


# --- every step can go, and adjacent ones can change places ----------------------------------------------------------


def outcome(problem: Problem, schedule: Schedule) -> str:
    """'right', or the one-line reason of a failure; anything else fails the test."""
    try:
        binary = built(problem, schedule)
    except PassError as error:
        reason = error.reason
    else:
        checked(problem, binary)
        return "right"
    assert reason
    assert "\n" not in reason
    return reason


@pytest.mark.parametrize(
    "name", ["tile-cache", "pad-registers", "peel", "hoist-accumulators", "fold-padding-reads", "scalar-a"]
)
def test_without_a_step(name: str) -> None:
    problem = from_shape(*EVERY_EDGE, "f32", "tn")
    steps = tuple(step for step in space.schedule({}, problem, HOST) if step.name != name)
    assert outcome(problem, Schedule(steps)) == "right"


def own_steps(schedule: Schedule) -> list[int]:
    return [number for number, step in enumerate(schedule) if str(step) not in UPSTREAM]


@pytest.mark.slow
def test_without_one_of_our_steps() -> None:
    problem = from_shape(*EVERY_EDGE, "f32")
    schedule = space.schedule(EDGES, problem, HOST)
    found = {}
    for number in own_steps(schedule):
        steps = [step for at, step in enumerate(schedule) if at != number]
        found[schedule.passes[number].name] = outcome(problem, Schedule(tuple(steps)))
    needed = {"generalize-contraction", "tile-registers", "tile-k", "vectorize-contraction"}
    assert {name for name, words in found.items() if words != "right"} == needed
    assert "run tile-registers" in found["tile-registers"]
    assert "generalize-contraction" in found["generalize-contraction"]


@pytest.mark.slow
def test_without_any_step_and_with_any_two_swapped() -> None:
    problem = from_shape(*EVERY_EDGE, "f16", "nt", batch=2)
    schedule = list(space.schedule(EDGES, problem, HOST))
    for number in range(len(schedule)):
        outcome(problem, Schedule((*schedule[:number], *schedule[number + 1 :])))
        if number:
            swapped = [*schedule[: number - 1], schedule[number], schedule[number - 1], *schedule[number + 1 :]]
            outcome(problem, Schedule(tuple(swapped)))


def test_a_schedule_reads_back() -> None:
    problem = from_shape(100, 77, 333, "f16")
    schedule = space.schedule({"widen": False, "mc": 24}, problem, HOST)
    assert pipeline.parse(str(schedule)) == schedule


@pytest.mark.parametrize("dtype", ["f32", "f16"])
def test_every_step_is_among_the_choices_of_its_state(dtype: str) -> None:
    problem = from_shape(*EVERY_EDGE, dtype, batch=2)
    knobs = {"mr": 6, "nr": 16, "kc": 8}
    module = mlir.parse(problem.ir)
    for step in space.schedule(knobs, problem, AVX2):
        if str(step) not in UPSTREAM and not isinstance(step, TileCache):
            assert step in list(type(step).choices(module, problem, AVX2)), step
        step.apply(module)
    for cls in own_classes():
        assert not list(cls.choices(module, problem, AVX2)), cls.name


def own_classes() -> list[type[Pass]]:
    """The passes of the x86 folder."""
    return [cls for cls in PASSES.values() if cls.__module__.startswith("lowering.passes.x86.")]


def test_the_choices_of_a_state_apply() -> None:
    problem = from_shape(*EVERY_EDGE, "f16", batch=2)
    for step in (first for cls in own_classes() for first in cls.choices(mlir.parse(problem.ir), problem, AVX2)):
        step.apply(mlir.parse(problem.ir))
    large = from_shape(4000, 4000, 4000, "f32")
    blocks = list(TileCache.choices(mlir.parse(large.ir), large, AVX2))
    assert TileCache(96, 2048, 512) in blocks
    assert TileCache(0, 0, 0) not in blocks


# --- any state can be completed --------------------------------------------------------------------------------------


def completed(problem: Problem, schedule: Schedule, steps: int) -> None:
    """The state after that many steps, printed and parsed again, through the standard tail."""
    module = mlir.parse(mlir.text(states(problem, Schedule(schedule.passes[:steps]))))
    assert completion.executor_of(module) == "cpu"
    completion.complete_to_cpu(module)
    checked(problem, codegen.build(module, problem.arguments, HOST))


@pytest.mark.parametrize(
    "after", ["", "tile-cache", "pack", "fold-padding-reads", "one-shot-bufferize", "lower-affine"]
)
def test_a_state_is_completed(after: str) -> None:
    problem = from_shape(*EVERY_EDGE, "f32", "nt")
    schedule = space.schedule(EDGES, problem, HOST)
    names = [re.split(r"[{(]", str(step).removeprefix("func.func("))[0] for step in schedule]
    completed(problem, schedule, names.index(after) + 1 if after else 0)


@pytest.mark.slow
def test_every_state_is_completed() -> None:
    problem = from_shape(*EVERY_EDGE, "bf16", "tn", batch=2)
    schedule = space.schedule(EDGES, problem, HOST)
    for steps in range(len(schedule) + 1):
        completed(problem, schedule, steps)


@pytest.mark.parametrize(
    "text",
    [
        "func.func @main() { %0 = gpu.thread_id x \n return }",
        "func.func @main() { %0 = memref.alloc() : memref<4xf32, #gpu.address_space<workgroup>>\n return }",
    ],
)
def test_a_device_state_is_not_completed(text: str) -> None:
    module = mlir.parse(text)
    assert completion.executor_of(module) == "target"
    with pytest.raises(PassError, match=r"not checkable on the CPU: (gpu.thread_id|memref.alloc) needs the device"):
        completion.complete_to_cpu(module)


def test_an_op_that_the_tail_leaves_is_named() -> None:
    module = mlir.parse("""func.func @main(%x: complex<f32>) -> complex<f32> {
      %y = complex.exp %x : complex<f32>
      return %y : complex<f32>
    }""")
    with pytest.raises(PassError, match=r"not checkable on the CPU: complex.exp is left"):
        completion.complete_to_cpu(module)


# --- the space -------------------------------------------------------------------------------------------------------

sizes = st.integers(1, 5000)


@settings(max_examples=60, deadline=None)
@given(
    sizes, sizes, sizes, st.sampled_from(["f32", "f16", "bf16", "i8", "f64"]), st.sampled_from([PLAIN, AVX2, AVX512])
)
def test_the_default_is_legal(m: int, n: int, k: int, dtype: str, target: Target) -> None:
    problem = from_shape(m, n, k, dtype)
    knobs = space.default(problem, target)
    assert space.illegal(knobs, problem, target) is None
    assert not knobs["mc"] or int(knobs["mc"]) % int(knobs["mr"]) == 0
    assert not knobs["nc"] or int(knobs["nc"]) % int(knobs["nr"]) == 0


@pytest.mark.parametrize(
    ("knobs", "reason"),
    [
        ({"nr": 24}, "nr=24 is no power of two"),
        ({"mr": 8, "nr": 16}, "take 19 vector registers (C 16, B 2, A 1), of 16"),
        ({"mc": 3000, "kc": 4000}, "more than the 524288 of L2"),
        ({"nc": 0, "mc": 24, "kc": 4000}, "more than the 33554432 of L3"),
        ({"mrr": 6}, "there is no knob 'mrr'; did you mean mr?"),
    ],
)
def test_illegal_knobs_have_a_reason(knobs: dict[str, int], reason: str) -> None:
    assert reason in str(space.illegal(knobs, from_shape(4000, 4000, 4000, "f32"), AVX2))


def test_knobs_are_finite_and_documented() -> None:
    for knob in space.KNOBS:
        assert knob.doc
        assert len(set(knob.values)) == len(knob.values) > 1


# --- the code that comes out -----------------------------------------------------------------------------------------


def k_loop(target: Target, problem: Problem) -> list[str]:
    """The instructions of the basic block with the most multiply-adds."""
    assembly = built(problem, space.schedule({}, problem, target), target, ("asm",)).texts["asm"]
    blocks = re.split(r"^\.L\w+:", assembly, flags=re.MULTILINE)
    found = max(blocks, key=lambda block: block.count("vfmadd"))
    lines = [line.strip() for line in found.splitlines()]
    return lines[: next((n + 1 for n, line in enumerate(lines) if re.match(r"j[a-z]+\s", line)), len(lines))]


@pytest.mark.parametrize(("target", "rows"), [(AVX2, 6), (AVX512, 14)], ids=["avx2", "avx512"])
def test_the_k_loop_has_only_what_it_needs(target: Target, rows: int) -> None:
    loop = k_loop(target, from_shape(192, 192, 192, "f32"))
    multiply_adds = sum("vfmadd" in line for line in loop)
    assert multiply_adds
    assert multiply_adds % (2 * rows) == 0
    assert sum("vbroadcastss" in line for line in loop) == multiply_adds // 2
    assert not [line for line in loop if "rsp" in line or "shuf" in line or "perm" in line or "insert" in line]


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "i8"])
def test_a_cpu_without_avx(dtype: str) -> None:
    right(from_shape(*EVERY_EDGE, dtype, "nt"), target=PLAIN)


class MallInfo(ctypes.Structure):
    """glibc's mallinfo2; `uordblks` is the number of bytes in use, `hblkhd` those in mapped regions."""

    _fields_ = [
        ("arena", ctypes.c_size_t),
        ("unused", ctypes.c_size_t * 3),
        ("hblkhd", ctypes.c_size_t),
        ("unused_too", ctypes.c_size_t * 2),
        ("uordblks", ctypes.c_size_t),
        ("unused_as_well", ctypes.c_size_t * 2),
    ]


def in_use() -> int:
    """Bytes that malloc has given out."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = MallInfo
    found = mallinfo()
    return found.uordblks + found.hblkhd


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="no mallinfo2 in this C library")
@pytest.mark.parametrize("dtype", ["f32", "f16"])
def test_a_call_frees_what_it_allocates(dtype: str) -> None:
    problem = from_shape(*EVERY_EDGE, dtype)
    with CPU().load(built(problem, space.schedule(EDGES, problem, HOST))) as program:
        pointers = [program.allocate(1 << 16) for _ in problem.arguments]
        program.run(pointers)
        before = in_use()
        for _ in range(200):
            program.run(pointers)
        assert in_use() - before < 200 * 64  # less than one byte in any allocation of a call


# --- the executor ----------------------------------------------------------------------------------------------------


def test_the_executor_runs_and_times() -> None:
    problem = from_shape(8, 8, 8, "f32")
    binary = built(problem, space.schedule({}, problem, HOST))
    assert CPU().unavailable() is None
    with CPU().load(binary) as program:
        pointers = [program.allocate(256) for _ in range(3)]
        assert all(pointer % ALIGNMENT == 0 for pointer in pointers)
        program.write(pointers[0], np.eye(8, dtype=np.float32))
        program.write(pointers[1], np.arange(64, dtype=np.float32))
        program.run(pointers)
        assert np.array_equal(np.frombuffer(program.read(pointers[2], 256), np.float32), np.arange(64))
        samples = program.time([pointers, pointers], 5)
        assert len(samples) == 5
        assert all(0 < seconds < 1 for seconds in samples)
        with pytest.raises(DeviceError, match="takes 3 buffers, found 2"):
            program.run(pointers[:2])


def test_what_is_no_object_is_refused() -> None:
    problem = from_shape(8, 8, 8, "f32")
    with pytest.raises(DeviceError, match="runs object files, not ptx"):
        CPU().load(Binary("ptx", b"", problem.arguments))
    with pytest.raises(DeviceError):
        CPU().load(Binary("obj", b"nonsense", problem.arguments))
