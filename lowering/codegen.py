"""The last MLIR state -> binary: LLVM dialect -> LLVM IR -> optimised -> object or assembly -> image. The only user of
llvmlite besides the x86 runtime's JIT.

Each emission parses the IR anew: an amdgcn module that is emitted twice aborts the process.
"""

from __future__ import annotations

import importlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import llvmlite.binding as llvm

from lowering import mlir
from lowering.core import Argument, Binary, Kernel, Launch, Pass, Target, TensorMap
from lowering.float_text import readable
from lowering.kernel_names import flat_names
from lowering.launch_plan import read as read_plan
from lowering.passes.common.backend import Codegen, Llvm, pick
from lowering.targets.families import FAMILIES, Family
from lowering.targets.linked import BuildError, Linked

# Which pass should have taken an op of a dialect that is left over.
TAKERS: Mapping[str, str] = {
    "affine": "lower-affine",
    "amdgpu": "convert-gpu-to-rocdl, where the chip has the instruction",
    "arith": "convert-arith-to-llvm",
    "bufferization": "one-shot-bufferize, then convert-bufferization-to-memref",
    "builtin": "reconcile-unrealized-casts, once the ops on both sides are lowered",
    "cf": "convert-cf-to-llvm",
    "complex": "convert-complex-to-llvm",
    "func": "convert-func-to-llvm",
    "gpu": "convert-gpu-to-rocdl or convert-gpu-to-nvvm",
    "index": "convert-index-to-llvm",
    "linalg": "convert-linalg-to-loops, or vectorization",
    "math": "convert-math-to-llvm",
    "memref": "expand-strided-metadata, then finalize-memref-to-llvm",
    "nvgpu": "convert-nvgpu-to-nvvm",
    "scf": "convert-scf-to-cf",
    "tensor": "one-shot-bufferize",
    "ub": "convert-ub-to-llvm",
    "vector": "convert-vector-to-scf, then convert-vector-to-llvm",
    "x86": "convert-vector-to-llvm{enable-x86=true}",
}


def build(
    module: Any, arguments: tuple[Argument, ...], target: Target, steps: Sequence[Pass] = (), texts: Sequence[str] = ()
) -> Binary:
    """The binary of a state whose kernels (x86: whose functions) are in the LLVM dialect.

    `steps` are the last steps of the schedule (`llvm`, `codegen`, `ptxas`); `texts` names what is kept beside the
    image: 'llvm' (optimised IR), 'asm', 'ptx'. Raises BuildError with the stage codegen or link, and PassError for a
    host function that is no launch plan.
    """
    return finish(generate(module, len(arguments), target, steps, texts), arguments, target, steps)


@dataclass(frozen=True)
class Code:
    """What LLVM emitted (object or assembly), the launch plan, and the texts that were asked for."""

    emitted: bytes
    launches: tuple[Launch, ...]
    texts: Mapping[str, str]


def generate(module: Any, count: int, target: Target, steps: Sequence[Pass] = (), texts: Sequence[str] = ()) -> Code:
    """The first half of `build`, up to LLVM's emission; `count` is the number of @main's buffers."""
    family = FAMILIES[target.family]
    code = device_module(module, target) if family.device else module
    check_lowered(code, family)
    launches = read_plan(module, count) if family.device else ()
    if any(isinstance(argument, TensorMap) for launch in launches for argument in launch.args):
        align_shared(code, target.facts["shared_alignment"])
    optimised = optimise(translate(code), target, pick(steps, Llvm))
    level = pick(steps, Codegen).opt
    check_module(optimised, target, launches)
    text = str(optimised) if "llvm" in texts or (family.emit == "object" and "asm" in texts) else ""
    emitted = emit(optimised, target, level, family.emit)
    kept = {"llvm": text, **assembly(emitted, text, target, level, family, texts)}
    return Code(emitted, launches, {name: kept[name] for name in texts if name in kept})


def finish(code: Code, arguments: tuple[Argument, ...], target: Target, steps: Sequence[Pass] = ()) -> Binary:
    """The second half of `build`: the linker or ptxas, and the check against the chip's limits."""
    linked = FAMILIES[target.family].finish(code.emitted, target, steps)
    check_resources(linked, code.launches, target)
    return Binary(linked.format, linked.image, arguments, code.launches, linked.kernels, code.texts)


def device_module(module: Any, target: Target) -> Any:
    """A plain module with the functions of every gpu.module of a state: LLVM translation takes no gpu.module."""
    names = flat_names(module)
    with mlir.scope():
        plain = mlir.ir.Module.create()
        for kernels in mlir.walk(module, lambda op: op.name == "gpu.module"):
            copy, prefix = kernels.clone(), f"@{kernels.attributes['sym_name'].value}::@"
            for op in [op.operation for op in copy.regions[0].blocks[0].operations]:
                if "sym_name" in op.attributes and (old := op.attributes["sym_name"].value) != names[prefix + old]:
                    mlir.ir.SymbolTable.replace_all_symbol_uses(old, names[prefix + old], copy)
                    op.attributes["sym_name"] = mlir.ir.StringAttr.get(names[prefix + old])
                plain.body.append(op.clone())
            copy.erase()
        external_shared(plain, target.facts.get("shared_alignment", 16))
    if not list(plain.body.operations):
        raise BuildError("the state has no gpu.module: run gpu-kernel-outlining")
    return plain


def external_shared(module: Any, alignment: int) -> None:
    """Makes the arrays of dynamic shared memory external declarations, which is what LLVM takes for 'at the end'.

    MLIR makes them internal; LLVM then lays them out as empty variables inside the static part, over its neighbours.
    """
    for op in shared_globals(module):
        if nbytes(op) == 0:
            op.attributes["linkage"] = mlir.ir.Attribute.parse("#llvm.linkage<external>")
            op.attributes["alignment"] = i64(alignment)


def align_shared(module: Any, alignment: int) -> None:
    """Lets static shared arrays, of which nobody has said where they begin, begin where a tensor copy may write.

    MLIR leaves that to the element's type, and a tensor copy to an odd place faults. Smaller ones than this stay.
    """
    with mlir.scope():
        for op in shared_globals(module):
            if "alignment" not in op.attributes and nbytes(op) >= alignment:
                op.attributes["alignment"] = i64(alignment)


def shared_globals(module: Any) -> list[Any]:
    """The arrays in shared memory."""
    return mlir.walk(
        module,
        lambda op: (
            op.name == "llvm.mlir.global"
            and op.attributes["addr_space"].value == 3
            and str(op.attributes["global_type"]).startswith("!llvm.array<")
        ),
    )


def nbytes(array: Any) -> int:
    """The size of an array of numbers."""
    found = re.match(r"!llvm\.array<(\d+) x \D*(\d+)", str(array.attributes["global_type"]))
    return int(found[1]) * int(found[2]) // 8 if found else 0


def i64(value: int) -> Any:
    """An attribute."""
    return mlir.ir.IntegerAttr.get(mlir.ir.IntegerType.get_signless(64), value)


def check_lowered(module: Any, family: Family) -> None:
    """Raises BuildError for the first op that has no LLVM form; casts are named only where nothing else is left."""
    known = ("llvm", family.dialect)
    left = mlir.walk(module, lambda op: op.name.split(".")[0] not in known and op.name != "builtin.module")
    if not left:
        check_inline(module, family)
        return
    op = next((op for op in left if op.name != "builtin.unrealized_conversion_cast"), left[0])
    taker = TAKERS.get(op.name.split(".")[0])
    advice = f"; {taker} should have taken it" if taker else ""
    many = f" (and {len(left) - 1} more ops)" if len(left) > 1 else ""
    raise BuildError(f"'{op.name}' is left unlowered{many}{advice}", where=place(op), log=str(op))


def check_inline(module: Any, family: Family) -> None:
    """Raises BuildError for an op of the family's dialect that has no intrinsic: MLIR crashes on its translation."""
    own = mlir.walk(module, lambda op: op.name.split(".")[0] == family.dialect)
    if not own or not family.inline:
        return
    copy = mlir.clone(module)
    mlir.run(copy, family.inline)
    kept = Counter(op.name for op in mlir.walk(copy, lambda op: True))
    left = [op for op in own if kept[op.name] < sum(each.name == op.name for each in own)]
    if left:
        many = f" (and {len(left) - 1} more ops)" if len(left) > 1 else ""
        reason = f"'{left[0].name}' is left unlowered{many}; {family.inline} should have taken it"
        raise BuildError(reason, where=place(left[0]), log=str(left[0]))


def place(op: Any) -> str:
    """Where an op stands: its location, or the function around it."""
    location = str(op.location).removeprefix("loc(").removesuffix(")").replace('"', "")
    while location == "unknown" and op.parent is not None:
        op = op.parent.operation
        if "sym_name" in op.attributes:
            return f"in @{op.attributes['sym_name'].value}"
    return "" if location == "unknown" else location


def translate(module: Any) -> str:
    """LLVM IR as text, of an LLVM-dialect module."""
    dialect = importlib.import_module(f"{mlir.PACKAGE}._mlir_libs._mlirDialectsLLVM")
    with mlir.context():
        try:
            return readable(dialect.translate_module_to_llvmir(module.operation))
        except (mlir.ir.MLIRError, RuntimeError) as error:
            raise BuildError(f"no LLVM IR: {mlir.one_line(str(error))}", log=str(error)) from None


@cache
def initialise() -> None:
    """Registers LLVM's targets, once a process."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


@cache
def host() -> tuple[str, str]:
    """Name and features of this machine's CPU, as LLVM spells them."""
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


@cache
def machine(triple: str, cpu: str, features: str, level: int) -> Any:
    """LLVM's code generator for a chip. `cpu` "host" is this machine's, its own features before those of the target."""
    initialise()
    if cpu == "host":
        cpu, own = host()
        features = ",".join(filter(None, (own, features)))
    found = llvm.Target.from_triple(triple)
    return found.create_target_machine(cpu=cpu, features=features, opt=level, reloc="pic", codemodel="small")


def optimise(text: str, target: Target, step: Llvm) -> Any:
    """The parsed module of an LLVM IR text, after LLVM's pipeline."""
    generator = machine(target.triple, target.cpu, target.features, step.opt)
    module = parse(text, target.triple, str(generator.target_data))
    tuning = llvm.create_pipeline_tuning_options(speed_level=step.opt)
    tuning.loop_unrolling, tuning.loop_interleaving = step.unroll, step.interleave
    tuning.loop_vectorization, tuning.slp_vectorization = step.vectorize, step.slp
    builder = llvm.create_pass_builder(generator, tuning)
    builder.getModulePassManager().run(module, builder)
    return module


def parse(text: str, triple: str, layout: str) -> Any:
    """An LLVM module of a text, for a chip. Raises BuildError with LLVM's message."""
    text = re.sub(r"^target (datalayout|triple) = .*$", "", text, flags=re.MULTILINE)
    try:
        module = llvm.parse_assembly(f'target datalayout = "{layout}"\ntarget triple = "{triple}"\n{text}')
        module.verify()
        return module
    except RuntimeError as error:
        reason = mlir.one_line(str(error).removeprefix("LLVM IR parsing error"))
        raise BuildError(f"LLVM does not accept the IR: {reason}", log=str(error), kind="compiler bug") from None


def emit(module: Any, target: Target, level: int, kind: str) -> bytes:
    """Object or assembly of an optimised module, which is spent afterwards."""
    generator = machine(target.triple, target.cpu, target.features, level)
    try:
        return generator.emit_object(module) if kind == "object" else generator.emit_assembly(module).encode()
    except RuntimeError as error:
        reason = mlir.one_line(str(error))
        raise BuildError(f"no code: {reason}", log=str(error), kind="compiler bug") from None


def assembly(
    code: bytes, text: str, target: Target, level: int, family: Family, texts: Sequence[str]
) -> dict[str, str]:
    """The assembly texts that were asked for; from objects it takes an emission of its own."""
    if family.emit == "assembly":
        return {"asm": code.decode(), "ptx": code.decode()}
    if "asm" not in texts:
        return {}
    layout = str(machine(target.triple, target.cpu, target.features, level).target_data)
    return {"asm": emit(parse(text, target.triple, layout), target, level, "assembly").decode()}


def check_module(module: Any, target: Target, launches: Sequence[Launch]) -> None:
    """Raises BuildError for static shared memory past the limit: the code generator would end the process."""
    limit = target.facts.get("shared_static_max")
    if not launches or limit is None:
        return
    layout = llvm.create_target_data(module.data_layout)
    shared = [g for g in module.global_variables if "addrspace(3)" in str(g.type)]
    arrays = [layout.get_abi_size(g.global_value_type) for g in shared] or [0]
    several = len({launch.kernel for launch in launches}) > 1  # whose array is whose is not asked for here
    total = max(arrays) if several else sum(arrays)
    if total > limit:
        raise BuildError(f"the kernel takes {total} bytes of shared memory, of {limit}", kind="resources")


def check_resources(linked: Linked, launches: Sequence[Launch], target: Target) -> None:
    """Raises BuildError for a launch that the chip must refuse: threads, registers or shared memory past its limits."""
    kernels = {kernel.name: kernel for kernel in linked.kernels}
    for launch in launches:
        kernel = kernels.get(launch.kernel)
        if kernel is None:
            raise BuildError(f"the plan launches '{launch.kernel}', which the image lacks", "link")
        if (reason := refusal(kernel, launch, linked.limits.get(kernel.name), target.facts)) is not None:
            raise BuildError(f"'{kernel.name}' {reason}", "link", kind="resources")


def refusal(kernel: Kernel, launch: Launch, built_for: int | None, facts: Mapping[str, Any]) -> str | None:
    """Why a chip would refuse a launch, or None."""
    threads = launch.block[0] * launch.block[1] * launch.block[2]
    most = min(built_for or threads, facts.get("threads_per_group_max", threads))
    if threads > most:
        return f"is launched with {threads} threads a workgroup, of at most {most}"
    shared, limit = kernel.shared_bytes or 0, facts.get("shared_dynamic_max")
    if launch.shared_bytes:
        alignment = facts.get("shared_alignment", 1)
        shared = -(-shared // alignment) * alignment + launch.shared_bytes
    if limit is not None and shared > limit:
        return f"takes {shared} bytes of shared memory, of {limit}"
    registers, file = (kernel.registers or 0) * threads, facts.get("registers_per_group_max")
    if file is not None and registers > file:
        return f"takes {registers} registers a workgroup, of {file}"
    return None
