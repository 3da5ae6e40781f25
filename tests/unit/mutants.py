"""States that differ from a printed state in one token, for tests of the normal form; `judged` runs in a worker.

A token is a number, a string, an operand, a successor, an alias or a word of a group that can stand for each other.
Many variants do not parse or verify: who asks tries them, in a process that may fall.
"""

import re
from itertools import pairwise

from lowering import mlir
from lowering.core import PassError
from lowering.normal import FUNCTION, normal_digest

TOKEN = re.compile(
    r'(?P<comment>//.*)|(?P<string>"(?:[^"\\]|\\.)*")|(?P<operand>%[\w$.-]+(?:#\d+)?)|(?P<block>\^bb\d+)'
    r"|(?P<symbol>[@#!][\w$.-]+)"
    r"|(?P<number>0x[0-9A-F]+\b|-?\d+(?:\.\d+(?:e[-+]\d+)?)?(?![\w.])|(?<=[<x])\d+(?=x))|(?P<word>[A-Za-z_][\w.]*)"
)
RESULTS = re.compile(r"^ *((?:%[\w$.-]+(?::\d+)?(?:, )?)+) = ", re.MULTILINE)
TYPED = re.compile(r"(%[\w$.-]+): ((?:[^,()<{]|<[^<>]*(?:<[^<>]*>[^<>]*)*>)+)")
WORDS = """
f16 bf16 f32 f64
i1 i8 i16 i32 i64 index
arith.addi arith.subi arith.muli arith.andi arith.ori arith.xori arith.maxsi arith.minsi arith.divsi
arith.addf arith.subf arith.mulf arith.divf arith.maximumf arith.minimumf arith.maxnumf
arith.index_cast arith.index_castui
arith.extsi arith.extui
llvm.add llvm.sub llvm.mul llvm.and llvm.or llvm.xor llvm.sdiv llvm.udiv llvm.urem llvm.shl
llvm.fadd llvm.fsub llvm.fmul llvm.fdiv llvm.frem
llvm.sext llvm.zext
llvm.intr.fma llvm.intr.fmuladd
affine.min affine.max
eq ne slt sle sgt sge ult ule ugt uge
oeq one olt ole ogt oge ueq une
true false
parallel reduction
add mul minnumf maxnumf minimumf maximumf
x y z
nsw nuw
none contract reassoc nnan ninf nsz arcp fast
workgroup private global
floordiv ceildiv mod
d0 d1 d2 d3
s0 s1 s2 s3
rocdl.workitem.id.x rocdl.workitem.id.y rocdl.workitem.id.z
rocdl.workgroup.id.x rocdl.workgroup.id.y rocdl.workgroup.id.z
"""
GROUP = {word: line.split() for line in WORDS.splitlines() for word in line.split()}
NUMBERS = ("0", "1", "2", "3", "5", "8", "24", "48", "96", "130")


def sites(text):
    """The tokens of a state that can be changed, by kind: where each begins and ends, and what may stand there."""
    aliases = re.findall(r"^[#!]\w+(?= = )", text, re.MULTILINE)
    known = GROUP | {alias: [other for other in aliases if other[0] == alias[0]] for alias in aliases}
    definitions = dict(found.span(1) for found in RESULTS.finditer(text))
    found = {}
    for start, stop in pairwise([0, *(each.start() for each in FUNCTION.finditer(text)), len(text)]):
        function, defined = text[start:stop], 0
        blocks = sorted(set(re.findall(r"\^bb\d+", function)))
        instead = known | named_alike(function) | dict.fromkeys(blocks, blocks)
        for token in TOKEN.finditer(text, start, stop):
            defined = max(defined, definitions.get(token.start(), 0))
            old, kind = token[0], token.lastgroup
            news = OF_KIND[kind](old) if kind in OF_KIND else instead.get(old, ())
            if token.start() >= defined and (variants := [new for new in news if new != old]):
                found.setdefault(kind, []).append((token.start(), token.end(), variants))
    return found


def strings(old):
    """Strings that can stand for a string."""
    return [f'{old[:-1]}{more}"' for more in "abcdefghi"]


def numbers(old):
    """Numbers that can stand for a number."""
    if old.startswith("0x"):
        return [f"0x{int(old, 16) ^ 1 << bit:0{len(old) - 2}X}" for bit in range(9)]
    return [f"{each}.5" for each in NUMBERS] if "." in old else NUMBERS


OF_KIND = {"string": strings, "number": numbers}


def named_alike(function):
    """For each name of a function, those of probably the same type: the ends of the defining lines are alike."""
    types = {}
    for line in function.splitlines():
        if result := re.match(r" *(%[\w$.-]+) = (\S+)(.*)", line):
            end = re.search(r".*(?: : | to | -> )(.*)", result[3])
            types[result[1]] = end[1] if end else result[2]
        if loop := re.search(r"scf\.for (%[\w$.-]+)", line):
            types[loop[1]] = "index"
        types |= {name: kind.strip() for name, kind in TYPED.findall(line)}
    groups = {}
    for name, kind in types.items():
        groups.setdefault(kind, []).append(name)
    return {name: groups[kind] for name, kind in types.items()}


def judged(texts, at):
    """For each text the digests of its printed form and of its normal form; None where it is no valid module."""
    found = []
    for number, text in enumerate(texts):
        at(str(number))
        try:
            module = mlir.parse(text)
        except PassError:
            found.append(None)
            continue
        printed = module.operation.get_asm(assume_verified=True)  # the parser has verified it
        found.append((mlir.digest(printed), normal_digest(module, printed)))
    return found
