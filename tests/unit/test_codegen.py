"""The last state to a binary, on real modules for the three families."""

from __future__ import annotations

import ctypes
import io
import re
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile
from gpu_states import MATMUL, SQUARES, VECTORS, lowered, source

from lowering import codegen, mlir
from lowering.core import Argument, Binary, Pass
from lowering.lower import lower
from lowering.passes import pipeline
from lowering.passes.common.backend import Codegen, Llvm, Ptxas
from lowering.problem import from_shape
from lowering.targets import load
from lowering.targets.amdgpu import hsaco
from lowering.targets.amdgpu.runtime import Parameters
from lowering.targets.linked import BuildError
from lowering.targets.nvidia import ptx, space

CHIPS = ("gfx942", "sm_90")
TAIL = (
    "convert-scf-to-cf,convert-vector-to-llvm,finalize-memref-to-llvm,convert-arith-to-llvm,convert-math-to-llvm,"
    "convert-cf-to-llvm,func.func(llvm-request-c-wrappers),convert-func-to-llvm,reconcile-unrealized-casts"
)
needs_ptxas = pytest.mark.skipif(ptx.ptxas() is None, reason="no ptxas")


def built(chip: str, name: str = "matmul_gpu", steps: tuple[Pass, ...] = (), texts: tuple[str, ...] = ()) -> Binary:
    arguments = {"matmul_gpu": MATMUL, "two_kernels": VECTORS, "tma_copy": SQUARES}[name]
    return codegen.build(lowered(source(name), chip), arguments, load(chip), steps, texts)


def host(body: str, tail: str = TAIL) -> Any:
    """An x86 module whose @main works on 16 floats."""
    module = mlir.parse(f"func.func @main(%a: memref<16xf32>, %out: memref<16xf32>) {{ {body}\n return }}")
    mlir.run(module, tail)
    return module


FLOATS = (Argument("a", "input", (16,), "f32"), Argument("out", "output", (16,), "f32"))
SQUARE = """%c0 = arith.constant 0 : index
  %x = vector.load %a[%c0] : memref<16xf32>, vector<16xf32>
  %y = arith.mulf %x, %x : vector<16xf32>
  vector.store %y, %out[%c0] : memref<16xf32>, vector<16xf32>"""


def test_gfx942_gives_a_code_object_that_describes_its_kernel() -> None:
    binary = built("gfx942")
    elf = ELFFile(io.BytesIO(binary.image))
    assert (binary.format, elf["e_type"], elf["e_flags"] & 0xFF) == ("hsaco", "ET_DYN", 0x4C)
    (kernel,) = binary.kernels
    assert kernel.name == "main_kernel"
    assert kernel.vgprs
    assert 0 < kernel.vgprs <= 64
    assert (kernel.spills, kernel.shared_bytes, kernel.scratch_bytes) == (0, 0, 0)
    (described,) = hsaco.metadata(binary.image)
    assert (described.wave_size, described.threads_max) == (64, 64)
    assert [p.size for p in described.parameters] == [8, 8, 8, 8, 8, 4, 8, 8, 8]
    assert described.parameters[-1].offset == 64, "the f32 is padded to the pointer after it"


def test_hip_is_given_each_parameter_in_the_size_the_code_object_says() -> None:
    binary = built("gfx942")
    (launch,), (described,) = binary.launches, hsaco.metadata(binary.image)
    pack = Parameters(launch, [0x1000, 0x2000, 0x3000], {})
    found = [ctypes.string_at(slot, p.size) for slot, p in zip(pack.slots, described.parameters, strict=True)]
    assert [len(held) for held in pack.held] == [p.size for p in described.parameters]
    assert found[0] == (0x3000).to_bytes(8, "little")
    assert found[-2:] == [(64).to_bytes(8, "little"), (4).to_bytes(8, "little")]


@needs_ptxas
def test_sm_90_gives_a_cubin_with_its_registers() -> None:
    binary = built("sm_90")
    assert binary.format == "cubin"
    (kernel,) = binary.kernels
    assert kernel.registers
    assert 8 <= kernel.registers <= 64
    assert (kernel.spills, kernel.shared_bytes, kernel.scratch_bytes) == (0, 0, 0)


def test_without_ptxas_the_ptx_is_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ptx, "ptxas", lambda: None)
    binary = built("sm_90")
    assert binary.format == "ptx"
    assert b".target sm_90a" in binary.image
    assert binary.kernels[0].registers is None
    assert "no ptxas" in binary.kernels[0].notes[0]


@pytest.mark.parametrize("chip", CHIPS)
def test_texts_are_kept_only_when_asked_for(chip: str) -> None:
    assert built(chip).texts == {}
    texts = built(chip, texts=("llvm", "asm")).texts
    assert set(texts) == {"llvm", "asm"}
    assert "main_kernel" in texts["llvm"]
    assert ("s_endpgm" if chip == "gfx942" else "ret;") in texts["asm"]


@pytest.mark.parametrize("chip", CHIPS)
def test_kernels_of_one_name_are_both_in_the_image_and_the_state_is_left_alone(chip: str) -> None:
    state = lowered(source("two_kernels"), chip)
    before = str(state)
    binary = codegen.build(state, VECTORS, load(chip))
    assert {k.name: k.shared_bytes for k in binary.kernels} == {"kernel": 256, "second_kernel": 512}
    assert str(state) == before


def test_dynamic_shared_memory_is_an_external_array_after_the_static_part() -> None:
    text = built("sm_90", "tma_copy", texts=("ptx",)).texts["ptx"]
    assert ".extern .shared .align 1024 .b8 __dynamic_shmem__0[];" in text


def test_static_shared_memory_begins_where_a_tensor_copy_can() -> None:
    """The kernel's own blocks of results, beside tiles that are in dynamic memory already."""
    of = from_shape(128, 128, 256, "bf16", layout="nt")
    text = str(space.schedule({}, of, load("sm_90")))
    changed = text.replace(",dynamic-workgroup", "").replace("wgmma{blocks=1}", "dynamic-workgroup,wgmma{blocks=1}")
    assert changed != text
    outcome = lower(of, pipeline.parse(changed), load("sm_90"), texts=("ptx",)).outcome
    assert isinstance(outcome, Binary), outcome
    assert re.search(r"\.shared \.align 1024 \.b8 __wg_main_kernel_0\[8192\]", outcome.texts["ptx"])
    assert ".shared .align 8 .b8 __mbarrier[" in outcome.texts["ptx"]


@pytest.mark.parametrize("chip", CHIPS)
def test_an_unlowered_op_is_named_with_its_pass(chip: str) -> None:
    state = mlir.parse(source("matmul_gpu"))
    with pytest.raises(BuildError, match=r"'gpu\.\w+' is left unlowered .*convert-gpu-to-rocdl") as caught:
        codegen.build(state, MATMUL, load(chip))
    assert caught.value.stage == "codegen"
    assert "-:" in caught.value.where


def test_a_stray_cast_is_named_last() -> None:
    state = mlir.parse(
        """module { func.func @main() { return } gpu.module @k { llvm.func @f(%x: i64) {
        %i = builtin.unrealized_conversion_cast %x : i64 to index
        llvm.return } } }"""
    )
    with pytest.raises(BuildError, match=r"unrealized_conversion_cast' is left unlowered; reconcile-unrealized-casts"):
        codegen.build(state, (), load("gfx942"))


def test_what_only_inline_assembly_can_write_is_named_with_its_pass() -> None:
    """MLIR's translation dies of these."""
    state = mlir.parse(
        """module { func.func @main() { return } gpu.module @k { llvm.func @f(%b: !llvm.ptr<3>, %x: i32) {
        nvvm.mbarrier.try_wait.parity %b, %x, %x : !llvm.ptr<3>, i32, i32
        llvm.return } } }"""
    )
    with pytest.raises(BuildError, match=r"'nvvm.mbarrier.try_wait.parity' is left .*; convert-nvvm-to-llvm should"):
        codegen.build(state, (), load("sm_90"))


def test_the_other_familys_intrinsics_are_unlowered_too() -> None:
    with pytest.raises(BuildError, match=r"'rocdl\.\w+(\.\w+)*' is left unlowered"):
        codegen.build(lowered(source("matmul_gpu"), "gfx942"), MATMUL, load("sm_90"))


def with_call(name: str) -> str:
    """The two kernels, where the first calls a function that is only declared."""
    text = source("two_kernels").replace(
        "gpu.module @first {", f"gpu.module @first {{ llvm.func @{name}(f32) -> f32", 1
    )
    call = f"""%y0 = memref.load %s[%t] : memref<64xf32, #gpu.address_space<workgroup>>
      %y = llvm.call @{name}(%y0) : (f32) -> f32"""
    return text.replace("%y = memref.load %s[%t] : memref<64xf32, #gpu.address_space<workgroup>>", call, 1)


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("name", ["expf", "llvm.nvvm.from.the.future"])
def test_a_call_that_nothing_resolves_is_a_link_error(chip: str, name: str) -> None:
    with pytest.raises(BuildError, match=f"{name.split('.')[-1]}") as caught:
        codegen.build(lowered(with_call(name), chip), VECTORS, load(chip))
    assert (caught.value.stage, caught.value.kind) == ("link", "unsupported")


@pytest.mark.parametrize("chip", CHIPS)
def test_too_much_static_shared_memory_is_refused_before_llvm_ends_the_process(chip: str) -> None:
    text = source("two_kernels").replace("workgroup(%s : memref<128xf32", "workgroup(%s : memref<20000xf32")
    text = text.replace("memref<128xf32, #gpu", "memref<20000xf32, #gpu")
    with pytest.raises(BuildError, match="80000 bytes of shared memory, of") as caught:
        codegen.build(lowered(text, chip), VECTORS, load(chip))
    assert caught.value.kind == "resources"


@pytest.mark.parametrize("chip", CHIPS)
def test_a_launch_of_more_threads_than_the_kernel_was_built_for_is_refused(chip: str) -> None:
    text = source("two_kernels").replace(
        "threads in (%c64, %c1, %c1) args(%a", "threads in (%c64, %c64, %c1) args(%a", 1
    )
    with pytest.raises(BuildError, match="4096 threads a workgroup, of at most 64"):
        codegen.build(lowered(text, chip), VECTORS, load(chip))


def test_dynamic_shared_memory_past_the_chip_is_refused() -> None:
    text = source("tma_copy").replace("arith.constant 8192 : i32", "arith.constant 232000 : i32")
    with pytest.raises(BuildError, match="233024 bytes of shared memory, of 232448"):
        codegen.build(lowered(text, "sm_90"), SQUARES, load("sm_90"))


def test_the_steps_of_the_schedule_reach_llvm() -> None:
    loop = """%c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %c16 = arith.constant 16 : index
      scf.for %i = %c0 to %c16 step %c1 {
        %x = memref.load %a[%i] : memref<16xf32>
        %y = arith.divf %x, %x : f32
        memref.store %y, %out[%i] : memref<16xf32> }"""
    texts = {}
    for step in (Llvm(vectorize=False, slp=False), Llvm(vectorize=False, slp=False, unroll=False)):
        texts[step] = codegen.build(host(loop), FLOATS, load("x86_64"), (step,), ("llvm",)).texts["llvm"]
    unrolled, rolled = (text.count("fdiv float") for text in texts.values())
    assert unrolled > rolled > 0
    assert built("gfx942", steps=(Codegen(opt=0),)).image != built("gfx942").image


@needs_ptxas
def test_the_steps_of_the_schedule_reach_ptxas() -> None:
    (few,) = built("sm_90", steps=(Ptxas(maxrregcount=24),)).kernels
    assert few.registers is not None
    assert few.registers <= 24


def test_registers_and_spills_are_read_off_the_report() -> None:
    log = """ptxas info    : Compiling entry function 'k' for 'sm_90a'
ptxas info    : Function properties for k
    16 bytes stack frame, 24 bytes spill stores, 28 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 16 bytes stack frame, 1040 bytes smem"""
    (kernel,) = ptx.kernels(log)
    assert (kernel.registers, kernel.spills, kernel.shared_bytes, kernel.scratch_bytes) == (255, 6, 1040, 16)


LOSS = "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to "


@pytest.mark.parametrize(
    ("log", "said", "kind"),
    [
        (f"{LOSS}insufficient register resources for the function 'k'", "C7510.*: give a thread", "resources"),
        (f"{LOSS}ill formed pipeline stage in the function 'k'", "C7510.*ill formed.*: nothing may use", "illegal"),
        ("ptxas info    : (C7517) wgmma.wait_group is injected in around line 3", "C7517.*: an accumulator", "illegal"),
    ],
)
def test_what_ptxas_gives_up_is_a_failure(log: str, said: str, kind: str) -> None:
    with pytest.raises(BuildError, match=said) as caught:
        ptx.keep_promises(log)
    assert (caught.value.stage, caught.value.kind) == ("link", kind)


SHARING = """.version 8.0
.target sm_90a
.address_size 64
.visible .entry k() .maxntid 256, 1, 1 .minnctapersm 1
{
    setmaxnreg.inc.sync.aligned.u32 240;
    ret;
}
"""


@needs_ptxas
def test_registers_that_ptxas_does_not_share_are_a_failure() -> None:
    """Without the least number of workgroups nothing says how many registers there are."""
    ptx.finish(SHARING.encode(), load("sm_90"), ())
    with pytest.raises(BuildError, match="'setmaxnreg' ignored; unable to determine register count at entry"):
        ptx.finish(SHARING.replace(".minnctapersm 1", "").encode(), load("sm_90"), ())


def test_x86_uses_this_machines_vectors() -> None:
    binary = codegen.build(host(SQUARE), FLOATS, load("x86_64"), (), ("asm",))
    assert binary.format == "obj"
    assert binary.launches == ()
    wide = [name for name in ("avx512f", "avx") if f"+{name}" in codegen.host()[1].split(",")]
    register = {"avx512f": "zmm", "avx": "ymm"}.get(wide[0] if wide else "", "xmm")
    assert register in binary.texts["asm"] or "ymm" in binary.texts["asm"]


def test_x86_without_the_c_entry_is_refused() -> None:
    with pytest.raises(BuildError, match="llvm-request-c-wrappers"):
        codegen.build(host(SQUARE, TAIL.replace("func.func(llvm-request-c-wrappers),", "")), FLOATS, load("x86_64"))


def test_x86_with_a_symbol_that_no_library_has_is_refused() -> None:
    body = """%c0 = arith.constant 0 : index
      %x = memref.load %a[%c0] : memref<16xf32>
      %y = arith.truncf %x : f32 to bf16
      %z = arith.extf %y : bf16 to f32
      memref.store %z, %out[%c0] : memref<16xf32>"""
    if "avx512bf16" in codegen.host()[1].replace("-avx512bf16", ""):
        pytest.skip("this CPU rounds to bf16 itself")
    with pytest.raises(BuildError, match="__truncsfbf2: run arith-expand") as caught:
        codegen.build(host(body), FLOATS, load("x86_64"))
    assert caught.value.stage == "link"


def test_ir_that_llvm_does_not_accept_is_one_line() -> None:
    with pytest.raises(BuildError, match="LLVM does not accept the IR") as caught:
        codegen.optimise("define void @f() { this is no IR }", load("x86_64"), Llvm())
    assert "\n" not in caught.value.reason
    assert caught.value.kind == "compiler bug"


@pytest.mark.parametrize("text", ["llvm{opt=4}", "ptxas{maxrregcount=8}"])
def test_a_level_that_is_none_is_the_users_mistake(text: str) -> None:
    from lowering.core import UserError
    from lowering.passes import pipeline

    with pytest.raises(UserError, match="found"):
        pipeline.parse(text)
