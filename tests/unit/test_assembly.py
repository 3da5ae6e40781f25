"""Assemblies that differ only in names and comments are one; all else tells them apart."""

import pytest

from lowering.assembly import digest, figures, normal_assembly

X86 = """
\t.globl\tmain
\t.type\tmain,@function
main:                                   # @main
\t.cfi_startproc
\tvmovups\t.LCPI0_0(%rip), %ymm0
.LBB0_1:                                # =>This Inner Loop Header
\tvfmadd231ps\t(%rdi), %ymm1, %ymm0
\tjne\t.LBB0_1
\tcallq\thelper@PLT
\tretq
\t.size\tmain, .Lfunc_end0-main
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("main", "entry"),
        (".LBB0_1", ".LBB7_3"),
        ("# @main", "# nothing"),
        ("                                # =>This", "\t# that"),
    ],
)
def test_names_and_comments_do_not_count(old, new):
    assert old in X86
    assert digest(X86.replace(old, new), "#") == digest(X86, "#")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("%ymm1", "%ymm2"),
        ("vfmadd231ps", "vfmadd213ps"),
        ("(%rdi)", "4(%rdi)"),
        ("helper@PLT", "other@PLT"),
        ("jne\t.LBB0_1", "jne\tmain"),
    ],
)
def test_all_else_counts(old, new):
    assert old in X86
    assert digest(X86.replace(old, new), "#") != digest(X86, "#")


def test_a_kernel_and_what_is_named_after_it():
    kernel = "\t.globl k\nk: ; comment\n\tv_fma_f32 v0, v1, v2, v3 ; 12 cycles\n\t.amdhsa_kernel k\n\t.symbol: k.kd\n"
    assert digest(kernel, ";") == digest(
        kernel.replace("k.kd", "long_name.kd").replace(" k\n", " long_name\n").replace("k:", "long_name:"), ";"
    )
    assert "@0.kd" in normal_assembly(kernel, ";")


def test_a_comment_mark_in_a_string_is_none():
    assert normal_assembly('.asciz "a # b" # c', "#") == '.asciz "a # b"'


def test_figures():
    assert figures(X86, "#") == {"instructions": 5, "multiply_adds": 1}
    assert figures("\tfma.rn.f32 \t%f1, %f2, %f3, %f4; // x\n@%p1 bra \t$L__BB0_1;\n", "//") == {
        "instructions": 2, "multiply_adds": 1,
    }  # fmt: skip
