"""`lower disasm`: the kernels of a code object, as metadata, descriptor and instructions."""

from __future__ import annotations

from lowering.targets.amdgpu.emulate_arguments import of_file
from lowering.targets.amdgpu.emulator.decode import ENDS, DecodeError, decode
from lowering.targets.amdgpu.emulator.image import Image, KernelCode, load
from lowering.targets.amdgpu.emulator.text import listing


def disassemble(path: str) -> int:
    """Prints kernels: what the metadata and descriptor say, then the instructions."""
    image = of_file(path, load)
    print(f"{path}: code object version {image.version}, {len(image.kernels)} kernel{'s' * (len(image.kernels) != 1)}")
    for code in image.kernels.values():
        print("\n".join(("", *described(code))))
        for line in instructions(image, code):
            print(line)
    return 0


def described(code: KernelCode) -> list[str]:
    """A kernel's metadata and descriptor."""
    known, found = code.known, code.descriptor
    rows = [f"  {p.offset:4} {p.kind}, {p.size} bytes" for p in known.parameters]
    return [
        f"kernel {code.name}",
        f"  registers: {known.vgprs} VGPR of which {known.agprs} AccVGPR ({found.registers} allocated), {known.sgprs} "
        f"SGPR; {known.vgpr_spills + known.sgpr_spills} spilled",
        f"  LDS {found.group_segment} bytes, scratch {found.private_segment} bytes a lane, at most {known.threads_max} "
        "work-items a workgroup",
        f"  descriptor: rsrc1 {found.rsrc1:#010x}, rsrc2 {found.rsrc2:#010x}, rsrc3 {found.rsrc3:#010x}, properties "
        f"{found.properties:#06x}, {found.preload_dwords} dwords of the kernarg segment preloaded, float mode "
        f"{found.float_mode:#04x}",
        f"  kernarg segment of {known.kernarg_bytes} bytes:",
        *rows,
    ]


def instructions(image: Image, code: KernelCode) -> list[str]:
    """The code from the entry to the last place that a branch can reach."""
    address = code.descriptor.entry
    last, found = address, list[str]()
    while address < len(image.code):
        try:
            one = decode(image.code, address)
        except DecodeError as error:
            return [*found, f"  {error}"]
        found.append(f"  {listing(one)}")
        if one.opcode.format == "SOPP" and "branch" in one.name:
            last = max(last, one.target)
        if one.name in ENDS and address >= last:
            return found
        address = one.end
    return found
