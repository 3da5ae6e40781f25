"""The states that a graph ends in, built: which of them are one binary, and what each binary is made of.

The end of a whole schedule is built as it stands. Any other state that is not lowered to the LLVM dialect is completed
with the standard tail (completion.py) first, where its target is a CPU. Binaries are told apart by their assembly,
without names and comments (assembly.py): the object itself holds both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from lowering import assembly, codegen, completion, mlir
from lowering.core import PassError, Problem, Target
from lowering.explore import at_goal
from lowering.graph import Graph, unpack
from lowering.passes import pipeline
from lowering.pool import Pool
from lowering.targets.families import FAMILIES
from lowering.worker import Casualty, Worker

LOWERED = frozenset({"llvm"})


@dataclass(frozen=True)
class BuildJob:
    """A state that is to be built, with the steps of code generation as a schedule's text.

    `complete`: with the standard tail, where it is not lowered to the end.
    """

    state: int
    packed: bytes
    problem: Problem
    target: Target
    steps: str
    complete: bool


@dataclass(frozen=True)
class Built:
    """What came of it: `binary` is the digest of the assembly, empty where `failure` says why there is none.

    `tail` are the passes that completed the state before it was built.
    """

    binary: str
    failure: str = ""
    tail: str = ""
    figures: dict[str, Any] | None = None


def leaves(graph: Graph) -> tuple[int, ...]:
    """The states from which nothing active leads on: fixed points of all passes, and those at the depth's end."""
    sources = {edge.source for edge in graph.edges() if edge.kind == "active"}
    return tuple(state for state in range(1, len(graph) + 1) if state not in sources)


def build_all(
    graph: Graph,
    states: Iterable[int],
    problem: Problem,
    target: Target,
    steps: str,
    complete: bool,
    pool: Pool,
    watch: Callable[[int], None] = lambda _: None,
) -> None:
    """Builds states that have not been built yet, and stores what came of each. `watch` is told how many are done."""
    done = graph.rows("binaries")
    jobs = (BuildJob(s, graph.packed(s), problem, target, steps, complete) for s in states if s not in done)
    for number, (job, built) in enumerate(pool.map(attempt, jobs), start=1):
        graph.put("binaries", job.state, asdict(built))
        graph.commit()
        watch(number)


def attempt(worker: Worker, job: BuildJob) -> Built:
    """What a worker makes of a job."""
    result = worker.call(build, job)
    return Built("", f"{result.kind}: {result.reason}") if isinstance(result, Casualty) else result


def build(job: BuildJob, at: Callable[[str], None]) -> Built:
    """Completes and builds one state; for the worker."""
    module, family = mlir.parse(unpack(job.packed)), FAMILIES[job.target.family]
    passes = pipeline.parse(job.steps).passes
    tail = ""
    try:
        if job.complete and not family.device and not is_lowered(module):
            freed = mlir.walk(module, completion.is_past_deallocation)
            tail = str(completion.tail(deallocate=not freed))
            completion.complete_to_cpu(module)
        binary = codegen.build(module, job.problem.arguments, job.target, passes, ("asm",))
    except PassError as error:
        return Built("", f"{error.kind}: {error.reason}")
    text, mark = binary.texts["asm"], assembly.comment_mark(job.target.triple)
    figures = {**assembly.figures(text, mark), "image_bytes": len(binary.image), **resources(binary.kernels)}
    return Built(assembly.digest(text, mark), "", tail, figures)


def is_lowered(module: Any) -> bool:
    """Whether only ops of the LLVM dialect are left."""
    return not mlir.walk(module, lambda op: not at_goal(op.operation.name, LOWERED))


def resources(kernels: Iterable[Any]) -> dict[str, int]:
    """What the code object says of its kernels, summed over them; nothing where it says nothing."""
    names = ("vgprs", "agprs", "sgprs", "registers", "spills", "shared_bytes", "scratch_bytes")
    known = [[(name, getattr(kernel, name)) for name in names] for kernel in kernels]
    found: dict[str, int] = {}
    for name, value in (pair for pairs in known for pair in pairs):
        if value is not None:
            found[name] = found.get(name, 0) + value
    return found
