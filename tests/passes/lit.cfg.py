"""lit's configuration: every .mlir file here is a test; `lower` and `filecheck` are those of the running Python."""

import os
import sys
import tempfile

config.name = "passes"  # noqa: F821  (lit puts `config` here)
config.test_format = __import__("lit.formats").formats.ShTest(execute_external=False)  # noqa: F821
config.suffixes = [".mlir"]  # noqa: F821
config.excludes = ["Inputs"]  # noqa: F821
config.test_exec_root = os.environ.get("LIT_SCRATCH") or tempfile.mkdtemp(prefix="lower-lit-")  # noqa: F821
config.environment["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])  # noqa: F821
config.environment["PYTHONSAFEPATH"] = "1"  # noqa: F821
