"""The tile model beside what others measured on MI300X (and MI325X, of the same cores): errors, and orders of sizes.

usage: python scripts/model_errors.py

Each table is one implementation: its problems with its TFLOP/s, and the knobs that are known of its kernels; the model
takes what it ranks first with those. What an implementation reaches of a good one is not in the model, so that beside
others than AMD's library the order of sizes is what can agree. Nothing is measured here; every rate of ours is
*predicted*.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lowering import problem, targets
from lowering.targets.amdgpu import space
from lowering.targets.tile_model import VERSION

CHIP = targets.load("gfx942")
Sizes = tuple[int, int, int]


@dataclass(frozen=True)
class Table:
    """Measured TFLOP/s of one implementation by size."""

    name: str
    source: str
    element: str
    rates: dict[Sizes, float]
    fitted: str = ""  # what of the model was set by these rows
    knobs: dict[str, Any] = field(default_factory=dict[str, Any])


def cube(size: int) -> Sizes:
    """M, N and K alike."""
    return size, size, size


CLOCKS = "its sustained clocks, not its constants,"
LARGE = {"block_m": 256, "block_n": 256, "block_k": 64}
TABLES = (
    Table(
        "hipBLASLt, through aten", "facebookexperimental/triton#2891", "bf16",
        {cube(1024): 84, cube(2048): 330, cube(4096): 612, cube(8192): 635, (1024, 8192, 8192): 569,
         (8192, 1024, 8192): 564}, fitted="its constants",
    ),
    Table("hipBLASLt, AMD's maximum", "ROCm blog, MAF part 2", "bf16", {(4096, 4864, 32896): 708}, CLOCKS),
    Table("hipBLASLt, AMD's maximum", "ROCm blog, MAF part 2", "f16", {(4096, 4864, 32896): 654}, CLOCKS),
    Table("hipBLASLt, AMD's maximum", "ROCm blog, MAF part 2", "f8E4M3FNUZ", {(4096, 4864, 32896): 1273}, CLOCKS),
    Table(
        "Wave, 128x256x64, ping-pong, XCD order", "IREE Wave, workgroup_reordering.rst", "f16",
        {cube(2048): 300, cube(4096): 656, (4864, 4096, 4160): 921},
        knobs={"block_m": 128, "block_n": 256, "block_k": 64},
    ),
    Table(
        "TLX (Triton)", "facebookexperimental/triton#2891", "bf16",
        {cube(1024): 39, cube(2048): 286, cube(4096): 503, cube(8192): 514},
    ),
    Table(
        "HipKittens, 256x256x64, on MI325X", "HipKittens, analysis JSON", "bf16",
        {cube(1024): 60, cube(2048): 298, cube(4096): 714, cube(8192): 749, cube(16384): 714}, knobs=LARGE,
    ),
    Table(
        "PyTorch, on MI325X", "HipKittens, analysis JSON", "bf16",
        {cube(1024): 79, cube(2048): 325, cube(4096): 753, cube(8192): 785, cube(16384): 750},
    ),
)  # fmt: skip


def predicted(table: Table, sizes: Sizes) -> float:
    """TFLOP/s of the schedule that is ranked first with a table's knobs."""
    of = problem.from_shape(*sizes, table.element, layout="nt")
    return space.ranked(table.knobs, of, CHIP)[0][1].rate / 1e12


def inversions(table: Table) -> list[tuple[Sizes, Sizes]]:
    """The pairs of sizes that the model puts in the other order."""
    ours, sizes = {each: predicted(table, each) for each in table.rates}, list(table.rates)
    pairs = [(a, b) for n, a in enumerate(sizes) for b in sizes[n + 1 :]]
    return [(a, b) for a, b in pairs if (table.rates[a] - table.rates[b]) * (ours[a] - ours[b]) < 0]


def main() -> None:
    """Prints every table."""
    for table in TABLES:
        note = f"; {table.fitted} were set by these rows" if table.fitted else ""
        print(f"{table.name}, {table.element} ({table.source}){note}")
        for sizes, rate in table.rates.items():
            ours = predicted(table, sizes)
            name = "x".join(map(str, sizes))
            print(f"  {name:18} measured by others {rate:5.0f}  predicted {ours:5.0f} TFLOP/s  {ours / rate - 1:+.0%}")
        count, wrong = len(table.rates) * (len(table.rates) - 1) // 2, inversions(table)
        if count:
            words = ", ".join(f"{'x'.join(map(str, a))} and {'x'.join(map(str, b))}" for a, b in wrong)
            missed = f"; not {words}" if wrong else ""
            print(f"  pairs of sizes in the same order: {count - len(wrong)} of {count}{missed}")
    print(f"model {VERSION}")


if __name__ == "__main__":
    main()
