"""The table of sm_90's measured results: prints it, or writes it into README.md.

usage: python scripts/sm90_table.py [scripts/results/h100.json] [--readme]

A row meets its bar by its ratio to cuBLASLt ("met", or "aim" where it reaches what is aimed at), or by a time of at
most 1.08 times the roofline measured in the same run ("roof"): the best rate at which any product of that type ran
there, ours or cuBLASLt's, and the rate of a copy on the device for the bytes of all arguments.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MARK = "<!-- made by scripts/sm90_table.py --readme -->"
NEAR = 1.08  # times the roofline at most


def roof(row: dict[str, Any], all_: Sequence[dict[str, Any]]) -> float:
    """Milliseconds at the rates that were measured in the run: the best product of that type, a copy's bytes."""
    alike = [each for each in (row, *all_) if each["ms"] and each["dtype"] == row["dtype"] and not each["epilogue"]]
    rate = max((each["tflops"] * max(1.0, 1 / each["ratio_to_cublas"]) for each in alike), default=row["tflops"])
    return max(row["tflops"] * row["ms"] / rate, 1e-6 * row["bytes"] / row["copy_gb_s"])


def verdict(row: dict[str, Any], all_: Sequence[dict[str, Any]]) -> str:
    """How a row stands to its bar."""
    if not row["ms"]:
        return "failed"
    if row["ratio_to_cublas"] >= row["bar"]:
        return "aim" if row["ratio_to_cublas"] >= row["aim"] else "met"
    return "roof" if row["ms"] <= NEAR * roof(row, all_) else "missed"


def table(found: Sequence[dict[str, Any]]) -> list[str]:
    """The table in Markdown."""
    lines = [
        "| problem | type | layout | µs | TFLOP/s | to cuBLASLt | bar | | to Triton |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found:
        name = row["problem"] + (f", {row['epilogue']}" if row["epilogue"] else "")
        head = f"| {name} | {row['dtype']} | {row['layout']} |"
        if not row["ms"]:
            lines.append(f"{head} | | | {row['bar']:.2f} | {row['verified'][:60]} | |")
            continue
        other = f"{row['ratio_to_triton']:.2f}" if row["ratio_to_triton"] else ""
        lines.append(
            f"{head} {1e3 * row['ms']:.1f} | {row['tflops']:.0f} | {row['ratio_to_cublas']:.2f} | {row['bar']:.2f} | "
            f"{verdict(row, found)} | {other} |"
        )
    return lines


def summary(found: Sequence[dict[str, Any]]) -> list[str]:
    """What the table comes to."""
    timed = [row for row in found if row["ms"]]
    words = [verdict(row, found) for row in found]
    to_triton = [row["ratio_to_triton"] for row in timed if row["ratio_to_triton"]]
    lines = [
        f"{sum(word in ('met', 'aim', 'roof') for word in words)} of {len(found)} rows meet their bar, of which "
        f"{words.count('roof')} by being within 8 % of the roofline measured in the run.",
        f"Geometric mean to cuBLASLt {mean([row['ratio_to_cublas'] for row in timed]):.3f}.",
    ]
    if to_triton:
        lines.append(f"Geometric mean to Triton {mean(to_triton):.3f}, the least {min(to_triton):.2f}.")
    return lines


def page(content: dict[str, Any]) -> list[str]:
    """What README.md has of a file."""
    found = content["rows"]
    return [f"Measured on: {content['device']}.", "", *table(found), "", *summary(found)]


def mean(ratios: Iterable[float]) -> float:
    """The geometric mean; 0 of nothing."""
    logs = [math.log(each) for each in ratios]
    return math.exp(sum(logs) / len(logs)) if logs else 0.0


def readme(lines: Sequence[str]) -> None:
    """Puts lines between the marks in README.md."""
    file = ROOT / "README.md"
    before, _, rest = file.read_text().partition(MARK + "\n")
    _, _, after = rest.partition(MARK + "\n")
    file.write_text("\n".join((before + MARK, *lines, MARK, "")) + after)


def main() -> int:
    """0 where every row meets its bar."""
    parser = argparse.ArgumentParser(description="the table of sm_90's measured results")
    parser.add_argument("file", nargs="?", type=Path, default=ROOT / "scripts" / "results" / "h100.json")
    parser.add_argument("--readme", action="store_true", help="write it into README.md")
    given = parser.parse_args()
    content = json.loads(given.file.read_text())
    found = content["rows"]
    if given.readme:
        readme(page(content))
        return 0
    print("\n".join(page(content)))
    return 0 if all(verdict(row, found) in ("met", "aim", "roof") for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
