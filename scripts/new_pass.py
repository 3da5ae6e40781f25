"""Makes the three pieces of a new pass: its file, its line in the table, and its `.mlir` test.

python scripts/new_pass.py common hoist-loads         # passes/common/hoist_loads.py and so on
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

PASS = '''"""TODO: one sentence, what this pass is for.

before -> after: TODO, the few lines of IR that it changes, on both sides of the arrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from lowering import mlir
from lowering.core import Pass, PassError


@dataclass(frozen=True)
class {cls}(Pass):
    """TODO: what it does, in one sentence. Its fields are its options."""

    name: ClassVar[str] = "{name}"

    def apply(self, module: Any) -> None:
        found = mlir.walk(module, lambda op: op.name == "func.func")
        if not found:
            raise PassError("TODO: says what it looked for; found no func.func")
'''

TEST = """// RUN: lower opt %s --pass-pipeline='builtin.module({name})' | filecheck %s

// TODO: one sentence about what is checked.
// CHECK-LABEL: func.func @main
func.func @main() {{
  return
}}
"""


def main() -> int:
    """Writes the pieces; refuses where one of them is there already."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", choices=[p.name for p in sorted((ROOT / "passes").iterdir()) if is_part(p)])
    parser.add_argument("name", help="in kebab-case, as it is typed in a schedule")
    words = parser.parse_args()
    module = words.name.replace("-", "_")
    cls = "".join(part.capitalize() for part in words.name.split("-"))
    pieces = {
        ROOT / "passes" / words.folder / f"{module}.py": PASS.format(cls=cls, name=words.name),
        ROOT / "tests" / "passes" / f"{words.name}.mlir": TEST.format(name=words.name),
    }
    for path in pieces:
        if path.exists():
            print(f"{path.relative_to(ROOT)} is there already", file=sys.stderr)
            return 2
    for path, text in pieces.items():
        path.write_text(text)
        print(f"wrote {path.relative_to(ROOT)}")
    add_line(ROOT / "passes" / "table.py", f"lowering.passes.{words.folder}.{module}", cls)
    print(f"added {cls} to passes/table.py")
    return 0


def is_part(path: Path) -> bool:
    """Whether a folder of passes/ holds passes."""
    return (path / "__init__.py").is_file()


def add_line(table: Path, module: str, cls: str) -> None:
    """Adds a class to the table: an import, and an entry before the closing bracket."""
    lines = table.read_text().splitlines()
    imports = [i for i, line in enumerate(lines) if line.startswith("from lowering.passes.")]
    new = f"from {module} import {cls}"
    at = next((i for i in imports if lines[i] > new), imports[-1] + 1)
    lines.insert(at, new)
    start = next(i for i, line in enumerate(lines) if line.startswith("TABLE"))
    end = next(i for i in range(start, len(lines)) if lines[i] == ")")
    lines.insert(end, f"    {cls},")
    table.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
