"""Assembly as what tells two binaries apart: without comments and with symbols numbered; and what it is made of.

Two assemblies that differ only in names or comments do the same, instruction for instruction, on the same data.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator

STRING = r'"(?:[^"\\]|\\.)*"'
COMMENT = {"#": "#", ";": ";", "//": "//"}
LABEL = re.compile(r"^\s*([\w.$]+):", re.MULTILINE)
DECLARED = re.compile(
    r"^\s*(?:\.(?:globl|global|type|protected|hidden|amdhsa_kernel)|\.visible\s+\.entry|\.entry|\.func)\s+"
    r"([\w.$]+)(?=\s*(?:[,(]|$))",
    re.MULTILINE,
)
VARIABLE = re.compile(  # of PTX: `.shared .align 16 .b8 name[64];`, a type always before the name
    r"^\s*(?:\.(?:visible|extern|weak|common)\s+)?\.(?:shared|global|const|local)\s+"
    r"(?:\.[\w.]+(?:\([^)]*\))?\s+(?:\d+\s+)?)+([\w$]+)\s*[\[;=,]",
    re.MULTILINE,
)
METADATA = re.compile(r"^\s*\.amdgpu_metadata$.*?^\s*\.end_amdgpu_metadata$", re.MULTILINE | re.DOTALL)
IDENT = re.compile(r"^\s*\.(?:file|ident)\b")
OPCODE = re.compile(r"\s*(?:@!?%?\w+\s+)?([a-z_][\w.]*)")
MULTIPLY_ADD = re.compile(r"v?fn?m(?:add|sub)|v_(?:pk_)?(?:fma|mfma|dot|mad)|(?:fma|mad|wgmma|mma|dp4a)\b")


def comment_mark(triple: str) -> str:
    """What begins a comment in LLVM's assembly for a triple."""
    machine = triple.split("-")[0]
    return {"amdgcn": ";", "nvptx64": "//"}.get(machine, "#")


def bare_lines(text: str, mark: str) -> Iterator[str]:
    """The lines without comments, blank ends and empty lines; strings are left alone."""
    cut = re.compile(rf"({STRING})|{re.escape(mark)}.*")
    for line in text.splitlines():
        if mark in line:
            line = cut.sub(lambda found: found[1] or "", line)
        line = line.rstrip()
        if line and not IDENT.match(line):
            yield line


def symbols(text: str) -> list[str]:
    """The names that an assembly defines or declares, in order."""
    text = METADATA.sub("", text)  # its keys look like labels
    patterns = (LABEL, DECLARED, VARIABLE)
    found = sorted((each.start(), each[1]) for pattern in patterns for each in pattern.finditer(text))
    return list(dict.fromkeys(name for _, name in found))


def normal_assembly(text: str, mark: str) -> str:
    """The assembly without comments, its symbols numbered in the order of their appearance. Strings stay."""
    bare = "\n".join(bare_lines(text, mark))
    names = {name: f"@{number}" for number, name in enumerate(symbols(bare))}
    if not names:
        return bare
    # A symbol's name may be followed by '.kd' (a kernel's descriptor) or '_param_0' (a PTX parameter).
    known = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    word = re.compile(rf"{STRING}|(?<![\w$.])(?:{known})(?=$|[^\w$]|_param_)", re.MULTILINE)
    return word.sub(lambda found: names.get(found[0], found[0]), bare)


def digest(text: str, mark: str) -> str:
    """SHA-256 of the normal assembly."""
    return hashlib.sha256(normal_assembly(text, mark).encode()).hexdigest()


def figures(text: str, mark: str) -> dict[str, int]:
    """Static counts: instructions, and multiply-adds and matrix instructions among them."""
    opcodes = Counter(name for line in bare_lines(text, mark) if (name := opcode(line)))
    return {
        "instructions": opcodes.total(),
        "multiply_adds": sum(count for name, count in opcodes.items() if MULTIPLY_ADD.match(name)),
    }


def opcode(line: str) -> str:
    """The mnemonic of a line; empty for labels, directives and braces."""
    if line.lstrip().startswith((".", "{", "}", "(", ")")) or LABEL.match(line):
        return ""
    found = OPCODE.match(line)
    return found[1] if found else ""
