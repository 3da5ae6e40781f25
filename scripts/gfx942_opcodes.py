"""Writes targets/amdgpu/emulator/opcodes.tsv: what each opcode of each format is called and which operands it has.

    python scripts/gfx942_opcodes.py [llvm-mc]

The assembler's own disassembler is asked: for every format and opcode a word is made whose fields hold registers that
tell the fields apart, and the operands are read off the text. A row is `format opcode mnemonic operands`; an operand is
`field:dwords`, in the order of the assembly text; what is no register of a field stands as it is spelt (vcc, off, ...).
The first line names the version of LLVM.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path

TABLE = Path(__file__).parent.parent / "targets" / "amdgpu" / "emulator" / "opcodes.tsv"
MC = sys.argv[1] if len(sys.argv) > 1 else "llvm-mc"
COMMAND = [MC, "--disassemble", "-triple=amdgcn-amd-amdhsa", "-mcpu=gfx942"]

# Per format: opcodes, fixed bits, where the opcode lies, and each register field: (shift, bits to write, as printed)
S, V, A = "s", "v", "a"
# what else an instruction may need: more bytes for a literal, and flags
VARIANTS = {
    "SMEM": ((0, 0x20000), (0, 0)),  # an immediate offset
    "MUBUF": ((0, 0x1000), (0, 0)),  # offen
    "VOP2": ((0, 0), (4, 0x4242 << 32)),
    "SOPK": ((0, 0), (4, 0x4242 << 32)),
}
Field = tuple[int, int, str, int]  # shift, the value written, register file and number as it is printed


def fields(**named: Field) -> dict[str, Field]:
    """The register fields of a format."""
    return named


FORMATS: dict[str, tuple[int, int, int, int, dict[str, Field]]] = {
    # name: (opcodes, base word, shift of the opcode, bytes, fields)
    "SOP2": (96, 0x80000000, 23, 4, fields(sdst=(16, 16, S, 16), ssrc0=(0, 32, S, 32), ssrc1=(8, 64, S, 64))),
    "SOPK": (29, 0xB0000000, 23, 4, fields(sdst=(16, 16, S, 16))),
    "SOP1": (256, 0xBE800000, 8, 4, fields(sdst=(16, 16, S, 16), ssrc0=(0, 32, S, 32))),
    "SOPC": (128, 0xBF000000, 16, 4, fields(ssrc0=(0, 32, S, 32), ssrc1=(8, 64, S, 64))),
    "SOPP": (128, 0xBF800000, 16, 4, fields()),
    "SMEM": (256, 0xC0000000, 18, 8, fields(sdata=(6, 32, S, 32), sbase=(0, 8, S, 16))),
    "VOP2": (62, 0, 25, 4, fields(vdst=(17, 16, V, 16), src0=(0, 256 + 32, V, 32), vsrc1=(9, 64, V, 64))),
    "VOP1": (256, 0x7E000000, 9, 4, fields(vdst=(17, 16, V, 16), src0=(0, 256 + 32, V, 32))),
    "VOPC": (256, 0x7C000000, 17, 4, fields(src0=(0, 256 + 32, V, 32), vsrc1=(9, 64, V, 64))),
    "VOP3": (
        896,
        0xD0000000,
        16,
        8,
        fields(
            vdst=(0, 16, V, 16),
            src0=(32, 256 + 32, V, 32),
            src1=(41, 256 + 64, V, 64),
            src2=(50, 256 + 96, V, 96),
        ),
    ),
    "VOP3P": (
        128,
        0xD3800000,
        16,
        8,
        fields(
            vdst=(0, 16, V, 16),
            src0=(32, 256 + 32, V, 32),
            src1=(41, 256 + 64, V, 64),
            src2=(50, 256 + 96, V, 96),
        ),
    ),
    "DS": (
        256,
        0xD8000000,
        17,
        8,
        fields(addr=(32, 16, V, 16), data0=(40, 32, V, 32), data1=(48, 64, V, 64), vdst=(56, 96, V, 96)),
    ),
    "FLAT": (
        128,
        0xDC000000,
        18,
        8,
        fields(addr=(32, 16, V, 16), data=(40, 32, V, 32), vdst=(56, 96, V, 96), saddr=(48, 0, S, 127)),
    ),
    "GLOBAL": (
        128,
        0xDC008000,
        18,
        8,
        fields(addr=(32, 16, V, 16), data=(40, 32, V, 32), vdst=(56, 96, V, 96), saddr=(48, 64, S, 64)),
    ),
    "SCRATCH": (
        128,
        0xDC006000,
        18,
        8,
        fields(addr=(32, 16, V, 16), data=(40, 32, V, 32), vdst=(56, 96, V, 96), saddr=(48, 64, S, 64)),
    ),
    "MUBUF": (
        128,
        0xE0000000,
        18,
        8,
        fields(vaddr=(32, 16, V, 16), vdata=(40, 32, V, 32), srsrc=(48, 16, S, 64), soffset=(56, 32, S, 32)),
    ),
}  # fmt: skip
MARK = (
    0xBF808000  # s_nop 0x8000 + the word's number: where the disassembler goes on after what it does not know. Twice,
)
# since an instruction may take the first one for its literal


def probe(name: str, opcode: int, used: frozenset[str], flags: int = 0) -> int:
    """The word of an opcode with some of the register fields and some flags set."""
    _, base, shift, _, places = FORMATS[name]
    word = base | opcode << shift | flags
    for field, (at, value, *_) in places.items():
        word |= value << at if field in used else 0
    return word


def disassemble(words: list[tuple[int, int]]) -> list[str]:
    """The text of each word, '' where there is no such instruction."""
    marked = [
        word.to_bytes(size, "little") + 2 * (MARK | index).to_bytes(4, "little")
        for index, (word, size) in enumerate(words)
    ]
    lines = "".join(" ".join(f"0x{byte:02x}" for byte in each) + "\n" for each in marked)
    done = subprocess.run(COMMAND, input=lines, capture_output=True, text=True, check=False)
    found = ["" for _ in words]
    refused = {int(line) for line in re.findall(r"<stdin>:(\d+):\d+: warning: invalid", done.stderr)}
    between: list[str] = []
    for line in (line.strip() for line in done.stdout.splitlines() if re.match(r"\t[a-z]", line)):
        if (mark := re.fullmatch(r"s_nop 0x8([0-9a-f]{3})", line)) is None:
            between.append(line)
            continue
        index = int(mark[1], 16)
        if len(between) == 1 and index + 1 not in refused and "0xbf808" not in between[0]:
            found[index] = between[0]
        between.clear()
    return found


REGISTER = re.compile(r"^([sva])(?:(\d+)|\[(\d+):(\d+)\])$")


def operands(text: str, places: dict[str, Field]) -> str:
    """The operands of an instruction's text as fields and widths."""
    body = re.sub(r"\w+:\[[^]]*\]|/\*[^*]*\*/|hwreg\([^)]*\)|sendmsg\([^)]*\)", "", text.partition(" ")[2])
    found: list[str] = []
    for part in (part.strip() for part in body.split(",") if part.strip()):
        for index, piece in enumerate(part.split()):
            match = REGISTER.match(piece)
            if match is None:
                if index == 0:
                    found.append("literal" if piece == "0x4242" else piece)
                continue
            bank, number = match[1], int(match[2] or match[3])
            width = 1 if match[2] else int(match[4]) - number + 1
            same = [n for n, (_, _, file, v) in places.items() if v == number and file == bank]
            names = same or [n for n, (_, _, _, v) in places.items() if v == number]
            found.append(f"{names[0] if names else 'sdst'}:{width}")
    return " ".join(found)


def rows() -> Iterator[tuple[str, int, str, str]]:
    """All rows of the table."""
    for name, (count, _, _, size, places) in FORMATS.items():
        # a field that an instruction does not use must be 0 in some formats
        kinds = VARIANTS.get(name, ((0, 0),))
        sets = [
            [(probe(name, opcode, used, flags), size + extra) for opcode in range(count)]
            for extra, flags in kinds
            for used in subsets(places)
        ]
        found = [disassemble(words) for words in sets]
        for opcode in range(count):
            text = next((texts[opcode] for texts in found if texts[opcode]), "")
            if text:
                yield name, opcode, text.split()[0], operands(text, places)


def subsets(names: Iterable[str]) -> list[frozenset[str]]:
    """All subsets, the largest first."""
    listed = list(names)
    return [frozenset(each) for n in range(len(listed), -1, -1) for each in combinations(listed, n)]


def main() -> None:
    """Writes the table."""
    version = subprocess.run([MC, "--version"], capture_output=True, text=True, check=True).stdout
    number = re.search(r"LLVM version (\S+)", version)
    lines = [f"# gfx942 as LLVM {number[1] if number else '?'} disassembles it; scripts/gfx942_opcodes.py"]
    lines += ["\t".join(map(str, row)) for row in rows()]
    TABLE.write_text("\n".join(lines) + "\n")
    print(f"{len(lines) - 1} opcodes in {TABLE.name}")


if __name__ == "__main__":
    main()
