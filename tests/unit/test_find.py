"""Passes find their ops by structure: contractions, their loops, the K loop, roles."""

import pytest

from lowering import find, mlir
from lowering.core import PassError
from lowering.problem import from_shape

TILE = """%0 = transform.structured.match ops{["linalg.matmul", "linalg.generic"]} in %root
    : (!transform.any_op) -> !transform.any_op
  %1, %l:3 = transform.structured.tile_using_for %0 tile_sizes [2, 2, 2]
    : (!transform.any_op) -> (!transform.any_op, !transform.any_op, !transform.any_op, !transform.any_op)"""


def tiled(dtype="f32", layout="nn"):
    module = mlir.parse(from_shape(4, 6, 8, dtype, layout).ir)
    mlir.transform(module, TILE)
    return module


def test_named_and_generalised_contractions_are_found_alike():
    module = mlir.parse(from_shape(4, 6, 8, "i8", "tt").ir)
    named = find.contraction(module)
    assert named.name == "linalg.matmul"
    assert find.contraction_dims(named) == find.Dims((), (0,), (1,), (2,))
    assert find.loop_sizes(named) == (4, 6, 8)
    mlir.run(module, "func.func(linalg-generalize-named-ops)")
    generic = find.contraction(module)
    assert generic.name == "linalg.generic"
    assert find.contraction_dims(generic) == find.Dims((), (0,), (1,), (2,))


def test_loops_of_a_batch():
    module = mlir.parse(from_shape(4, 6, 8, "f32", "nt", batch=3).ir)
    op = find.contraction(module)
    assert find.contraction_dims(op) == find.Dims((0,), (1,), (2,), (3,))
    assert find.loop_sizes(op) == (3, 4, 6, 8)


def test_elementwise_ops_are_no_contractions():
    module = mlir.parse(from_shape(4, 6, 8, "f16").ir)
    assert [op.name for op in find.contractions(module)] == ["linalg.matmul"]


@pytest.mark.parametrize(
    "body",
    [
        "%p = arith.addf %x, %y : f32\n %s = arith.addf %o, %p : f32",  # not a product
        "%p = arith.mulf %x, %y : f32\n %s = arith.maximumf %o, %p : f32",  # not a sum
        "%p = arith.mulf %x, %x : f32\n %s = arith.addf %o, %p : f32",  # one operand only
        "%p = arith.mulf %x, %y : f32\n %s = arith.addf %p, %p : f32",  # does not accumulate
    ],
)
def test_bodies_that_are_no_multiply_add(body):
    maps = "affine_map<(i, j, k) -> (i, k)>, affine_map<(i, j, k) -> (k, j)>, affine_map<(i, j, k) -> (i, j)>"
    module = mlir.parse(f"""func.func @f(%a: tensor<4x8xf32>, %b: tensor<8x6xf32>, %c: tensor<4x6xf32>) {{
      %r = linalg.generic {{indexing_maps = [{maps}], iterator_types = ["parallel", "parallel", "reduction"]}}
        ins(%a, %b : tensor<4x8xf32>, tensor<8x6xf32>) outs(%c : tensor<4x6xf32>) {{
      ^bb0(%x: f32, %y: f32, %o: f32):
        {body}
        linalg.yield %s : f32
      }} -> tensor<4x6xf32>
      return
    }}""")
    with pytest.raises(PassError, match=r"looked for a linalg contraction .* found none"):
        find.contraction(module)


def test_several_contractions_are_named():
    module = mlir.parse(from_shape(4, 6, 8, "f32").ir)
    with mlir.scope():
        for op in find.contractions(module):
            op.clone(ip=mlir.ir.InsertionPoint(op))
    with pytest.raises(PassError, match=r"found 2 \(linalg.matmul\)"):
        find.contraction(module)


@pytest.mark.parametrize("layout", ["nn", "tt"])
def test_the_k_loop_of_a_tiled_matmul(layout):
    module = tiled(layout=layout)
    loop = find.k_loop(module)
    assert find.contraction(module).parent.operation == loop
    assert [each.name for each in find.parents(loop)][:3] == ["scf.for", "scf.for", "func.func"]


def test_the_k_loop_after_vectorisation_and_on_buffers():
    module = tiled()
    mlir.transform(
        module,
        """%f = transform.structured.match ops{["func.func"]} in %root : (!transform.any_op) -> !transform.any_op
        %v = transform.structured.vectorize_children_and_apply_patterns %f
            : (!transform.any_op) -> !transform.any_op""",
    )
    assert find.vector_contract(module).name == "vector.contract"
    assert find.contraction_dims(find.vector_contract(module)) == find.Dims((), (0,), (1,), (2,))
    assert [each.name for each in find.parents(find.k_loop(module))][:2] == ["scf.for", "scf.for"]
    with pytest.raises(PassError, match=r"already lowered to vector.contract"):
        find.contraction(module)


def test_the_role_finds_a_k_loop_whose_contraction_is_gone():
    module = tiled()
    find.set_role(find.k_loop(module), "k")
    mlir.run(module, "one-shot-bufferize,func.func(convert-linalg-to-loops)")
    assert not find.contractions(module)
    again = mlir.parse(mlir.text(module))
    loop = find.k_loop(again)
    assert find.role_of(loop) == "k"
    assert [each.name for each in find.parents(loop)][:3] == ["scf.for", "scf.for", "func.func"]


def test_a_loop_over_the_batch_is_no_k_loop():
    module = mlir.parse(from_shape(4, 6, 8, "f32", batch=3).ir)
    mlir.transform(
        module,
        """%0 = transform.structured.match ops{["linalg.batch_matmul"]} in %root
            : (!transform.any_op) -> !transform.any_op
        %1, %l:3 = transform.structured.tile_using_for %0 tile_sizes [1, 2, 2]
            : (!transform.any_op) -> (!transform.any_op, !transform.any_op, !transform.any_op, !transform.any_op)""",
    )
    with pytest.raises(PassError, match=r"looked for a K loop .* found none"):
        find.k_loop(module)


def test_no_k_loop_says_what_was_looked_for():
    module = mlir.parse(from_shape(4, 6, 8, "f32").ir)
    with pytest.raises(PassError, match=r"looked for a K loop .* found none"):
        find.k_loop(module)


def test_a_matrix_vector_product_is_a_contraction_without_n():
    module = mlir.parse("""func.func @f(%a: tensor<4x8xf32>, %x: tensor<8xf32>, %y: tensor<4xf32>) -> tensor<4xf32> {
      %r = linalg.matvec ins(%a, %x : tensor<4x8xf32>, tensor<8xf32>) outs(%y : tensor<4xf32>) -> tensor<4xf32>
      return %r : tensor<4xf32>
    }""")
    assert find.contraction_dims(find.contraction(module)) == find.Dims((), (0,), (), (1,))
