"""`pytest tests/golden --update-golden` writes the expected files anew; the diff is what to read."""

import pytest


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="write the expected files anew")


@pytest.fixture
def golden(request):
    """Compares a text with a file beside the test, or writes it."""

    def compare(path, text):
        if request.config.getoption("--update-golden"):
            path.write_text(text)
        assert path.read_text() == text

    return compare
