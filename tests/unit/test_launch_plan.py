"""The host function of a last state, read into launches."""

from __future__ import annotations

import pytest
from gpu_states import lowered, source

from lowering import launch_plan
from lowering.core import Buffer, Launch, PassError, Scalar, TensorMap, Workspace

ONE = source("two_kernels")
HEAD = "func.func @main(%a: memref<64xf32>, %out: memref<64xf32>) {"


def plan(text: str, count: int = 2, chip: str = "gfx942", bits: int = 0) -> tuple[Launch, ...]:
    return launch_plan.read(lowered(text, chip, bits), count)


def with_host(body: str) -> str:
    """The two kernels with another host function."""
    start, end = ONE.index(HEAD), ONE.index("  gpu.module @first")
    constants = "%c1 = arith.constant 1 : index\n%c64 = arith.constant 64 : index\n"
    return f"{ONE[:start]}{HEAD}\n{constants}{body}\nreturn\n}}\n{ONE[end:]}"


def first(operands: str, sizes: str = "(%c1, %c1, %c1) threads in (%c64, %c1, %c1)") -> str:
    """A launch of the first kernel."""
    return f"gpu.launch_func @first::@kernel blocks in {sizes} args({operands})"


def test_outlined_constants_become_scalars_in_the_kernels_own_order() -> None:
    (launch,) = plan(source("matmul_gpu"), 3)
    assert (launch.kernel, launch.grid, launch.block) == ("main_kernel", (4, 4, 1), (8, 8, 1))
    assert launch.args == (
        Buffer(2), Scalar(64, 0), Scalar(64, 0), Scalar(64, 1), Buffer(0), Scalar(32, 0), Buffer(1),
        Scalar(64, 64), Scalar(64, 4),
    )  # fmt: skip


def test_index_arguments_have_the_kernels_width() -> None:
    (launch,) = plan(source("matmul_gpu"), 3, bits=32)
    assert launch.args[-2:] == (Scalar(32, 64), Scalar(32, 4))


def test_a_workspace_is_shared_and_zeroed_and_kernels_of_one_name_are_told_apart() -> None:
    launches = plan(ONE)
    space = Workspace(0, 256, zeroed=True)
    assert [launch.kernel for launch in launches] == ["kernel", "kernel", "second_kernel"]
    assert launches[0].args == (Buffer(0), space)
    assert launches[2].args == (space, Scalar(32, 0x3F800000), Buffer(1))


def test_a_tensor_map_has_its_sizes_innermost_first() -> None:
    (launch,) = plan(source("tma_copy"), chip="sm_90")
    assert launch.cluster == (2, 1, 1)
    assert launch.shared_bytes == 8192
    assert launch.args == (TensorMap(Buffer(0), "f16", (128, 128), (256,), (64, 64), 0, "zero"), Buffer(1))


def test_a_tensor_map_of_an_oblong_matrix() -> None:
    text = source("tma_copy").replace("%a: memref<128x128xf16>", "%a: memref<256x96xf16>")
    text = text.replace("memref<128x128xf16> to memref<*xf16>", "memref<256x96xf16> to memref<*xf16>")
    (launch,) = plan(text.replace("swizzle = none", "swizzle = swizzle_128b"), chip="sm_90")
    assert launch.args[0] == TensorMap(Buffer(0), "f16", (96, 256), (192,), (64, 64), 128, "zero")


def test_views_leave_the_pointer_and_a_byte_view_moves_it() -> None:
    body = """
      %s = memref.reinterpret_cast %a to offset: [0], sizes: [64], strides: [1] : memref<64xf32> to memref<64xf32>
      %big = memref.alloc() : memref<512xi8>
      %zero = arith.constant 0 : index
      %v = memref.view %big[%zero][] : memref<512xi8> to memref<64xf32>
    """
    (launch,) = plan(with_host(body + first("%s : memref<64xf32>, %v : memref<64xf32>")))
    assert launch.args == (Buffer(0), Workspace(0, 512))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("scf.for %i = %c1 to %c64 step %c1 { }", "'scf.for' in @main"),
        ("%x = arith.addi %c1, %c64 : index", "'arith.addi' in @main"),
        ("memref.copy %a, %out : memref<64xf32> to memref<64xf32>", "'memref.copy' in @main"),
        ("", "@main launches no kernel"),
        ("%z = arith.constant 0.0 : f32\ngpu.memset %out, %z : memref<64xf32>, f32", "memset' of an argument of @main"),
        ("%w = memref.alloc(%c64) : memref<?xf32>", "a workspace of dynamic size"),
        ("%w = memref.alloc() : memref<64xf32>\n%z = arith.constant 1.0 : f32\ngpu.memset %w, %z : memref<64xf32>, f32",
         "another value than zero"),
    ],
)  # fmt: skip
def test_what_is_no_plan_is_refused_with_the_op(body: str, reason: str) -> None:
    with pytest.raises(PassError, match=reason):
        plan(with_host(body))


def test_zeroing_after_a_launch_is_refused() -> None:
    body = "%w = memref.alloc() : memref<64xf32>\n%z = arith.constant 0.0 : f32\n"
    late = body + first("%a : memref<64xf32>, %w : memref<64xf32>") + "\ngpu.memset %w, %z : memref<64xf32>, f32"
    with pytest.raises(PassError, match="zeroes before the first launch"):
        plan(with_host(late))


def test_an_expanded_memref_argument_names_the_missing_option() -> None:
    from lowering import mlir

    module = mlir.parse(source("matmul_gpu"))
    mlir.run(
        module, "gpu.module(lower-affine,expand-strided-metadata,lower-affine,convert-gpu-to-rocdl{chipset=gfx942})"
    )
    with pytest.raises(PassError, match="use-bare-ptr-memref-call-conv"):
        launch_plan.read(module, 3)


def test_a_kernel_that_is_not_lowered_is_named() -> None:
    from lowering import mlir

    with pytest.raises(PassError, match=r"@main_kernel is not lowered: it is a gpu\.func"):
        launch_plan.read(mlir.parse(source("matmul_gpu")), 3)


def test_the_number_of_buffers_is_checked() -> None:
    with pytest.raises(PassError, match="takes 2 arguments, the problem has 3"):
        plan(ONE, 3)
