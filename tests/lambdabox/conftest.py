"""All tests here are marked `lambda` and skipped where no box can be made."""

from __future__ import annotations

import pytest

from tests.lambdabox.available import why_not


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "lambda: needs root, cgroups and AWS's runtime client (make lambda)")


def pytest_itemcollected(item: pytest.Item) -> None:
    if "lambdabox" in item.path.parts:
        item.add_marker("lambda")  # by name, for the word is a keyword


@pytest.fixture
def boxes() -> None:
    """Asked for by tests that make boxes."""
    missing = why_not()
    if missing is not None:
        pytest.skip(f"no LambdaBox here: {missing}")
