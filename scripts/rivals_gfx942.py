"""Our default schedules for gfx942 beside Triton's and IREE's binaries for the same problems: counted, not timed.

    pip install 'triton==3.9.0' 'iree-base-compiler==3.13.0' numpy      # an environment of their own is enough
    python scripts/rivals_gfx942.py build FOLDER                        # there: compiles them; no GPU is needed
    python scripts/rivals_gfx942.py count FOLDER                        # here: counts all, prints the table, keeps it

Triton compiles a kernel without masks, its sizes known, its pointers aligned, for each of CONFIGS. It has no rule for
tiles of its own: the one without spills that the tile model predicts to be the fastest stands for it, as for us. IREE
compiles the payload as it is. Counts are of whole tiles: some workgroups of the real grid, per thousand multiply-adds.
A cell is won with less, or a larger share.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["TRITON_DISABLE_LINE_INFO"] = "1"
RESULT = Path(__file__).parent / "results" / "gfx942_rivals.json"
CONFIGS = (  # block sizes in M, N and bytes of K, warps
    (256, 256, 128, 8), (256, 128, 128, 8), (128, 128, 128, 4), (128, 128, 64, 4), (64, 128, 128, 4), (64, 64, 128, 4),
    (16, 64, 256, 4),
)  # fmt: skip
KINDS = {  # MLIR's name: bytes, Triton's, accumulator, Triton's output, MLIR's output
    "f16": (2, "fp16", "fp32", "fp16", "f16"), "bf16": (2, "bf16", "fp32", "bf16", "bf16"),
    "i8": (1, "i8", "i32", "i32", "i32"), "f8E4M3FNUZ": (1, "fp8e4b8", "fp32", "bf16", "bf16"),
}  # fmt: skip
PROBLEMS = (
    *((size, size, size, kind, layout) for size in (1024, 4096) for kind in KINDS for layout in ("nt", "nn")),
    (512, 4096, 4096, "bf16", "nt"),
    (16, 12288, 4096, "bf16", "nt"),
    (4096, 10240, 8192, "bf16", "nt"),
)


# --- where the compilers are ------------------------------------------------------------------------------------------


def build(folder: Path) -> None:
    """Compiles all rivals."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for problem in PROBLEMS:
        for each in (*triton_binaries(problem), *iree_binary(problem)):
            name = f"{len(made)}.hsaco"
            (folder / name).write_bytes(each.pop("image"))
            made.append({"problem": list(problem), "file": name, **each})
        print(problem, len(made), flush=True)
    (folder / "index.json").write_text(json.dumps(made, indent=1))


def triton_binaries(problem):
    """One for each configuration that divides the problem and compiles."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    sys.path.insert(0, str(Path(__file__).parent))
    import rivals_triton as source

    m, n, k, kind, layout = problem
    nbytes, element, accumulator, output, _ = KINDS[kind]
    for bm, bn, row, warps in CONFIGS:
        bk = row // nbytes
        if m % bm or n % bn or k % bk:
            continue
        total = source.tl.int32 if accumulator == "i32" else source.tl.float32
        constants = {"M": m, "N": n, "K": k, "BM": bm, "BN": bn, "BK": bk, "TURNED": layout[1] == "t",
                     "GROUP": 4, "KIND": total}  # fmt: skip
        signature = {"a": f"*{element}", "b": f"*{element}", "c": f"*{output}"} | dict.fromkeys(constants, "constexpr")
        places = {(source.matmul.arg_names.index(name),): value for name, value in constants.items()}
        aligned = {(i,): [["tt.divisibility", 16], ["tt.pointer_range", 32]] for i in range(3)}
        options = {"num_warps": warps, "num_stages": 2, "matrix_instr_nonkdim": 16}
        try:
            made = triton.compile(
                ASTSource(source.matmul, signature, places, aligned),
                target=GPUTarget("hip", "gfx942", 64),
                options=options,
            )
        except Exception as error:  # noqa: BLE001  (a configuration that a compiler refuses is none of its best)
            print("  triton", bm, bn, bk, str(error).splitlines()[0][:100])
            continue
        yield {
            "compiler": f"triton {importlib.metadata.version('triton')}", "config": f"{bm}x{bn}x{bk}, {warps} waves",
            "image": made.asm["hsaco"], "kernel": made.metadata.name, "grid": [m // bm * (n // bn), 1, 1],
            "block": [64 * warps, 1, 1], "lds": made.metadata.shared, "hidden": 2,
        }  # fmt: skip


PAYLOAD = """
#a = affine_map<(m, n, k) -> (m, k)>
#b = affine_map<(m, n, k) -> ({b})>
#c = affine_map<(m, n, k) -> (m, n)>
func.func @matmul(%a: tensor<{m}x{k}x{kind}>, %b: tensor<{rows}x{kind}>) -> tensor<{m}x{n}x{out}> {{
  %zero = arith.constant {zero} : {total}
  %empty = tensor.empty() : tensor<{m}x{n}x{total}>
  %start = linalg.fill ins(%zero : {total}) outs(%empty : tensor<{m}x{n}x{total}>) -> tensor<{m}x{n}x{total}>
  %c = linalg.matmul indexing_maps = [#a, #b, #c] ins(%a, %b : tensor<{m}x{k}x{kind}>, tensor<{rows}x{kind}>)
    outs(%start : tensor<{m}x{n}x{total}>) -> tensor<{m}x{n}x{total}>
  {cast}
}}
"""
CAST = """%out = tensor.empty() : tensor<{m}x{n}x{out}>
  %d = linalg.generic {{indexing_maps = [affine_map<(m, n) -> (m, n)>, affine_map<(m, n) -> (m, n)>],
                       iterator_types = ["parallel", "parallel"]}}
    ins(%c : tensor<{m}x{n}x{total}>) outs(%out : tensor<{m}x{n}x{out}>) {{
  ^bb0(%x: {total}, %y: {out}):
    %z = arith.truncf %x : {total} to {out}
    linalg.yield %z : {out}
  }} -> tensor<{m}x{n}x{out}>
  return %d : tensor<{m}x{n}x{out}>"""


def iree_binary(problem):
    """IREE's, where it is one dispatch."""
    m, n, k, kind, layout = problem
    out = KINDS[kind][4]
    total, turned = "i32" if kind == "i8" else "f32", layout[1] == "t"
    words = {"m": m, "n": n, "k": k, "kind": kind, "out": out, "total": total, "zero": "0" if kind == "i8" else "0.0"}
    cast = "return %c : tensor<{m}x{n}x{out}>" if out == total else CAST
    text = PAYLOAD.format(b="n, k" if turned else "k, n", rows=f"{n}x{k}" if turned else f"{k}x{n}",
                          cast=cast.format(**words), **words)  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "x.mlir").write_text(text)
        command = [
            str(Path(sys.executable).parent / "iree-compile"), f"{folder}/x.mlir", "--iree-hal-target-device=hip",
            "--iree-rocm-target=gfx942", f"--iree-hal-dump-executable-binaries-to={folder}/b", "-o", f"{folder}/x.vmfb",
            "--mlir-print-ir-after=iree-hal-translate-all-executables",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        counts = re.findall(r"hal.return %c(\d+)\w*, %c(\d+)\w*, %c(\d+)\w* : index, index, index", done.stderr)
        sizes = re.findall(r"workgroup_size = \[(\d+) : index, (\d+) : index, (\d+) : index\]", done.stderr)
        if done.returncode or len(set(counts)) != 1 or len(set(sizes)) != 1:
            print("  iree", (done.stderr.splitlines() or ["?"])[0][:150], len(counts))
            return
        image = next(each for each in Path(folder, "b").iterdir() if each.suffix == ".hsaco").read_bytes()
        yield {
            "compiler": f"iree {importlib.metadata.version('iree-base-compiler')}", "config": "its own",
            "image": image, "kernel": None, "grid": [int(x) for x in counts[0]], "block": [int(x) for x in sizes[0]],
            "lds": 0, "hidden": 0,
        }  # fmt: skip


# --- where lower is ---------------------------------------------------------------------------------------------------


def count(folder: Path) -> None:
    """Counts rivals and ours, and prints them side by side."""
    found = {}
    for each in json.loads((folder / "index.json").read_text()):
        name = " ".join(map(str, each["problem"]))
        try:
            figures = counted((folder / each["file"]).read_bytes(), each)
        except Exception as error:  # noqa: BLE001  (what the emulator refuses is said, and not compared)
            print(name, each["compiler"], each["config"], str(error).splitlines()[0])
            continue
        found.setdefault(name, {}).setdefault(each["compiler"].split()[0], []).append(
            {"compiler": each["compiler"], "config": each["config"], **figures}
        )
    table = {}
    for name, rivals in found.items():
        row = {"lower": ours(name)}
        for compiler, made in rivals.items():
            clean = [each for each in made if not each["scratch"]] or made
            row[compiler] = min(clean, key=lambda each: predicted(name, each))
        table[name] = row
    RESULT.write_text(json.dumps(table, indent=1) + "\n")
    show(table)


def predicted(name, each):
    """Seconds that the tile model predicts for a configuration of Triton; 0 where there is only one."""
    from lowering import targets
    from lowering.targets.tile_model import Tiling, predict

    found = re.fullmatch(r"(\d+)x(\d+)x(\d+), (\d+) waves", each["config"])
    if found is None:
        return 0.0
    m, n, k, kind, _ = name.split()
    bm, bn, bk, waves = map(int, found.groups())
    wave = (bm // 2, bn // (waves // 2)) if bm > 16 else (bm, bn // waves)
    nbytes, depth = KINDS[kind][0], 16 * 2 // KINDS[kind][0]
    lds = (bm + bn) * bk * nbytes
    return predict(
        Tiling(int(m), int(n), int(k), 1, nbytes, 2, (bm, bn, bk), wave, (16, 16, depth), 16, each["registers"], lds,
               "f8" if nbytes == 1 else kind, ahead=waves > 4, rows=4), targets.load("gfx942"),
    ).seconds  # fmt: skip


def ours(name):
    """The figures of our default schedule."""
    from lowering import problem, targets
    from lowering.lower import lower
    from lowering.targets.amdgpu import space

    m, n, k, kind, layout = name.split()
    chip = targets.load("gfx942")
    of = problem.from_shape(int(m), int(n), int(k), kind, layout=layout)
    built = lower(of, space.schedule({}, of, chip), chip).outcome
    (launch,) = built.launches
    knobs = space.default(of, chip)
    each = {"problem": [int(m), int(n), int(k), kind, layout], "kernel": launch.kernel, "grid": launch.grid,
            "block": launch.block, "lds": launch.shared_bytes, "hidden": 0}  # fmt: skip
    return {"config": f"{knobs['block_m']}x{knobs['block_n']}x{knobs['block_k']}", **counted(built.image, each)}


def counted(image, each):
    """Per thousand multiply-adds of some workgroups; the matrix share of all instructions; registers."""
    import numpy as np

    from lowering import dtypes, targets
    from lowering.targets.amdgpu.emulator.emulator import Emulator, Options
    from lowering.targets.amdgpu.emulator.statistics import Statistics, occupancy
    from lowering.targets.amdgpu.main_loop import main_loop

    m, n, k, kind, layout = each["problem"]
    rng = np.random.default_rng(0)
    shapes = ((m, k), (n, k) if layout[1] == "t" else (k, n))
    buffers = [rng.integers(-2, 3, shape).astype(dtypes.lookup(kind).numpy) for shape in shapes]
    buffers.append(np.zeros((m, n), dtypes.lookup(KINDS[kind][4]).numpy))
    grid, block = tuple(each["grid"]), tuple(each["block"])
    total = grid[0] * grid[1] * grid[2]
    chosen = tuple(sorted({0, total // 3, total * 2 // 3, total - 1}))
    emulator, statistics = Emulator(image), Statistics()
    options = Options(watcher=statistics, workgroups=chosen)
    arguments = [*buffers, *[None] * each["hidden"]]
    statistics.take(emulator.launch(each["kernel"], grid, block, arguments, each["lds"], options))
    work = m * n * k * len(chosen) / total / 1000
    classes = statistics.by_class()
    instructions = sum(classes.values())
    code, chip = emulator.image.kernel(each["kernel"]), targets.load("gfx942")
    lds = code.descriptor.group_segment + each["lds"]
    fill = occupancy(code.descriptor, lds, -(-block[0] * block[1] * block[2] // 64), chip)
    loop = main_loop(emulator.image, each["kernel"], chip)
    return {
        "instructions": instructions / work, "LDS cycles": sum(t.taken for t in statistics.lds.values()) / work,
        "lines": sum(t.lines[128] for t in statistics.memory.values()) / work,
        "matrix share": classes.get("matrix", 0) / instructions,
        "loop share": 0.0 if loop is None else loop.matrix_share, "registers": code.descriptor.registers,
        "occupancy": fill.waves, "scratch": code.descriptor.private_segment,
    }  # fmt: skip


LESS = ("instructions", "LDS cycles", "lines")


def better(mine, theirs):
    """Cells that are as good or better, of how many."""
    return [mine[name] <= theirs[name] * 1.0001 for name in LESS] + [
        mine["matrix share"] >= theirs["matrix share"] * 0.9999
    ]


def show(table) -> None:
    """The table, and how many of its cells are won."""
    print("per 1000 multiply-adds: instructions of waves, LDS cycles, 128-byte lines; share of matrix instructions")
    won = of = 0
    for name, row in table.items():
        for who, figures in row.items():
            cells = better(row["lower"], figures) if who != "lower" else []
            won, of = won + sum(cells), of + len(cells)
            verdict = f"{sum(cells)} of {len(cells)}" if cells else ""
            print(
                f"{name if who == 'lower' else '':28} {who:7} {figures['config']:22} "
                + "  ".join(f"{figures[key]:7.4f}" for key in LESS)
                + f"  {figures['matrix share']:4.0%}  {figures['registers']:3} registers, "
                + f"{figures['occupancy']} waves  {verdict}"
            )
    print(f"as good or better in {won} of {of} cells ({won / of:.0%}; bar 80 %)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("build", "count", "show"))
    parser.add_argument("folder", type=Path, nargs="?")
    words = parser.parse_args()
    if words.what == "show":
        show(json.loads(RESULT.read_text()))
    else:
        {"build": build, "count": count}[words.what](words.folder)
