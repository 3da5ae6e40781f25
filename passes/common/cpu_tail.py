"""The upstream passes that take any host state to LLVM's dialect for the CPU, in order: buffers, loops, LLVM.

`TO_BUFFERS` is what a GPU's schedule shares.

A schedule lists them as steps of its own; `lowering.completion` runs them on whatever state it is given. Some are there
for a reason that their name does not tell:
  * `buffer-hoisting` and `buffer-loop-hoisting` move an allocation out of the loops, `buffer-deallocation-pipeline`
    frees every one of them before the function returns;
  * `expand-copies` leaves no `memref.copy`, which would call a library function that nobody links;
  * `arith-expand{include-bf16=true}` writes bf16 casts as integer operations, which LLVM would make library calls;
  * `convert-math-to-libm` takes the functions that have no LLVM intrinsic: `erf` and their like, and `log1p`, which
    would be log(1 + x) and lose small x; the C wrapper is asked for before it declares them, and the vectors that it
    takes apart are lowered after it.
"""

from __future__ import annotations

TO_BUFFERS = (
    "eliminate-empty-tensors",
    "empty-tensor-to-alloc-tensor",
    "one-shot-bufferize{bufferize-function-boundaries=true function-boundary-type-conversion=identity-layout-map}",
)

BUFFERIZE = (
    *TO_BUFFERS,
    "canonicalize",
    "cse",
    "func.func(buffer-hoisting)",
    "func.func(buffer-loop-hoisting)",
    "buffer-deallocation-pipeline",
    "convert-bufferization-to-memref",
    "canonicalize",
    "cse",
)

TO_LOOPS = (
    "expand-copies",
    "func.func(convert-linalg-to-loops)",
    "func.func(scf-forall-to-for)",
    "func.func(convert-vector-to-scf{full-unroll=true})",
)

TO_LLVM = (
    "func.func(llvm-request-c-wrappers)",
    "fold-memref-alias-ops",
    "expand-strided-metadata",
    "lower-affine",
    "canonicalize",
    "cse",
    "loop-invariant-code-motion",
    "contract-fma",
    "convert-math-to-llvm{approximate-log1p=false}",
    "convert-math-to-libm",
    "convert-scf-to-cf",
    "convert-vector-to-llvm",
    "arith-expand{include-bf16=true}",
    "convert-index-to-llvm",
    "finalize-memref-to-llvm",
    "convert-arith-to-llvm",
    "convert-ub-to-llvm",
    "convert-cf-to-llvm",
    "convert-func-to-llvm",
    "canonicalize",
    "cse",
    "reconcile-unrealized-casts",
)
