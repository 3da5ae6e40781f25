"""The launch plan: the host function `@main` of the last MLIR state, read into `Launch` values.

Allowed in it: constants, `memref.alloc`/`dealloc` (workspace), views with static layouts, `gpu.memset` of a workspace
with zero, `nvgpu.tma.create.descriptor`, `gpu.launch_func`, `return`. Anything else is a PassError that names the op.

Under the bare-pointer convention a memref argument of a kernel is the one aligned pointer of its descriptor; a static
offset is part of the memref's type, which the kernel's own code adds. So views other than `memref.view` leave it alone.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from lowering import mlir
from lowering.core import Buffer, Dim3, KernelArgument, Launch, PassError, Scalar, TensorMap, Workspace
from lowering.kernel_names import flat_names, symbols
from lowering.launch_tma import tensor_map
from lowering.passes.gpu.kernel_arguments import waits
from lowering.program import MULTIPLIED

VIEWS = frozenset(
    f"memref.{name}"
    for name in (
        "cast",
        "reinterpret_cast",
        "subview",
        "collapse_shape",
        "expand_shape",
        "memory_space_cast",
        "assume_alignment",
    )
)


@dataclass
class Plan:
    """What is known of each SSA value of the host function so far, and the launches in order."""

    kernels: dict[str, Any]  # symbol of a kernel -> its llvm.func
    names: dict[str, str]  # symbol of a kernel -> its name in the image
    values: dict[Any, KernelArgument] = field(default_factory=dict)
    zeroed: set[int] = field(default_factory=set)
    workspaces: int = 0
    launches: list[Launch] = field(default_factory=list)


def read(module: Any, count: int) -> tuple[Launch, ...]:
    """The launches of a state whose `@main` takes `count` buffers. Raises PassError for what a plan cannot hold."""
    main = host_function(module)
    block = main.regions[0].blocks[0]
    if len(block.arguments) != count:
        raise PassError(f"@main takes {len(block.arguments)} arguments, the problem has {count}")
    plan = Plan(symbols(module), flat_names(module))
    plan.values.update({value: Buffer(index) for index, value in enumerate(block.arguments)})
    for op in block.operations:
        step = READERS.get(op.operation.name)
        if step is None:
            name = op.operation.name
            raise refuse(op, f"'{name}' in @main: the host function holds constants, workspaces and launches only")
        step(plan, op.operation)
    if not plan.launches:
        raise PassError("@main launches no kernel")
    return tuple(with_zeroes(launch, plan.zeroed) for launch in plan.launches)


def refuse(op: Any, reason: str) -> PassError:
    """A PassError at an op."""
    return PassError(reason, str(op.operation.location).removeprefix("loc(").removesuffix(")"), log=str(op))


def host_function(module: Any) -> Any:
    """The `func.func @main` of a state."""
    found = [op for op in module.operation.regions[0].blocks[0].operations if op.operation.name == "func.func"]
    main = next((op for op in found if op.operation.attributes["sym_name"].value == "main"), None)
    if main is None:
        raise PassError("there is no func.func @main to read the launch plan from: leave the host function unlowered")
    if len(main.operation.regions[0].blocks) != 1:
        raise PassError("@main branches: a launch plan is one block")
    return main.operation


# --- one reader an op ------------------------------------------------------------------------------------------------


def read_constant(plan: Plan, op: Any) -> None:
    """`arith.constant` of a number or a vector of one number; `ub.poison`, whose value nobody reads, as zero."""
    kind = op.results[0].type
    bits, lanes = width(kind, op)
    if op.name == "ub.poison":
        plan.values[op.results[0]] = Scalar(bits * lanes, 0)
        return
    attribute = op.attributes["value"]
    if isinstance(attribute, mlir.ir.DenseElementsAttr):
        if not attribute.is_splat:
            raise refuse(op, "a kernel argument that is a vector of several numbers: sink the constant into the kernel")
        attribute = attribute.get_splat_value()
    one = pattern(attribute, bits)
    plan.values[op.results[0]] = Scalar(bits * lanes, sum(one << (bits * lane) for lane in range(lanes)))


def width(kind: Any, op: Any) -> tuple[int, int]:
    """Bits of a scalar type, or of a vector's element, and the number of lanes. An index is 64 bits wide."""
    ir = mlir.ir
    if isinstance(kind, ir.VectorType):
        bits, lanes = width(kind.element_type, op)
        for size in kind.shape:
            lanes *= size
        return bits, lanes
    if isinstance(kind, ir.IndexType):
        return 64, 1
    if isinstance(kind, ir.IntegerType):
        return kind.width, 1
    if isinstance(kind, ir.FloatType):
        return kind.width, 1
    raise refuse(op, f"a constant of type {kind} is no kernel argument")


def pattern(attribute: Any, bits: int) -> int:
    """The bits of an integer or float attribute, as an unsigned number."""
    if isinstance(attribute, mlir.ir.FloatAttr):
        text = str(attribute.type)
        if text == "bf16":
            return struct.unpack("<I", struct.pack("<f", attribute.value))[0] >> 16
        codes = {16: ("<e", "<H"), 32: ("<f", "<I"), 64: ("<d", "<Q")}
        if bits not in codes:
            raise PassError(f"a kernel argument of type {text}: sink the constant into the kernel")
        return struct.unpack(codes[bits][1], struct.pack(codes[bits][0], attribute.value))[0]
    return int(attribute.value) & ((1 << bits) - 1)


def read_alloc(plan: Plan, op: Any) -> None:
    """`memref.alloc` of a static shape: a workspace."""
    kind = op.results[0].type
    if len(op.operands) or not kind.has_static_shape:
        raise refuse(op, "a workspace of dynamic size")
    bits, lanes = width(kind.element_type, op)
    for size in kind.shape:
        lanes *= size
    plan.values[op.results[0]] = Workspace(plan.workspaces, (bits * lanes + 7) // 8)
    plan.workspaces += 1


def read_view(plan: Plan, op: Any) -> None:
    """A view: the same pointer, its static layout in the type."""
    if "?" in str(op.results[0].type):
        raise refuse(op, f"'{op.name}' to the dynamic {op.results[0].type}: a launch plan is static")
    plan.values[op.results[0]] = known(plan, op, op.operands[0])


def read_byte_view(plan: Plan, op: Any) -> None:
    """`memref.view` with a constant byte shift: it moves the pointer."""
    source, shift = known(plan, op, op.operands[0]), known(plan, op, op.operands[1])
    if len(op.operands) > 2 or not isinstance(shift, Scalar):
        raise refuse(op, "'memref.view' of dynamic size or shift: a launch plan is static")
    if isinstance(source, Buffer):
        plan.values[op.results[0]] = replace(source, offset=source.offset + shift.value)
    elif isinstance(source, Workspace) and not shift.value:
        plan.values[op.results[0]] = source
    else:
        raise refuse(op, "'memref.view' into the middle of a workspace: allocate two")


def read_memset(plan: Plan, op: Any) -> None:
    """`gpu.memset` of a workspace with zero, before any launch."""
    target, value = (known(plan, op, operand) for operand in list(op.operands)[-2:])
    if not isinstance(target, Workspace):
        raise refuse(op, "'gpu.memset' of an argument of @main: only a workspace can be zeroed by the plan")
    if not isinstance(value, Scalar) or value.value:
        raise refuse(op, "'gpu.memset' with another value than zero")
    if any(isinstance(arg, Workspace) and arg.index == target.index for launch in plan.launches for arg in launch.args):
        raise refuse(op, "'gpu.memset' of a workspace that a kernel has used: the plan zeroes before the first launch")
    plan.zeroed.add(target.index)


def read_tensor_map(plan: Plan, op: Any) -> None:
    """`nvgpu.tma.create.descriptor` over a whole buffer or workspace."""
    source = known(plan, op, op.operands[0])
    if not isinstance(source, Buffer | Workspace):
        raise refuse(op, "a tensor map over something else than an argument of @main or a workspace")
    box = [known(plan, op, operand) for operand in list(op.operands)[1:]]
    sizes = tuple(size.value for size in box if isinstance(size, Scalar))
    ranked = op.operands[0].owner
    kind = ranked.operands[0].type if getattr(ranked, "name", "") == "memref.cast" else None
    found = tensor_map(source, str(kind), str(op.results[0].type), sizes, lambda r: refuse(op, r))
    rounded = op.attributes[MULTIPLIED].value if MULTIPLIED in op.attributes else found.element
    plan.values[op.results[0]] = replace(found, element=rounded)


def read_cast(plan: Plan, op: Any) -> None:
    """`builtin.unrealized_conversion_cast` of a tensor map to the pointer that the kernel takes."""
    source = plan.values.get(op.operands[0]) if len(op.operands) == 1 else None
    if not isinstance(source, TensorMap):
        raise refuse(op, "'builtin.unrealized_conversion_cast' in @main of something else than a tensor map")
    plan.values[op.results[0]] = source


def read_launch(plan: Plan, op: Any) -> None:
    """`gpu.launch_func` with constant sizes."""
    symbol = str(op.attributes["kernel"])
    kernel = plan.kernels.get(symbol)
    if kernel is None:
        raise refuse(op, f"the launch names {symbol}, which is not there")
    groups = operand_groups(op)
    args = tuple(known(plan, op, operand) for operand in groups["args"])
    plan.launches.append(
        Launch(
            plan.names[symbol],
            sizes(plan, op, groups["grid"]),
            sizes(plan, op, groups["block"]),
            matched(kernel, args, op),
            sizes(plan, op, groups["cluster"]) if groups["cluster"] else (1, 1, 1),
            sizes(plan, op, groups["shared"])[0] if groups["shared"] else 0,
            bool(plan.launches) and waits(kernel),
        )
    )


def operand_groups(op: Any) -> dict[str, list[Any]]:
    """The operands of a `gpu.launch_func` by what they are."""
    view = op.opview
    if len(view.asyncDependencies) or len(op.results):
        raise refuse(op, "an asynchronous launch: a plan's launches run in order")
    cluster = [v for v in (view.clusterSizeX, view.clusterSizeY, view.clusterSizeZ) if v is not None]
    shared = [view.dynamicSharedMemorySize] if view.dynamicSharedMemorySize is not None else []
    return {
        "grid": [view.gridSizeX, view.gridSizeY, view.gridSizeZ],
        "block": [view.blockSizeX, view.blockSizeY, view.blockSizeZ],
        "cluster": cluster,
        "shared": shared,
        "args": list(view.kernelOperands),
    }


def sizes(plan: Plan, op: Any, operands: list[Any]) -> Dim3:
    """Constant launch sizes, filled up with ones."""
    found = [known(plan, op, operand) for operand in operands]
    numbers = [arg.value for arg in found if isinstance(arg, Scalar)]
    if len(numbers) != len(operands):
        raise refuse(op, "a launch size that is no constant")
    x, y, z = (*numbers, 1, 1)[:3]
    return x, y, z


def matched(kernel: Any, args: tuple[KernelArgument, ...], op: Any) -> tuple[KernelArgument, ...]:
    """The arguments as the kernel takes them: an index narrows to the width that it was lowered to."""
    if kernel.name != "llvm.func":
        raise refuse(op, f"the kernel @{kernel.attributes['sym_name'].value} is not lowered: it is a {kernel.name}")
    types = [str(argument.type) for argument in kernel.regions[0].blocks[0].arguments]
    if len(types) != len(args):
        hint = "convert with use-bare-ptr-memref-call-conv=1"
        raise refuse(op, f"the kernel takes {len(types)} parameters for {len(args)} arguments: {hint}")
    for kind, arg in zip(types, args, strict=True):
        if isinstance(arg, Scalar) and arg.bits > 64:
            hint = "sink the constant into the kernel with gpu-launch-sink-index-computations before outlining"
            raise refuse(op, f"a kernel parameter of type {kind} is wider than a scalar: {hint}")
        if kind.startswith("!llvm.ptr") == isinstance(arg, Scalar):
            raise refuse(op, f"a kernel parameter of type {kind} is given {type(arg).__name__}")
    return tuple(narrowed(kind, arg) for kind, arg in zip(types, args, strict=True))


def narrowed(kind: str, arg: KernelArgument) -> KernelArgument:
    """A scalar in the width of an integer parameter."""
    if not isinstance(arg, Scalar) or not kind.startswith("i") or int(kind[1:]) >= arg.bits:
        return arg
    return Scalar(int(kind[1:]), arg.value & ((1 << int(kind[1:])) - 1))


def known(plan: Plan, op: Any, value: Any) -> KernelArgument:
    """What is known of a value. Raises PassError where nothing is."""
    if value not in plan.values:
        raise refuse(op, f"an operand of '{op.name}' comes from nowhere the plan knows")
    return plan.values[value]


def with_zeroes(launch: Launch, zeroed: set[int]) -> Launch:
    """A launch whose zeroed workspaces say so."""
    mark = (replace(a, zeroed=True) if isinstance(a, Workspace) and a.index in zeroed else a for a in launch.args)
    return replace(launch, args=tuple(mark))


def ignore(plan: Plan, op: Any) -> None:
    """An op without a part in the plan."""


READERS: dict[str, Callable[[Plan, Any], None]] = {
    "arith.constant": read_constant,
    "ub.poison": read_constant,
    "memref.alloc": read_alloc,
    "memref.dealloc": ignore,
    "memref.view": read_byte_view,
    "gpu.memset": read_memset,
    "nvgpu.tma.create.descriptor": read_tensor_map,
    "builtin.unrealized_conversion_cast": read_cast,
    "gpu.launch_func": read_launch,
    "func.return": ignore,
    **dict.fromkeys(VIEWS, read_view),
}
