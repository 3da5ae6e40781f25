"""Writes passes/upstream.tsv: every pass and pipeline the MLIR wheel has registered, its summary and the op it needs.

MLIR's bindings run a pass by name but cannot list them, and `torch-mlir-opt --help` knows only torch-mlir's own. So the
registry is read where it lies: in this process's heap, as pairs of std::string (name, summary), 32 bytes each. What
looks like such a pair is a candidate, and counts where MLIR itself parses a pipeline with that name. Linux only.

    python scripts/upstream_passes.py            # after a new torch-mlir; the diff of the file says what changed
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np

from lowering import mlir
from lowering.passes.upstream import manager_text

OUTPUT = Path(__file__).resolve().parent.parent / "passes" / "upstream.tsv"
NAME = re.compile(rb"[a-z][a-z0-9]*(-[a-z0-9]+)*")
ANCHORS = ("", "func.func", "gpu.module", "gpu.func", "llvm.func", "spirv.module", "omp.private", "emitc.func")
LONGEST_NAME, LONGEST_SUMMARY = 80, 600


class Heap:
    """The writable anonymous memory of this process."""

    def __init__(self) -> None:
        self.file = Path("/proc/self/mem").open("rb", buffering=0)  # noqa: SIM115  (open as long as the process)
        self.areas = [area for line in Path("/proc/self/maps").read_text().splitlines() if (area := self.area(line))]

    @staticmethod
    def area(line: str) -> tuple[int, int] | None:
        """First and last address of a line of /proc/self/maps, where it is heap."""
        bounds, permissions, _, _, _, *path = line.split()
        if not permissions.startswith("rw") or (path and path[0] != "[heap]"):
            return None
        low, high = bounds.split("-")
        return int(low, 16), int(high, 16)

    def read(self, address: int, length: int) -> bytes:
        """Bytes at an address; none where it is not ours."""
        if not any(low <= address and address + length <= high for low, high in self.areas):
            return b""
        self.file.seek(address)
        return self.file.read(length)

    def pairs(self) -> Iterator[tuple[bytes, bytes]]:
        """What may be two std::strings (pointer, length, 16 bytes) in a row."""
        for low, high in self.areas:
            words = np.frombuffer(self.read(low, high - low), dtype=np.uint64)
            if len(words) < 8:
                continue
            first, second = words[1:-4], words[5:]
            likely = (first > 1) & (first < LONGEST_NAME) & (second > 0) & (second < LONGEST_SUMMARY)
            for i in np.nonzero(likely)[0]:
                yield self.read(int(words[i]), int(words[i + 1])), self.read(int(words[i + 4]), int(words[i + 5]))


def anchor(name: str) -> str | None:
    """The op that a pass must be anchored on: '' for none, '?' where none of ours will do, None: no such pass."""
    for op in ANCHORS:
        try:
            manager_text(f"{op}({name})" if op else name)
            return op
        except ValueError as error:
            if "does not refer to a registered pass" in str(error):
                return None
    return "?"


def registered() -> dict[str, str]:
    """Name -> summary of everything registered; the summary ends in the op the pass needs, in brackets."""
    mlir.context()
    pairs = [pair for pair in Heap().pairs() if NAME.fullmatch(pair[0])]
    found: dict[str, str] = {}
    for raw, summary in pairs:
        name = raw.decode()
        on = anchor(name) if name not in found else None
        if on is not None:
            text = " ".join(summary.decode(errors="replace").split())
            found[name] = f"{text} [{on}]" if on else text
    return found


def main() -> None:
    """Writes the file, or another one that is named."""
    found = registered()
    version = (
        metadata.version("torch-mlir") if mlir.PACKAGE == "torch_mlir" else metadata.version("mlir-python-bindings")
    )
    head = [
        f"# {len(found)} passes of {mlir.PACKAGE} {version}; written by scripts/upstream_passes.py.",
        "# The summaries are LLVM's and torch-mlir's own (Apache-2.0 WITH LLVM-exception). [op]: its anchor.",
    ]
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else OUTPUT
    output.write_text("\n".join([*head, *(f"{name}\t{found[name]}" for name in sorted(found))]) + "\n")
    print(f"{output}: {len(found)} passes")


if __name__ == "__main__":
    main()
