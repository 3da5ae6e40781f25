"""Payloads that are no problem: each file under problem/ holds one and, after a line of dashes, the error it gives."""

from pathlib import Path

import pytest

from lowering.core import UserError
from lowering.problem import from_text

CASES = sorted((Path(__file__).parent / "problem").glob("*.txt"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_the_error_says_where_and_what(case):
    payload, expected = case.read_text().split("----\n")
    with pytest.raises(UserError) as caught:
        from_text(payload, "m.mlir")
    assert str(caught.value).strip() == expected.strip()


def test_there_are_cases():
    assert len(CASES) > 25
