"""A gfx942 code object -> its memory image and its kernels: ELF, kernel descriptors and metadata.

Written from LLVM's AMDGPUUsage, "Code Object", "Kernel Descriptor" and "Code Object Metadata". Code objects of LLVM,
Triton and IREE differ in what their target string says and in which arguments they have, not in these structures.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.construct import ConstructError
from elftools.elf.elffile import ELFFile

from lowering.targets.amdgpu.hsaco import CodeObjectKernel, metadata
from lowering.targets.linked import BuildError

MACHINE = 0xE0  # EM_AMDGPU
CHIPS = {0x4C: "gfx942"}  # EF_AMDGPU_MACH, the low byte of e_flags
NEAR = {0x3F: "gfx90a", 0x30: "gfx908", 0x2F: "gfx906", 0x2C: "gfx900", 0x40: "gfx940", 0x4B: "gfx941", 0x4F: "gfx950"}
ABI_VERSIONS = {2: 4, 3: 5, 4: 6}  # EI_ABIVERSION -> code object version
MOST_BYTES = 1 << 28  # an image larger than this is no kernel
MALFORMED = (
    ELFError, ConstructError, struct.error, ValueError, KeyError, IndexError, AttributeError, TypeError, OverflowError,
    UnicodeError, RecursionError, MemoryError, AssertionError, EOFError, NotImplementedError,
)  # fmt: skip  # what pyelftools and msgpack raise on damaged files


class ImageError(Exception):
    """A file that is no gfx942 code object, or is damaged, or a launch that its kernel does not admit."""


@dataclass(frozen=True)
class Descriptor:
    """A kernel descriptor's fields; offsets in bytes as AMDGPUUsage gives them."""

    group_segment: int  # LDS bytes, without dynamic ones
    private_segment: int  # scratch bytes a work-item
    kernarg_bytes: int
    entry: int  # address of the code
    rsrc1: int
    rsrc2: int
    rsrc3: int
    properties: int
    preload: int

    @property
    def accum_offset(self) -> int:
        """The number of the first AccVGPR in the unified register file."""
        return 4 * ((self.rsrc3 & 63) + 1)

    @property
    def registers(self) -> int:
        """Allocated registers a lane, of both kinds."""
        return 8 * ((self.rsrc1 & 63) + 1)

    @property
    def user_sgprs(self) -> int:
        """How many SGPRs are set before those of the system."""
        return self.rsrc2 >> 1 & 31

    @property
    def preload_dwords(self) -> int:
        """How many dwords of the kernarg segment are in SGPRs when the kernel starts."""
        return self.preload & 127

    @property
    def preload_offset(self) -> int:
        """The first of them, in dwords."""
        return self.preload >> 7

    @property
    def workgroup_ids(self) -> tuple[bool, bool, bool]:
        """Which of x, y, z have an SGPR."""
        return bool(self.rsrc2 >> 7 & 1), bool(self.rsrc2 >> 8 & 1), bool(self.rsrc2 >> 9 & 1)

    @property
    def work_item_ids(self) -> int:
        """How many dimensions of the work-item's place are in v0, less one."""
        return self.rsrc2 >> 11 & 3

    @property
    def float_mode(self) -> int:
        """Rounding and denormals as the MODE register has them: the low byte."""
        return self.rsrc1 >> 12 & 255


@dataclass(frozen=True)
class KernelCode:
    """A kernel: what the metadata says of it, and its descriptor."""

    name: str
    known: CodeObjectKernel
    descriptor: Descriptor


@dataclass(frozen=True)
class Image:
    """A loaded code object. `code` is memory from address 0 on; addresses are those of the ELF file."""

    code: bytes
    kernels: Mapping[str, KernelCode]
    version: int  # of the code object: 4, 5 or 6

    def kernel(self, name: str | None = None) -> KernelCode:
        """A kernel by name; without one, the only kernel. Raises ImageError with the names there are."""
        names = ", ".join(self.kernels)
        if name is None and len(self.kernels) == 1:
            return next(iter(self.kernels.values()))
        if name is None:
            raise ImageError(f"the code object has {len(self.kernels)} kernels, choose one: {names}")
        if name not in self.kernels:
            raise ImageError(f"the code object has no kernel '{name}'; it has {names}")
        return self.kernels[name]


def load(image: bytes) -> Image:
    """Reads a code object. Raises ImageError."""
    if image[:4] != b"\x7fELF":
        raise ImageError(f"no ELF file: it begins with {image[:4].hex(' ') or 'nothing'}, expected 7f 45 4c 46")
    try:
        return read(ELFFile(io.BytesIO(image)), image)
    except BuildError as error:
        raise ImageError(f"no usable metadata: {error.reason}") from None
    except MALFORMED as error:
        raise ImageError(f"a damaged or truncated ELF file: {str(error)[:200] or type(error).__name__}") from None


def read(elf: Any, image: bytes) -> Image:
    """The contents of an ELF file."""
    header = elf.header
    if header["e_machine"] not in (MACHINE, "EM_AMDGPU"):
        raise ImageError(f"an ELF file for {header['e_machine']}, expected AMD GPU (machine {MACHINE:#x})")
    chip = header["e_flags"] & 255
    if chip not in CHIPS:
        raise ImageError(f"code for {NEAR.get(chip, f'processor number {chip:#x}')}; the emulator runs gfx942")
    if header["e_type"] == "ET_REL":
        raise ImageError("an object that is not linked: link it with `ld.lld -shared` first")
    abi = header["e_ident"]["EI_ABIVERSION"]
    if abi not in ABI_VERSIONS:
        known = ", ".join(str(version) for version in ABI_VERSIONS.values())
        raise ImageError(f"code object ABI number {abi}; known are versions {known}")
    code = segments(elf, image)
    symbols = addresses(elf)
    kernels = {known.name: kernel(known, code, symbols) for known in metadata(image)}
    return Image(code, kernels, ABI_VERSIONS[abi])


def segments(elf: Any, image: bytes) -> bytes:
    """Memory as the loader lays it out, from address 0 on."""
    loaded = [each.header for each in elf.iter_segments() if each.header["p_type"] == "PT_LOAD"]
    size = max((each["p_vaddr"] + each["p_memsz"] for each in loaded), default=0)
    if not 0 < size <= MOST_BYTES:
        raise ImageError(f"the image takes {size} bytes of memory, expected at most {MOST_BYTES}")
    memory = bytearray(size)
    for each in loaded:
        data = image[each["p_offset"] : each["p_offset"] + each["p_filesz"]]
        if len(data) < each["p_filesz"] or each["p_filesz"] > each["p_memsz"]:
            raise ImageError(f"the file is cut off: a segment ends at byte {each['p_offset'] + each['p_filesz']}")
        memory[each["p_vaddr"] : each["p_vaddr"] + len(data)] = data
    return bytes(memory)


def addresses(elf: Any) -> dict[str, int]:
    """The symbols of the file with their addresses."""
    found: dict[str, int] = {}
    for name in (".symtab", ".dynsym"):
        table = elf.get_section_by_name(name)
        if table is not None:
            found |= {symbol.name: symbol["st_value"] for symbol in table.iter_symbols()}
    return found


def kernel(known: CodeObjectKernel, code: bytes, symbols: Mapping[str, int]) -> KernelCode:
    """A kernel of the metadata with its descriptor."""
    address = symbols.get(known.symbol)
    if address is None:
        raise ImageError(f"kernel '{known.name}': the file has no symbol {known.symbol} of its descriptor")
    if address + 64 > len(code):
        raise ImageError(f"kernel '{known.name}': its descriptor at {address:#x} lies outside of the image")
    if known.wave_size != 64:
        raise ImageError(f"kernel '{known.name}': wavefronts of {known.wave_size} lanes, expected 64")
    group, private, kernarg = struct.unpack_from("<III", code, address)
    (entry,) = struct.unpack_from("<q", code, address + 16)
    rsrc3, rsrc1, rsrc2, properties, preload = struct.unpack_from("<IIIHH", code, address + 44)
    found = Descriptor(group, private, kernarg, address + entry, rsrc1, rsrc2, rsrc3, properties, preload)
    if not 0 <= found.entry < len(code) or found.entry % 4:
        raise ImageError(f"kernel '{known.name}': its code would be at {found.entry:#x}, outside of the image")
    if properties & 1 or properties >> 5 & 1 or properties >> 10 & 1:
        raise ImageError(f"kernel '{known.name}': properties {properties:#x} are not those of gfx942")
    return KernelCode(known.name, known, found)
