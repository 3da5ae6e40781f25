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


PTX = """
.const .align 4 .f32 scale = 0f3F800000;
.global .align 16 .b8 table[8] = {1, 2, 3, 4, 5, 6, 7, 8};
.extern .shared .align 16 .b8 rest[];
.visible .entry main_kernel(
\t.param .u64 .ptr .align 16 main_kernel_param_0
)
{
\t.shared .align 4 .b8 __wg_main_kernel_0[2304];
\t.shared .align 4 .b8 __wg_main_kernel_1[2304];
\t.reg .b32 \t%r<5>;
\tmov.b32 \t%r1, __wg_main_kernel_0;
\tst.shared.b32 \t[__wg_main_kernel_1+4], %r1;
\tmov.b32 \t%r2, rest;
\tld.global.b32 \t%r3, [table];
\tld.const.b32 \t%r4, [scale];
}
"""


@pytest.mark.parametrize("name", ["scale", "table", "rest", "main_kernel", "__wg_main_kernel_0", "__wg_main_kernel_1"])
def test_names_of_ptx_variables_do_not_count(name):
    assert PTX.count(name) >= 2
    assert digest(PTX.replace(name, "another"), "//") == digest(PTX, "//")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("%r1, __wg_main_kernel_0", "%r1, __wg_main_kernel_1"),
        (".shared .align 4 .b8 __wg_main_kernel_0[2304]", ".shared .align 8 .b8 __wg_main_kernel_0[2304]"),
        ("__wg_main_kernel_1[2304]", "__wg_main_kernel_1[2308]"),
        (".global .align 16", ".const .align 16"),
        ("8};", "9};"),
        ("[table]", "[scale]"),
    ],
)
def test_all_else_of_ptx_variables_counts(old, new):
    assert old in PTX
    assert digest(PTX.replace(old, new), "//") != digest(PTX, "//")


def test_a_name_in_a_string_is_data():
    text = '\t.globl main\nmain:\n\t.asciz "main: said \\"main\\""\n\tjmp main\n'
    assert normal_assembly(text, "#").split("\n")[2] == '\t.asciz "main: said \\"main\\""'
    assert normal_assembly(text, "#").endswith("\tjmp @0")
    assert digest(text.replace('"main:', '"niam:'), "#") != digest(text, "#")


def test_figures():
    assert figures(X86, "#") == {"instructions": 5, "multiply_adds": 1}
    assert figures("\tfma.rn.f32 \t%f1, %f2, %f3, %f4; // x\n@%p1 bra \t$L__BB0_1;\n", "//") == {
        "instructions": 2, "multiply_adds": 1,
    }  # fmt: skip
