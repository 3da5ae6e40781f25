"""Constants survive the way from MLIR's LLVM to llvmlite's, bit for bit."""

from __future__ import annotations

import re

import llvmlite.binding as llvm
import pytest

from lowering import codegen, mlir
from lowering.float_text import readable

CASES = [
    ("f32", "0x7FC00000", "0x7FF8000000000000"),
    ("f32", "0xFF800000", "0xFFF0000000000000"),
    ("f32", "1.17549435e-38", "0x3810000000000000"),
    ("f32", "0.1", "0x3FB99999A0000000"),
    ("f32", "1.0e-30", "0x39B4484C00000000"),
    ("f64", "0.1", "1.000000e-01"),
    ("f64", "0x7FF8000000000000", "0x7FF8000000000000"),
    ("f16", "0.1", "0xH2E66"),
    ("f16", "0x7C00", "0xH7C00"),
    ("bf16", "0.1", "0xR3DCD"),
    ("bf16", "0x7FC0", "0xR7FC0"),
]


@pytest.mark.parametrize(("kind", "literal", "wanted"), CASES)
def test_a_constant_is_read_as_it_was_meant(kind: str, literal: str, wanted: str) -> None:
    text = (
        f"llvm.func @f() -> {kind} {{ %c = llvm.mlir.constant({literal} : {kind}) : {kind}\n llvm.return %c : {kind} }}"
    )
    printed = str(llvm.parse_assembly(readable(codegen.translate(mlir.parse(text)))))
    found = re.search(r"ret \w+ (\S+)", printed)
    assert found is not None
    assert found[1] == wanted


def test_operands_without_a_type_of_their_own() -> None:
    line = "  %2 = fcmp olt float %1, f0x00800000"
    assert readable(line) == "  %2 = fcmp olt float %1, 0x3810000000000000"
    assert readable("  %3 = phi float [ +inf, %a ], [ 1.000000e-01, %b ]").count("0x") == 2
    vector = readable("  %4 = fmul <8 x float> %3, splat (float 3.000000e-07)")
    assert vector == "  %4 = fmul <8 x float> %3, splat (float 0x3E9421F600000000)"


def test_what_is_no_constant_stays() -> None:
    for line in (
        'target triple = "nvptx64"',
        "  %5 = getelementptr float, ptr %4, i64 1",
        '!0 = !{!"1.5"}',
        "  call void @x1.5(float %f)",
        "  %a = add i32 %inf, 1",
        '@v = constant [3 x i8] c"1.0"',
    ):
        assert readable(line) == line
