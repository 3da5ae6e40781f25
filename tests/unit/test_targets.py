"""The chips' files, the families, and what every executor promises without a device."""

from __future__ import annotations

import struct

import pytest

from lowering import targets
from lowering.core import Binary, Buffer, Launch, Scalar, UserError, Workspace
from lowering.targets.executor import DeviceError, packed, refuse_tensor_maps, workspaces
from lowering.targets.families import FAMILIES
from lowering.targets.linked import BuildError


@pytest.mark.parametrize("name", targets.names())
def test_every_number_has_a_source(name: str) -> None:
    entry = targets.description(name)
    assert targets.complaints(entry) == []
    for key, fact in entry["facts"].items():
        assert len(fact["source"]) > 8, key
        assert "/" not in fact["source"].split(" ")[0], f"{key}: a source is a document, not a path"


def test_a_fact_without_a_source_is_refused() -> None:
    entry = {"family": "x86", "triple": "t", "cpu": "c", "features": "", "about": "a", "facts": {"speed": {"value": 1}}}
    assert targets.complaints(entry) == ["fact 'speed' needs a value, a unit and a source"]
    assert "'triple' is missing" in targets.complaints({"family": "x86"})
    assert "'colour' is unknown" in targets.complaints({"colour": 1})


def test_a_misspelt_target_names_the_nearest_and_all() -> None:
    with pytest.raises(UserError, match=r"no target 'gfx924'; did you mean gfx942\? .*sm_90"):
        targets.load("gfx924")


def test_sm_90_compiles_for_sm_90a() -> None:
    assert targets.load("sm_90").cpu == "sm_90a"
    assert targets.load("sm_90").facts["shared_dynamic_max"] == 227 * 1024


@pytest.mark.parametrize(("name", "units", "clock"), [("gfx942", 4, 2.1e9), ("sm_90", 1, 1.83e9)])
def test_cycles_of_the_matrix_instructions_give_the_peaks(name: str, units: int, clock: float) -> None:
    facts = targets.load(name).facts
    for row in facts["matrix"]:
        peak = facts.get(f"flops_{row['element'].split('E')[0]}")
        if peak is None:
            continue
        rate = units * 2 * row["m"] * row["n"] * row["k"] / row["cycles"] * facts["compute_units"] * clock
        assert rate == pytest.approx(peak, rel=0.01), row["name"]


@pytest.mark.parametrize("name", targets.names())
def test_every_family_has_executors_that_say_why_not(name: str) -> None:
    family = FAMILIES[targets.load(name).family]
    for executor in family.executors:
        assert executor.word in ("measured", "emulated")
        reason = executor.unavailable()
        assert reason is None or (reason and "\n" not in reason)


def test_parameters_are_packed_as_the_kernel_reads_them() -> None:
    assert packed(Buffer(1, 8), [0, 0x1000], {}) == struct.pack("<Q", 0x1008)
    assert packed(Workspace(0, 64), [], {0: 0x2000}) == struct.pack("<Q", 0x2000)
    assert packed(Scalar(64, (1 << 64) - 1), [], {}) == b"\xff" * 8
    assert packed(Scalar(1, 1), [], {}) == b"\x01"
    assert packed(Scalar(96, 1), [], {}) == b"\x01" + bytes(15), "a vector of three floats takes 16 bytes"


def test_a_tensor_map_is_refused_where_there_is_none() -> None:
    from lowering.core import TensorMap

    tensor = TensorMap(Buffer(0), "f16", (64, 64), (128,), (64, 64))
    binary = Binary("hsaco", b"", (), (Launch("k", (1, 1, 1), (1, 1, 1), (tensor, Workspace(3, 4))),))
    with pytest.raises(DeviceError, match="tensor maps"):
        refuse_tensor_maps(binary, "HIP")
    assert set(workspaces(binary)) == {3}


def test_a_build_error_has_a_stage() -> None:
    error = BuildError("no", "link", kind="resources")
    assert (error.stage, error.kind, error.reason) == ("link", "resources", "no")
