"""LLVM IR -> an object for this machine, kept on disk under the digest of its text and of the CPU."""

from __future__ import annotations

import hashlib
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm


def features() -> str:
    """This machine's features as LLVM takes them."""
    return llvm.get_host_cpu_features().flatten()


@cache
def initialise() -> None:
    """Registers LLVM's native target, once a process."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def cache_folder() -> Path:
    """Where objects are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base, "lower", "emulator")


def compiled(text: str) -> bytes:
    """The object of a module, from the disk where it is there."""
    key = "\n".join((text, llvm.get_host_cpu_name(), features(), llvmlite.__version__))
    file = cache_folder() / f"{hashlib.sha256(key.encode()).hexdigest()}.o"
    try:
        return file.read_bytes()
    except OSError:
        made = emitted(text)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as part:
            part.write(made)
        Path(part.name).replace(file)
    except OSError:
        pass  # a cache that cannot be written costs time only
    return made


def loaded(text: str) -> Any:
    """A module as code in memory, which lives as long as the process: what `get_function_address` is asked of."""
    initialise()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(compiled(text)))
    engine.finalize_object()
    ENGINES.append(engine)
    return engine


ENGINES: list[Any] = []


def machine() -> Any:
    """LLVM's machine for this CPU."""
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features(), opt=2, jit=True
    )


def emitted(text: str) -> bytes:
    """Optimises and emits a module."""
    found = llvm.parse_assembly(text)
    found.verify()  # what does not verify would take the process down
    made = machine()
    found.triple = made.triple
    found.data_layout = str(made.target_data)
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = True
    options.loop_unrolling = False
    builder = llvm.create_pass_builder(made, options)
    builder.getModulePassManager().run(found, builder)
    return made.emit_object(found)
