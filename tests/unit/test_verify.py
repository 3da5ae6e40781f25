"""Kernels that look right and are not must be caught; honest ones must pass, in the same run. All are real x86 code."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from fixtures import kernels

from lowering import bounds, checks, freivalds, inputs, memory, reference, verify
from lowering.core import Binary, Failure, Problem
from lowering.problem import from_shape, from_text
from lowering.targets.x86.runtime import CPU
from lowering.verify import Check

PROBLEM = from_shape(40, 24, 50, "f32")
A, B, OUT = "memref<40x50xf32>", "memref<50x24xf32>", "memref<40x24xf32>"


def words(binary: Binary, problem: Problem = PROBLEM) -> str:
    return verify.verify(problem, binary, CPU()).words


# --- controls -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "i8", "f64"])
@pytest.mark.parametrize("layout", ["nn", "nt", "tn", "tt"])
def test_an_honest_kernel_passes(dtype: str, layout: str) -> None:
    problem = from_shape(9, 7, 21, dtype, layout)
    assert words(kernels.honest(problem), problem) == "verified (full)"


@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 5, 3), (1, 9, 2), (4, 1, 33)])
def test_odd_sizes_pass(shape: tuple[int, int, int]) -> None:
    for dtype in ("f32", "bf16", "i8"):
        problem = from_shape(*shape, dtype)
        assert words(kernels.honest(problem), problem) == "verified (full)"


def test_a_batch_passes_and_its_figures_are_told() -> None:
    problem = from_shape(6, 5, 8, "f16", batch=3)
    verdict = verify.verify(problem, kernels.honest(problem), CPU())
    assert verdict.ok
    assert verdict.max_error is not None
    assert verdict.bound is not None
    assert 0 < verdict.max_error <= verdict.bound < 0.1


EPILOGUE = """
func.func @main(%a: tensor<12x30xf16>, %b: tensor<30x10xf16>, %bias: tensor<10xf32>) -> tensor<12x10xf16> {
  %z = arith.constant 0.0 : f32 %e = tensor.empty() : tensor<12x10xf32> %f = linalg.fill ins(%z : f32) outs(%e :
  tensor<12x10xf32>) -> tensor<12x10xf32> %r = linalg.matmul ins(%a, %b : tensor<12x30xf16>, tensor<30x10xf16>)
  outs(%f : tensor<12x10xf32>) -> tensor<12x10xf32> %o = tensor.empty() : tensor<12x10xf16> %t = linalg.generic
  {indexing_maps = [affine_map<(i,j)->(i,j)>, affine_map<(i,j)->(j)>, affine_map<(i,j)->(i,j)>],
      iterator_types = ["parallel", "parallel"]}
      ins(%r, %bias : tensor<12x10xf32>, tensor<10xf32>) outs(%o : tensor<12x10xf16>) {
    ^bb0(%x: f32, %y: f32, %w: f16):
      %s = arith.addf %x, %y : f32
      BODY
      %n = arith.truncf %u : f32 to f16
      linalg.yield %n : f16
  } -> tensor<12x10xf16>
  return %t : tensor<12x10xf16>
}
"""
RELU = "%u = arith.maximumf %s, %z : f32"
GELU = """%h = arith.constant 0.5 : f32
      %c = arith.constant 0.70710678 : f32
      %one = arith.constant 1.0 : f32
      %p = arith.mulf %s, %c : f32
      %q = math.erf %p : f32
      %v = arith.addf %q, %one : f32
      %m = arith.mulf %s, %v : f32
      %u = arith.mulf %m, %h : f32"""
TANH = "%u = math.tanh %s : f32"


def without_bias(problem: Problem) -> str:
    """The payload with the bias left out."""
    text, count = re.subn(r"arith.addf (%in), %in_\d+", r"arith.maximumf \1, \1", problem.ir, count=1)
    assert count == 1
    return text


@pytest.mark.parametrize("body", [RELU, GELU, TANH], ids=["relu", "gelu", "tanh"])
def test_epilogues_pass_and_a_missing_bias_is_caught(body: str) -> None:
    problem = from_text(EPILOGUE.replace("BODY", body))
    assert words(kernels.honest(problem), problem) == "verified (full)"
    assert words(kernels.compiled(without_bias(problem), problem), problem).startswith("WRONG: ")


TO_INTEGER = "%i = arith.fptosi %s : f32 to i8\n%u = arith.sitofp %i : i8 to f32"
POWER = "%p = math.absf %s : f32\n%h = arith.constant 1.5 : f32\n%u = math.powf %p, %h : f32"


@pytest.mark.parametrize("body", [TO_INTEGER, POWER], ids=["fptosi", "powf"])
def test_epilogues_that_special_values_leave_undefined_or_known(body: str) -> None:
    problem = from_text(EPILOGUE.replace("BODY", body))
    assert words(kernels.honest(problem), problem) == "verified (full)"
    assert words(kernels.compiled(without_bias(problem), problem), problem).startswith("WRONG: ")


def test_accumulating_into_c_passes_and_ignoring_c_is_caught() -> None:
    text = """func.func @main(%a: tensor<8x12xf32>, %b: tensor<12x6xf32>, %c: tensor<8x6xf32>) -> tensor<8x6xf32> {
      %r = linalg.matmul ins(%a, %b : tensor<8x12xf32>, tensor<12x6xf32>) outs(%c : tensor<8x6xf32>) -> tensor<8x6xf32>
      return %r : tensor<8x6xf32>
    }"""
    problem = from_text(text)
    assert problem.contraction.accumulates
    assert words(kernels.honest(problem), problem) == "verified (full)"
    assert words(kernels.kernel(problem, kernels.loops(problem)), problem).startswith("WRONG: ")


# --- cheats ---------------------------------------------------------------------------------------------------------


def test_the_control_of_the_loops_passes() -> None:
    assert words(kernels.kernel(PROBLEM, kernels.loops(PROBLEM))) == "verified (full)"


def test_a_kernel_that_does_nothing() -> None:
    found = words(kernels.kernel(PROBLEM, ""))
    assert found.startswith("WRONG: integers, seed 0: 960 of 960 elements are wrong, 960 of them never written")


def after_honest(binary: Binary) -> list[Check]:
    """The checks of a kernel that finds an honest kernel's answer in its memory."""
    values = inputs.integers(PROBLEM, 0)
    with CPU().load(kernels.honest(PROBLEM)) as honest, CPU().load(binary) as program:
        slots = memory.place(PROBLEM, honest)
        memory.execute(honest, slots, values, memory.POISONS[0])
        return verify.trial(PROBLEM, program, slots, verify.input_set(PROBLEM, "integers", values, None))


def test_the_answer_left_in_freed_memory_does_not_help() -> None:
    assert not all(check.ok for check in after_honest(kernels.kernel(PROBLEM, "")))


def test_half_an_output_after_a_right_one() -> None:
    found = [check for check in after_honest(kernels.kernel(PROBLEM, kernels.loops(PROBLEM, rows=20))) if not check.ok]
    assert [check.name for check in found] == ["integers", "two runs agree, integers"]
    assert "all in rows 20 to 39, 480 of them never written" in found[0].detail


def test_an_uninitialised_buffer_is_no_answer() -> None:
    body = f"%t = memref.alloc() : {OUT}\n linalg.copy ins(%t : {OUT}) outs(%out : {OUT})\n memref.dealloc %t : {OUT}"
    assert words(kernels.kernel(PROBLEM, body)).startswith("WRONG: integers, seed 0")


def test_an_answer_kept_from_the_first_call() -> None:
    once = f"""%g = memref.get_global @kept : {OUT}
    %d = memref.get_global @done : memref<1xi32>
    %was = memref.load %d[%c0] : memref<1xi32>
    %no = arith.constant 0 : i32
    %yes = arith.constant 1 : i32
    %first = arith.cmpi eq, %was, %no : i32
    scf.if %first {{
      {kernels.loops(PROBLEM)}
      linalg.copy ins(%out : {OUT}) outs(%g : {OUT})
      memref.store %yes, %d[%c0] : memref<1xi32>
    }} else {{
      linalg.copy ins(%g : {OUT}) outs(%out : {OUT})
    }}"""
    extra = f"""memref.global "private" @kept : {OUT} = uninitialized
    memref.global "private" @done : memref<1xi32> = dense<0>"""
    assert words(kernels.kernel(PROBLEM, once, extra)).startswith("WRONG: random, seed 0")


@pytest.mark.parametrize("value", ["zero", "one", "nan"])
def test_a_constant_output(value: str) -> None:
    body = f"%nan = arith.constant 0x7FC00000 : f32\nlinalg.fill ins(%{value} : f32) outs(%out : {OUT})"
    assert words(kernels.kernel(PROBLEM, body)).startswith("WRONG: integers, seed 0: 9")


@pytest.mark.parametrize("shape", [(40, 24, 50), (16, 16, 256)])
@pytest.mark.parametrize("output", ["f16", "f32"])
def test_accumulating_in_f16(shape: tuple[int, int, int], output: str) -> None:
    problem = from_shape(*shape, "f16", out_dtype=output)
    assert words(kernels.honest(problem), problem) == "verified (full)"
    m, n, k = shape
    narrow = from_text(
        f"""func.func @main(%a: tensor<{m}x{k}xf16>, %b: tensor<{k}x{n}xf16>) -> tensor<{m}x{n}xf16> {{
        %z = arith.constant 0.0 : f16
        %e = tensor.empty() : tensor<{m}x{n}xf16>
        %f = linalg.fill ins(%z : f16) outs(%e : tensor<{m}x{n}xf16>) -> tensor<{m}x{n}xf16>
        %r = linalg.matmul ins(%a, %b : tensor<{m}x{k}xf16>, tensor<{k}x{n}xf16>)
          outs(%f : tensor<{m}x{n}xf16>) -> tensor<{m}x{n}xf16>
        return %r : tensor<{m}x{n}xf16>
        }}""",
        strict_semantics=True,
    )
    if output == "f32":
        widen = "linalg.yield %x : f32"
        text = f"""func.func @main(%a: memref<{m}x{k}xf16>, %b: memref<{k}x{n}xf16>, %out: memref<{m}x{n}xf32>) {{
        %z = arith.constant 0.0 : f16
        %t = memref.alloc() : memref<{m}x{n}xf16>
        linalg.fill ins(%z : f16) outs(%t : memref<{m}x{n}xf16>)
        linalg.matmul ins(%a, %b : memref<{m}x{k}xf16>, memref<{k}x{n}xf16>) outs(%t : memref<{m}x{n}xf16>)
        linalg.generic {{indexing_maps = [affine_map<(i,j)->(i,j)>, affine_map<(i,j)->(i,j)>],
          iterator_types = ["parallel", "parallel"]}} ins(%t : memref<{m}x{n}xf16>) outs(%out : memref<{m}x{n}xf32>) {{
          ^bb0(%y: f16, %w: f32):
            %x = arith.extf %y : f16 to f32
            {widen}
        }}
        memref.dealloc %t : memref<{m}x{n}xf16>
        return
        }}"""
        assert words(kernels.compiled(text, problem), problem).startswith("WRONG: integers, seed 0")
    else:
        assert words(kernels.compiled(narrow.ir, problem), problem).startswith("WRONG: integers, seed 0")


def test_a_skipped_k_remainder() -> None:
    assert words(kernels.kernel(PROBLEM, kernels.loops(PROBLEM, depth=48))).startswith("WRONG: integers, seed 0")
    multiple = from_shape(40, 24, 48, "f32")
    assert words(kernels.kernel(multiple, kernels.loops(multiple, depth=48)), multiple).startswith("verified")


def test_a_grid_that_does_not_cover_the_output() -> None:
    found = words(kernels.kernel(PROBLEM, kernels.loops(PROBLEM, rows=32, columns=16)))
    assert "never written" in found
    assert "all in rows 32 to 39, 192 of them" in words(kernels.kernel(PROBLEM, kernels.loops(PROBLEM, rows=32)))


def test_reading_past_the_end_of_an_input() -> None:
    past = f"""%w = memref.reinterpret_cast %b to offset: [0], sizes: [1300], strides: [1] : {B} to memref<1300xf32>
    %at = arith.constant 1250 : index
    %bad = memref.load %w[%at] : memref<1300xf32>
    %tiny = arith.constant 1.0e-30 : f32
    %off = arith.mulf %bad, %tiny : f32"""
    result = "%r = arith.addf %s, %off : f32"
    assert words(kernels.kernel(PROBLEM, past + kernels.loops(PROBLEM, result=result))).startswith("WRONG: ")


def test_a_result_that_drifts_within_its_bound() -> None:
    """Each call adds a little more: every element stays within its bound, but no two runs agree."""
    count = """%d = memref.get_global @calls : memref<1xf32>
    %was = memref.load %d[%c0] : memref<1xf32>
    %step = arith.constant 3.0e-7 : f32
    %now = arith.addf %was, %step : f32
    memref.store %now, %d[%c0] : memref<1xf32>"""
    body = count + kernels.loops(PROBLEM, result="%m1 = arith.mulf %s, %now : f32\n%r = arith.addf %s, %m1 : f32")
    extra = 'memref.global "private" @calls : memref<1xf32> = dense<0.0>'
    binary = kernels.kernel(PROBLEM, body, extra)
    values = inputs.normals(PROBLEM, 0)
    with CPU().load(binary) as program:
        found = verify.trial(
            PROBLEM, program, memory.place(PROBLEM, program), verify.input_set(PROBLEM, "random", values, None)
        )
    assert [check.name for check in found if not check.ok] == ["two runs agree, random"]
    assert words(binary).startswith("WRONG: ")


def test_one_nan() -> None:
    nan = f"%nan = arith.constant 0x7FC00000 : f32\n{kernels.loops(PROBLEM)}\nmemref.store %nan, %out[%c1, %c1] : {OUT}"
    assert "1 of 960 elements are wrong, all in row 1 and column 1" in words(kernels.kernel(PROBLEM, nan))


def test_nan_swallowed_by_an_operand_order() -> None:
    """max(0, x) by compare and select turns NaN into 0, where maximumf must keep it: only special values show it."""
    problem = from_text(EPILOGUE.replace("BODY", RELU))
    wrong = problem.ir.replace("arith.maximumf", "arith.maxnumf")
    assert wrong != problem.ir
    assert words(kernels.compiled(wrong, problem), problem).startswith("WRONG: special values, seed 0")


def test_changed_inputs() -> None:
    body = f"{kernels.loops(PROBLEM)}\nlinalg.fill ins(%zero : f32) outs(%a : {A})"
    assert words(kernels.kernel(PROBLEM, body)).startswith(
        "WRONG: inputs unchanged, integers, seed 0: changed its input a"
    )


@pytest.mark.parametrize("offset", [-1, 960])
def test_writing_beside_the_output(offset: int) -> None:
    body = f"""{kernels.loops(PROBLEM)}
    %start = memref.extract_aligned_pointer_as_index %out : {OUT} -> index
    %bytes = arith.constant {4 * offset} : index
    %at = arith.addi %start, %bytes : index
    %address = arith.index_cast %at : index to i64
    %pointer = llvm.inttoptr %address : i64 to !llvm.ptr
    llvm.store %one, %pointer : f32, !llvm.ptr"""
    found = words(kernels.kernel(PROBLEM, body))
    assert found == "WRONG: guard bands, integers, seed 0: wrote outside of out"


def test_a_single_wrong_sign_of_accumulation_order_is_no_error() -> None:
    """Summing backwards rounds differently: within the bound, and exact on integers."""
    body = kernels.loops(PROBLEM).replace("%a[%i, %l]", "%a[%i, %back]").replace("%b[%l, %j]", "%b[%back, %j]")
    index = "%last = arith.constant 49 : index\n%back = arith.subi %last, %l : index\n%x = memref.load"
    assert words(kernels.kernel(PROBLEM, body.replace("%x = memref.load", index))) == "verified (full)"


@pytest.mark.parametrize("bits", [10, 16])
def test_inputs_cut_to_fewer_bits(bits: int) -> None:
    """TF32 keeps 10 bits of the mantissa; 16 bits are still too few for f32."""
    mask = f"%mask = arith.constant {-(1 << (23 - bits))} : i32"
    cut = """%xi = arith.bitcast %xf : f32 to i32
          %xm = arith.andi %xi, %mask : i32
          %x = arith.bitcast %xm : i32 to f32"""
    body = (
        kernels.loops(PROBLEM)
        .replace("%x = memref.load", "%xf = memref.load")
        .replace("%y = memref", f"{cut}\n%y = memref")
    )
    assert words(kernels.kernel(PROBLEM, f"{mask}\n{body}")).startswith("WRONG: ")


def test_flushed_subnormals_are_wrong_unless_documented() -> None:
    flush = """%xa = math.absf %xf : f32
          %xs = arith.cmpf olt, %xa, %least : f32
          %x = arith.select %xs, %zero, %xf : f32
          %ya = math.absf %yf : f32
          %ys = arith.cmpf olt, %ya, %least : f32
          %y = arith.select %ys, %zero, %yf : f32"""
    body = kernels.loops(PROBLEM).replace("%x = memref", "%xf = memref").replace("%y = memref", "%yf = memref")
    body = body.replace("%p = arith.mulf", f"{flush}\n%p = arith.mulf")
    binary = kernels.kernel(PROBLEM, f"%least = arith.constant 1.17549435e-38 : f32\n{body}")
    assert words(binary).startswith("WRONG: special values, seed 0")
    documented = bounds.Arithmetic(denormals="flushed")
    assert verify.verify(PROBLEM, binary, CPU(), arithmetic=documented).ok


def test_saturating_8_bit_products() -> None:
    """Pairs of products that saturate at 16 bits, as vpmaddubsw does, are only wrong at the extremes."""
    problem = from_shape(6, 5, 8, "i8")
    text = f"""func.func @main({kernels.signature(problem)}) {{
      {kernels.constants(problem)}
      %c2 = arith.constant 2 : index
      %zeroi = arith.constant 0 : i32
      %top = arith.constant 32767 : i32
      scf.for %i = %c0 to %m step %c1 {{
        scf.for %j = %c0 to %n step %c1 {{
          %s = scf.for %l = %c0 to %k step %c2 iter_args(%acc = %zeroi) -> (i32) {{
            %l1 = arith.addi %l, %c1 : index
            %x0 = memref.load %a[%i, %l] : memref<6x8xi8>
            %x1 = memref.load %a[%i, %l1] : memref<6x8xi8>
            %y0 = memref.load %b[%l, %j] : memref<8x5xi8>
            %y1 = memref.load %b[%l1, %j] : memref<8x5xi8>
            %u0 = arith.extsi %x0 : i8 to i32
            %u1 = arith.extsi %x1 : i8 to i32
            %v0 = arith.extsi %y0 : i8 to i32
            %v1 = arith.extsi %y1 : i8 to i32
            %p0 = arith.muli %u0, %v0 : i32
            %p1 = arith.muli %u1, %v1 : i32
            %p = arith.addi %p0, %p1 : i32
            %sat = arith.minsi %p, %top : i32
            %q = arith.addi %acc, %sat : i32
            scf.yield %q : i32
          }}
          memref.store %s, %out[%i, %j] : memref<6x5xi32>
        }}
      }}
      return
    }}"""
    assert words(kernels.compiled(text, problem), problem).startswith("WRONG: special values, seed 0")


# --- full size, the words, and the parts ----------------------------------------------------------------------------


def test_witness_then_full_size() -> None:
    small = from_shape(40, 24, 50, "f32")
    large = from_shape(72, 48, 82, "f32")
    pair = (small, kernels.honest(small))
    verdict = verify.verify(large, kernels.honest(large), CPU(), witness=pair)
    assert verdict.words == "verified (witness+full)"
    assert {check.scope for check in verdict.checks} == {"witness", "full"}
    partial = kernels.kernel(large, kernels.loops(large, rows=64))
    assert verify.verify(large, partial, CPU(), witness=pair).words.startswith("WRONG: integers, seed 0: 384 of 3456")


def full(problem: Problem, binary: Binary) -> tuple[Check, ...]:
    with CPU().load(binary) as program:
        return verify.verify_full(problem, program)


@pytest.mark.parametrize(("dtype", "batch"), [("f32", 0), ("f16", 0), ("i8", 0), ("f32", 2)])
def test_large_products_by_freivalds_and_a_sample(monkeypatch: pytest.MonkeyPatch, dtype: str, batch: int) -> None:
    monkeypatch.setattr(verify, "WHOLE", 0)
    monkeypatch.setattr(freivalds, "CORNER", 8)
    problem = from_shape(70, 60, 33, dtype, "nt", batch=batch)
    found = full(problem, kernels.honest(problem))
    assert [check for check in found if not check.ok] == []
    names = [check.name for check in found]
    assert "Freivalds, integers, seed 0" in names
    assert {"rows, random, seed 0", "columns, random, seed 0", "corners, random, seed 0"} <= set(names)


def test_a_large_product_with_its_own_transpose_is_compared_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "WHOLE", 0)
    text = """func.func @main(%a: tensor<20x9xf32>) -> tensor<20x20xf32> {
      %z = arith.constant 0.0 : f32
      %e = tensor.empty() : tensor<20x20xf32>
      %f = linalg.fill ins(%z : f32) outs(%e : tensor<20x20xf32>) -> tensor<20x20xf32>
      %r = linalg.matmul indexing_maps = [affine_map<(m,n,k)->(m,k)>, affine_map<(m,n,k)->(n,k)>,
        affine_map<(m,n,k)->(m,n)>] ins(%a, %a : tensor<20x9xf32>, tensor<20x9xf32>) outs(%f : tensor<20x20xf32>)
        -> tensor<20x20xf32>
      return %r : tensor<20x20xf32>
    }"""
    problem = from_text(text)
    found = full(problem, kernels.honest(problem))
    assert all(check.ok for check in found)
    assert {"integers, seed 0", "random, seed 0"} <= {check.name for check in found}


MASKED = """%p = arith.cmpf ogt, %s, %z : f32
      %q = arith.cmpf olt, %y, %z : f32
      %m = arith.ori %p, %q : i1
      %g = arith.uitofp %m : i1 to f32
      %h = arith.mulf %s, %g : f32
      %u = arith.select %p, %h, %y : f32"""


def test_conditions_in_an_epilogue() -> None:
    problem = from_text(EPILOGUE.replace("BODY", MASKED))
    assert words(kernels.honest(problem), problem) == "verified (full)"
    for right, wrong in (("arith.ori", "arith.andi"), ("arith.cmpf ogt", "arith.cmpf olt")):
        changed = problem.ir.replace(right, wrong)
        assert words(kernels.compiled(changed, problem), problem).startswith("WRONG: integers, seed 0")


def test_one_wrong_element_of_a_large_product_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "WHOLE", 0)
    monkeypatch.setattr(freivalds, "LINES", 1)
    monkeypatch.setattr(freivalds, "CORNER", 1)
    problem = from_shape(40, 24, 50, "f32")
    at = "%i7 = arith.constant 37 : index\n%j5 = arith.constant 5 : index"
    body = f"""{at}\n{kernels.loops(problem)}
    %got = memref.load %out[%i7, %j5] : {OUT}
    %off = arith.addf %got, %one : f32
    memref.store %off, %out[%i7, %j5] : {OUT}"""
    found = [check for check in full(problem, kernels.kernel(problem, body)) if not check.ok]
    assert found[0].name == "Freivalds, integers, seed 0"
    assert found[0].detail == "1 of 40 rows are wrong, 37 to 37"


def wrong_at(problem: Problem, i: int, j: int) -> Binary:
    """The payload with one element of the output changed."""
    out, name = problem.arguments[-1], f"%arg{len(problem.arguments) - 1}"
    kind = f"memref<{'x'.join(map(str, out.shape))}x{out.dtype}>"
    change = f"""%wi = arith.constant {i} : index
    %wj = arith.constant {j} : index
    %got = memref.load {name}[%wi, %wj] : {kind}
    %seven = arith.constant 7{".0" if out.dtype.startswith(("f", "bf")) else ""} : {out.dtype}
    %off = arith.{"addf" if out.dtype.startswith(("f", "bf")) else "addi"} %got, %seven : {out.dtype}
    memref.store %off, {name}[%wi, %wj] : {kind}
    return"""
    text, count = re.subn(r"\breturn\b", change, problem.ir)
    assert count == 1
    return kernels.compiled(text, problem)


def test_products_of_large_integers_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums of f64 use up 2^53, so that the product with a vector does not fit float64."""
    monkeypatch.setattr(verify, "WHOLE", 0)
    problem = from_shape(70, 60, 33, "f64")
    values = inputs.integers(problem, 0)
    assert (np.abs(values[0]) @ np.abs(values[1])).max() > 2.0**46
    found = full(problem, kernels.honest(problem))
    assert [check for check in found if not check.ok] == []
    assert "Freivalds, integers, seed 0" in [check.name for check in found]


@pytest.mark.parametrize("value", [0.5, 1e-20, 2.0**60, np.nan, np.inf, -1.0])
def test_freivalds_sees_every_kind_of_wrong_element(value: float) -> None:
    problem = from_shape(40, 24, 50, "f64")
    values = inputs.integers(problem, 0)
    right = reference.evaluate(problem, values)[0].astype(np.float64)
    assert freivalds.product(problem, values, memory.Run((right,), (), (), 0), "integers", 0).ok
    changed = right.copy()
    changed[7, 3] = value
    found = freivalds.product(problem, values, memory.Run((changed,), (), (), 0), "integers", 0)
    assert (found.ok, found.detail) == (False, "1 of 40 rows are wrong, 7 to 7")


TRUNCATED = """func.func @main(%a: tensor<40x50xi8>, %b: tensor<50x24xi8>) -> tensor<40x24xi8> {
  %z = arith.constant 0 : i32
  %e = tensor.empty() : tensor<40x24xi32>
  %f = linalg.fill ins(%z : i32) outs(%e : tensor<40x24xi32>) -> tensor<40x24xi32>
  %r = linalg.matmul ins(%a, %b : tensor<40x50xi8>, tensor<50x24xi8>) outs(%f : tensor<40x24xi32>) -> tensor<40x24xi32>
  %o = tensor.empty() : tensor<40x24xi8>
  %t = linalg.generic {indexing_maps = [affine_map<(i,j)->(i,j)>, affine_map<(i,j)->(i,j)>],
      iterator_types = ["parallel", "parallel"]} ins(%r : tensor<40x24xi32>) outs(%o : tensor<40x24xi8>) {
    ^bb0(%x: i32, %w: i8):
      %n = arith.trunci %x : i32 to i8
      linalg.yield %n : i8
  } -> tensor<40x24xi8>
  return %t : tensor<40x24xi8>
}"""
NARROWED = (
    TRUNCATED.replace("%z = arith.constant 0 :", "%z = arith.constant 0.0 :")
    .replace("i32", "f32")
    .replace("50xi8", "50xf16")
    .replace("50x24xi8", "50x24xf16")
    .replace("i8", "f32")
    .replace(
        "%n = arith.trunci %x : f32 to f32", "%h = arith.truncf %x : f32 to bf16\n%n = arith.extf %h : bf16 to f32"
    )
)
TURNED = (
    NARROWED.replace("-> tensor<40x24xf32> {", "-> tensor<24x40xf16> {")
    .replace("%o = tensor.empty() : tensor<40x24xf32>", "%o = tensor.empty() : tensor<24x40xf16>")
    .replace("outs(%o : tensor<40x24xf32>)", "outs(%o : tensor<24x40xf16>)")
    .replace("} -> tensor<40x24xf32>", "} -> tensor<24x40xf16>")
    .replace("return %t : tensor<40x24xf32>", "return %t : tensor<24x40xf16>")
    .replace("[affine_map<(i,j)->(i,j)>, affine", "[affine_map<(i,j)->(j,i)>, affine")
    .replace(
        "%h = arith.truncf %x : f32 to bf16\n%n = arith.extf %h : bf16 to f32", "%n = arith.truncf %x : f32 to f16"
    )
    .replace("%w: f32", "%w: f16")
    .replace("linalg.yield %n : f32", "linalg.yield %n : f16")
)
LARGE_EPILOGUES = {"trunci": TRUNCATED, "bf16": NARROWED, "transposed": TURNED, "relu": EPILOGUE.replace("BODY", RELU)}


@pytest.mark.parametrize("name", LARGE_EPILOGUES)
def test_every_element_of_a_large_product_with_an_epilogue_is_compared(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(verify, "WHOLE", 0)
    monkeypatch.setattr(freivalds, "CORNER", 1)
    monkeypatch.setattr(freivalds, "LINES", 1)
    monkeypatch.setattr(freivalds, "BLOCK", 100)
    problem = from_text(LARGE_EPILOGUES[name])
    found = full(problem, kernels.honest(problem))
    assert [check for check in found if not check.ok] == []
    names = [check.name for check in found]
    assert "integers, seed 0" in names
    assert "rows, random, seed 0" in names
    assert not any("Freivalds" in each for each in names)
    rows, columns = problem.arguments[-1].shape
    bad = [check for check in full(problem, wrong_at(problem, rows - 3, columns - 4)) if not check.ok]
    assert bad[0].name == "integers, seed 0"
    assert f"first at [{rows - 3}, {columns - 4}]: got" in bad[0].detail
    assert "1 of " in bad[0].detail


def test_sums_that_do_not_fit_the_narrow_output_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "WHOLE", 0)
    monkeypatch.setattr(verify, "FULL", (("integers", inputs.integers),))
    problem = from_shape(40, 24, 50, "f16")
    monkeypatch.setattr(inputs, "ranges", lambda _: inputs.Ranges(2000, 8, 1.0, 1.0))
    monkeypatch.setattr(freivalds, "CORNER", 1)
    found = full(problem, kernels.honest(problem))
    assert [check for check in found if not check.ok] == []
    assert "integers, seed 0" in [check.name for check in found]
    assert not all(check.ok for check in full(problem, wrong_at(problem, 33, 5)))


def test_what_is_too_large_to_compare_is_sampled_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "WHOLE", 0)
    monkeypatch.setattr(freivalds, "AFFORDABLE", 0)
    monkeypatch.setattr(freivalds, "CORNER", 3)
    problem = from_text(EPILOGUE.replace("BODY", RELU))
    found = full(problem, kernels.honest(problem))
    assert verify.verdict((), found).words == "verified (full, sampled)"
    assert any(check.detail.endswith("of a sample") for check in found)
    assert not all(check.ok for check in full(problem, kernels.compiled(without_bias(problem), problem)))


SEVERAL = """func.func @main(%a: tensor<20x3x11xf32>, %b: tensor<11x9xf32>) -> tensor<20x3x9xf32> {
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<20x3x9xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<20x3x9xf32>) -> tensor<20x3x9xf32>
  %r = linalg.generic {indexing_maps = [affine_map<(m,p,n,k)->(m,p,k)>, affine_map<(m,p,n,k)->(k,n)>,
      affine_map<(m,p,n,k)->(m,p,n)>], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%a, %b : tensor<20x3x11xf32>, tensor<11x9xf32>) outs(%f : tensor<20x3x9xf32>) {
    ^bb0(%x: f32, %y: f32, %w: f32):
      %p = arith.mulf %x, %y : f32
      %s = arith.addf %w, %p : f32
      linalg.yield %s : f32
  } -> tensor<20x3x9xf32>
  return %r : tensor<20x3x9xf32>
}"""


def test_a_large_product_with_several_row_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "WHOLE", 0)
    monkeypatch.setattr(freivalds, "CORNER", 2)
    monkeypatch.setattr(freivalds, "LINES", 2)
    monkeypatch.setattr(freivalds, "BLOCK", 100)
    problem = from_text(SEVERAL)
    found = full(problem, kernels.honest(problem))
    assert [check for check in found if not check.ok] == []
    assert {"integers, seed 0", "rows, random, seed 0"} <= {check.name for check in found}


STRICT = """func.func @main(%a: tensor<4x4096xf16>, %b: tensor<4096x5xf16>) -> tensor<4x5xf16> {
  %z = arith.constant 0.0 : f16
  %e = tensor.empty() : tensor<4x5xf16>
  %f = linalg.fill ins(%z : f16) outs(%e : tensor<4x5xf16>) -> tensor<4x5xf16>
  %r = linalg.matmul ins(%a, %b : tensor<4x4096xf16>, tensor<4096x5xf16>) outs(%f : tensor<4x5xf16>) -> tensor<4x5xf16>
  return %r : tensor<4x5xf16>
}"""


def test_without_a_bound_the_verdict_says_so_and_nan_is_still_wrong() -> None:
    problem = from_text(STRICT, strict_semantics=True)
    assert words(kernels.honest(problem), problem) == "verified (full, random: no bound)"
    limits = bounds.limits(problem, inputs.normals(problem, 0))[0]
    exact = reference.evaluate(problem, inputs.normals(problem, 0))[0]
    for value in (np.nan, np.inf):
        output = exact.astype(np.float16)
        assert checks.compare(output, limits, exact, "random", 0xFF, bounded=False).note == checks.NO_BOUND
        output[2, 3] = value
        assert not checks.compare(output, limits, exact, "random", 0xFF, bounded=False).ok
    assert not bounds.bounded(problem)
    assert bounds.bounded(from_shape(4, 5, 4096, "f16"))


def test_the_words_of_a_verdict() -> None:
    good = (Check("integers, seed 0", True, "bit for bit", 0.0, 0.0), Check("random, seed 0", True, "", 0.1, 0.4))
    assert verify.verdict(good).words == "verified (witness only)"
    assert verify.verdict(good, ()).words == "verified (witness only)"
    assert verify.verdict((), good).words == "verified (full)"
    assert verify.verdict(good, good).words == "verified (witness+full)"
    assert verify.verdict(good, (replace(good[0], note="sampled"),)).words == "verified (witness+full, sampled)"
    assert verify.verdict(good, partial="64 of 256 workgroups").words == "verified (witness, 64 of 256 workgroups)"
    assert (verify.verdict(good).max_error, verify.verdict(good).bound) == (0.1, 0.4)
    assert verify.verdict([Check("guard bands", True)]).max_error is None
    assert verify.not_executed("no gfx942 device").words == "not executed: no gfx942 device"
    bad = replace(good[0], ok=False, detail="3 of 9 elements are wrong")
    assert verify.verdict((*good, bad)).words == "WRONG: integers, seed 0: 3 of 9 elements are wrong"
    assert verify.verdict((*good, bad)).wrong


@pytest.mark.parametrize("full", [None, ()])
def test_nothing_checked_is_neither_verified_nor_wrong(full: tuple[Check, ...] | None) -> None:
    found = verify.verdict((), full)
    assert (found.ok, found.wrong, found.words) == (False, False, "not executed: nothing was checked")


def test_the_reference_is_never_in_memory_before_the_kernel_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    run, evaluate, limits = memory.execute, reference.evaluate, bounds.limits
    monkeypatch.setattr(memory, "execute", lambda *a: (order.append("run"), run(*a))[1])
    monkeypatch.setattr(reference, "evaluate", lambda *a: (order.append("reference"), evaluate(*a))[1])
    monkeypatch.setattr(bounds, "limits", lambda *a: (order.append("reference"), limits(*a))[1])
    binary = kernels.honest(PROBLEM)
    with CPU().load(binary) as program:
        slots = memory.place(PROBLEM, program)
        verify.trial(PROBLEM, program, slots, verify.input_set(PROBLEM, "integers", inputs.integers(PROBLEM, 0), None))
    assert order == ["run", "run", "reference", "reference"]


def test_guard_bands_keep_the_alignment() -> None:
    with CPU().load(kernels.honest(PROBLEM)) as program:
        slots: Sequence[memory.Slot] = memory.place(PROBLEM, program)
    assert all(slot.pointer % 256 == 0 for slot in slots)


def test_regions_are_named() -> None:
    wrong = np.zeros((4, 6), bool)
    wrong[2:, 5] = True
    assert checks.region(wrong) == ", all in rows 2 to 3 and column 5"
    assert checks.region(np.ones((4, 6), bool)) == ""


def test_a_failure_is_a_value() -> None:
    verdict = verify.verify(PROBLEM, kernels.kernel(PROBLEM, ""), CPU())
    text = str(Failure("verify", "wrong", verdict.words.removeprefix("WRONG: ")))
    assert text.startswith("verify: wrong: integers, seed 0: 960 of 960 elements are wrong")
