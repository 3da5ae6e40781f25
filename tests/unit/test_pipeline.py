"""Schedule text: canonical form, and errors that say where, what was expected and what would work."""

import pytest

from lowering.core import UserError
from lowering.passes.pipeline import parse


@pytest.mark.parametrize(
    ("typed", "canonical"),
    [
        ("canonicalize", "canonicalize"),
        (" builtin.module( cse , canonicalize ) ", "cse,canonicalize"),
        ("func.func(cse,canonicalize)", "func.func(cse),func.func(canonicalize)"),
        ("canonicalize{max-iterations=10}", "canonicalize"),
        ("canonicalize{top-down=0 max-iterations=3}", "canonicalize{max-iterations=3 top-down=false}"),
        ("one-shot-bufferize{bufferize-function-boundaries}", "one-shot-bufferize{bufferize-function-boundaries=true}"),
        ("gpu.module(convert-gpu-to-rocdl{chipset=gfx942})", "gpu.module(convert-gpu-to-rocdl{chipset=gfx942})"),
        ("buffer-deallocation-pipeline", "buffer-deallocation-pipeline"),
        ("transform{script='a b.mlir'}", 'transform{script="a b.mlir"}'),
        ("", ""),
    ],
)
def test_text_has_one_canonical_form(typed, canonical):
    schedule = parse(typed)
    assert str(schedule) == canonical
    assert parse(canonical) == schedule


@pytest.mark.parametrize(
    ("typed", "column", "message"),
    [
        ("cse,canonicalise", 5, "there is no pass 'canonicalise'; did you mean canonicalize"),
        ("canonicalize{max-iteration=3}", 1, "has no option 'max-iteration'; did you mean max-iterations"),
        ("transform{scrip=x}", 11, "'transform' has no option 'scrip'; did you mean script?"),
        ("transform", 1, "'transform' needs the option 'script'"),
        ("cse,", 5, "expected a pass after ','"),
        ("cse canonicalize", 5, "expected ',' or the end"),
        ("func.func(cse", 14, "expected ',' or ')' to close 'func.func('"),
        ("cse{", 5, "expected '}' to close the options"),
        ("gpu.module(transform{script=x})", 12, "works on the whole module"),
    ],
)
def test_a_mistake_has_a_column_a_caret_and_a_remedy(typed, column, message):
    with pytest.raises(UserError) as caught:
        parse(typed)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"schedule, column {column}: ")
    assert message in lines[0]
    assert lines[2].index("^") - 2 == column - 1
