"""The shape of the project: package table, import order, no chip in the code, light imports, a test for every pass."""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

from lowering import targets
from lowering.passes.common.backend import BACKEND
from lowering.passes.table import PASSES

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("lowering", "passes", "agent", "targets")
SOURCES = sorted(path for part in PARTS for path in (ROOT / part).rglob("*.py"))

# The order of the design: a file may import its own layer and those before it. A file that is not named is a helper of
# others; its layer is the last one that it needs itself, so a backward import through a helper is seen too.
LAYERS = (
    ("core",),
    ("mlir", "problem", "find"),
    ("passes", "targets"),
    ("codegen", "lower", "verify", "timing", "worker", "candidate", "state_check", "normal", "op_counts"),
    ("graph", "store", "resume", "plan", "explore", "miscompiles", "terminals", "findings"),
    ("agent",),
    ("search", "report", "diff", "diff_report", "graph_record", "graph_report", "graph_run", "bisect", "ladder"),
    ("cli", "frontend", "opt", "listing", "doctor", "graph_command", "bisect_command", "ladder_command"),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}


def module_name(path):
    """`passes/common/tile.py` -> lowering.passes.common.tile"""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "lowering" else ("lowering", *parts)
    return ".".join(parts).removesuffix(".__init__")


@cache
def tree(path):
    return ast.parse(path.read_text())


def imported(path):
    """Names of our modules that a file imports anywhere in it, as far as they can be read from the text."""
    known = {module_name(source) for source in SOURCES}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "lowering")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "lowering":
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in known else node.module


@cache
def rank(module):
    """The layer of `lowering.x...`; the package itself has the first."""
    part = module.split(".")[1] if "." in module else ""
    if part in RANK or not part:
        return RANK.get(part, 0)
    return max((rank(name) for name in imported(ROOT / "lowering" / f"{part}.py") if name != module), default=0)


def backwards(path):
    """Imports of a file that point to a later layer."""
    own = rank(module_name(path))
    return [name for name in imported(path) if rank(name) > own]


def docstrings(root):
    """The ids of the constants that are docstrings."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {id(n.body[0].value) for n in ast.walk(root) if isinstance(n, kinds) and n.body and is_text(n.body[0])}


def is_text(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def words(root):
    """Every string and identifier of a tree that is no docstring, with its line."""
    docs = docstrings(root)
    for node in ast.walk(root):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value
        for field in ("id", "attr", "name", "arg"):
            if isinstance(value := getattr(node, field, None), str):
                yield getattr(node, "lineno", 0), value


def chips(path):
    """The chip names in a file's strings and identifiers."""
    named = re.compile("|".join([*map(re.escape, targets.names()), r"gfx\d+", r"sm_\d+"]))
    return [f"{path.relative_to(ROOT)}:{line}: {word}" for line, word in words(tree(path)) if named.search(word)]


def test_package_table_is_the_folders():
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert sorted(table) == sorted({module_name(path.parent / "__init__.py") for path in SOURCES})
    assert all((path.parent / "__init__.py").is_file() for path in SOURCES)


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_imports_point_to_earlier_layers(path):
    assert backwards(path) == []


def test_a_backward_import_is_seen():
    assert rank("lowering.passes.pipeline") < rank("lowering.search")
    assert "lowering.search" in set(imported(ROOT / "lowering" / "frontend.py"))


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if path.relative_to(ROOT).parts[0] != "targets"], ids=module_name
)
def test_no_chip_in_the_code(path):
    assert chips(path) == []


def test_a_chip_in_the_code_is_seen():
    root = ast.parse('"""gfx942 in a docstring is fine."""\nx = f"for {y} gfx942"\n')
    assert [word for _, word in words(root) if "gfx942" in word] == [" gfx942"]


@pytest.mark.parametrize("module", ["lowering", "lowering.cli"])
def test_imports_are_light(module):
    code = f"import sys, {module}; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    loaded = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {"torch", "mlir", "torch_mlir", "numpy", "llvmlite", "pydantic", "openai"} & set(loaded) == set()


def test_no_command_imports_torch():
    code = "import sys, lowering.frontend, lowering.doctor, lowering.candidate; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", sorted(set(PASSES) - {cls.name for cls in BACKEND}))
def test_every_pass_of_ours_has_an_mlir_test(name):
    used = re.compile(rf"RUN:.*[=(,'\" ]{re.escape(name)}[{{,)'\" ]")
    assert any(used.search(file.read_text()) for file in (ROOT / "tests" / "passes").glob("*.mlir"))


@pytest.mark.parametrize("name", sorted(PASSES))
def test_every_pass_shows_before_and_after(name):
    file = sys.modules[PASSES[name].__module__]
    assert re.search(r"before\b.*\bafter\b", file.__doc__ or "", re.DOTALL)
    assert (PASSES[name].__doc__ or "").strip()
