"""Kernels that do something wrong, each found at the right instruction; and what launches give a kernel to see."""

from __future__ import annotations

import numpy as np
import pytest
from amdgcn import code_object

from lowering.targets.amdgpu.emulator import memory
from lowering.targets.amdgpu.emulator.emulator import EmulationError, Emulator, ImageError, Options, Value

LOAD = (
    "s_load_dwordx2 s[8:9], s[0:1], 0x0\ns_waitcnt lgkmcnt(0)\n"
    "v_and_b32_e32 v1, 0x3ff, v0\nv_lshlrev_b32_e32 v2, 2, v1\n"
)
RELAXED = Options(on_fault="warn")


def launch(body, args, grid=(1, 1, 1), block=(64, 1, 1), options=None, kinds=("global_buffer",), **sizes):
    return Emulator(code_object(body, kinds, **sizes)).launch("k", grid, block, args, options=options or Options())


def test_a_store_past_the_end_names_lane_address_and_buffer():
    out = np.zeros(32, np.uint32)
    with pytest.raises(EmulationError) as error:
        launch(LOAD + "global_store_dword v2, v1, s[8:9]", [out])
    words = str(error.value)
    assert "out of bounds" in words
    assert "`global_store_dword v2, v1, s[8:9]`, workgroup 0, wave 0, lane 32" in words
    assert "0 bytes past the end of argument 0 of 128 bytes" in words


def test_faults_can_be_lived_with():
    out = np.zeros(32, np.uint32)
    result = launch(LOAD + "global_store_dword v2, v1, s[8:9]", [out], options=RELAXED)
    assert [each.kind for each in result.findings] == ["out of bounds"]
    np.testing.assert_array_equal(out, np.arange(32))
    silent = launch(LOAD + "global_store_dword v2, v1, s[8:9]", [out], options=Options(on_fault="zero"))
    assert not silent.findings
    assert (result.faults, silent.faults) == (32, 32)


@pytest.mark.parametrize("engine", ["numpy", "native"])
def test_a_read_only_array_may_not_be_written(engine):
    out = np.zeros(64, np.uint32)
    out.flags.writeable = False
    body = LOAD + "global_store_dword v2, v1, s[8:9]"
    with pytest.raises(EmulationError, match="byte 0 of argument 0 of 256 bytes, which is read-only"):
        launch(body, [out], options=Options(engine=engine))
    assert launch(body, [out], options=Options(on_fault="zero", engine=engine)).faults == 64
    assert not out.any()


def test_far_past_the_end_the_argument_is_still_the_nearest():
    body = LOAD + "v_add_u32_e32 v2, 0x1f00, v2\nglobal_store_dword v2, v1, s[8:9]"
    with pytest.raises(EmulationError, match="7936 bytes past the end of argument 0 of 0 bytes"):
        launch(body, [np.zeros(0, np.uint32)])


def test_a_null_pointer_is_called_one():
    with pytest.raises(EmulationError, match="address 0x0, 4 bytes: a null pointer"):
        launch(LOAD + "global_load_dword v3, v2, s[8:9]", [None])
    with pytest.raises(EmulationError, match="address 0x40, 4 bytes: 64 bytes behind a null pointer"):
        launch(LOAD + "global_load_dword v3, v2, s[8:9] offset:64", [None])


@pytest.mark.parametrize(
    ("args", "options", "words"),
    [
        ([7], Options(), r"argument 0 \(the first is 0\) is of type int, expected an array, .* Value\('i32', 7\)"),
        ([np.zeros(4, complex)], Options(), "argument 0 .*: elements of type complex128"),
        ([np.zeros(4, ">f4")], Options(), "argument 0 .*: elements of type >f4, big-endian"),
        ([None], Options(on_fault="warm"), "on_fault is one of error, warn, zero, found 'warm'"),
        ([None], Options(engine="gpu"), "engine is one of numpy, native, found 'gpu'"),
        ([None], Options(outputs=(0,)), "outputs: argument 0 .* is no array"),
        ([None], Options(workgroups=(4,)), r"workgroups: their numbers are 0 to 0, found \(4,\)"),
        ([None], Options(wave_order=-1), "wave_order is a whole number of at least 0, found -1"),
        ([None], Options(wave_order="random"), "wave_order is a whole number of at least 0, found 'random'"),
        ([None], Options(max_instructions=0), "max_instructions is a whole number of at least 1, found 0"),
        ([None], Options(workgroups=()), r"workgroups: numbers of at least one workgroup, none twice, found \(\)"),
        ([None], Options(workgroups=(0, 0)), r"workgroups: .* none twice, found \(0, 0\)"),
        ([None], Options(workgroups=(0.5,)), r"workgroups: numbers .* found \(0.5,\)"),
        ([None], {"on_fault": "warn"}, r"options is an Options, as Options\(on_fault='warn'\), found {'on_fault'"),
        (np.zeros(4), Options(), r"args is a list of arguments, as \[a, b\]"),
        ([Value("i32", 1.5)], Options(), "1.5 does not fit into i32"),
        ([Value("u8", 256)], Options(), "256 does not fit into u8"),
        ([Value("i32", "7")], Options(), "'7' does not fit into i32"),
        ([None], Options(workgroups=3), "workgroups: numbers of at least one workgroup, none twice, found 3"),
        ([None], Options(outputs=("x",)), "outputs: argument 'x' .* is no array"),
        ([None], Options(outputs=None), "outputs: argument None .* is no array"),
        (None, Options(), r"args is a list of arguments, as \[a, b\]"),
        ([None, None], Options(), "kernel 'k' takes 1 arguments, found 2: a buffer"),
    ],
)
def test_a_launch_that_cannot_be(args, options, words):
    with pytest.raises(ImageError, match=words):
        launch("s_nop 0", args, options=options)


def test_buffers_that_do_not_fit(monkeypatch):
    monkeypatch.setattr(memory, "room", lambda: 1 << 20)
    with pytest.raises(ImageError, match=r"the buffers take 4,[0-9,]+ bytes; this machine has room for 1,048,576"):
        launch("s_nop 0", [np.zeros(1 << 20, np.uint32)])


@pytest.mark.parametrize(
    ("grid", "block", "lds", "words"),
    [
        ((1, 1, 1), (64, 1, 1), -1, "dynamic LDS is a number of bytes, at least 0, found -1"),
        ((1, 1, 1), (64, 1, 1), "4k", "dynamic LDS is a number of bytes, at least 0, found '4k'"),
        ((1, 1), (64, 1, 1), 0, r"grid is three numbers, as \(8, 8, 1\), found \(1, 1\)"),
        ((1, 1, 1), (64, 1.0, 1), 0, r"block is three numbers, as \(8, 8, 1\), found \(64, 1.0, 1\)"),
        (1, (64, 1, 1), 0, r"grid is three numbers, as \(8, 8, 1\), found 1"),
    ],
)
def test_shapes_that_cannot_be(grid, block, lds, words):
    with pytest.raises(ImageError, match=words):
        Emulator(code_object("s_nop 0", ("global_buffer",))).launch("k", grid, block, [None], dynamic_lds=lds)


def test_a_file_s_name_is_no_code_object():
    with pytest.raises(ImageError, match=r"a code object is the bytes of a file, .* found 'kernel.hsaco'"):
        Emulator("kernel.hsaco")  # pyright: ignore[reportArgumentType]


def test_a_grid_that_no_packet_holds():
    with pytest.raises(ImageError, match="at most 4294967295 work-items in a dimension"):
        launch("s_nop 0", [None], grid=(2**32, 1, 1))


def test_a_load_before_the_start_gives_zero():
    out = np.full(64, 9, np.uint32)
    body = LOAD + "global_load_dword v3, v2, s[8:9] offset:-128\ns_waitcnt vmcnt(0)\nglobal_store_dword v2, v3, s[8:9]"
    result = launch(body, [out], options=RELAXED)
    (finding,) = result.findings
    assert "128 bytes before argument 0" in str(finding)
    np.testing.assert_array_equal(out, [0] * 32 + [9] * 32)


SHARE = """
ds_write_b32 v2, v1
{barrier}
v_sub_u32_e32 v3, 0x1fc, v2
ds_read_b32 v4, v3
s_waitcnt lgkmcnt(0)
global_store_dword v2, v4, s[8:9]
"""


@pytest.mark.parametrize("engine", ["numpy", "native"])
@pytest.mark.parametrize("order", [None, 1], ids=["lock-step", "random order"])
def test_a_missing_barrier_is_a_race(order, engine):
    out = np.zeros(128, np.uint32)
    options = Options(wave_order=order, engine=engine)
    good = launch(LOAD + SHARE.format(barrier="s_barrier"), [out], block=(128, 1, 1), lds=512, options=options)
    assert not good.findings
    np.testing.assert_array_equal(out, np.arange(128)[::-1])
    bad = launch(LOAD + SHARE.format(barrier="s_nop 0"), [out], block=(128, 1, 1), lds=512, options=options)
    race = next(each for each in bad.findings if each.kind == "race")
    assert "no barrier between" in str(race)
    assert race.instruction.startswith(("ds_read_b32", "ds_write_b32"))


def test_a_random_order_shows_what_lock_step_hides():
    wrong = 0
    for seed in range(4):
        out = np.zeros(128, np.uint32)
        body = LOAD + SHARE.format(barrier="s_nop 0")
        launch(body, [out], block=(128, 1, 1), lds=512, options=Options(wave_order=seed, checks=False))
        wrong += not np.array_equal(out, np.arange(128)[::-1])
    assert wrong == 4


@pytest.mark.parametrize("engine", ["numpy", "native"])
def test_the_same_value_written_twice_is_no_race(engine):
    options = Options(engine=engine)
    body = LOAD + "v_mov_b32_e32 v5, 7\nv_mov_b32_e32 v6, 0\nds_write_b32 v6, v5\ns_waitcnt lgkmcnt(0)"
    assert not launch(body, [np.zeros(1, np.uint32)], block=(256, 1, 1), lds=64, options=options).findings
    other = LOAD + "v_mov_b32_e32 v6, 0\nds_write_b32 v6, v1\ns_waitcnt lgkmcnt(0)"
    found = launch(other, [np.zeros(1, np.uint32)], block=(256, 1, 1), lds=64, options=options).findings
    assert found[0].kind == "race"


def test_bytes_of_one_dword_are_different_places():
    body = LOAD + "ds_write_b8 v1, v1\ns_waitcnt lgkmcnt(0)"
    assert not launch(body, [np.zeros(1, np.uint32)], block=(256, 1, 1), lds=256).findings


@pytest.mark.parametrize("engine", ["numpy", "native"])
def test_lds_that_nobody_wrote(engine):
    body = LOAD + "ds_write_b32 v2, v1\nds_read_b32 v4, v2 offset:256\ns_waitcnt lgkmcnt(0)"
    (finding,) = launch(body, [np.zeros(1, np.uint32)], lds=512, options=Options(engine=engine)).findings
    assert finding.kind == "unwritten LDS"
    assert "LDS address 0x100 was never written; at" in str(finding)


def test_lds_out_of_range():
    with pytest.raises(EmulationError, match=r"LDS address 0x100, 4 bytes, of a workgroup that has 256 bytes"):
        launch(LOAD + "ds_write_b32 v2, v1 offset:4", [np.zeros(1, np.uint32)], lds=256)


def test_a_partial_grid_leaves_outputs_unwritten():
    body = LOAD + "s_lshl_b32 s5, s2, 8\nv_add_u32_e32 v2, s5, v2\nglobal_store_dword v2, v1, s[8:9]"
    out = np.zeros((4, 64), np.uint32)
    assert not launch(body, [out], grid=(4, 1, 1), options=Options(outputs=(0,))).findings
    (finding,) = launch(body, [out], grid=(3, 1, 1), options=Options(outputs=(0,))).findings
    assert str(finding) == "unwritten output: 64 of 256 elements of argument 0, first [3, 0]"


def test_a_misaligned_atomic():
    body = LOAD + "v_mov_b32_e32 v3, 1\nglobal_atomic_add v2, v3, s[8:9] offset:2"
    with pytest.raises(EmulationError, match=r"misaligned: address 0x[0-9a-f]+ is no multiple of 4"):
        launch(body, [np.zeros(65, np.uint32)])


def test_an_endless_loop_ends():
    with pytest.raises(EmulationError, match="no end after 1000 wave-instructions"):
        launch("again:\ns_nop 0\ns_branch again", [None], options=Options(max_instructions=1000))


def test_what_is_not_implemented_says_so():
    with pytest.raises(EmulationError, match=r"unsupported instruction: 0x[0-9a-f]+: .* s_trap 2: its semantics"):
        launch("s_trap 2", [None])


def test_code_that_does_not_decode_is_shown_with_what_stands_before():
    with pytest.raises(EmulationError, match=r"cannot decode (.|\n)* before it:\n *0x[0-9a-f]+: .* s_nop 5"):
        launch("s_nop 5\n.long 0xc5000000", [None])


def test_a_buffer_resource_has_a_range_of_its_own():
    body = (
        LOAD + "s_mov_b32 s10, 0x80\ns_mov_b32 s11, 0x27000\ns_and_b32 s9, s9, 0xffff\n"
        "buffer_load_dword v3, v2, s[8:11], 0 offen\ns_waitcnt vmcnt(0)\nv_add_u32_e32 v3, 1, v3\n"
        "buffer_store_dword v3, v2, s[8:11], 0 offen"
    )
    out = np.full(64, 5, np.uint32)
    assert not launch(body, [out]).findings
    np.testing.assert_array_equal(out, [6] * 32 + [5] * 32)


def test_a_loop_of_different_lengths():
    body = LOAD + (
        "v_mov_b32_e32 v3, 0\nv_mov_b32_e32 v4, v1\ns_mov_b64 s[12:13], exec\n"
        "again:\nv_cmp_ne_u32_e32 vcc, 0, v4\ns_and_b64 exec, exec, vcc\ns_cbranch_execz done\n"
        "v_add_u32_e32 v3, v3, v4\nv_subrev_u32_e32 v4, 1, v4\ns_branch again\n"
        "done:\ns_mov_b64 exec, s[12:13]\nglobal_store_dword v2, v3, s[8:9]"
    )
    out = np.zeros(200, np.uint32)
    launch(body, [out], block=(200, 1, 1))
    np.testing.assert_array_equal(out, [n * (n + 1) // 2 for n in range(200)])


def test_waves_part_and_meet_again():
    body = LOAD + (
        "v_readfirstlane_b32 s12, v1\ns_lshr_b32 s12, s12, 6\ns_cmp_eq_u32 s12, 1\nv_mov_b32_e32 v3, 10\n"
        "s_cbranch_scc1 one\nv_mov_b32_e32 v3, 20\none:\ns_barrier\nv_add_u32_e32 v3, s12, v3\n"
        "global_store_dword v2, v3, s[8:9]"
    )
    out = np.zeros(256, np.uint32)
    launch(body, [out], block=(256, 1, 1))
    np.testing.assert_array_equal(out[::64], [20, 11, 22, 23])


def test_places_in_three_dimensions():
    body = LOAD + (
        "v_lshlrev_b32_e32 v2, 2, v3\nv_bfe_u32 v4, v0, 10, 10\nv_bfe_u32 v5, v0, 20, 10\n"
        "s_lshl_b32 s5, s3, 8\ns_or_b32 s5, s5, s2\ns_lshl_b32 s6, s4, 16\ns_or_b32 s5, s5, s6\n"
        "v_lshl_add_u32 v6, v5, 1, v4\nv_lshl_add_u32 v6, v6, 2, v1\n"
        "s_mul_i32 s7, s4, 6\ns_mul_i32 s10, s3, 2\ns_add_i32 s7, s7, s10\ns_add_i32 s7, s7, s2\ns_lshl_b32 s7, s7, 4\n"
        "v_add_u32_e32 v6, s7, v6\nv_lshlrev_b32_e32 v6, 2, v6\nv_mov_b32_e32 v7, s5\n"
        "v_lshl_or_b32 v7, v0, 24, v7\nglobal_store_dword v6, v7, s[8:9]"
    )
    out = np.zeros((2, 3, 2, 2, 2, 4), np.uint32)
    launch(body, [out], grid=(2, 3, 2), block=(4, 2, 2), options=Options(outputs=(0,)))
    z, y, x, _, _, lane = np.indices(out.shape)
    np.testing.assert_array_equal(out & 0xFFFFFF, x | y << 8 | z << 16)
    np.testing.assert_array_equal(out >> 24, lane)


def test_scratch_is_a_lane_s_own():
    body = (
        LOAD + "scratch_store_dword off, v1, off offset:8\nscratch_load_dword v3, off, off offset:8\n"
        "s_waitcnt vmcnt(0)\nglobal_store_dword v2, v3, s[8:9]"
    )
    out = np.zeros(128, np.uint32)
    launch(body, [out], block=(128, 1, 1), scratch=16)
    np.testing.assert_array_equal(out, np.arange(128))


def test_flat_addresses_reach_lds_and_memory():
    body = LOAD + (
        "s_mov_b64 s[12:13], src_shared_base\nv_mov_b32_e32 v6, v2\nv_mov_b32_e32 v7, s13\n"
        "flat_store_dword v[6:7], v1\n"
        "s_waitcnt lgkmcnt(0)\nds_read_b32 v8, v2\nv_mov_b32_e32 v4, s9\nv_add_co_u32_e32 v3, vcc, s8, v2\n"
        "v_addc_co_u32_e32 v4, vcc, 0, v4, vcc\nv_mov_b32_e32 v10, v3\nv_mov_b32_e32 v11, v4\n"
        "flat_store_dword v[10:11], v8"
    )
    out = np.zeros(64, np.uint32)
    launch(body, [out], lds=256)
    np.testing.assert_array_equal(out, np.arange(64))


@pytest.mark.parametrize(
    ("line", "dtype", "start", "data", "expected"),
    [
        ("global_atomic_add v9, v2, v3, s[8:9] sc0", np.uint32, 5, 3, 8),
        ("global_atomic_umax v9, v2, v3, s[8:9] sc0", np.uint32, 5, 3, 5),
        ("global_atomic_smin v9, v2, v3, s[8:9] sc0", np.int32, 5, -3, -3),
        ("global_atomic_add_f32 v9, v2, v3, s[8:9] sc0", np.float32, 0.5, 1.25, 1.75),
        ("global_atomic_pk_add_f16 v9, v2, v3, s[8:9] sc0", np.float16, 0.5, 1.25, 1.75),
        ("global_atomic_swap v9, v2, v3, s[8:9] sc0", np.uint32, 5, 3, 3),
    ],
)
def test_atomics_give_back_what_was_there(line, dtype, start, data, expected):
    count = 64 * 4 // np.dtype(dtype).itemsize
    memory, old = np.full(count, start, dtype), np.zeros(count, dtype)
    word = int(np.full(4 // np.dtype(dtype).itemsize, data, dtype).view(np.uint32)[0])
    body = LOAD + (
        f"s_load_dwordx2 s[12:13], s[0:1], 0x8\nv_mov_b32_e32 v3, {word:#x}\n{line}\ns_waitcnt vmcnt(0) lgkmcnt(0)\n"
        "global_store_dword v2, v9, s[12:13]"
    )
    launch(body, [memory, old], kinds=("global_buffer",) * 2)
    assert (memory == dtype(expected)).all()
    assert (old == dtype(start)).all()


def test_hidden_arguments():
    kinds = ("global_buffer", "hidden_block_count_x", "hidden_block_count_y", "hidden_group_size_x")
    body = (
        LOAD
        + "s_load_dwordx4 s[12:15], s[0:1], 0x8\ns_waitcnt lgkmcnt(0)\n"
        + "".join(
            f"v_mov_b32_e32 v3, s{12 + n}\nv_mov_b32_e32 v4, 0\nglobal_store_dword v4, v3, s[8:9] offset:{4 * n}\n"
            for n in range(3)
        )
    )
    out = np.zeros(3, np.uint32)
    launch(body, [out], grid=(3, 2, 1), kinds=kinds)
    np.testing.assert_array_equal(out, [3, 2, 64])


@pytest.mark.parametrize(
    ("args", "block", "words"),
    [
        ([], (64, 1, 1), "takes 1 arguments, found 0: a buffer"),
        ([Value("i32", 1)], (64, 1, 1), r"argument 0 of 'k' \(the first is 0\) is a buffer, found 4 bytes"),
        ([None], (2048, 1, 1), "2048 work-items a workgroup; kernel 'k' was compiled for at most 1024"),
        ([None], (0, 1, 1), "every dimension must be at least 1"),
    ],
)
def test_launches_that_do_not_fit(args, block, words):
    with pytest.raises(ImageError, match=words):
        launch("s_nop 0", args, block=block)


ENGINES = ["numpy", "native"]


def test_an_address_near_the_end_of_the_numbers_is_a_fault():
    body = LOAD + "s_mov_b32 s8, 0xfffffff8\ns_mov_b32 s9, 0x80007eff\nglobal_load_dword v3, v2, s[8:9]"
    for engine in ENGINES:
        with pytest.raises(EmulationError, match="out of bounds: address 0x80007efffffffff8"):
            launch(body, [np.zeros(64, np.uint32)], options=Options(engine=engine))


TWO = ("global_buffer", "global_buffer")
COPY = LOAD + (
    "s_load_dwordx2 s[12:13], s[0:1], 0x8\nglobal_load_dword v3, v2, s[8:9]\ns_waitcnt vmcnt(0) lgkmcnt(0)\n"
    "v_add_u32_e32 v3, 1, v3\nglobal_store_dword v2, v3, s[12:13]"
)


def test_an_array_given_twice_is_one_buffer():
    both = np.arange(64, dtype=np.uint32)
    launch(COPY, [both, both], kinds=TWO)
    np.testing.assert_array_equal(both, np.arange(1, 65))


def test_views_that_overlap_are_refused_where_one_may_be_written():
    whole = np.arange(128, dtype=np.uint32)
    with pytest.raises(ImageError, match=r"arguments 0 and 1 \(the first is 0\) are views of the same memory"):
        launch(COPY, [whole[:64], whole[32:96]], kinds=TWO)
    whole.flags.writeable = False
    launch(LOAD, [whole[:64], whole[32:96]], kinds=TWO)


@pytest.mark.parametrize("offset", ["0x0", "0x78", "0x80", "0x100"])
def test_scalar_buffer_loads_end_at_num_records(offset):
    body = (
        LOAD + "s_mov_b32 s10, 0x80\ns_mov_b32 s11, 0x27000\ns_and_b32 s13, s9, 0xffff\ns_mov_b32 s12, s8\n"
        f"s_mov_b32 s14, 0x80\ns_mov_b32 s15, 0x27000\ns_buffer_load_dwordx4 s[16:19], s[12:15], {offset}\n"
        "s_waitcnt lgkmcnt(0)\nv_mov_b32_e32 v4, 0\n"
        + "".join(f"v_mov_b32_e32 v3, s{16 + n}\nglobal_store_dword v4, v3, s[8:9] offset:{4 * n}\n" for n in range(4))
    )
    data = np.arange(128, dtype=np.uint32) + 1
    first, kept = int(offset, 16) // 4, data.copy()
    assert not launch(body, [data]).findings
    np.testing.assert_array_equal(data[:4], [kept[first + n] if first + n < 32 else 0 for n in range(4)])


@pytest.mark.parametrize(("offset", "words"), [("offset:16", "0x10"), ("offset:-4", "-0x4"), ("offset:14", "0xe")])
def test_scratch_ends_with_its_lane(offset, words):
    body = LOAD + f"scratch_store_dword off, v1, off {offset}"
    with pytest.raises(EmulationError, match=f"scratch address {words}, 4 bytes, of a lane that has 16 bytes"):
        launch(body, [np.zeros(64, np.uint32)], scratch=16)


def test_a_flat_address_of_scratch_ends_with_its_lane():
    body = LOAD + (
        "s_mov_b64 s[12:13], src_private_base\nv_mov_b32_e32 v6, {at}\nv_mov_b32_e32 v7, s13\n"
        "flat_store_dword v[6:7], v1\ns_waitcnt vmcnt(0) lgkmcnt(0)\nflat_load_dword v3, v[6:7]\n"
        "s_waitcnt vmcnt(0) lgkmcnt(0)\nglobal_store_dword v2, v3, s[8:9]"
    )
    out = np.zeros(64, np.uint32)
    launch(body.format(at=12), [out], scratch=16)
    np.testing.assert_array_equal(out, np.arange(64))
    with pytest.raises(EmulationError, match="scratch address 0x10, 4 bytes"):
        launch(body.format(at=16), [out], scratch=16)


@pytest.mark.parametrize(
    ("between", "kinds"),
    [
        ("s_waitcnt lgkmcnt(0)", {"race"}),
        ("s_waitcnt lgkmcnt(0)\ns_barrier", set()),
    ],
)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("bits", [32, 64])
def test_an_atomic_races_with_a_plain_read(bits, engine, between, kinds):
    read, add, data = (
        ("ds_read_b32 v8", "ds_add_u32", "v5") if bits == 32 else ("ds_read_b64 v[8:9]", "ds_add_u64", "v[4:5]")
    )
    body = (
        LOAD + "v_mov_b32_e32 v4, 0\nv_mov_b32_e32 v5, 0\nv_mov_b32_e32 v6, 0\nds_write_b64 v6, v[4:5]\n"
        f"s_waitcnt lgkmcnt(0)\ns_barrier\n{add} v6, {data}\n{between}\n{read}, v6\ns_waitcnt lgkmcnt(0)"
    )
    found = launch(body, [None], block=(128, 1, 1), lds=64, options=Options(engine=engine)).findings
    assert {each.kind for each in found} == kinds
    if found:
        assert "LDS address 0x0, changed by an atomic of several waves at" in str(found[0])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("barrier", "races"), [("s_barrier", 0), ("s_nop 0", 1)])
def test_an_atomic_does_not_hide_the_plain_write_before(barrier, races, engine):
    """A wave zeroes a counter and adds to it; with no barrier another adds too, perhaps before."""
    body = LOAD + (
        "v_mov_b32_e32 v5, 1\nv_mov_b32_e32 v6, 0\nv_mov_b32_e32 v7, 0\nv_readfirstlane_b32 s5, v1\n"
        "s_cmp_lg_u32 s5, 0\ns_cbranch_scc1 others\nds_write_b32 v6, v7\n"
        f"others:\n{barrier}\nds_add_u32 v6, v5\ns_waitcnt lgkmcnt(0)"
    )
    found = launch(body, [None], block=(128, 1, 1), lds=64, options=Options(engine=engine)).findings
    assert len(found) == races
    assert all("an atomic at LDS address 0x0, written by wave 0" in str(each) for each in found)


def test_a_misaligned_atomic_of_lds_is_a_fault_and_gives_zero():
    body = LOAD + (
        "v_mov_b32_e32 v5, 1\nv_mov_b32_e32 v8, 7\nds_write_b32 v2, v5\nds_add_rtn_u32 v8, v2, v5 offset:2\n"
        "s_waitcnt lgkmcnt(0)\nglobal_store_dword v2, v8, s[8:9]"
    )
    out = np.full(64, 9, np.uint32)
    with pytest.raises(EmulationError, match="misaligned: LDS address 0x2 is no multiple of 4"):
        launch(body, [out], lds=512)
    assert launch(body, [out], lds=512, options=RELAXED).faults == 64
    np.testing.assert_array_equal(out, 0)


def test_an_atomic_out_of_range_gives_zero():
    body = LOAD + (
        "v_mov_b32_e32 v5, 1\nv_mov_b32_e32 v8, 7\nglobal_atomic_add v8, v2, v5, s[8:9] offset:128 sc0\n"
        "s_waitcnt vmcnt(0)\nglobal_store_dword v2, v8, s[8:9]"
    )
    out = np.full(64, 3, np.uint32)
    launch(body, [out], options=RELAXED)
    np.testing.assert_array_equal(out, [3] * 32 + [0] * 32)


def test_a_global_atomic_of_f32_flushes_denormals():
    tiny = np.array([1e-40, -1e-40, 1.5], np.float32)
    body = LOAD + "v_mov_b32_e32 v5, 0\nv_cmp_gt_u32_e32 vcc, 3, v1\ns_and_b64 exec, exec, vcc\n"
    launch(body + "global_atomic_add_f32 v2, v5, s[8:9]", [tiny])
    np.testing.assert_array_equal(tiny.view(np.uint32), np.array([0.0, 0.0, 1.5], np.float32).view(np.uint32))


def test_another_float_mode_is_refused():
    with pytest.raises(EmulationError, match=r"`s_setreg_imm32_b32 .*` sets another float mode"):
        launch("s_setreg_imm32_b32 hwreg(HW_REG_MODE, 4, 4), 0", [None])


@pytest.mark.parametrize(("soffset", "moved"), [("64", 16), ("4", 1), ("0", 0), ("-16", None)])
@pytest.mark.parametrize("engine", ENGINES)
def test_soffset_may_be_any_inline_constant(soffset, moved, engine):
    body = (
        LOAD + "s_mov_b32 s10, 0x200\ns_mov_b32 s11, 0x27000\ns_and_b32 s9, s9, 0xffff\n"
        f"buffer_load_dword v3, v2, s[8:11], {soffset} offen\ns_waitcnt vmcnt(0)\n"
        "buffer_store_dword v3, v2, s[8:11], 0 offen"
    )
    data = np.arange(128, dtype=np.uint32)
    launch(body, [data], options=Options(engine=engine))
    np.testing.assert_array_equal(data[:64], 0 if moved is None else np.arange(64) + moved)


FOUND = [
    # a pair whose second place nobody wrote; both kinds at once; a misaligned read of two units; races of bytes
    "ds_write_b32 v2, v1\nds_read2_b32 v[8:9], v2 offset1:128",
    "v_lshlrev_b32_e32 v2, 2, v0\nv_lshrrev_b32_e32 v3, 1, v2\nds_write_b32 v3, v1\nds_read_b64 v[8:9], v2 offset:254",
    "ds_write_b32 v2, v1 offset:2\nv_sub_u32_e32 v3, 0x1fc, v2\nds_read_b32 v4, v3 offset:4",
    "ds_write_b32 v2, v1\nv_sub_u32_e32 v3, 0x1fc, v2\nds_write_b8 v3, v1 offset:3",
    "v_and_b32_e32 v3, 0xfc, v2\nds_write_b32 v3, v1\nds_read_b128 v[8:11], v3 offset:4",
    "v_and_b32_e32 v3, 0xfc, v2\nds_write2st64_b32 v3, v1, v2 offset1:2",
]


IN_WAVES = "v_readfirstlane_b32 s5, v1\ns_lshr_b32 s5, s5, 6\nv_mov_b32_e32 v6, 0\n"
ONLY = "s_cmp_lg_u32 s5, {wave}\ns_cbranch_scc1 behind_{n}\n{body}\nbehind_{n}:\n"
FOUND += [
    # one wave stores what is there, and its other lanes do not
    IN_WAVES + "v_mov_b32_e32 v3, 5\nv_mov_b32_e32 v4, 5\n" + ONLY.format(n=0, wave=0, body="ds_write_b32 v6, v3")
    + "v_cmp_ne_u32_e32 vcc, 64, v1\nv_cndmask_b32_e32 v4, 5, v1, vcc\n"
    + ONLY.format(n=1, wave=1, body="ds_write_b32 v6, v4"),
    # in one instruction, the last lane stores what the first wave did
    IN_WAVES + "v_mov_b32_e32 v3, 5\nv_cmp_lt_u32_e32 vcc, 63, v1\nv_addc_co_u32_e32 v3, vcc, 0, v3, vcc\n"
    "v_cmp_eq_u32_e32 vcc, 127, v1\nv_mov_b32_e32 v4, 5\nv_cndmask_b32_e32 v3, v3, v4, vcc\nds_write_b32 v6, v3",
    # a store of what an atomic has left
    IN_WAVES + "v_mov_b32_e32 v3, 0\nv_mov_b32_e32 v4, 1\nds_write_b32 v6, v3\ns_waitcnt lgkmcnt(0)\ns_barrier\n"
    "s_mov_b64 s[12:13], exec\ns_mov_b64 exec, 1\n" + ONLY.format(n=0, wave=0, body="ds_add_u32 v6, v4")
    + ONLY.format(n=1, wave=1, body="ds_write_b32 v6, v4"),
    # all store the same, then one another value
    IN_WAVES + "v_mov_b32_e32 v3, 5\nv_mov_b32_e32 v4, 9\nds_write_b32 v6, v3\n"
    + ONLY.format(n=0, wave=1, body="ds_write_b32 v6, v4"),
    # all store the same, then one adds
    IN_WAVES + "v_mov_b32_e32 v3, 0\nds_write_b32 v6, v3\n" + ONLY.format(n=0, wave=1, body="ds_add_u32 v6, v1"),
]  # fmt: skip


@pytest.mark.parametrize("order", [None, 5], ids=["lock-step", "random order"])
@pytest.mark.parametrize("body", FOUND)
def test_engines_find_the_same(body, order):
    """The words too: kinds, addresses, waves, lanes."""
    found = []
    for engine in ENGINES:
        options = Options(engine=engine, wave_order=order)
        ran = launch(LOAD + body, [None], block=(128, 1, 1), lds=2048, options=options)
        found.append(sorted(str(each) for each in ran.findings))
    assert found[0]
    assert found[0] == found[1]


def test_pairs_are_stored_lane_after_lane():
    body = LOAD + (
        "v_add_u32_e32 v4, 100, v1\nds_write2_b32 v2, v1, v4 offset1:1\ns_waitcnt lgkmcnt(0)\nds_read_b32 v5, v2\n"
        "s_waitcnt lgkmcnt(0)\nglobal_store_dword v2, v5, s[8:9]"
    )
    for engine in ENGINES:
        out = np.zeros(64, np.uint32)
        launch(body, [out], lds=512, options=Options(engine=engine))
        np.testing.assert_array_equal(out, np.arange(64))


@pytest.mark.parametrize("space", ["shared", "private"])
def test_flat_atomics_reach_lds_and_scratch(space):
    body = LOAD + (
        f"s_mov_b64 s[12:13], src_{space}_base\nv_mov_b32_e32 v6, 4\nv_mov_b32_e32 v7, s13\nv_mov_b32_e32 v9, 7\n"
        "flat_store_dword v[6:7], v9\ns_waitcnt vmcnt(0) lgkmcnt(0)\nv_mov_b32_e32 v8, 1\n"
        "flat_atomic_add v3, v[6:7], v8 sc0\ns_waitcnt vmcnt(0) lgkmcnt(0)\nglobal_store_dword v2, v3, s[8:9]"
    )
    out = np.zeros(64, np.uint32)
    launch(body, [out], lds=64, scratch=16)
    np.testing.assert_array_equal(out, 7 + np.arange(64) if space == "shared" else np.full(64, 7))


@pytest.mark.parametrize("line", ["global_store_dwordx2 v3, v[4:5], s[8:9]", "global_store_dwordx4 v3, v[4:7], s[8:9]"])
def test_lanes_that_overlap_store_one_after_the_other(line):
    """A later lane wins, dword by dword, whatever computes it."""
    body = (
        LOAD
        + "v_lshlrev_b32_e32 v3, 2, v1\n"
        + "".join(f"v_lshlrev_b32_e32 v{4 + n}, 4, v1\nv_or_b32_e32 v{4 + n}, {n}, v{4 + n}\n" for n in range(4))
    )
    results = []
    for engine in ENGINES:
        out = np.zeros(72, np.uint32)
        launch(body + line, [out], options=Options(engine=engine))
        results.append(out)
    np.testing.assert_array_equal(*results)
    np.testing.assert_array_equal(results[0][:64], np.arange(64) << 4)
